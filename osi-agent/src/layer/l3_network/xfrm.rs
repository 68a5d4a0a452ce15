//! Packets that IPsec (the kernel's xfrm) refused, by counter of `/proc/net/xfrm_stat`.
//!
//! Meanings are those of the kernel's `Documentation/networking/xfrm_proc.rst`. A kernel without
//! `CONFIG_XFRM_STATISTICS` keeps none of them, and then there are no rows.

use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Source, Unit, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::{Mib, NetnsState};

rows! { Layer::L3;
    IPSEC_RECEIVED: "Packets received that IPsec dropped: not protected as its policies ask, or not to be decrypted." {
        id: "ipsec_received_errors",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Drops(received),
    }
    IPSEC_SENT: "Packets that were not sent because IPsec could not protect them as its policies ask." {
        id: "ipsec_sent_errors",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Errors(sent),
    }
}

/// One of the kernel's counters.
#[derive(Debug)]
pub struct Counter {
    /// Which.
    pub mib: Mib,
    /// Of packets received, or of those to be sent.
    pub received: bool,
    /// Why it counts a packet, as half a sentence.
    pub meaning: &'static str,
    /// What to do, one sentence.
    pub advice: &'static str,
}

/// All of them, one row each.
pub static COUNTERS: &[Counter] = &[
    Counter {
        mib: Mib::XfrmInError,
        received: true,
        meaning: "a fault that no other counter names",
        advice: "See `ip -s xfrm state` and the kernel log.",
    },
    Counter {
        mib: Mib::XfrmInBufferError,
        received: true,
        meaning: "the kernel had no memory to work on them",
        advice: "Look for what fills the memory.",
    },
    Counter {
        mib: Mib::XfrmInHdrError,
        received: true,
        meaning: "their IPsec header is broken, or the packet was cut",
        advice: "Capture them: something on the way cuts or damages them.",
    },
    Counter {
        mib: Mib::XfrmInNoStates,
        received: true,
        meaning: "no state here has their SPI, address and protocol, as after one end was restarted",
        advice: "Compare the SPIs of `ip xfrm state` at both ends, and negotiate the keys anew.",
    },
    Counter {
        mib: Mib::XfrmInStateProtoError,
        received: true,
        meaning: "they did not decrypt or authenticate: the keys or algorithms of the two ends differ",
        advice: "Compare keys and algorithms at both ends, or negotiate them anew.",
    },
    Counter {
        mib: Mib::XfrmInStateModeError,
        received: true,
        meaning: "what was inside does not fit the mode of the state, tunnel or transport",
        advice: "Give both ends the same mode.",
    },
    Counter {
        mib: Mib::XfrmInStateSeqError,
        received: true,
        meaning: "their sequence number was seen before or is older than the replay window",
        advice: "Enlarge the replay window where the network reorders packets; otherwise somebody repeats them.",
    },
    Counter {
        mib: Mib::XfrmInStateExpired,
        received: true,
        meaning: "the lifetime of their state is over",
        advice: "Let the key daemon replace states before they expire.",
    },
    Counter {
        mib: Mib::XfrmInStateMismatch,
        received: true,
        meaning: "the state is for another encapsulation, such as UDP for NAT traversal",
        advice: "Give both ends the same encapsulation.",
    },
    Counter {
        mib: Mib::XfrmInStateInvalid,
        received: true,
        meaning: "their state is being taken away",
        advice: "See whether the key daemon replaces states too often.",
    },
    Counter {
        mib: Mib::XfrmInTmplMismatch,
        received: true,
        meaning: "the policy asks for another protection than they came with, such as none",
        advice: "Compare `ip xfrm policy` at both ends: the sender does not protect what this host wants protected.",
    },
    Counter {
        mib: Mib::XfrmInNoPols,
        received: true,
        meaning: "no policy allows what came in",
        advice: "Add the policy of direction in or fwd that belongs to the state.",
    },
    Counter {
        mib: Mib::XfrmInPolBlock,
        received: true,
        meaning: "a policy forbids them",
        advice: "See which policy has action block.",
    },
    Counter {
        mib: Mib::XfrmInPolError,
        received: true,
        meaning: "their policy could not be applied",
        advice: "See `ip xfrm policy` for rules that contradict each other.",
    },
    Counter {
        mib: Mib::XfrmFwdHdrError,
        received: true,
        meaning: "they may not be forwarded",
        advice: "Add the policy of direction fwd.",
    },
    Counter {
        mib: Mib::XfrmAcquireError,
        received: true,
        meaning: "their state was still being negotiated",
        advice: "See why the key daemon takes so long.",
    },
    Counter {
        mib: Mib::XfrmOutError,
        received: false,
        meaning: "a fault that no other counter names",
        advice: "See `ip -s xfrm state` and the kernel log.",
    },
    Counter {
        mib: Mib::XfrmOutBundleGenError,
        received: false,
        meaning: "no chain of states and routes could be made",
        advice: "See whether the tunnel's far end has a route.",
    },
    Counter {
        mib: Mib::XfrmOutBundleCheckError,
        received: false,
        meaning: "the chain of states and routes is not valid any more",
        advice: "See whether routes or states change all the time.",
    },
    Counter {
        mib: Mib::XfrmOutNoStates,
        received: false,
        meaning: "no state protects what the policy wants protected",
        advice: "Start the key daemon, or see why it does not agree with the other end.",
    },
    Counter {
        mib: Mib::XfrmOutStateProtoError,
        received: false,
        meaning: "encryption failed",
        advice: "See the kernel log for the crypto driver.",
    },
    Counter {
        mib: Mib::XfrmOutStateModeError,
        received: false,
        meaning: "they do not fit the mode of the state, as when they are too large for the tunnel",
        advice: "Make the MTU of the inner interface smaller.",
    },
    Counter {
        mib: Mib::XfrmOutStateSeqError,
        received: false,
        meaning: "the sequence numbers of the state are used up",
        advice: "Negotiate keys more often, or use extended sequence numbers.",
    },
    Counter {
        mib: Mib::XfrmOutStateExpired,
        received: false,
        meaning: "the lifetime of the state is over",
        advice: "Let the key daemon replace states before they expire.",
    },
    Counter {
        mib: Mib::XfrmOutPolBlock,
        received: false,
        meaning: "a policy forbids them",
        advice: "See which policy has action block.",
    },
    Counter {
        mib: Mib::XfrmOutPolDead,
        received: false,
        meaning: "their policy is being taken away",
        advice: "See whether the key daemon replaces policies too often.",
    },
    Counter {
        mib: Mib::XfrmOutPolError,
        received: false,
        meaning: "their policy could not be applied",
        advice: "See `ip xfrm policy` for rules that contradict each other.",
    },
    Counter {
        mib: Mib::XfrmOutStateInvalid,
        received: false,
        meaning: "the state is not valid, as after it expired",
        advice: "Let the key daemon replace states before they expire.",
    },
];

/// The counters that moved in a namespace since it was `before`, most packets first.
pub fn moved(now: &NetnsState, before: &NetnsState) -> Vec<(&'static Counter, u64)> {
    let growth = |mib| {
        let grown = now.mibs.get(mib)?.saturating_sub(before.mibs.get(mib)?);
        (grown > 0).then_some(grown)
    };
    let all = COUNTERS.iter();
    let mut moved: Vec<_> = all
        .filter_map(|counter| Some((counter, growth(counter.mib)?)))
        .collect();
    moved.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
    moved
}

fn received(window: &Window, rows: &mut Vec<Amount>) {
    sums(window, true, rows);
}

fn sent(window: &Window, rows: &mut Vec<Amount>) {
    sums(window, false, rows);
}

fn sums(window: &Window, received: bool, rows: &mut Vec<Amount>) {
    for (now, before) in window.namespaces() {
        let moved = before.map_or_else(Vec::new, |before| moved(now, before));
        let wanted = moved
            .into_iter()
            .filter(|(counter, _)| counter.received == received);
        rows.push(Amount {
            scope: Scope::netns(&now.netns),
            delta: wanted.map(|(_, packets)| packets).sum(),
        });
    }
}
