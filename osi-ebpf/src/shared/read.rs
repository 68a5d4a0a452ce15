//! Bounded reads of kernel memory and of packets: the only place where kernel pointers are followed.
//!
//! Only the fields of a tracepoint's own argument are read by dereference. What a field points to is read through the helper,
//! which checks the address and catches every fault: a pointer field may hold something else (`skb->dev` is a UDP socket's
//! scratch space while a datagram is queued), and on kernels before "bpf: Ensure main program has an extable" (6.5) a
//! dereference that faults in a program with subprograms is a panic, not a zero.

use core::ffi::c_void;
use core::hint::black_box;
use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_hdr_start_off::BPF_HDR_START_NET,
    helpers::{
        bpf_probe_read_kernel, bpf_probe_read_kernel_buf, bpf_skb_load_bytes,
        bpf_skb_load_bytes_relative, bpf_skc_to_tcp_sock,
    },
    programs::TcContext,
};
use osi_common::offsets::ABSENT;

use super::ip::{ETH_HEADER, ETH_P_IP, ETH_P_IPV6};

/// Bytes that can be asked for by their place.
pub(crate) trait Bytes: Copy {
    /// What lies there; `None` beyond the end. `T` is made of bytes.
    fn bytes<T: Copy>(self, offset: u32) -> Option<T>;
}

impl Bytes for Object {
    #[inline(always)]
    fn bytes<T: Copy>(self, offset: u32) -> Option<T> {
        self.probe(offset)
    }
}

/// Bytes of a packet's first buffer, which lies between two addresses of its context: a bounds check, and no call.
#[inline(always)]
pub(crate) fn within<T: Copy>(data: usize, data_end: usize, offset: usize) -> Option<T> {
    let start = data + offset;
    if start + size_of::<T>() > data_end {
        return None;
    }
    // SAFETY: the bounds were checked just above, as the verifier demands. The type is an array of bytes: any alignment does.
    Some(unsafe { core::ptr::read_unaligned(start as *const T) })
}

/// A place in a packet at tc, counted from its network header.
///
/// Behind an Ethernet header, or none at all as on a tunnel, everything is seen. Elsewhere the stack says where the header is, with
/// or without a frame around it, and only what lies in the packet's first buffer is seen.
#[derive(Clone, Copy)]
pub(crate) struct NetworkHeader<'a> {
    packet: &'a TcContext,
    offset: u32,
    /// Bytes of the packet before the network header, or [`STACK_KNOWS`].
    start: u32,
}

/// Instead of a number of bytes: only the stack knows where the network header is.
const STACK_KNOWS: u32 = u32::MAX;

impl<'a> NetworkHeader<'a> {
    /// Its beginning, in a packet of this protocol.
    #[inline(always)]
    pub(crate) fn of(packet: &'a TcContext, ethertype: u16) -> Self {
        let version = if ethertype == ETH_P_IP { 4 } else { 6 };
        let frame = within::<[u8; ETH_HEADER + 1]>(packet.data(), packet.data_end(), 0);
        // SAFETY: the context is the kernel's; the verifier rewrites the field access.
        let whole = unsafe { (*packet.skb.skb).len };
        let seems_ethernet = frame.is_some_and(|frame| {
            u16::from_be_bytes([frame[12], frame[13]]) == ethertype
                && frame[ETH_HEADER] >> 4 == version
        });
        let seems_bare = frame.is_some_and(|frame| is_bare(&frame, version, whole));
        let start = match (seems_ethernet, seems_bare) {
            (true, false) => ETH_HEADER as u32,
            (false, true) => 0,
            (true, true) | (false, false) => STACK_KNOWS,
        };
        Self {
            packet,
            offset: 0,
            start,
        }
    }

    /// A byte behind an Ethernet header, without a call, which costs a third of a run.
    #[inline(always)]
    pub(crate) fn byte_of_a_frame(self, offset: usize) -> Option<u8> {
        let (data, end) = (self.packet.data(), self.packet.data_end());
        let found = || within::<u8>(data, end, ETH_HEADER + offset);
        (self.start == ETH_HEADER as u32).then(found).flatten()
    }

    /// Protocol of what follows the IP header in an Ethernet frame, and where it begins; `None` where that is not plain to see:
    /// an option, a fragment, no such frame.
    #[inline(always)]
    pub(crate) fn transport_of_a_frame(self, ethertype: u16) -> Option<(u8, u32)> {
        if ethertype == ETH_P_IPV6 {
            return Some((self.byte_of_a_frame(NEXT_HEADER)?, V6_HEADER));
        }
        let is_plain = self.byte_of_a_frame(0)? == PLAIN_V4
            && self.byte_of_a_frame(FRAGMENT)? & !KEEPS_WHOLE == 0
            && self.byte_of_a_frame(FRAGMENT + 1)? == 0;
        let protocol = self.byte_of_a_frame(PROTOCOL)?;
        is_plain.then_some((protocol, V4_HEADER))
    }

    /// A byte behind the IP header, which ends at `header`.
    #[inline(always)]
    pub(crate) fn near(self, header: u32, offset: u32) -> Option<u8> {
        let found = match header {
            V4_HEADER => self.byte_of_a_frame((V4_HEADER + offset) as usize),
            V6_HEADER => self.byte_of_a_frame((V6_HEADER + offset) as usize),
            _ => None,
        };
        found.or_else(|| self.bytes(header + offset))
    }

    /// Where it is, for [`load`] and [`fill`].
    #[inline(always)]
    pub(super) fn start(self) -> u32 {
        self.start
    }

    /// Bytes of the packet before it.
    #[inline(always)]
    pub(crate) fn before(self) -> u32 {
        if self.start == STACK_KNOWS {
            0
        } else {
            self.start
        }
    }

    /// A place behind this one.
    #[inline(always)]
    pub(crate) fn at(self, offset: u32) -> Self {
        let offset = self.offset + offset;
        Self { offset, ..self }
    }

    /// See [`fill`].
    #[inline(always)]
    pub(crate) fn fill<const N: usize>(self, length: u32, into: &mut [u8; N]) -> bool {
        fill(self.packet, self.start, self.offset, length, into)
    }
}

/// Fills an array, whose length is a power of two, with what lies at a place behind the network header: of `length` bytes, at least
/// one, as many as fit. False where they are not there.
#[inline(always)]
pub(super) fn fill<const N: usize>(
    packet: &TcContext,
    start: u32,
    offset: u32,
    length: u32,
    into: &mut [u8; N],
) -> bool {
    const { assert!(N.is_power_of_two()) };
    // The compiler must not prove the bound away: the verifier can not follow its proof and wants to see the mask.
    let size = (black_box(length.min(N as u32) - 1) & (N as u32 - 1)) + 1;
    // SAFETY: at most the array's bytes.
    unsafe { copy(packet, start, offset, into.as_mut_ptr().cast(), size) }
}

/// What lies at a place behind the network header, which has `start` bytes before it or is where the stack knows; `None` beyond
/// the end. `T` is made of bytes.
#[inline(always)]
pub(super) fn load<T: Copy>(packet: &TcContext, start: u32, offset: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    let (into, size) = (value.as_mut_ptr().cast(), size_of::<T>() as u32);
    // SAFETY: exactly the bytes of the value, zeros where there are none. Every caller asks for bytes or arrays of them, of
    // which all values are valid.
    unsafe { copy(packet, start, offset, into, size).then(|| value.assume_init()) }
}

/// Copies bytes of a packet; false where they are not there.
///
/// # Safety
/// There is room for `size` bytes.
#[inline(always)]
unsafe fn copy(packet: &TcContext, start: u32, offset: u32, into: *mut c_void, size: u32) -> bool {
    let packet = packet.as_ptr();
    // SAFETY: the helpers check the place themselves, and the caller has made room.
    let refused = unsafe {
        if start == STACK_KNOWS {
            bpf_skb_load_bytes_relative(packet, offset, into, size, BPF_HDR_START_NET)
        } else {
            bpf_skb_load_bytes(packet, start + offset, into, size)
        }
    };
    refused == 0
}

/// Whether a packet of this length begins with the IP header itself, by the length that this tells: a frame's first byte may be
/// any, as it is the address of its receiver.
#[inline(always)]
fn is_bare(first: &[u8; ETH_HEADER + 1], version: u8, whole: u32) -> bool {
    let told = if version == 4 {
        u32::from(u16::from_be_bytes([first[2], first[3]]))
    } else {
        u32::from(u16::from_be_bytes([first[4], first[5]])) + V6_HEADER
    };
    first[0] >> 4 == version && told == whole
}

/// First byte of an IPv4 header without options, and its length.
const PLAIN_V4: u8 = 0x45;
const V4_HEADER: u32 = 20;
/// Where it tells which fragment of a packet it begins; 0 but for this flag (DF) where it is a whole one.
const FRAGMENT: usize = 6;
const KEEPS_WHOLE: u8 = 0x40;
/// Where it says what follows.
const PROTOCOL: usize = 9;
/// Where the IPv6 header does, and its length.
const NEXT_HEADER: usize = 6;
const V6_HEADER: u32 = 40;

impl Bytes for NetworkHeader<'_> {
    #[inline(always)]
    fn bytes<T: Copy>(self, offset: u32) -> Option<T> {
        load(self.packet, self.start, self.offset + offset)
    }
}

/// A pointer to a kernel object.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    pointer: *const u8,
    /// An argument of which the verifier knows the type, and that is alive: fields are read by direct dereference.
    typed: bool,
}

impl Object {
    /// Wraps a tracepoint argument that is never null; `None` when it is null after all.
    #[inline(always)]
    pub(crate) fn typed(pointer: *const u8) -> Option<Self> {
        if pointer.is_null() {
            None
        } else {
            Some(Self {
                pointer,
                typed: true,
            })
        }
    }

    /// Wraps an address of which the verifier knows nothing, and **every tracepoint argument that can be null**.
    ///
    /// Before 6.12.17 and 6.13.5 the verifier takes all tracepoint arguments for valid (CVE-2025-21852): it removes our null
    /// check as dead code, and a direct dereference of a null crashes the kernel. Reads through the helper fail instead.
    #[inline(always)]
    pub(crate) fn untyped(pointer: *const u8) -> Option<Self> {
        if pointer.is_null() {
            None
        } else {
            Some(Self {
                pointer,
                typed: false,
            })
        }
    }

    /// Wraps a pointer of a context of which the verifier forbids all arithmetic: by way of the helper it is a number.
    #[inline(always)]
    pub(crate) fn of_context(pointer: *const u8) -> Option<Self> {
        // SAFETY: the helper copies a pointer from where it lies alive.
        let number = unsafe { bpf_probe_read_kernel((&raw const pointer).cast::<u64>()) };
        Self::untyped(number.ok()? as *const u8)
    }

    /// The address, as a key.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.pointer as u64
    }

    /// The address, for helpers that take such an object.
    #[inline(always)]
    pub(crate) fn as_ptr(self) -> *const u8 {
        self.pointer
    }

    /// A `struct sock` as the `struct tcp_sock` that it is; `None` for any other. Where the verifier knows nothing of it, the caller
    /// knows that it is one.
    #[inline(always)]
    pub(crate) fn tcp(self) -> Option<Self> {
        if !self.typed {
            return Some(self);
        }
        // SAFETY: the helper looks at the socket itself and answers null for what is no whole TCP socket.
        let tcp = unsafe { bpf_skc_to_tcp_sock(self.pointer.cast_mut().cast()) };
        Self::typed(tcp.cast_const().cast())
    }

    /// Reads a field: by direct dereference of an argument, else by helper.
    #[inline(always)]
    pub(crate) fn field<T: Copy>(self, offset: u32) -> Option<T> {
        if !self.typed {
            return self.probe(offset);
        }
        if offset == ABSENT {
            return None;
        }
        // SAFETY: the verifier has proven that the offset lies on a field of this size, and the kernel holds its argument while
        // the program runs.
        Some(unsafe {
            core::ptr::read_volatile(self.pointer.byte_add(offset as usize).cast::<T>())
        })
    }

    /// Follows a pointer field. What it leads to may be anything.
    #[inline(always)]
    pub(crate) fn pointer(self, offset: u32) -> Option<Self> {
        Self::untyped(self.field(offset)?)
    }

    /// Reads a field by helper, whatever is known of the object: for fields beyond the type that the verifier tracks.
    #[inline(always)]
    pub(crate) fn probe<T: Copy>(self, offset: u32) -> Option<T> {
        if offset == ABSENT {
            return None;
        }
        // SAFETY: the helper checks the address itself and fails instead of faulting.
        unsafe { bpf_probe_read_kernel(self.pointer.byte_add(offset as usize).cast::<T>()) }.ok()
    }

    /// Reads an address to where it belongs, without a copy on the stack, which is short of room; zeros where it can not be
    /// read.
    #[inline(always)]
    pub(crate) fn probe_address(self, offset: u32, into: &mut [u8; 16]) {
        if offset == ABSENT {
            return;
        }
        // SAFETY: as in `probe`. The kernel zeroes what it fails to read.
        let _unread =
            unsafe { bpf_probe_read_kernel_buf(self.pointer.byte_add(offset as usize), into) };
    }
}
