//! NVIDIA's and Broadcom's server devices.

use super::{CABLE, HOST, MEMORY, Meaning, PEER, PROGRAM, RING, Row};

/// drivers/net/ethernet/mellanox/mlx5/core/en_stats.c: `sw_stats_desc`, `q_stats_desc`, `pport_802_3_stats_desc`,
/// `pport_2863_stats_desc`, `pport_2819_stats_desc`. Symbol errors are left out, they damage frames that are counted already;
/// so is `rx_steer_missed_packets`, which healthy ports count for frames that nobody here wants.
pub(super) const MLX5_CORE: &[Row] = &[
    Row {
        counter: "rx_xdp_drop",
        meaning: Meaning::ProgramDrop,
        help: "Frames that an XDP program dropped.",
        advice: PROGRAM,
    },
    Row {
        counter: "rx_out_of_buffer",
        meaning: Meaning::HardwareDrop,
        help: "Frames that the device dropped because the receive queue had no free buffer.",
        advice: RING,
    },
    Row {
        counter: "rx_discards_phy",
        meaning: Meaning::HardwareDrop,
        help: "Frames that the port dropped because its packet buffer was full.",
        advice: HOST,
    },
    Row {
        counter: "tx_discards_phy",
        meaning: Meaning::HardwareDrop,
        help: "Frames that the port dropped on their way out because its packet buffer was full.",
        advice: PEER,
    },
    Row {
        counter: "rx_crc_errors_phy",
        meaning: Meaning::Physical,
        help: "Frames that arrived with a wrong checksum.",
        advice: CABLE,
    },
    Row {
        counter: "rx_fragments_phy",
        meaning: Meaning::Physical,
        help: "Frames that arrived too short and with a wrong checksum.",
        advice: CABLE,
    },
    Row {
        counter: "rx_jabbers_phy",
        meaning: Meaning::Physical,
        help: "Frames that arrived too long and with a wrong checksum.",
        advice: CABLE,
    },
    Row {
        counter: "rx_wqe_err",
        meaning: Meaning::SoftwareDrop,
        help: "Frames that the driver dropped because the device reported an error with them.",
        advice: "Look for the driver's messages in the kernel log, and update driver and firmware.",
    },
    Row {
        counter: "tx_queue_dropped",
        meaning: Meaning::SoftwareDrop,
        help: "Packets that the driver dropped on their way out because they could not be mapped or were malformed.",
        advice: MEMORY,
    },
    Row {
        counter: "rx_pause_ctrl_phy",
        meaning: Meaning::Pause,
        help: "Pause frames received: the other end asks this one to stop.",
        advice: PEER,
    },
    Row {
        counter: "tx_pause_ctrl_phy",
        meaning: Meaning::Pause,
        help: "Pause frames sent: this end asks the other to stop.",
        advice: PEER,
    },
];

/// drivers/net/ethernet/broadcom/bnxt/bnxt_ethtool.c: `bnxt_ring_rx_stats_str`, `bnxt_ring_tx_stats_str`,
/// `bnxt_ring_drv_stats_arr`, `bnxt_port_stats_arr`. The totals of the rings repeat them and are left out.
pub(super) const BNXT_EN: &[Row] = &[
    Row {
        counter: "[*]: rx_discards",
        meaning: Meaning::HardwareDrop,
        help: "Frames that the device dropped because the receive ring had no free buffer.",
        advice: RING,
    },
    Row {
        counter: "[*]: tx_discards",
        meaning: Meaning::HardwareDrop,
        help: "Packets that the device dropped on their way out.",
        advice: "Look for the driver's messages in the kernel log, and update driver and firmware.",
    },
    Row {
        counter: "rx_total_oom_discards",
        meaning: Meaning::SoftwareDrop,
        help: "Frames that the driver dropped because it found no memory.",
        advice: MEMORY,
    },
    Row {
        counter: "rx_fcs_err_frames",
        meaning: Meaning::Physical,
        help: "Frames that arrived with a wrong checksum.",
        advice: CABLE,
    },
    Row {
        counter: "rx_align_err_frames",
        meaning: Meaning::Physical,
        help: "Frames that did not end at a whole byte.",
        advice: CABLE,
    },
    Row {
        counter: "rx_jbr_frames",
        meaning: Meaning::Physical,
        help: "Frames that arrived too long and with a wrong checksum.",
        advice: CABLE,
    },
    Row {
        counter: "rx_pause_frames",
        meaning: Meaning::Pause,
        help: "Pause frames received: the other end asks this one to stop.",
        advice: PEER,
    },
    Row {
        counter: "tx_pause_frames",
        meaning: Meaning::Pause,
        help: "Pause frames sent: this end asks the other to stop.",
        advice: PEER,
    },
];
