//! Intel's server devices.

use super::{CABLE, HOST, Meaning, PEER, RING, Row};

/// drivers/net/ethernet/intel/ice/ice_ethtool.c: `ice_gstrings_vsi_stats`, and `ice_gstrings_pf_stats` with `.nic` behind.
pub(super) const ICE: &[Row] = &[
    Row {
        counter: "rx_dropped",
        meaning: Meaning::HardwareDrop,
        help: "Frames that the device dropped because the receive ring had no free descriptor.",
        advice: RING,
    },
    Row {
        counter: "rx_dropped.nic",
        meaning: Meaning::HardwareDrop,
        help: "Frames that the port dropped because its packet buffer was full.",
        advice: HOST,
    },
    Row {
        counter: "rx_crc_errors.nic",
        meaning: Meaning::Physical,
        help: "Frames that arrived with a wrong checksum.",
        advice: CABLE,
    },
    Row {
        counter: "rx_fragments.nic",
        meaning: Meaning::Physical,
        help: "Frames that arrived too short and with a wrong checksum.",
        advice: CABLE,
    },
    Row {
        counter: "rx_jabber.nic",
        meaning: Meaning::Physical,
        help: "Frames that arrived too long and with a wrong checksum.",
        advice: CABLE,
    },
    Row {
        counter: "link_xoff_rx.nic",
        meaning: Meaning::Pause,
        help: "Pause frames received: the other end asks this one to stop.",
        advice: PEER,
    },
    Row {
        counter: "link_xoff_tx.nic",
        meaning: Meaning::Pause,
        help: "Pause frames sent: this end asks the other to stop.",
        advice: PEER,
    },
];

/// drivers/net/ethernet/intel/i40e/i40e_ethtool.c: `i40e_gstrings_net_stats` and `i40e_gstrings_stats`, whose
/// `port.rx_dropped` became `port.rx_discards` in 6.6. Frames without a descriptor are the kernel's `rx_missed_errors`.
pub(super) const I40E: &[Row] = &[
    Row {
        counter: "rx_missed_errors",
        meaning: Meaning::HardwareDrop,
        help: "Frames that the device dropped because the receive ring had no free descriptor.",
        advice: RING,
    },
    Row {
        counter: "port.rx_dropped",
        meaning: Meaning::HardwareDrop,
        help: "Frames that the port dropped because its packet buffer was full.",
        advice: HOST,
    },
    Row {
        counter: "port.rx_discards",
        meaning: Meaning::HardwareDrop,
        help: "Frames that the port dropped because its packet buffer was full.",
        advice: HOST,
    },
    Row {
        counter: "port.rx_crc_errors",
        meaning: Meaning::Physical,
        help: "Frames that arrived with a wrong checksum.",
        advice: CABLE,
    },
    Row {
        counter: "port.rx_fragments",
        meaning: Meaning::Physical,
        help: "Frames that arrived too short and with a wrong checksum.",
        advice: CABLE,
    },
    Row {
        counter: "port.rx_jabber",
        meaning: Meaning::Physical,
        help: "Frames that arrived too long and with a wrong checksum.",
        advice: CABLE,
    },
    Row {
        counter: "port.link_xoff_rx",
        meaning: Meaning::Pause,
        help: "Pause frames received: the other end asks this one to stop.",
        advice: PEER,
    },
    Row {
        counter: "port.link_xoff_tx",
        meaning: Meaning::Pause,
        help: "Pause frames sent: this end asks the other to stop.",
        advice: PEER,
    },
];

/// drivers/net/ethernet/intel/ixgbe/ixgbe_ethtool.c: `ixgbe_gstrings_stats`.
pub(super) const IXGBE: &[Row] = &[
    Row {
        counter: "rx_missed_errors",
        meaning: Meaning::HardwareDrop,
        help: "Frames that the port dropped because its packet buffer was full.",
        advice: HOST,
    },
    Row {
        counter: "rx_no_dma_resources",
        meaning: Meaning::HardwareDrop,
        help: "Frames that the device dropped because the receive ring had no free descriptor.",
        advice: RING,
    },
    Row {
        counter: "rx_crc_errors",
        meaning: Meaning::Physical,
        help: "Frames that arrived with a wrong checksum.",
        advice: CABLE,
    },
    Row {
        counter: "rx_flow_control_xoff",
        meaning: Meaning::Pause,
        help: "Pause frames received: the other end asks this one to stop.",
        advice: PEER,
    },
    Row {
        counter: "tx_flow_control_xoff",
        meaning: Meaning::Pause,
        help: "Pause frames sent: this end asks the other to stop.",
        advice: PEER,
    },
];
