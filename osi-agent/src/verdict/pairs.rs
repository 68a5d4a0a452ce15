//! What two findings say of each other beside where they are: rules for certain causes.

use core::net::IpAddr;

use osi_common::layer::Layer;

use super::l1_physical::{link_errors::LINK_ERRORS, link_microburst::LINK_MICROBURST};
use super::l2_data_link::egress_queue_overflow::EGRESS_QUEUE_OVERFLOW;
use super::l4_transport::{
    ephemeral_ports_exhausted::EPHEMERAL_PORTS_EXHAUSTED, handshake_timeout::HANDSHAKE_TIMEOUT,
    tcp_memory_pressure::TCP_MEMORY_PRESSURE,
};
use super::l5_session::sessions_reset::SESSIONS_RESET;
use super::l6_presentation::tls_handshake_failed::{TLS_HANDSHAKE_FAILED, is_mostly_said, is_said};
use super::l7_application::application_slow::APPLICATION_SLOW;
use super::l7_application::application_stalled::{APPLICATION_STALLED, fills_memory};
use super::l7_application::cpu_starved::{CPU_STARVED, is_kept_waiting, withheld_enough};
use super::l7_application::dns_slow::DNS_SLOW;
use super::l7_application::http_errors::{HTTP_ERRORS, is_of_a_gateway};
use super::rule::Entry;
use super::{Cause, CauseClass};
use crate::layer::Window;
use crate::scope::ScopeKind;

/// What takes packets whosever they are; the share that it takes is its impact's. A link that is full on its way in loses them
/// elsewhere, and a CPU's backlog or a damaged header has the same flows each time.
static AT_RANDOM: &[&Cause] = &[&LINK_ERRORS, &LINK_MICROBURST, &EGRESS_QUEUE_OVERFLOW];

/// A tenth of all packets does not take four SYNs in a row, connect after connect.
const SILENCES: f64 = 0.1;

/// An answer may wait for some queries, one after the other.
const LOOK_UPS: f64 = 4.0;

/// Whoever looks through full pools for one connection after the other reads on after a while.
const LONGEST_SEARCH_NS: f64 = 5e9;

fn is_at_random(fault: &Entry) -> bool {
    AT_RANDOM.iter().any(|cause| cause.id == fault.cause.id)
}

/// Whether one finding is felt as the other; `None` where only their scopes tell.
pub(super) fn explains(
    window: &Window,
    fault: &Entry,
    felt: &Entry,
    is_own: impl Fn(IpAddr) -> bool,
) -> Option<bool> {
    let was_explained = felt.finding.explained_by.contains(&fault.finding.id);
    let at = &fault.finding.scope;
    if felt.cause.id == HTTP_ERRORS.id {
        return errors(fault, felt, is_own);
    }
    if felt.cause.id == TLS_HANDSHAKE_FAILED.id {
        // What was said came through.
        let by_reset = fault.cause.id == SESSIONS_RESET.id && is_said(&felt.finding);
        return (by_reset || is_mostly_said(&felt.finding)).then_some(false);
    }
    // Of all that the host's TCP holds, what one application leaves unread may be next to nothing. What was much of it stays so
    // until the fault is long over: in its tail everything has been read.
    if felt.cause.id == TCP_MEMORY_PRESSURE.id && at.kind == ScopeKind::Listener {
        return Some(was_explained || fills_memory(window, at));
    }
    let took_ns = |of: &Entry| of.finding.evidence.first().map_or(0.0, |row| row.value);
    if (fault.cause.id, felt.cause.id) == (DNS_SLOW.id, APPLICATION_SLOW.id) {
        let waits_longer = took_ns(felt) > LOOK_UPS * took_ns(fault);
        return (waits_longer && !was_explained).then_some(false);
    }
    if (fault.cause.id, felt.cause.id) == (EPHEMERAL_PORTS_EXHAUSTED.id, APPLICATION_STALLED.id) {
        return (took_ns(felt) > LONGEST_SEARCH_NS).then_some(false);
    }
    if felt.cause.id == HANDSHAKE_TIMEOUT.id
        && fault.finding.impact.share_ratio < SILENCES
        && is_at_random(fault)
    {
        return (!was_explained).then_some(false);
    }
    if fault.cause.id == CPU_STARVED.id {
        let is_felt = if at.kind == ScopeKind::Process {
            withheld_enough(window, &fault.finding, &felt.finding)
        } else {
            is_kept_waiting(window, &felt.finding.scope)
        };
        // Who was seen to wait for a CPU does not wait in each window.
        return if was_explained {
            Some(true)
        } else {
            (!is_felt).then_some(false)
        };
    }
    None
}

/// Errors of HTTP.
///
/// Errors come soon where the one that is asked is not there at all: times tell nothing of who asks whom. An application's own
/// errors are its own where a peer fails or some packets are lost; a way that is gone may be why it fails. What its clients do to
/// their connections is no reason for any. Whoever got an error of somebody else has reached them.
fn errors(fault: &Entry, felt: &Entry, is_own: impl Fn(IpAddr) -> bool) -> Option<bool> {
    let (at, felt_at) = (&fault.finding.scope, &felt.finding.scope);
    if felt_at.kind == ScopeKind::Peer {
        let is_on_the_way = fault.cause.layer <= Layer::L3;
        let is_own = felt_at.remote.is_some_and(is_own);
        return (is_on_the_way && !is_own).then_some(false);
    }
    let is_said_for_others = is_of_a_gateway(&felt.finding);
    if at.kind == ScopeKind::Peer {
        return Some(at.netns == felt_at.netns && is_said_for_others);
    }
    let is_of_clients = fault.cause.layer == Layer::L5
        && matches!(fault.cause.class, CauseClass::Peer | CauseClass::Loss);
    (is_of_clients || is_at_random(fault) && !is_said_for_others).then_some(false)
}
