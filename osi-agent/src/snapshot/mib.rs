//! The SNMP and extended counters that are read, one row each.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares [`Mib`] and where each counter stands in `/proc/net`.
macro_rules! mibs {
    ($( $(#[$meta:meta])* $name:ident = $file:literal $group:literal $key:literal ),* $(,)?) => {
        /// A counter of `/proc/net/{snmp,snmp6,netstat,xfrm_stat,tls_stat}`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Mib { $( $(#[$meta])* $name ),* }

        impl Mib {
            /// Every counter with (file, group, key); snmp6, xfrm_stat and tls_stat have no groups.
            pub const TABLE: &'static [(Mib, &'static str, &'static str, &'static str)] =
                &[$( (Mib::$name, $file, $group, $key) ),*];
        }
    };
}

mibs! {
    /// Segments sent again.
    TcpRetransSegs = "snmp" "Tcp" "RetransSegs",
    /// Segments sent, retransmits excluded.
    TcpOutSegs = "snmp" "Tcp" "OutSegs",
    /// Segments received.
    TcpInSegs = "snmp" "Tcp" "InSegs",
    /// Connects begun.
    TcpActiveOpens = "snmp" "Tcp" "ActiveOpens",
    /// Connections accepted.
    TcpPassiveOpens = "snmp" "Tcp" "PassiveOpens",
    /// Handshakes that failed, both directions.
    TcpAttemptFails = "snmp" "Tcp" "AttemptFails",
    /// Resets sent.
    TcpOutRsts = "snmp" "Tcp" "OutRsts",
    /// Established connections reset.
    TcpEstabResets = "snmp" "Tcp" "EstabResets",
    /// Segments with a bad checksum.
    TcpInCsumErrors = "snmp" "Tcp" "InCsumErrors",
    /// IPv4 packets with no route on the way out.
    IpOutNoRoutes = "snmp" "Ip" "OutNoRoutes",
    /// IPv4 datagrams received.
    IpInReceives = "snmp" "Ip" "InReceives",
    /// IPv4 datagrams the stack asked to send.
    IpOutRequests = "snmp" "Ip" "OutRequests",
    /// IPv4 datagrams forwarded.
    IpForwDatagrams = "snmp" "Ip" "ForwDatagrams",
    /// IPv4 header errors.
    IpInHdrErrors = "snmp" "Ip" "InHdrErrors",
    /// IPv6 header errors.
    Ip6InHdrErrors = "snmp6" "" "Ip6InHdrErrors",
    /// IPv4 packets shorter than their header says.
    IpInTruncatedPkts = "netstat" "IpExt" "InTruncatedPkts",
    /// IPv6 packets shorter than their header says.
    Ip6InTruncatedPkts = "snmp6" "" "Ip6InTruncatedPkts",
    /// IPv4 fragments that were given up, those of datagrams that did not become whole in time among them.
    IpReasmFails = "snmp" "Ip" "ReasmFails",
    /// IPv4 datagrams that did not become whole in time.
    IpReasmTimeout = "snmp" "Ip" "ReasmTimeout",
    /// IPv4 datagrams that became whole.
    IpReasmOks = "snmp" "Ip" "ReasmOKs",
    /// The same as `ReasmFails`, IPv6.
    Ip6ReasmFails = "snmp6" "" "Ip6ReasmFails",
    /// The same as `ReasmTimeout`, IPv6.
    Ip6ReasmTimeout = "snmp6" "" "Ip6ReasmTimeout",
    /// The same as `ReasmOKs`, IPv6.
    Ip6ReasmOks = "snmp6" "" "Ip6ReasmOKs",
    /// IPv6 datagrams forwarded.
    Ip6OutForwDatagrams = "snmp6" "" "Ip6OutForwDatagrams",
    /// IPv4 packets received that no route leads on.
    IpInNoRoutes = "netstat" "IpExt" "InNoRoutes",
    /// IPv4 packets that the reverse-path filter dropped.
    IpReversePathFilter = "netstat" "TcpExt" "IPReversePathFilter",
    /// IPv6 packets with no route on the way out.
    Ip6OutNoRoutes = "snmp6" "" "Ip6OutNoRoutes",
    /// IPv6 packets received that no route leads on.
    Ip6InNoRoutes = "snmp6" "" "Ip6InNoRoutes",
    /// IPv6 datagrams received.
    Ip6InReceives = "snmp6" "" "Ip6InReceives",
    /// IPv6 datagrams the stack asked to send.
    Ip6OutRequests = "snmp6" "" "Ip6OutRequests",
    /// ICMP destination unreachable received.
    IcmpInDestUnreachs = "snmp" "Icmp" "InDestUnreachs",
    /// ICMPv6 destination unreachable received.
    Icmp6InDestUnreachs = "snmp6" "" "Icmp6InDestUnreachs",
    /// ICMP time exceeded received.
    IcmpInTimeExcds = "snmp" "Icmp" "InTimeExcds",
    /// ICMPv6 time exceeded received.
    Icmp6InTimeExcds = "snmp6" "" "Icmp6InTimeExcds",
    /// UDP datagrams dropped for a full receive buffer.
    UdpRcvbufErrors = "snmp" "Udp" "RcvbufErrors",
    /// UDP datagrams to a port nobody listens on.
    UdpNoPorts = "snmp" "Udp" "NoPorts",
    /// Completed handshakes that found the accept queue full.
    ListenOverflows = "netstat" "TcpExt" "ListenOverflows",
    /// SYNs and handshakes dropped at a listener, overflows included.
    ListenDrops = "netstat" "TcpExt" "ListenDrops",
    /// SYN cookies sent.
    SyncookiesSent = "netstat" "TcpExt" "SyncookiesSent",
    /// Requests dropped for a full SYN queue.
    TcpReqQFullDrop = "netstat" "TcpExt" "TCPReqQFullDrop",
    /// Requests answered by a cookie for a full SYN queue, or because `tcp_syncookies` is 2.
    TcpReqQFullDoCookies = "netstat" "TcpExt" "TCPReqQFullDoCookies",
    /// Connects that the peer acknowledged with their data (TCP Fast Open).
    TcpFastOpenActive = "netstat" "TcpExt" "TCPFastOpenActive",
    /// Connects whose data was not acknowledged with their SYN.
    TcpFastOpenActiveFail = "netstat" "TcpExt" "TCPFastOpenActiveFail",
    /// Connections accepted with data in their SYN.
    TcpFastOpenPassive = "netstat" "TcpExt" "TCPFastOpenPassive",
    /// SYNs with data whose cookie was wrong.
    TcpFastOpenPassiveFail = "netstat" "TcpExt" "TCPFastOpenPassiveFail",
    /// SYNs with data that found too many such requests pending.
    TcpFastOpenListenOverflow = "netstat" "TcpExt" "TCPFastOpenListenOverflow",
    /// SYNs that asked for a cookie.
    TcpFastOpenCookieReqd = "netstat" "TcpExt" "TCPFastOpenCookieReqd",
    /// Times that it was turned off because the path swallows it.
    TcpFastOpenBlackhole = "netstat" "TcpExt" "TCPFastOpenBlackhole",
    /// Retransmission time-outs.
    TcpTimeouts = "netstat" "TcpExt" "TCPTimeouts",
    /// SYN and SYN-ACK segments sent again.
    TcpSynRetrans = "netstat" "TcpExt" "TCPSynRetrans",
    /// The same as `UdpRcvbufErrors`, IPv6.
    Udp6RcvbufErrors = "snmp6" "" "Udp6RcvbufErrors",
    /// UDP datagrams that sockets took.
    UdpInDatagrams = "snmp" "Udp" "InDatagrams",
    /// The same, IPv6.
    Udp6InDatagrams = "snmp6" "" "Udp6InDatagrams",
    /// UDP datagrams with a bad checksum.
    UdpInCsumErrors = "snmp" "Udp" "InCsumErrors",
    /// The same, IPv6.
    Udp6InCsumErrors = "snmp6" "" "Udp6InCsumErrors",
    /// ICMP messages received, those with a bad checksum included.
    IcmpInMsgs = "snmp" "Icmp" "InMsgs",
    /// The same, IPv6.
    Icmp6InMsgs = "snmp6" "" "Icmp6InMsgs",
    /// ICMP messages with a bad checksum.
    IcmpInCsumErrors = "snmp" "Icmp" "InCsumErrors",
    /// The same, IPv6.
    Icmp6InCsumErrors = "snmp6" "" "Icmp6InCsumErrors",
    /// TCP segments with payload that found no memory to be queued in.
    TcpRcvQDrop = "netstat" "TcpExt" "TCPRcvQDrop",
    /// Times that a TCP socket's receive queue was compacted for lack of room.
    PruneCalled = "netstat" "TcpExt" "PruneCalled",
    /// TCP segments dropped because compacting its receive queue made no room.
    RcvPruned = "netstat" "TcpExt" "RcvPruned",
    /// Times that TCP began to save memory.
    TcpMemoryPressures = "netstat" "TcpExt" "TCPMemoryPressures",
    /// Connections reset for lack of memory, or because too many have no process.
    TcpAbortOnMemory = "netstat" "TcpExt" "TCPAbortOnMemory",
    /// Connections that skipped TIME_WAIT because its table was full.
    TcpTimeWaitOverflow = "netstat" "TcpExt" "TCPTimeWaitOverflow",
    /// Segments sent again because the peer acknowledged later ones.
    TcpFastRetrans = "netstat" "TcpExt" "TCPFastRetrans",
    /// Segments sent again after a time-out of their connection.
    TcpSlowStartRetrans = "netstat" "TcpExt" "TCPSlowStartRetrans",
    /// Retransmissions that were lost, too.
    TcpLostRetransmit = "netstat" "TcpExt" "TCPLostRetransmit",
    /// Tail loss probes sent.
    TcpLossProbes = "netstat" "TcpExt" "TCPLossProbes",
    /// Losses that a tail loss probe repaired.
    TcpLossProbeRecovery = "netstat" "TcpExt" "TCPLossProbeRecovery",
    /// Retransmissions that a lower layer refused.
    TcpRetransFail = "netstat" "TcpExt" "TCPRetransFail",
    /// Retransmissions given up because the first copy had not left this host.
    TcpSpuriousRtxHostQueues = "netstat" "TcpExt" "TCPSpuriousRtxHostQueues",
    /// Time-outs that F-RTO found to be needless.
    TcpSpuriousRtos = "netstat" "TcpExt" "TCPSpuriousRTOs",
    /// Segments of this host that peers received twice and said so (DSACK), since 5.9.
    TcpDsackRecvSegs = "netstat" "TcpExt" "TCPDSACKRecvSegs",
    /// DSACKs received of what was acknowledged already.
    TcpDsackRecv = "netstat" "TcpExt" "TCPDSACKRecv",
    /// DSACKs received of what had arrived out of order.
    TcpDsackOfoRecv = "netstat" "TcpExt" "TCPDSACKOfoRecv",
    /// DSACKs received of what lies too far back.
    TcpDsackIgnoredOld = "netstat" "TcpExt" "TCPDSACKIgnoredOld",
    /// DSACKs received of what was not sent again.
    TcpDsackIgnoredNoUndo = "netstat" "TcpExt" "TCPDSACKIgnoredNoUndo",
    /// DSACKs received of more than was sent again, since 5.10.
    TcpDsackIgnoredDubious = "netstat" "TcpExt" "TCPDSACKIgnoredDubious",
    /// DSACKs sent of what was acknowledged already.
    TcpDsackOldSent = "netstat" "TcpExt" "TCPDSACKOldSent",
    /// DSACKs sent of what had arrived out of order.
    TcpDsackOfoSent = "netstat" "TcpExt" "TCPDSACKOfoSent",
    /// Slow-downs taken back as a whole: timestamps show that nothing was lost.
    TcpFullUndo = "netstat" "TcpExt" "TCPFullUndo",
    /// Slow-downs taken back in part, while a hole was filled.
    TcpPartialUndo = "netstat" "TcpExt" "TCPPartialUndo",
    /// Slow-downs taken back because DSACKs came for all that was sent again.
    TcpDsackUndo = "netstat" "TcpExt" "TCPDSACKUndo",
    /// Slow-downs after a time-out taken back.
    TcpLossUndo = "netstat" "TcpExt" "TCPLossUndo",
    /// Reordering of sent segments, found by SACK.
    TcpSackReorder = "netstat" "TcpExt" "TCPSACKReorder",
    /// Reordering of sent segments, found by timestamps.
    TcpTsReorder = "netstat" "TcpExt" "TCPTSReorder",
    /// Reordering of sent segments, found without SACK.
    TcpRenoReorder = "netstat" "TcpExt" "TCPRenoReorder",
    /// Segments received out of order and kept.
    TcpOfoQueue = "netstat" "TcpExt" "TCPOFOQueue",
    /// Segments received out of order and dropped for lack of memory.
    TcpOfoDrop = "netstat" "TcpExt" "TCPOFODrop",
    /// Receive windows closed.
    TcpToZeroWindowAdv = "netstat" "TcpExt" "TCPToZeroWindowAdv",
    /// Receive windows opened again.
    TcpFromZeroWindowAdv = "netstat" "TcpExt" "TCPFromZeroWindowAdv",
    /// Receive windows that were to be closed, for lack of memory.
    TcpWantZeroWindowAdv = "netstat" "TcpExt" "TCPWantZeroWindowAdv",
    /// Probes of closed windows sent.
    TcpWinProbe = "netstat" "TcpExt" "TCPWinProbe",
    /// Acknowledgements of handshakes that a listener with TCP_DEFER_ACCEPT ignored, as no data came with them.
    TcpDeferAcceptDrop = "netstat" "TcpExt" "TCPDeferAcceptDrop",
    /// Probes of idle connections (SO_KEEPALIVE).
    TcpKeepAlive = "netstat" "TcpExt" "TCPKeepAlive",
    /// Connections reset because data came that nobody can read any more, or `SO_LINGER` asked for it.
    TcpAbortOnData = "netstat" "TcpExt" "TCPAbortOnData",
    /// Connections reset because they were closed over unread data.
    TcpAbortOnClose = "netstat" "TcpExt" "TCPAbortOnClose",
    /// Connections given up by a timer.
    TcpAbortOnTimeout = "netstat" "TcpExt" "TCPAbortOnTimeout",
    /// Connections reset in FIN_WAIT2 because `TCP_LINGER2` asked for it.
    TcpAbortOnLinger = "netstat" "TcpExt" "TCPAbortOnLinger",
    /// Resets that could not be sent for lack of memory.
    TcpAbortFailed = "netstat" "TcpExt" "TCPAbortFailed",
    /// IPv4 packets received with a mark of congestion (ECN).
    IpInCePkts = "netstat" "IpExt" "InCEPkts",
    /// IPv6 packets received with a mark of congestion (ECN).
    Ip6InCePkts = "snmp6" "" "Ip6InCEPkts",
    /// IPsec, received: a fault that no other counter names.
    XfrmInError = "xfrm_stat" "" "XfrmInError",
    /// IPsec, received: the kernel had no memory to work on them.
    XfrmInBufferError = "xfrm_stat" "" "XfrmInBufferError",
    /// IPsec, received: their IPsec header is broken, or the packet was cut.
    XfrmInHdrError = "xfrm_stat" "" "XfrmInHdrError",
    /// IPsec, received: no state here has their SPI, address and protocol, as after one end was restarted.
    XfrmInNoStates = "xfrm_stat" "" "XfrmInNoStates",
    /// IPsec, received: they did not decrypt or authenticate: the keys or algorithms of the two ends differ.
    XfrmInStateProtoError = "xfrm_stat" "" "XfrmInStateProtoError",
    /// IPsec, received: what was inside does not fit the mode of the state, tunnel or transport.
    XfrmInStateModeError = "xfrm_stat" "" "XfrmInStateModeError",
    /// IPsec, received: their sequence number was seen before or is older than the replay window.
    XfrmInStateSeqError = "xfrm_stat" "" "XfrmInStateSeqError",
    /// IPsec, received: the lifetime of their state is over.
    XfrmInStateExpired = "xfrm_stat" "" "XfrmInStateExpired",
    /// IPsec, received: the state is for another encapsulation, such as UDP for NAT traversal.
    XfrmInStateMismatch = "xfrm_stat" "" "XfrmInStateMismatch",
    /// IPsec, received: their state is being taken away.
    XfrmInStateInvalid = "xfrm_stat" "" "XfrmInStateInvalid",
    /// IPsec, received: the policy asks for another protection than they came with, such as none.
    XfrmInTmplMismatch = "xfrm_stat" "" "XfrmInTmplMismatch",
    /// IPsec, received: no policy allows what came in.
    XfrmInNoPols = "xfrm_stat" "" "XfrmInNoPols",
    /// TLS in the kernel (`tls_sw_recvmsg`): records that did not authenticate.
    TlsDecryptError = "tls_stat" "" "TlsDecryptError",
    /// TLS in the kernel: new keys for what is received that were not taken.
    TlsRxRekeyError = "tls_stat" "" "TlsRxRekeyError",
    /// TLS in the kernel: new keys for what is sent that were not taken.
    TlsTxRekeyError = "tls_stat" "" "TlsTxRekeyError",
    /// IPsec, received: a policy forbids them.
    XfrmInPolBlock = "xfrm_stat" "" "XfrmInPolBlock",
    /// IPsec, received: their policy could not be applied.
    XfrmInPolError = "xfrm_stat" "" "XfrmInPolError",
    /// IPsec, received: they may not be forwarded.
    XfrmFwdHdrError = "xfrm_stat" "" "XfrmFwdHdrError",
    /// IPsec, received: their state was still being negotiated.
    XfrmAcquireError = "xfrm_stat" "" "XfrmAcquireError",
    /// IPsec, sent: a fault that no other counter names.
    XfrmOutError = "xfrm_stat" "" "XfrmOutError",
    /// IPsec, sent: no chain of states and routes could be made.
    XfrmOutBundleGenError = "xfrm_stat" "" "XfrmOutBundleGenError",
    /// IPsec, sent: the chain of states and routes is not valid any more.
    XfrmOutBundleCheckError = "xfrm_stat" "" "XfrmOutBundleCheckError",
    /// IPsec, sent: no state protects what the policy wants protected.
    XfrmOutNoStates = "xfrm_stat" "" "XfrmOutNoStates",
    /// IPsec, sent: encryption failed.
    XfrmOutStateProtoError = "xfrm_stat" "" "XfrmOutStateProtoError",
    /// IPsec, sent: they do not fit the mode of the state, as when they are too large for the tunnel.
    XfrmOutStateModeError = "xfrm_stat" "" "XfrmOutStateModeError",
    /// IPsec, sent: the sequence numbers of the state are used up.
    XfrmOutStateSeqError = "xfrm_stat" "" "XfrmOutStateSeqError",
    /// IPsec, sent: the lifetime of the state is over.
    XfrmOutStateExpired = "xfrm_stat" "" "XfrmOutStateExpired",
    /// IPsec, sent: a policy forbids them.
    XfrmOutPolBlock = "xfrm_stat" "" "XfrmOutPolBlock",
    /// IPsec, sent: their policy is being taken away.
    XfrmOutPolDead = "xfrm_stat" "" "XfrmOutPolDead",
    /// IPsec, sent: their policy could not be applied.
    XfrmOutPolError = "xfrm_stat" "" "XfrmOutPolError",
    /// IPsec, sent: the state is not valid, as after it expired.
    XfrmOutStateInvalid = "xfrm_stat" "" "XfrmOutStateInvalid",
}

impl Mib {
    /// The kernel's name of the counter, without its group.
    pub fn key(self) -> &'static str {
        let (_, _, _, key) = Self::TABLE[self as usize];
        key
    }
}

/// The values of all [`Mib`] rows; `None` where this kernel has no such counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mibs([Option<u64>; Mib::TABLE.len()]);

impl Default for Mibs {
    fn default() -> Self {
        Self([None; Mib::TABLE.len()])
    }
}

impl Mibs {
    /// The counter's value, `None` where this kernel does not keep it.
    pub fn get(&self, mib: Mib) -> Option<u64> {
        self.0[mib as usize]
    }

    /// Notes a value read.
    pub fn set(&mut self, mib: Mib, value: u64) {
        self.0[mib as usize] = Some(value);
    }
}

impl Serialize for Mibs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0)
    }
}

impl<'de> Deserialize<'de> for Mibs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::deserialize(deserializer)?;
        let rows = |values: Vec<_>| D::Error::invalid_length(values.len(), &"one value per row");
        values.try_into().map(Self).map_err(rows)
    }
}
