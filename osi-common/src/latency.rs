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
    /// Unread data on an accepted connection → the application's next read.
    RequestDwell = 8,
    /// The read that left nothing unread on an accepted connection → the next send.
    Response = 9,
    /// The last send on a connection that this host opened → the first data back.
    Dependency = 10,
    /// A DNS query that left → its answer; from the last sending on, where it was sent again.
    Dns = 11,
    /// A TLS client's hello → the end of the handshake: its own (TLS 1.3, a session that goes on), else the server's.
    Tls = 12,
    /// An HTTP request → the first byte of its answer, on every interface that both pass.
    Http = 13,
    /// ESTABLISHED → CLOSE of a connection, whoever opened it.
    Session = 14,
    /// A QUIC client's first datagram → its first packet of data, which is the first that tells that it has ended the handshake.
    Quic = 15,
}

/// Number of latency histograms.
pub const LATENCIES: u32 = 16;

/// Of so many packets that a CPU receives, the way of one is timed where it is forwarded. A power of two.
pub const FORWARDED_ONE_IN: u32 = 64;

/// Of so many packets that a CPU sends, the round-trip times of one's connection are taken. A power of two.
pub const ROUND_TRIP_ONE_IN: u32 = 256;
