//! Rows of maps: a key's own, made where it has none.

use aya_ebpf::{bindings::BPF_NOEXIST, maps::HashMap};
use osi_common::occurrence::Health;

use super::own::note;

/// The row of a key. `new` is what it begins with, which lies in read-only data where the stack has no room for it. Where the map
/// has none, that is noted as `full`.
#[inline(always)]
pub(crate) fn row<K, V>(map: &HashMap<K, V>, key: &K, new: &V, full: Health) -> Option<*mut V> {
    if let Some(known) = map.get_ptr_mut(key) {
        return Some(known);
    }
    let _raced = map.insert(key, new, u64::from(BPF_NOEXIST));
    let made = map.get_ptr_mut(key);
    if made.is_none() {
        note(full);
    }
    made
}
