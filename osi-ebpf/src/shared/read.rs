//! Bounded reads of kernel memory: the only place where kernel pointers are followed.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use osi_common::offsets::ABSENT;

/// A pointer to a kernel object. Not null.
#[derive(Clone, Copy)]
pub(crate) struct Object(*const u8);

impl Object {
    /// Wraps a tracepoint argument or a pointer that was read; `None` when it is null.
    #[inline(always)]
    pub(crate) fn new(pointer: *const u8) -> Option<Self> {
        if pointer.is_null() {
            None
        } else {
            Some(Self(pointer))
        }
    }

    /// The address, as a key.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    /// Reads a field by direct dereference: only of objects whose type the verifier tracks (tracepoint arguments and typed
    /// pointers read from them). The kernel handles a fault by yielding zero.
    #[inline(always)]
    pub(crate) fn field<T: Copy>(self, offset: u32) -> Option<T> {
        if offset == ABSENT {
            return None;
        }
        // SAFETY: the verifier has proven that the offset lies on a field of this size, and faults read as zero.
        Some(unsafe { core::ptr::read_volatile(self.0.byte_add(offset as usize).cast::<T>()) })
    }

    /// Follows a pointer field by direct dereference.
    #[inline(always)]
    pub(crate) fn pointer(self, offset: u32) -> Option<Self> {
        Self::new(self.field::<*const u8>(offset)?)
    }

    /// Reads a field of an object whose type the verifier does not know.
    #[inline(always)]
    pub(crate) fn probe<T: Copy>(self, offset: u32) -> Option<T> {
        if offset == ABSENT {
            return None;
        }
        // SAFETY: the helper checks the address itself and fails instead of faulting.
        unsafe { bpf_probe_read_kernel(self.0.byte_add(offset as usize).cast::<T>()) }.ok()
    }

    /// Follows a pointer field of an object whose type the verifier does not know.
    #[inline(always)]
    pub(crate) fn probe_pointer(self, offset: u32) -> Option<Self> {
        Self::new(self.probe::<*const u8>(offset)?)
    }
}
