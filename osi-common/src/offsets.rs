//! Where the fields are that the programs read, resolved by name from the running kernel's BTF before loading.

use crate::pod::kernel_struct;

/// The offset of a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Declares [`Offsets`] and, from the same lines, the list of BTF paths that fill it.
macro_rules! offsets {
    ($( $(#[$meta:meta])* $field:ident = $root:literal . $path:literal ),* $(,)?) => {
        kernel_struct! {
            /// Byte offsets into kernel structs, or [`ABSENT`].
            pub struct Offsets { $( $(#[$meta])* pub $field: u32 ),* }
        }

        impl Offsets {
            /// Every field as (name here, kernel struct, path inside it), in the order of the struct.
            pub const FIELDS: &'static [(&'static str, &'static str, &'static str)] =
                &[$( (stringify!($field), $root, $path) ),*];

            /// No field is there.
            pub const NONE: Self = Self { $( $field: ABSENT ),* };

            /// Asks `resolve(struct, path)` for every field.
            pub fn resolve(mut resolve: impl FnMut(&str, &str) -> Option<u32>) -> Self {
                Self { $( $field: resolve($root, $path).unwrap_or(ABSENT) ),* }
            }

            /// The offset of the field with this name here, if the kernel has it.
            pub fn get(&self, name: &str) -> Option<u32> {
                let value = match name {
                    $( stringify!($field) => self.$field, )*
                    _ => ABSENT,
                };
                (value != ABSENT).then_some(value)
            }
        }
    };
}

offsets! {
    /// Address family.
    sock_family = "sock"."__sk_common.skc_family",
    /// TCP state.
    sock_state = "sock"."__sk_common.skc_state",
    /// Namespace pointer.
    sock_net = "sock"."__sk_common.skc_net.net",
    /// IPv4 destination.
    sock_daddr = "sock"."__sk_common.skc_daddr",
    /// IPv4 source the socket is bound to.
    sock_rcv_saddr = "sock"."__sk_common.skc_rcv_saddr",
    /// IPv6 destination.
    sock_v6_daddr = "sock"."__sk_common.skc_v6_daddr",
    /// IPv6 source.
    sock_v6_rcv_saddr = "sock"."__sk_common.skc_v6_rcv_saddr",
    /// Destination port, network order.
    sock_dport = "sock"."__sk_common.skc_dport",
    /// Local port, network order. Not `skc_num`: the kernel zeroes that one before it reports the change to CLOSE.
    inet_sport = "inet_sock"."inet_sport",
    /// IP protocol.
    sock_protocol = "sock"."sk_protocol",
    /// Pending error, an errno.
    sock_err = "sock"."sk_err",
    /// The error that a connection ends with if all attempts are in vain.
    sock_err_soft = "sock"."sk_err_soft",
    /// Route that a socket remembers.
    sock_route = "sock"."sk_dst_cache",
    /// What applications know a socket by.
    sock_socket = "sock"."sk_socket",
    /// How far a connect of the application has come, `enum socket_state`.
    socket_state = "socket"."state",
    /// Where that lies in what the kernel allocates for it.
    alloc_socket = "socket_alloc"."socket",
    /// Inode number of a socket, in the same.
    alloc_inode = "socket_alloc"."vfs_inode.i_ino",
    /// Main thread of a task's process.
    task_leader = "task_struct"."group_leader",
    /// When a task started, boot time.
    task_started = "task_struct"."start_boottime",
    /// Smoothed round-trip time in 1/8 µs.
    tcp_srtt_us = "tcp_sock"."srtt_us",
    /// Least round-trip time: three samples of a minimum over minutes.
    tcp_rtt_min = "tcp_sock"."rtt_min.s",
    /// Value of such a sample, µs.
    minmax_value = "minmax_sample"."v",
    /// Segments of the connection that were sent again.
    tcp_total_retrans = "tcp_sock"."total_retrans",
    /// Largest payload of a segment.
    tcp_mss = "tcp_sock"."mss_cache",
    /// Payload that the peer has acknowledged.
    tcp_bytes_acked = "tcp_sock"."bytes_acked",
    /// Segments that it has acknowledged out of order.
    tcp_sacked_out = "tcp_sock"."sacked_out",
    /// Segments that were sent and are not acknowledged in order.
    tcp_packets_out = "tcp_sock"."packets_out",
    /// Sequence number behind all that was sent.
    tcp_snd_nxt = "tcp_sock"."snd_nxt",
    /// Sequence number behind all that it has acknowledged in order.
    tcp_snd_una = "tcp_sock"."snd_una",
    /// Sequence number behind all that has arrived in order, an end of the stream included.
    tcp_rcv_nxt = "tcp_sock"."rcv_nxt",
    /// Sequence number behind all that the application has read.
    tcp_copied_seq = "tcp_sock"."copied_seq",
    /// Sequence number behind all that the application has written.
    tcp_write_seq = "tcp_sock"."write_seq",
    /// How often the time-out has doubled since it acknowledged anything new. Not `icsk_retransmits`, which counts the time-out
    /// at hand from 6.7 on and does not before.
    tcp_backoff = "inet_connection_sock"."icsk_backoff",
    /// Time-outs without an answer: more than segments sent again where sending failed.
    tcp_timeouts = "inet_connection_sock"."icsk_retransmits",
    /// Payload that it has received.
    tcp_bytes_received = "tcp_sock"."bytes_received",
    /// Payload that it has sent, what was sent again included.
    tcp_bytes_sent = "tcp_sock"."bytes_sent",
    /// When it last sent payload, in the clock's ticks.
    tcp_lsndtime = "tcp_sock"."lsndtime",
    /// When it last received payload, in the same.
    csk_lrcvtime = "inet_connection_sock"."icsk_ack.lrcvtime",
    /// When the segment at hand arrived, µs.
    tcp_mstamp = "tcp_sock"."tcp_mstamp",
    /// When the peer last acknowledged payload, or when it was last sent after a pause, on the same clock.
    tcp_delivered_mstamp = "tcp_sock"."delivered_mstamp",
    /// When the application last took payload, on the same clock; not later, and as late as a round trip before.
    tcp_read_mstamp = "tcp_sock"."rcvq_space.time",
    /// Inode number of a network namespace.
    net_inum = "net"."ns.inum",
    /// The socket a packet belongs to.
    skb_sk = "sk_buff"."sk",
    /// Bytes of a packet.
    skb_len = "sk_buff"."len",
    /// The device of a packet (a union: see the drop topic).
    skb_dev = "sk_buff"."dev",
    /// Route of a packet, a tagged pointer.
    skb_refdst = "sk_buff"."_skb_refdst",
    /// Start of the packet's buffer.
    skb_head = "sk_buff"."head",
    /// Offset of the end of the data in the packet's buffer from its start.
    skb_tail = "sk_buff"."tail",
    /// Offset of `skb_shared_info` from the start of the buffer.
    skb_end = "sk_buff"."end",
    /// Ethernet protocol, network order.
    skb_protocol = "sk_buff"."protocol",
    /// Offset of the network header from the start of the buffer.
    skb_network_header = "sk_buff"."network_header",
    /// Interface a packet arrived on.
    skb_iif = "sk_buff"."skb_iif",
    /// Segments in a GSO packet.
    shinfo_gso_segs = "skb_shared_info"."gso_segs",
    /// First packet of a fragment list.
    shinfo_frag_list = "skb_shared_info"."frag_list",
    /// Namespace of a device.
    dev_net = "net_device"."nd_net.net",
    /// Index of a device.
    dev_ifindex = "net_device"."ifindex",
    /// Device of a route.
    dst_dev = "dst_entry"."dev",
    /// State of a neighbour entry (`NUD_*`).
    neigh_nud_state = "neighbour"."nud_state",
    /// When it changed, in ticks.
    neigh_updated = "neighbour"."updated",
}

/// Records of connections are in storage of their sockets: where the kernel tells of data that arrives (`sk_data_ready`, 6.3).
pub const IN_SOCKET: u32 = 1;
/// They are in a table: for the programs that serve kernels before that, of which the oldest have no such storage (5.11).
pub const IN_TABLE: u32 = 2;

kernel_struct! {
    /// What a run of the programs is limited to and which variants feed them; frozen before loading.
    pub struct Settings {
        /// Watch only this network namespace (inode number); 0 watches all.
        pub netns: u32,
        /// The namespace whose interfaces carry the packet programs (inode number): a packet does not tell its own.
        pub home: u32,
        /// Number of arguments of the `kfree_skb` tracepoint: 2, 3 (reason) or 4 (receiving socket).
        pub kfree_skb_args: u32,
        /// Number of arguments of the `tcp_send_reset` tracepoint: 2, or 3 (reason).
        pub tcp_send_reset_args: u32,
        /// Number of arguments of the `tcp_retransmit_skb` tracepoint: 2, or 3 (errno of an attempt that failed, since 6.17).
        pub tcp_retransmit_args: u32,
        /// Number of the drop reason `NO_SOCKET`, 0 where the kernel names none (before 5.17).
        pub no_socket: u32,
        /// 1 where the namespace whose interfaces carry the packet programs forwards packets, else 0.
        pub forwards: u32,
        /// Where the record of a connection is kept: [`IN_SOCKET`] or [`IN_TABLE`].
        pub exchanges: u32,
        /// 1 where a program that calls functions may also hand on to another one (on aarch64 since 6.0), else 0.
        pub hands_on: u32,
        /// 1 where names in packets may leave the kernel, 0 with `--no-names`.
        pub names: u32,
    }
}
