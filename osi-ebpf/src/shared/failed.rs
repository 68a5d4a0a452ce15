//! Exchanges on the wire that failed: counted by why, with a few examples.

use aya_ebpf::programs::TcContext;
use osi_common::occurrence::{Key, Kind, Sample};
use osi_common::wire::{Ends, NAME_BYTES};

use super::occurrence::{count, send};

/// Counts one, and shows an example of it, with the name that was asked for: that lies in a map's value, which the kernel keeps
/// while the program runs. `more` says what else is known of it.
#[inline(always)]
pub(crate) fn failed(
    ctx: &TcContext,
    (kind, code): (Kind, u32),
    ends: &Ends,
    name: *const [u8; NAME_BYTES],
    more: impl FnOnce(&mut Sample),
) {
    let occurrence = Key {
        kind: kind as u32,
        code,
        netns: ends.server.netns,
        ifindex: 0,
        location: 0,
    };
    if !count(ctx, &occurrence, 1) {
        return;
    }
    send(ctx, &occurrence, |sample: &mut Sample| {
        sample.family = ends.server.family;
        sample.local = ends.client;
        sample.local_port = ends.client_port;
        sample.remote = ends.server.address;
        sample.remote_port = ends.server.port;
        sample.protocol = ends.transport.into();
        // SAFETY: as said above; only its address was taken before.
        sample.name = unsafe { *name };
        more(sample);
    });
}
