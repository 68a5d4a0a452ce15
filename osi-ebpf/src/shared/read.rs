//! Bounded reads of kernel memory and of packets: the only place where kernel pointers are followed.
//!
//! Only the fields of a tracepoint's own argument are read by dereference. What a field points to is read through the helper,
//! which checks the address and catches every fault: a pointer field may hold something else (`skb->dev` is a UDP socket's
//! scratch space while a datagram is queued), and on kernels before "bpf: Ensure main program has an extable" (6.5) a
//! dereference that faults in a program with subprograms is a panic, not a zero.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_hdr_start_off::BPF_HDR_START_NET,
    helpers::{
        bpf_probe_read_kernel, bpf_probe_read_kernel_buf, bpf_skb_load_bytes,
        bpf_skb_load_bytes_relative,
    },
    programs::TcContext,
};
use osi_common::offsets::ABSENT;

use super::ip::{ETH_HEADER, ETH_P_IP};

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
/// Behind an Ethernet header everything is seen. Elsewhere the stack says where the header is, with or without a frame around
/// it, and only what lies in the packet's first buffer is seen.
#[derive(Clone, Copy)]
pub(crate) struct NetworkHeader<'a> {
    packet: &'a TcContext,
    offset: u32,
    is_ethernet: bool,
}

impl<'a> NetworkHeader<'a> {
    /// Its beginning, in a packet of this protocol.
    #[inline(always)]
    pub(crate) fn of(packet: &'a TcContext, ethertype: u16) -> Self {
        let version = if ethertype == ETH_P_IP { 4 } else { 6 };
        let frame = within::<[u8; ETH_HEADER + 1]>(packet.data(), packet.data_end(), 0);
        let is_ethernet = frame.is_some_and(|frame| {
            frame[0] >> 4 != version
                && u16::from_be_bytes([frame[12], frame[13]]) == ethertype
                && frame[ETH_HEADER] >> 4 == version
        });
        Self {
            packet,
            offset: 0,
            is_ethernet,
        }
    }

    /// A byte behind an Ethernet header, without a call, which costs a third of a run.
    #[inline(always)]
    pub(crate) fn byte_of_a_frame(self, offset: usize) -> Option<u8> {
        let (data, end) = (self.packet.data(), self.packet.data_end());
        let found = || within::<u8>(data, end, ETH_HEADER + offset);
        self.is_ethernet.then(found).flatten()
    }

    /// A place behind it.
    #[inline(always)]
    pub(crate) fn at(self, offset: u32) -> Self {
        Self { offset, ..self }
    }
}

impl Bytes for NetworkHeader<'_> {
    #[inline(always)]
    fn bytes<T: Copy>(self, offset: u32) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        let (packet, offset) = (self.packet.as_ptr(), self.offset + offset);
        let (into, size) = (value.as_mut_ptr().cast(), size_of::<T>() as u32);
        // SAFETY: the helpers write exactly the bytes of the value, zeros where there are none, and check the place themselves.
        let refused = unsafe {
            if self.is_ethernet {
                bpf_skb_load_bytes(packet, ETH_HEADER as u32 + offset, into, size)
            } else {
                bpf_skb_load_bytes_relative(packet, offset, into, size, BPF_HDR_START_NET)
            }
        };
        // SAFETY: written by the helper. Every caller asks for bytes or arrays of them, of which all values are valid.
        (refused == 0).then(|| unsafe { value.assume_init() })
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

    /// The address, as a key.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.pointer as u64
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
