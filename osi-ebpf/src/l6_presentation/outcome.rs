//! How TLS handshakes end, and what is counted of it.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use osi_common::latency::Latency;
use osi_common::tls::{ABORTED_ANSWERED, ABORTED_UNANSWERED, Handshake, Stage, TLS_1_2, TLS_1_3};

use super::endpoints::{endpoint, unfinished};
use super::failure::show;
use super::handshakes::{TLS_IN_FLIGHT, Work};
use super::tls::Run;
use crate::l7_application::waits;
use crate::shared::{latency::record, own::bump};

impl Run<'_, '_> {
    /// The server has said something that did not pass here: packets take another way back, or its hello begins no segment.
    #[inline(always)]
    pub(super) fn unseen(self, handshake: &Handshake) {
        let Work {
            ends,
            endpoint: key,
            ..
        } = self.work;
        if TLS_IN_FLIGHT.remove(*ends).is_ok()
            && let Some(row) = endpoint(handshake.role, ends, key)
        {
            unfinished(row, handshake);
        }
    }

    /// It came to a good end, at this moment or at one that nobody saw.
    #[inline(always)]
    pub(super) fn completed(self, handshake: &Handshake, is_now: bool) {
        // The agent, or the same packet on another interface, may have been faster.
        if TLS_IN_FLIGHT.remove(self.work.ends).is_ok() {
            self.counted(handshake, is_now);
        }
    }

    #[inline(always)]
    pub(super) fn counted(self, handshake: &Handshake, is_now: bool) {
        let Work {
            ends,
            endpoint: key,
            ..
        } = self.work;
        // SAFETY: helper without preconditions.
        let now_ns = unsafe { bpf_ktime_get_boot_ns() };
        let taken_ns = now_ns.saturating_sub(handshake.begun_ns);
        if is_now {
            record(Latency::Tls, taken_ns);
        }
        let Some(row) = endpoint(handshake.role, ends, key) else {
            return;
        };
        if handshake.version == u32::from(TLS_1_3) {
            bump!(row, outcomes.tls13, 1);
        } else if handshake.version == u32::from(TLS_1_2) {
            bump!(row, outcomes.tls12, 1);
        } else {
            bump!(row, outcomes.older, 1);
        }
        // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
        let times = unsafe { &raw mut (*row).times };
        if is_now {
            waits::end(times, taken_ns);
        } else {
            bump!(row, outcomes.unmeasured, 1);
            waits::pass(times);
        }
    }

    /// It came to none.
    #[inline(always)]
    pub(super) fn failed(self, handshake: &Handshake, code: u32) {
        let Self {
            ctx,
            work,
            by_client,
            ..
        } = self;
        if TLS_IN_FLIGHT.remove(work.ends).is_err() {
            return;
        }
        let Work {
            ends,
            endpoint: key,
            ..
        } = work;
        let ends = &*ends;
        if let Some(row) = endpoint(handshake.role, ends, key) {
            if code == ABORTED_UNANSWERED {
                bump!(row, outcomes.aborted_unanswered, 1);
            } else if code == ABORTED_ANSWERED {
                bump!(row, outcomes.aborted_answered, 1);
            } else if by_client {
                bump!(row, outcomes.client_alert, 1);
            } else {
                bump!(row, outcomes.server_alert, 1);
            }
            if handshake.stage != Stage::Certified as u32 {
                // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
                waits::give_up(unsafe { &raw mut (*row).times }, handshake.begun_ns);
            }
        }
        show(ctx, ends, handshake, by_client, code);
    }
}
