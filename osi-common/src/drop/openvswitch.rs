//! Reasons of Open vSwitch's kernel datapath.

use super::{Class, Reason};
use crate::layer::Layer;

/// Sorted by name.
pub(super) const REASONS: &[Reason] = &[
    Reason {
        name: "OVS_DROP_ACTION_ERROR",
        layer: Layer::L2,
        class: Class::Config,
        meaning: "An action of the flow failed.",
        advice: "See the flow that drops: `ovs-appctl dpctl/dump-flows -m`.",
    },
    Reason {
        name: "OVS_DROP_CONNTRACK",
        layer: Layer::L3,
        class: Class::Config,
        meaning: "Connection tracking of the flow failed.",
        advice: "See `conntrack -S` and `ovs-appctl dpctl/ct-stats-show`.",
    },
    Reason {
        name: "OVS_DROP_DEFERRED_LIMIT",
        layer: Layer::L2,
        class: Class::Capacity,
        meaning: "Too many deferred actions waited on the CPU.",
        advice: "See the flow that drops: `ovs-appctl dpctl/dump-flows -m`.",
    },
    Reason {
        name: "OVS_DROP_EXPLICIT",
        layer: Layer::L2,
        class: Class::Policy,
        meaning: "The flow says to drop the packet.",
        advice: "See the flow that drops: `ovs-appctl dpctl/dump-flows -m`.",
    },
    Reason {
        name: "OVS_DROP_EXPLICIT_WITH_ERROR",
        layer: Layer::L2,
        class: Class::Config,
        meaning: "The switch daemon could not translate the packet's flow and told the kernel to drop it.",
        advice: "See the daemon's log and `ovs-appctl coverage/show`.",
    },
    Reason {
        name: "OVS_DROP_FRAG_INVALID_PROTO",
        layer: Layer::L2,
        class: Class::Config,
        meaning: "The packet is too long for the port and not of a protocol that has fragments.",
        advice: "Compare the MTU of the ports: `ovs-vsctl list interface`.",
    },
    Reason {
        name: "OVS_DROP_FRAG_L2_TOO_LONG",
        layer: Layer::L2,
        class: Class::Config,
        meaning: "The packet must be fragmented and its link header is too long for that.",
        advice: "Compare the MTU of the ports: `ovs-vsctl list interface`.",
    },
    Reason {
        name: "OVS_DROP_IP_TTL",
        layer: Layer::L3,
        class: Class::Config,
        meaning: "The packet had no hops left: two routers may point at each other.",
        advice: "Follow the path: `mtr -n ADDRESS`.",
    },
    Reason {
        name: "OVS_DROP_LAST_ACTION",
        layer: Layer::L2,
        class: Class::Policy,
        meaning: "No action of the flow sent the packet anywhere, which is how flows drop.",
        advice: "See the flow that drops: `ovs-appctl dpctl/dump-flows -m`.",
    },
    Reason {
        name: "OVS_DROP_METER",
        layer: Layer::L2,
        class: Class::Policy,
        meaning: "A meter limits the rate and the packet exceeded it.",
        advice: "See rates and counts: `ovs-ofctl -O OpenFlow13 meter-stats BRIDGE`.",
    },
    Reason {
        name: "OVS_DROP_NOMEM",
        layer: Layer::L2,
        class: Class::Capacity,
        meaning: "No memory was left to fragment the packet.",
        advice: "Check memory pressure: `cat /proc/pressure/memory`.",
    },
    Reason {
        name: "OVS_DROP_RECURSION_LIMIT",
        layer: Layer::L2,
        class: Class::Config,
        meaning: "The actions of the flow nest too deeply, usually in a loop.",
        advice: "See the flow that drops: `ovs-appctl dpctl/dump-flows -m`.",
    },
];
