//! Devices that other software provides: virtio, the clouds' own, and veth.

use super::{MEMORY, Meaning, PROGRAM, RING, Row, SIZE};

/// drivers/net/virtio_net.c: `virtnet_rq_stats_desc`, shown as `rx_queue_N_…` before 6.10 and as `rxN_…` since;
/// `virtnet_stats_rx_basic_desc`, shown as `rxN_hw_…` where the device counts. The totals without a number are left out.
pub(super) const VIRTIO_NET: &[Row] = &[
    Row {
        counter: "rx_queue_*_drops",
        meaning: Meaning::SoftwareDrop,
        help: "Frames that the driver received and could not hand on: wrong length, no memory, or refused by XDP.",
        advice: MEMORY,
    },
    Row {
        counter: "rx*_drops",
        meaning: Meaning::SoftwareDrop,
        help: "Frames that the driver received and could not hand on: wrong length, no memory, or refused by XDP.",
        advice: MEMORY,
    },
    Row {
        counter: "rx_queue_*_xdp_drops",
        meaning: Meaning::ProgramDrop,
        help: "Frames that an XDP program dropped.",
        advice: PROGRAM,
    },
    Row {
        counter: "rx*_xdp_drops",
        meaning: Meaning::ProgramDrop,
        help: "Frames that an XDP program dropped.",
        advice: PROGRAM,
    },
    Row {
        counter: "rx*_hw_drops",
        meaning: Meaning::HardwareDrop,
        help: "Frames that the hypervisor dropped on their way in, mostly for lack of receive buffers.",
        advice: RING,
    },
];

/// drivers/net/ethernet/amazon/ena/ena_ethtool.c: `ena_stats_eni_strings`, `ena_stats_rx_strings`. Amazon's own driver has
/// the same names; its `conntrack_allowance_available` is no counter.
pub(super) const ENA: &[Row] = &[
    Row {
        counter: "bw_in_allowance_exceeded",
        meaning: Meaning::Allowance,
        help: "Packets queued or dropped because the instance received more bandwidth than it is allowed.",
        advice: SIZE,
    },
    Row {
        counter: "bw_out_allowance_exceeded",
        meaning: Meaning::Allowance,
        help: "Packets queued or dropped because the instance sent more bandwidth than it is allowed.",
        advice: SIZE,
    },
    Row {
        counter: "pps_allowance_exceeded",
        meaning: Meaning::Allowance,
        help: "Packets queued or dropped because the instance moved more packets per second than it is allowed.",
        advice: SIZE,
    },
    Row {
        counter: "conntrack_allowance_exceeded",
        meaning: Meaning::Allowance,
        help: "Packets dropped because the security groups track as many connections as they can for this instance: new connections fail.",
        advice: "Keep connections alive and reuse them, or let the security groups allow the traffic in both directions from anywhere, which is not tracked.",
    },
    Row {
        counter: "linklocal_allowance_exceeded",
        meaning: Meaning::Allowance,
        help: "Packets to the cloud's own services (DNS, time, instance metadata) dropped because there were too many per second.",
        advice: "Cache DNS answers on the instance, and ask its metadata service less often.",
    },
    Row {
        counter: "queue_*_rx_xdp_drop",
        meaning: Meaning::ProgramDrop,
        help: "Frames that an XDP program dropped.",
        advice: PROGRAM,
    },
    Row {
        counter: "queue_*_rx_skb_alloc_fail",
        meaning: Meaning::SoftwareDrop,
        help: "Frames that the driver dropped because it found no memory to hand them on in.",
        advice: MEMORY,
    },
];

/// drivers/net/ethernet/google/gve/gve_ethtool.c: `gve_gstrings_main_stats`, `gve_gstrings_rx_stats`. What the device counts
/// is filled in only where its private flag `report-stats` is on.
pub(super) const GVE: &[Row] = &[
    Row {
        counter: "rx_no_buffers_posted[*]",
        meaning: Meaning::HardwareDrop,
        help: "Frames that the device dropped because the driver had posted no receive buffer.",
        advice: RING,
    },
    Row {
        counter: "rx_xdp_drop[*]",
        meaning: Meaning::ProgramDrop,
        help: "Frames that an XDP program dropped.",
        advice: PROGRAM,
    },
    Row {
        counter: "rx_skb_alloc_fail",
        meaning: Meaning::SoftwareDrop,
        help: "Frames that the driver dropped because it found no memory to hand them on in.",
        advice: MEMORY,
    },
    Row {
        counter: "rx_buf_alloc_fail",
        meaning: Meaning::SoftwareDrop,
        help: "Frames that the driver dropped because it found no memory for a receive buffer.",
        advice: MEMORY,
    },
    Row {
        counter: "rx_desc_err_dropped_pkt",
        meaning: Meaning::SoftwareDrop,
        help: "Frames that the driver dropped because the device marked them as faulty.",
        advice: "Note when it happens and ask the cloud's support: the virtual device hands over faulty frames.",
    },
];

/// drivers/net/veth.c: `veth_rq_stats_desc` and `veth_tq_stats_desc`. What an XDP program drops on purpose is
/// left out: it is a packet by then, and the probe on `kfree_skb` sees it freed.
pub(super) const VETH: &[Row] = &[
    Row {
        counter: "rx_queue_*_drops",
        meaning: Meaning::SoftwareDrop,
        help: "Packets that the receiving end dropped: its queue was full or it found no memory.",
        advice: MEMORY,
    },
    Row {
        counter: "rx_queue_*_xdp_tx_errors",
        meaning: Meaning::SoftwareDrop,
        help: "Packets that an XDP program sent back and the other end did not take.",
        advice: "Look at the XDP program on this end: what it sends back finds no room at the other.",
    },
    Row {
        counter: "tx_queue_*_xdp_xmit_errors",
        meaning: Meaning::SoftwareDrop,
        help: "Packets that an XDP program redirected here and the other end did not take.",
        advice: "Look at the XDP program that redirects here: the other end is down or its queue is full.",
    },
];
