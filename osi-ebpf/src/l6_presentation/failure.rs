//! TLS handshakes that came to no good end.

use aya_ebpf::programs::TcContext;
use osi_common::occurrence::Kind;
use osi_common::tls::{BY_SERVER, Handshake};
use osi_common::wire::{Ends, Role};

use crate::shared::failed::failed;

/// Counts one, and shows an example of it. Its ends are as if this host had asked.
#[inline(always)]
pub(crate) fn show(
    ctx: &TcContext,
    ends: &Ends,
    handshake: &Handshake,
    by_client: bool,
    code: u32,
) {
    let code = if by_client { code } else { code | BY_SERVER };
    let by_us = by_client == (handshake.role == Role::Asking as u32);
    failed(
        ctx,
        (Kind::TlsFailed, code),
        ends,
        &raw const handshake.name,
        |sample| {
            sample.sender = if by_us {
                ends.client
            } else {
                ends.server.address
            };
        },
    );
}
