//! Which latencies the programs measure: one histogram each.

/// Which latency histogram, as index of the histogram map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Latency {
    /// `tcp_connect` → ESTABLISHED on the connecting side.
    HandshakeClient = 0,
    /// SYN-ACK sent → ACK received on the accepting side: the kernel's own sample, `srtt_us >> 3`.
    HandshakeServer = 1,
    /// CLOSE → SYN_SENT to `tcp_connect`: the search for a free local port.
    PortSearch = 2,
    /// `neigh_create` → the first answer (`neigh_update` of an entry in state INCOMPLETE).
    NeighbourResolution = 3,
    /// tc ingress → tc egress of the same packet, of one packet in [`FORWARDED_ONE_IN`].
    Forwarding = 4,
    /// Smoothed round-trip time of a connection at its end, and of one in [`ROUND_TRIP_ONE_IN`] packets sent: `srtt_us >> 3`.
    RoundTrip = 5,
    /// The least round-trip time of the same connections at the same moments (`rtt_min`).
    LeastRoundTrip = 6,
    /// As [`Self::HandshakeClient`], of those whose SYN was sent again.
    HandshakeRetried = 7,
}

/// Number of latency histograms.
pub const LATENCIES: u32 = 8;

/// Of so many packets that a CPU receives, the way of one is timed where it is forwarded. A power of two.
pub const FORWARDED_ONE_IN: u32 = 64;

/// Of so many packets that a CPU sends, the round-trip times of one's connection are taken. A power of two.
pub const ROUND_TRIP_ONE_IN: u32 = 256;
