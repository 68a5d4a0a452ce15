//! Per-interface packet counters, size classes and 1 ms bursts.

use crate::pod::{counters, kernel_struct};

/// Interfaces that can carry programs at the same time; further ones keep their kernel counters only.
pub const SLOTS: u32 = 32;
/// Interface indices the slot table covers.
pub const MAX_IFINDEX: u32 = 65_536;
/// Packet size classes: class i counts packets of 2^(i+5) < bytes <= 2^(i+6), the first all smaller ones. A power of two, so that
/// a mask bounds it; 2^21 bytes are more than any packet has.
pub const SIZE_CLASSES: usize = 16;
/// Bins of 1 ms kept per interface and direction.
pub const BURST_BINS: usize = 1024;
/// Length of a burst bin.
pub const BURST_BIN_NS: u64 = 1_000_000;

/// Direction of a packet as the interface sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Direction {
    /// Received by the host.
    Rx = 0,
    /// Sent by the host.
    Tx = 1,
}

/// Index of an interface slot and direction in the per-interface maps.
pub const fn row(slot: u32, direction: Direction) -> u32 {
    slot * 2 + direction as u32
}

/// The size class of a packet: logarithmic, upper-inclusive.
#[inline(always)]
pub const fn size_class(bytes: u32) -> usize {
    // 64 bytes and less are class 0, then one class per doubling.
    let doublings = if bytes <= 64 {
        0
    } else {
        26 - (bytes - 1).leading_zeros() as usize
    };
    if doublings < SIZE_CLASSES {
        doublings
    } else {
        SIZE_CLASSES - 1
    }
}

/// Largest packet of a size class in bytes; the last class has no larger one.
pub const fn upper_bytes(class: usize) -> u64 {
    64 << class
}

kernel_struct! {
    /// What a tc program counted on one interface in one direction, on one CPU.
    pub struct Traffic {
        /// Packets (skbs; one GSO packet counts once).
        pub packets: u64,
        /// Bytes as the device sees them (`skb->len`).
        pub bytes: u64,
        /// Segments on the wire: max(1, gso_segs) of each packet.
        pub segments: u64,
        /// The millisecond (boot time) this CPU is filling.
        pub burst_ms: u64,
        /// Bytes in that millisecond; added to the shared [`Bursts`] when it ends.
        pub burst_bytes: u64,
        /// Packets per size class, see [`size_class`].
        pub sizes: [u64; SIZE_CLASSES],
    }

    /// Bytes per millisecond over all CPUs: a ring of the last 1024 ms.
    ///
    /// Each bin holds the low 32 bits of its millisecond above the bytes of that millisecond.
    pub struct Bursts {
        /// Bin i belongs to the latest millisecond m with m % 1024 = i.
        pub bins: [u64; BURST_BINS],
    }
}

counters! {
    /// What the XDP program counted on one interface, on one CPU.
    pub struct Frames {
        /// Frames seen.
        pub frames,
        /// Bytes seen.
        pub bytes,
        /// Frames too short for the header they announce, or with an impossible header length.
        pub malformed,
    }
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            packets: 0,
            bytes: 0,
            segments: 0,
            burst_ms: 0,
            burst_bytes: 0,
            sizes: [0; SIZE_CLASSES],
        }
    }
}

impl Traffic {
    /// Adds another CPU's share; the burst fields are per CPU and do not merge.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            packets,
            bytes,
            segments,
            burst_ms: _,
            burst_bytes: _,
            sizes,
        } = other;
        self.packets += packets;
        self.bytes += bytes;
        self.segments += segments;
        for (mine, theirs) in self.sizes.iter_mut().zip(sizes) {
            *mine += theirs;
        }
    }
}

/// A burst bin's content: the millisecond it belongs to (low 32 bits) and its bytes.
pub const fn burst_bin(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_are_upper_inclusive() {
        for (bytes, class) in [
            (0, 0),
            (64, 0),
            (65, 1),
            (128, 1),
            (129, 2),
            (1500, 5),
            (65_536, 10),
            (u32::MAX, 15),
        ] {
            assert_eq!(size_class(bytes), class, "{bytes} bytes");
            assert!(u64::from(bytes) <= upper_bytes(class) || class == SIZE_CLASSES - 1);
        }
    }
}
