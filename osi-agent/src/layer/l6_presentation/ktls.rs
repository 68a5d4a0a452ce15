//! TLS whose records the kernel encrypts and decrypts (kTLS).

use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, rows};
use crate::scope::ScopeKind;
use crate::snapshot::Mib;

rows! { Layer::L6;
    KTLS_ERRORS: "Records of TLS in the kernel (kTLS) that did not authenticate, for which its application gets EBADMSG, and new keys that it did not take." {
        id: "ktls_errors",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "5.5",
        // Zero wherever nobody uses it: that alone must not make a layer look seen whose handshakes are not.
        read: Read::Traffic(|window, rows| rows.extend(window.mib_sums(&ALL))),
    }
}

const ALL: [Mib; 3] = [
    Mib::TlsDecryptError,
    Mib::TlsRxRekeyError,
    Mib::TlsTxRekeyError,
];
