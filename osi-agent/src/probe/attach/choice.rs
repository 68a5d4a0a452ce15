//! Which variants of a probe are tried.

use osi_common::offsets::{IN_SOCKET, IN_TABLE};

use super::super::attachable::Attachable;
use super::super::ladder::{Probe, Variant};

/// Where connections are kept, and the variants that are tried: those of `exchanges` are made for one place each, which is frozen
/// before the first of them is loaded.
pub(super) fn records(attachable: &Attachable, mut forced: Vec<String>) -> (u32, Vec<String>) {
    const FIRST: &str = "exchanges=tp_btf";
    let is_told = attachable.arguments("sk_data_ready") > 0;
    let of_probe = || {
        forced
            .iter()
            .filter(|choice| choice.starts_with("exchanges="))
    };
    if !is_told || of_probe().any(|choice| choice != FIRST) {
        return (IN_TABLE, forced);
    }
    forced.push(FIRST.to_owned());
    (IN_SOCKET, forced)
}

/// Whether a variant is to be tried: any, unless one of its probe is forced.
pub(super) fn is_wanted(probe: &Probe, variant: &Variant, forced: &[String]) -> bool {
    let mut of_probe = forced
        .iter()
        .filter_map(|choice| choice.strip_prefix(probe.name)?.strip_prefix('='))
        .peekable();
    of_probe.peek().is_none() || of_probe.any(|name| name == variant.name)
}
