//! Waits by listening port and by peer: begun, ended, and how long they took.

use aya_ebpf::{EbpfContext, macros::map, maps::HashMap};
use aya_log_ebpf::warn;
use osi_common::exchange::{Dependency, MAX_DEPENDENCIES, Passed, Requests, Span};
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

/// A wait begins. Answers its number, see [`Passed`].
#[inline(always)]
pub(crate) fn begin(span: *mut Span, now_ns: u64) -> u32 {
    // SAFETY: the pointer comes from a map lookup; a race costs the age of a wait a few microseconds.
    unsafe {
        let begun = (*span).begun;
        if begun == (*span).passed || begun == (*span).ended {
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

/// A request is read: those that came before it and are not read are left alone.
#[inline(always)]
pub(crate) fn end_read(requests: *mut Requests, number: u32, taken_ns: u64, now_ns: u64) {
    // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
    let dwell = unsafe { &raw mut (*requests).dwell };
    bump!(dwell, ended, 1);
    pass_in_turn(requests, |passed, begun| passed.ending(begun, number));
    // SAFETY: the pointer comes from a map lookup.
    unsafe { (*dwell).since_ns = now_ns };
    time(dwell, taken_ns);
}

/// Several reads at once may lose one of their notes, until the next one.
#[inline(always)]
fn pass_in_turn(requests: *mut Requests, how: impl FnOnce(Passed, u64) -> Passed) {
    // SAFETY: the pointer comes from a map lookup.
    unsafe {
        let before = Passed {
            last: (*requests).read,
            count: (*requests).dwell.passed,
        };
        let after = how(before, (*requests).dwell.begun);
        if after != before {
            (*requests).read = after.last;
            (*requests).dwell.passed = after.count;
        }
    }
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

/// A request is given up before it was read.
#[inline(always)]
pub(crate) fn give_up_unread(requests: *mut Requests, number: u32) {
    bump!(requests, dwell.ended, 1);
    pass_in_turn(requests, |passed, begun| passed.giving_up(begun, number));
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
