//! Reasons of `enum qdisc_drop_reason`, a subsystem of its own since kernel 7.1; the core table has their former names.

use super::{Class, Reason};
use crate::layer::Layer;

/// Sorted by name.
pub(super) const REASONS: &[Reason] = &[
    Reason {
        name: "QDISC_DROP_BAND_LIMIT",
        layer: Layer::L2,
        class: Class::Capacity,
        meaning: "A priority band of the queue was full.",
        advice: "See bands and limits: `tc -s -d qdisc show dev IFACE`.",
    },
    Reason {
        name: "QDISC_DROP_CONGESTED",
        layer: Layer::L2,
        class: Class::Capacity,
        meaning: "The queue dropped early to signal congestion, because packets waited too long.",
        advice: "See delay target and drops: `tc -s -d qdisc show dev IFACE`.",
    },
    Reason {
        name: "QDISC_DROP_FLOOD_PROTECTION",
        layer: Layer::L2,
        class: Class::Capacity,
        meaning: "The queue dropped packets of a flow that does not slow down.",
        advice: "See the drops per tin: `tc -s qdisc show dev IFACE`.",
    },
    Reason {
        name: "QDISC_DROP_FLOW_LIMIT",
        layer: Layer::L2,
        class: Class::Capacity,
        meaning: "One flow had as many packets in the queue as a flow may have.",
        advice: "See `flow_limit` and `flows_plimit`: `tc -s -d qdisc show dev IFACE`.",
    },
    Reason {
        name: "QDISC_DROP_GENERIC",
        layer: Layer::L2,
        class: Class::Capacity,
        meaning: "The queueing discipline refused the packet.",
        advice: "See which queue drops: `tc -s qdisc show dev IFACE`.",
    },
    Reason {
        name: "QDISC_DROP_HORIZON_LIMIT",
        layer: Layer::L2,
        class: Class::Config,
        meaning: "A program asked to send the packet further in the future than the queue accepts.",
        advice: "Compare `horizon` in `tc -s -d qdisc show dev IFACE` with the pacing of the sender in `ss -tin`.",
    },
    Reason {
        name: "QDISC_DROP_L4S_STEP_NON_ECN",
        layer: Layer::L2,
        class: Class::Capacity,
        meaning: "The low-latency queue waited longer than its step allows and the packet could not be marked instead.",
        advice: "See the step threshold: `tc -s -d qdisc show dev IFACE`.",
    },
    Reason {
        name: "QDISC_DROP_MAXFLOWS",
        layer: Layer::L2,
        class: Class::Capacity,
        meaning: "The queue tracks as many flows as it can and had no slot for another.",
        advice: "See `flows` in `tc -s -d qdisc show dev IFACE`.",
    },
    Reason {
        name: "QDISC_DROP_OVERLIMIT",
        layer: Layer::L2,
        class: Class::Capacity,
        meaning: "The queue held as many packets as its limit allows.",
        advice: "Compare backlog and limit: `tc -s -d qdisc show dev IFACE`.",
    },
    Reason {
        name: "QDISC_DROP_UNSPEC",
        layer: Layer::L2,
        class: Class::Unclassified,
        meaning: "The queueing discipline dropped the packet and named no reason.",
        advice: "See which queue drops: `tc -s qdisc show dev IFACE`.",
    },
];
