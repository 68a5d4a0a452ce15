//! TLS handshakes that came to no good end: counted by why, with a few examples.

use aya_ebpf::programs::TcContext;
use osi_common::occurrence::{Key, Kind, Sample};
use osi_common::tls::{BY_SERVER, Handshake};
use osi_common::wire::{Ends, Role};

use crate::shared::occurrence::{count, send};

/// Counts one, and shows an example of it. Its ends are as if this host had asked.
#[inline(always)]
pub(crate) fn show(
    ctx: &TcContext,
    ends: &Ends,
    handshake: &Handshake,
    by_client: bool,
    code: u32,
) {
    let occurrence = Key {
        kind: Kind::TlsFailed as u32,
        code: if by_client { code } else { code | BY_SERVER },
        netns: ends.server.netns,
        ifindex: 0,
        location: 0,
    };
    if !count(ctx, &occurrence, 1) {
        return;
    }
    let by_us = by_client == (handshake.role == Role::Asking as u32);
    send(ctx, &occurrence, |sample: &mut Sample| {
        sample.family = ends.server.family;
        sample.local = ends.client;
        sample.local_port = ends.client_port;
        sample.remote = ends.server.address;
        sample.remote_port = ends.server.port;
        sample.sender = if by_us {
            ends.client
        } else {
            ends.server.address
        };
        sample.protocol = ends.transport.into();
        sample.name = handshake.name;
    });
}
