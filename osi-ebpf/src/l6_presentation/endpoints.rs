//! Where handshakes of TLS and of QUIC are counted: by the server that is asked, and by the own port.

use aya_ebpf::{macros::map, maps::HashMap};
use osi_common::handshake::PeerKey;
use osi_common::occurrence::Health;
use osi_common::tls::{Endpoint, Handshake, Handshakes, MAX_ENDPOINTS, Stage};
use osi_common::wire::{Ends, Role};

use crate::l7_application::waits;
use crate::shared::{own::bump, rodata::home_netns, row::row};

/// Writer: `tls` and `quic`. Reader and deleter of quiet ones when room is short: the agent, each window. Full: noted in `HEALTH`.
#[map]
static ENDPOINTS: HashMap<Endpoint, Handshakes> = HashMap::with_max_entries(MAX_ENDPOINTS, 0);

/// What a row begins with.
static NEW_HANDSHAKES: Handshakes = Handshakes::ZERO;

/// Neither its end nor that of its connection was seen.
#[inline(always)]
pub(crate) fn unfinished(row: *mut Handshakes, handshake: &Handshake) {
    if handshake.stage == Stage::Certified as u32 {
        return;
    }
    bump!(row, outcomes.unfinished, 1);
    // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
    waits::give_up(unsafe { &raw mut (*row).times }, handshake.begun_ns);
}

/// The row of a server that is asked, or of an own port, made where it has none.
#[inline(always)]
pub(crate) fn endpoint(role: u32, ends: &Ends, key: &mut Endpoint) -> Option<*mut Handshakes> {
    key.role = role as u16;
    key.transport = ends.transport.into();
    key.server = if role == Role::Asking as u32 {
        ends.server
    } else {
        PeerKey::own_port(home_netns(), ends.client_port)
    };
    row(&ENDPOINTS, key, &NEW_HANDSHAKES, Health::EndpointsFull)
}
