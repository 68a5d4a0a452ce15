//! Where in nftables packets were dropped: by the counters of rules and policies, or because it can have been nowhere else.
//!
//! Counters that explain little of what was dropped are told beside it: they may have counted what nobody misses.

use super::super::super::text::inside;
use super::super::super::{Advice, Evidence, Facts, Finding};
use crate::layer::DropRow;
use crate::layer::l3_network::netfilter::is_nftables;
use crate::scope::Scope;
use crate::snapshot::{DropPlace, Filters, NetnsState};

use super::{PACKET_FILTERED, TRADE_OFF};

/// Places that are named.
const NAMED: usize = 3;

/// Windows after which a reading tells nothing of this one.
const RECENT: u64 = 3;

/// Windows for which what was told of a reading is kept: two rounds of reading.
const KEPT: u64 = 32;

/// How many places there are, where none is named.
const PLACES: &str = "nft_places";

/// What the evidence's name begins with, before family, table and chain as nft takes them, and the rule's handle.
const NFT: &str = "nft ";

/// What stands before that where the place explains little of what was dropped: no advice is about it.
const ASIDE: &str = "beside ";

/// What stands in place of the handle for a chain's policy.
const POLICY: &str = "policy";

/// Who dropped the packets of these rows in a namespace, as far as its rule set was read and tells.
///
/// Rule sets are read now and then: until two readings in a row tell anew, what the open finding says of places stays.
pub(super) fn culprits(facts: &Facts, state: &NetnsState, rows: &[DropRow]) -> Vec<Evidence> {
    let age = facts
        .window
        .now
        .boot_ns
        .saturating_sub(state.filters.places.read_ns);
    if !within(facts, KEPT, age) {
        return Vec::new();
    }
    let mut previous = facts.window.previous.namespaces.iter();
    let before = previous
        .find(|before| before.netns == state.netns)
        .map(|before| &before.filters)
        .filter(|before| before.places.read_ns > 0)
        .filter(|before| {
            let since = state
                .filters
                .places
                .read_ns
                .checked_sub(before.places.read_ns);
            since.is_some_and(|since| since > 0 && within(facts, RECENT, since))
        });
    if before.is_none() {
        let known = known(facts, state);
        if known.iter().any(Evidence::names_place) {
            return known;
        }
    }
    if !within(facts, RECENT, age) {
        return Vec::new();
    }
    told(state, before, rows)
}

fn within(facts: &Facts, windows: u64, ns: u64) -> bool {
    ns <= windows.saturating_mul(facts.window.elapsed_ns())
}

/// What the open finding says of places.
fn known(facts: &Facts, state: &NetnsState) -> Vec<Evidence> {
    let scope = Scope::netns(&state.netns);
    let open = facts.history.ledger.evidence(PACKET_FILTERED.id, &scope);
    let of_places = open.iter().filter(|row| {
        let name = row.signal.strip_prefix(ASIDE).unwrap_or(&row.signal);
        name.starts_with(NFT) || name == PLACES
    });
    of_places.cloned().collect()
}

/// What a reading, and the one before it, tell.
fn told(state: &NetnsState, before: Option<&Filters>, rows: &[DropRow]) -> Vec<Evidence> {
    let places = &state.filters.places;
    let mut grown: Vec<_> = places
        .iter()
        .filter(|place| place.always)
        .filter_map(|place| {
            let before = before?;
            let old = before.places.iter().find(|old| old.is(place));
            // One that was not there yet began at zero; one that was only not seen did not.
            let old = old.map_or(before.complete.then_some(0), |old| old.packets);
            let growth = place.packets?.saturating_sub(old?);
            (growth > 0).then_some((place, growth))
        })
        .collect();
    grown.sort_by_key(|(_, growth)| std::cmp::Reverse(*growth));
    let packets: u64 = rows.iter().map(|row| row.packets).sum();
    let explained: u64 = grown.iter().map(|(_, growth)| growth).sum();
    let counted = grown.iter().take(NAMED);
    let counted =
        counted.map(|(place, growth)| evidence(place, *growth, format!("dropped by {place}")));
    if grown.is_empty() {
        return eliminate(state, rows, 0).into_iter().collect();
    }
    let (by_nftables, shared) = by_nftables(rows);
    let half = |part: u64| part.saturating_mul(2) >= packets;
    // Where all count, what they did not count yet was dropped after they were read.
    let all_count = || places.iter().all(|place| place.packets.is_some());
    if half(explained) || half(by_nftables + shared) && all_count() {
        return counted.collect();
    }
    let rest = eliminate(state, rows, explained);
    let aside = counted.map(|row| Evidence {
        signal: format!("{ASIDE}{}", row.signal),
        ..row
    });
    rest.into_iter().chain(aside).collect()
}

/// The only place that can have dropped what counters do not explain, or how many there are. Those whose counter stands at
/// zero never did, and where some counters grew, those that have one are known.
fn eliminate(state: &NetnsState, rows: &[DropRow], explained: u64) -> Option<Evidence> {
    let (by_nftables, shared) = by_nftables(rows);
    if by_nftables == 0 && shared == 0 {
        return None;
    }
    let places = state.filters.places.iter();
    let able = places.filter(|place| match place.packets {
        None => true,
        Some(packets) => explained == 0 && packets > 0,
    });
    let able: Vec<_> = able.collect();
    match able.as_slice() {
        [only] if only.always && state.filters.complete => {
            let (packets, why) = if by_nftables > 0 {
                let why = format!("dropped by {only}: nothing else in nftables can drop here");
                (by_nftables, why)
            } else {
                (shared, format!("in nftables, only {only} can drop here"))
            };
            let why = if explained > 0 {
                format!(
                    "dropped by {only}: all else in nftables that can drop here counts, and counted less"
                )
            } else {
                why
            };
            Some(evidence(only, packets.saturating_sub(explained), why))
        }
        [] | [_] => None,
        several => {
            let more = if state.filters.complete {
                ""
            } else {
                "or more, "
            };
            let why =
                format!("{more}in nftables that can have dropped them; no counter tells which");
            let count = several.len() as f64;
            Some(Evidence::new(PLACES, count, "places", why))
        }
    }
}

/// Packets that nftables dropped, and those of the function that it shares before 6.7 with legacy iptables and connection
/// tracking.
fn by_nftables(rows: &[DropRow]) -> (u64, u64) {
    let by = |meant: fn(&str) -> bool| -> u64 {
        let functions = rows.iter().flat_map(|row| &row.functions);
        functions
            .filter(|(function, _)| meant(function))
            .map(|(_, packets)| packets)
            .sum()
    };
    let shared = |function: &str| ["", "nf_hook_slow"].contains(&function);
    (by(is_nftables), by(shared))
}

impl Evidence {
    /// Whether it names a place in nftables that dropped.
    pub fn names_place(&self) -> bool {
        self.signal.starts_with(NFT)
    }
}

fn evidence(place: &DropPlace, packets: u64, why: String) -> Evidence {
    let DropPlace { table, chain, .. } = place;
    let which = match place.rule {
        Some(handle) => format!("handle {handle}"),
        None => POLICY.to_owned(),
    };
    let name = format!("{NFT}{} {table} {chain} {which}", place.family.name());
    Evidence::new(&name, packets as f64, "packets", why)
}

/// What to do about the place that a row of the evidence names; `None` where it names none that nft can be asked about.
pub(super) fn advice(finding: &Finding, row: &Evidence) -> Option<Advice> {
    let words: Vec<_> = row.signal.strip_prefix(NFT)?.split(' ').collect();
    let (chain, rule) = match words.as_slice() {
        [chain @ .., POLICY] => (chain, None),
        [chain @ .., "handle", handle] => (chain, Some(*handle)),
        _ => return None,
    };
    // nft reads its words as a program: a name that is none to it might be one.
    let &[family, table, name] = chain else {
        return None;
    };
    if ![table, name].into_iter().all(is_identifier) {
        return None;
    }
    let chain = format!("{family} {table} {name}");
    let packets = row.value;
    let (text, change) = match rule {
        Some(handle) => (
            format!(
                "The rule with handle {handle} of chain {chain} dropped {packets} packets: ask who set it."
            ),
            format!("nft insert rule {chain} handle {handle} MATCH accept"),
        ),
        None => (
            format!(
                "Chain {chain} drops what none of its rules accepts, {packets} packets: ask who set it."
            ),
            format!("nft add rule {chain} MATCH accept"),
        ),
    };
    Some(Advice {
        text,
        confirm: inside(&finding.scope, &format!("nft -a list chain {chain}")),
        change: inside(&finding.scope, &change),
        trade_off: TRADE_OFF.to_owned(),
    })
}

/// Whether nft reads it as a name.
fn is_identifier(word: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || "_.".contains(c);
    word.starts_with(begins)
        && word
            .chars()
            .all(|c| begins(c) || c.is_ascii_digit() || "/-".contains(c))
}
