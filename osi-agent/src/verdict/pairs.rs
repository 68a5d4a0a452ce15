//! What two findings say of each other beside where they are: rules for certain causes.

use core::net::IpAddr;

use osi_common::layer::Layer;

use super::l1_physical::{
    link_errors::LINK_ERRORS, link_microburst::LINK_MICROBURST, link_saturated::LINK_SATURATED,
    rx_backlog_overflow::RX_BACKLOG_OVERFLOW,
};
use super::l2_data_link::egress_queue_overflow::EGRESS_QUEUE_OVERFLOW;
use super::l3_network::ip_header_errors::IP_HEADER_ERRORS;
use super::l4_transport::{
    handshake_timeout::HANDSHAKE_TIMEOUT, tcp_memory_pressure::TCP_MEMORY_PRESSURE,
};
use super::l5_session::sessions_reset::SESSIONS_RESET;
use super::l6_presentation::tls_handshake_failed::{TLS_HANDSHAKE_FAILED, is_mostly_said, is_said};
use super::l7_application::application_stalled::fills_memory;
use super::l7_application::cpu_starved::{CPU_STARVED, is_kept_waiting, withheld_enough};
use super::l7_application::http_errors::{HTTP_ERRORS, is_of_a_gateway};
use super::rule::Entry;
use super::{Cause, CauseClass};
use crate::layer::Window;
use crate::scope::ScopeKind;

/// What takes packets whosever they are; the share that it takes is its impact's.
static AT_RANDOM: &[&Cause] = &[
    &LINK_ERRORS,
    &LINK_SATURATED,
    &LINK_MICROBURST,
    &RX_BACKLOG_OVERFLOW,
    &EGRESS_QUEUE_OVERFLOW,
    &IP_HEADER_ERRORS,
];

/// A tenth of all packets does not take four SYNs in a row, connect after connect.
const SILENCES: f64 = 0.1;

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
    let is_at_random = || AT_RANDOM.iter().any(|cause| cause.id == fault.cause.id);
    if felt.cause.id == HANDSHAKE_TIMEOUT.id
        && fault.finding.impact.share_ratio < SILENCES
        && is_at_random()
    {
        return if was_explained { None } else { Some(false) };
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
/// errors are its own, and what its clients do to their connections is no reason for any. Whoever got an error of somebody else
/// has reached them.
fn errors(fault: &Entry, felt: &Entry, is_own: impl Fn(IpAddr) -> bool) -> Option<bool> {
    let (at, felt_at) = (&fault.finding.scope, &felt.finding.scope);
    let is_on_the_way = fault.cause.layer <= Layer::L3;
    if felt_at.kind == ScopeKind::Peer {
        let is_own = felt_at.remote.is_some_and(is_own);
        return (is_on_the_way && !is_own).then_some(false);
    }
    let is_said_for_others = is_of_a_gateway(&felt.finding);
    if at.kind == ScopeKind::Peer {
        return Some(at.netns == felt_at.netns && is_said_for_others);
    }
    let is_of_clients = fault.cause.layer == Layer::L5
        && matches!(fault.cause.class, CauseClass::Peer | CauseClass::Loss);
    (is_of_clients || is_on_the_way && !is_said_for_others).then_some(false)
}
