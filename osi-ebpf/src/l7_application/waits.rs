//! Waits by listening port and by peer: begun, ended, and how long they took.

use aya_ebpf::{EbpfContext, macros::map, maps::HashMap};
use aya_log_ebpf::warn;
use osi_common::exchange::{Dependency, MAX_DEPENDENCIES, Requests, Span};
use osi_common::handshake::PeerKey;
use osi_common::histogram::Coarse;
use osi_common::listener::{ListenerKey, MAX_LISTENERS};
use osi_common::occurrence::Health;

use crate::shared::{latency::tally, own::bump, row::row};

/// Writer: this topic. Reader and deleter of quiet ones when room is short: the agent, each window. Full: noted in `HEALTH`.
#[map]
static REQUESTS: HashMap<ListenerKey, Requests> = HashMap::with_max_entries(MAX_LISTENERS, 0);

/// The same for the peers of opened connections.
#[map]
static DEPENDENCIES: HashMap<PeerKey, Dependency> = HashMap::with_max_entries(MAX_DEPENDENCIES, 0);

/// What ports and peers begin with.
static NEW_REQUESTS: Requests = Requests::ZERO;
static NEW_DEPENDENCY: Dependency = Dependency::ZERO;

/// A wait begins. Answers the number that it has there; those that begin at the same moment may share one.
#[inline(always)]
pub(crate) fn begin(span: *mut Span, now_ns: u64) -> u32 {
    // SAFETY: the pointer comes from a map lookup; a race costs the age of a wait a few microseconds.
    unsafe {
        if (*span).begun == (*span).passed {
            (*span).since_ns = now_ns;
        }
    }
    bump!(span, begun, 1);
    // SAFETY: the pointer comes from a map lookup.
    unsafe { (*span).begun as u32 }
}

/// A wait ends as it should: whatever waits, there is progress.
#[inline(always)]
pub(crate) fn end(span: *mut Span, taken_ns: u64) {
    pass(span);
    time(span, taken_ns);
}

/// The same of waits that end in their order as a rule: what began before this one is left alone, what began after it waits on.
#[inline(always)]
pub(crate) fn end_in_turn(span: *mut Span, number: u32, taken_ns: u64, now_ns: u64) {
    bump!(span, ended, 1);
    // SAFETY: the pointer comes from a map lookup. A number from before the row was made anew is one of the future: it passes none.
    unsafe {
        let behind = ((*span).begun as u32).wrapping_sub(number);
        let passed = (*span).begun.saturating_sub(behind.into());
        if passed > (*span).passed {
            (*span).passed = passed;
        }
        (*span).since_ns = now_ns;
    }
    time(span, taken_ns);
}

#[inline(always)]
fn time(span: *mut Span, taken_ns: u64) {
    bump!(span, sum_ns, taken_ns);
    // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
    tally(unsafe { &raw mut (*span).times }, Coarse::slot(taken_ns));
}

/// The same, at a moment that nobody saw.
#[inline(always)]
pub(crate) fn pass(span: *mut Span) {
    bump!(span, ended, 1);
    // SAFETY: the pointer comes from a map lookup; what begins at this very moment counts as begun before or after it.
    unsafe { (*span).passed = (*span).begun };
}

/// A wait is over because its connection is: no progress, but nothing waits any more for what it did.
#[inline(always)]
pub(crate) fn give_up(span: *mut Span, since_ns: u64) {
    bump!(span, ended, 1);
    // SAFETY: the pointer comes from a map lookup. Where nothing began after the last end, `since_ns` is of the time before it.
    let (begun, passed, first_ns) = unsafe { ((*span).begun, (*span).passed, (*span).since_ns) };
    if passed < begun && since_ns >= first_ns {
        bump!(span, passed, 1);
    }
}

/// The same of waits that end in their order.
#[inline(always)]
pub(crate) fn give_up_in_turn(span: *mut Span, number: u32) {
    bump!(span, ended, 1);
    // SAFETY: the pointer comes from a map lookup.
    let passed = unsafe { (*span).passed };
    if number.wrapping_sub(passed as u32) as i32 > 0 {
        bump!(span, passed, 1);
    }
}

/// A port's row, made where it has none.
#[inline(always)]
pub(crate) fn requests<C: EbpfContext>(ctx: &C, key: ListenerKey) -> Option<*mut Requests> {
    let row = row(&REQUESTS, &key, &NEW_REQUESTS, Health::RequestsFull);
    if row.is_none() {
        warn!(ctx, "request map full");
    }
    row
}

/// A peer's row, made where it has none.
#[inline(always)]
pub(crate) fn dependency<C: EbpfContext>(ctx: &C, key: PeerKey) -> Option<*mut Dependency> {
    let row = row(
        &DEPENDENCIES,
        &key,
        &NEW_DEPENDENCY,
        Health::DependenciesFull,
    );
    if row.is_none() {
        warn!(ctx, "dependency map full");
    }
    row
}

/// A port's row, if it has one.
#[inline(always)]
pub(crate) fn known_requests(key: ListenerKey) -> Option<*mut Requests> {
    REQUESTS.get_ptr_mut(key)
}

/// A peer's row, if it has one.
#[inline(always)]
pub(crate) fn known_dependency(key: PeerKey) -> Option<*mut Dependency> {
    DEPENDENCIES.get_ptr_mut(key)
}
