//! TLS handshakes of clients and servers on this host, and those that it hands on for its containers: how long they take, which
//! version they end with, and who does not want to.
//!
//! Only what lies in the open is looked at: hellos, changes of the cipher, alerts; and of what is encrypted the records that are
//! as short as an alert or as the end of a handshake. TCP's sequence numbers tell whether something was sent in between that
//! was not seen.

use aya_ebpf::programs::TcContext;
use osi_common::occurrence::Health;
use osi_common::tls::{
    ABORTED_ANSWERED, ABORTED_UNANSWERED, ENCRYPTED, Handshake, Record, Stage, TLS_1_2, TLS_1_3,
    alert, cipher_change_bytes, goes_on, is_last, is_retry, record_bytes, server_name, version,
};
use osi_common::wire::{FIRST_BYTES, Role, TCP};

use super::endpoints::{endpoint, unfinished};
use super::handshakes::{self, TLS_IN_FLIGHT, Work, begin, role, work};
use crate::shared::{
    own::note,
    packet::{Packet, Segment},
    rodata::names,
};

/// A packet that begins like a record of a handshake, or that ends its connection.
#[inline(always)]
pub(crate) fn packet(ctx: &TcContext) {
    let (Some(packet), Some(work)) = (Packet::at_hand(ctx), work()) else {
        return;
    };
    // As if this host asked, whoever does: most packets do not say who sent them.
    if !packet.ends(Role::Asking, packet.leaves(), &mut work.ends) {
        return;
    }
    let mut first = [0; FIRST_BYTES];
    if packet.length() > 0 && !packet.fill_first(&mut first) {
        return;
    }
    let record = Record::of(&first);
    if matches!(record, Record::ClientHello) {
        asked(ctx, packet, &first, work);
        return;
    }
    let Some(handshake) = TLS_IN_FLIGHT.get_ptr_mut(work.ends) else {
        return;
    };
    // SAFETY: the pointer comes from a map lookup, and the kernel keeps the place while the program runs. One connection's
    // packets pass one after the other.
    let handshake = unsafe { &mut *handshake };
    let by_client = packet.leaves() == (handshake.role == Role::Asking as u32);
    let run = Run {
        ctx,
        packet,
        work,
        by_client,
    };
    match record {
        Record::ServerHello if !by_client => answered(packet, &first, handshake),
        Record::Ticket | Record::CipherChange if !by_client => run.server_ends(handshake),
        Record::CipherChange => run.client_ends(&first, handshake),
        Record::Alert if is_last(&first, false) => run.failed(handshake, alert(&first, false)),
        Record::EncryptedAlert | Record::Finished => run.encrypted(record, handshake),
        Record::Other
        | Record::ClientHello
        | Record::ServerHello
        | Record::Ticket
        | Record::Alert => {
            if packet.segment().is_some_and(Segment::is_last) {
                run.connection_ended(handshake);
            }
        }
    }
}

/// A client's hello: a handshake begins, or a server wanted another one.
#[inline(always)]
fn asked(ctx: &TcContext, packet: Packet<'_>, first: &[u8; FIRST_BYTES], work: &mut Work) {
    let Some(Segment {
        sequence,
        acknowledged,
        ..
    }) = packet.segment()
    else {
        return;
    };
    let client_next = sequence.wrapping_add(record_bytes(first));
    let ends = &work.ends;
    if let Some(known) = TLS_IN_FLIGHT.get_ptr_mut(*ends) {
        // SAFETY: as in `packet`.
        let known = unsafe { &mut *known };
        // Else the same packet on another interface, or sent again.
        if known.stage == Stage::Retried as u32 {
            known.client_next = client_next;
            known.server_next = acknowledged;
        }
        if known.stage <= Stage::Retried as u32 || known.client_next == client_next {
            return;
        }
        // The end of an earlier connection was missed.
        if TLS_IN_FLIGHT.remove(*ends).is_err() {
            return;
        }
        if let Some(row) = endpoint(known.role, ends, &mut work.endpoint) {
            unfinished(row, known);
        }
    }
    let Some(role) = role(ctx, packet, TCP, ends) else {
        return;
    };
    let new = &mut work.handshake;
    handshakes::new(new, role);
    new.client_next = client_next;
    new.server_next = acknowledged;
    if names() {
        let found = server_name(packet.body(), 0);
        // Without a name it is asked all the same.
        let _named = packet
            .body()
            .name(found >> 16, found & 0xffff, &mut new.name);
    }
    if !begin(&TLS_IN_FLIGHT, work) {
        note(Health::TlsFull);
    }
}

/// A server's hello.
#[inline(always)]
fn answered(packet: Packet<'_>, first: &[u8; FIRST_BYTES], handshake: &mut Handshake) {
    if handshake.stage > Stage::Retried as u32 {
        return;
    }
    let body = packet.body();
    handshake.version = version(body).into();
    if is_retry(body) {
        handshake.stage = Stage::Retried as u32;
        return;
    }
    handshake.resumed = u32::from(goes_on(body, first));
    handshake.stage = Stage::Answered as u32;
}

/// A packet and the handshake that it belongs to.
pub(super) struct Run<'a, 'b> {
    pub(super) ctx: &'a TcContext,
    packet: Packet<'a>,
    pub(super) work: &'b mut Work,
    pub(super) by_client: bool,
}

impl Run<'_, '_> {
    /// The server changes its cipher, or is about to. Up to TLS 1.2 that is the end, unless the client's is still to come.
    #[inline(always)]
    fn server_ends(self, handshake: &Handshake) {
        let is_end = handshake.stage == Stage::Answered as u32
            && handshake.version <= u32::from(TLS_1_2)
            && handshake.resumed == 0;
        if is_end {
            self.completed(handshake, true);
        }
    }

    /// The client changes its cipher: in TLS 1.3 a word that means nothing, right before what does.
    #[inline(always)]
    fn client_ends(self, first: &[u8; FIRST_BYTES], handshake: &mut Handshake) {
        let behind = Record::behind_change(first);
        let Some(Segment {
            sequence,
            acknowledged,
            ..
        }) = self.packet.segment()
        else {
            return;
        };
        if matches!(behind, Record::Alert) {
            if is_last(first, true) {
                self.failed(handshake, alert(first, true));
            }
        } else if handshake.stage == Stage::Retried as u32 {
            handshake.server_next = acknowledged;
            // The hello that the server wants comes in this packet or in the next one.
            handshake.client_next = if matches!(behind, Record::ClientHello) {
                let hello = u32::from(u16::from_be_bytes([first[9], first[10]])) + 5;
                sequence.wrapping_add(cipher_change_bytes() + hello)
            } else {
                sequence.wrapping_add(cipher_change_bytes())
            };
        } else if handshake.stage != Stage::Answered as u32 {
            // Else data in advance may follow: its end is not seen.
            if acknowledged != handshake.server_next {
                self.unseen(handshake);
            }
        } else if handshake.version <= u32::from(TLS_1_2) {
            if handshake.resumed != 0 {
                self.completed(handshake, true);
            }
        } else if matches!(behind, Record::EncryptedAlert) {
            self.failed(handshake, ENCRYPTED);
        } else if !matches!(behind, Record::Finished) {
            if sequence == handshake.client_next {
                handshake.client_next = sequence.wrapping_add(cipher_change_bytes());
            }
        } else if matches!(first[9..11], [0, 0x35 | 0x45]) {
            self.completed(handshake, true);
        } else {
            // A certificate, of which the server says nothing in the open but an alert's length.
            handshake.server_next = acknowledged;
            handshake.stage = Stage::Certified as u32;
            self.counted(handshake, true);
        }
    }

    /// An encrypted record as short as an alert or as the end of a handshake; only in TLS 1.3 it may be one of these.
    #[inline(always)]
    fn encrypted(self, record: Record, handshake: &Handshake) {
        let Some(Segment {
            sequence,
            acknowledged,
            ..
        }) = self.packet.segment()
        else {
            return;
        };
        let is_alert = matches!(record, Record::EncryptedAlert);
        if handshake.stage == Stage::Certified as u32 {
            if !self.by_client && is_alert && sequence == handshake.server_next {
                self.failed(handshake, ENCRYPTED);
            } else if is_alert {
                // A farewell, of whichever side.
                let _gone = TLS_IN_FLIGHT.remove(self.work.ends);
            }
            return;
        }
        if handshake.stage != Stage::Answered as u32 || handshake.version != u32::from(TLS_1_3) {
            return;
        }
        let client_at = if self.by_client {
            sequence
        } else {
            acknowledged
        };
        let is_next = client_at == handshake.client_next;
        if is_alert && is_next {
            self.failed(handshake, ENCRYPTED);
        } else if self.by_client || !is_next {
            // Where the client has sent more than was seen of it, the end was in that.
            self.completed(handshake, is_next);
        }
    }

    /// The connection ends before the handshake does, or so it seems.
    #[inline(always)]
    fn connection_ended(self, handshake: &Handshake) {
        if handshake.stage == Stage::Certified as u32 {
            let _gone = TLS_IN_FLIGHT.remove(self.work.ends);
            return;
        }
        let Some(segment) = self.packet.segment() else {
            return;
        };
        let Segment {
            sequence,
            acknowledged,
            ..
        } = segment;
        // Where it acknowledges nothing, as some resets do, its sender may have got anything, or nothing.
        let other = segment.acknowledges().then_some(acknowledged);
        let (client_at, server_at) = if self.by_client {
            (sequence, other.unwrap_or(handshake.server_next))
        } else {
            (other.unwrap_or(handshake.client_next), sequence)
        };
        if handshake.stage != Stage::Answered as u32 {
            if server_at == handshake.server_next {
                self.failed(handshake, ABORTED_UNANSWERED);
            } else {
                self.unseen(handshake);
            }
        } else if handshake.version == u32::from(TLS_1_3) && client_at != handshake.client_next {
            self.completed(handshake, false);
        } else {
            self.failed(handshake, ABORTED_ANSWERED);
        }
    }
}
