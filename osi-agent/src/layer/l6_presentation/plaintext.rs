//! Plain text where TLS is spoken.

use std::collections::BTreeMap;

use osi_common::http::Outcomes;
use osi_common::layer::Layer;
use osi_common::tls::Endpoint;
use osi_common::wire::TCP;

use crate::layer::l7_application::http;
use crate::layer::{Amount, Read, Source, Unit, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::KernelMaps;

rows! { Layer::L6;
    PLAINTEXT_REQUESTS: "HTTP/1 requests in plain text to a server, or at a port of this host, that completes TLS handshakes there and never gave an answer of plain HTTP but a refusal (4xx), refused or left without one." {
        id: "plaintext_requests",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "tls", "http"],
        since: "5.10",
        read: Read::Errors(|window, rows| {
            rows.extend(plain(window).into_iter().map(|row| Amount {
                scope: row.scope,
                delta: row.refused + row.unanswered,
            }));
        }),
    }
}

/// What one server, or one listening port, was asked in the window.
#[derive(Clone, Debug)]
pub struct Plain {
    /// The peer, or the listener.
    pub scope: Scope,
    /// Requests in plain text that it refused with 4xx.
    pub refused: u64,
    /// Those that had no answer in HTTP; of clients that gave up, too.
    pub unanswered: u64,
    /// TLS handshakes that came to a good end.
    pub secured: u64,
}

/// Requests in plain text by server and by listening port, in the order of their scopes.
///
/// What ever answered otherwise serves both, leads to the other, or is a proxy through which others speak TLS: it is none.
pub fn plain(window: &Window) -> Vec<Plain> {
    let mut rows: BTreeMap<Scope, Plain> = BTreeMap::new();
    let (before, now) = (&window.previous.kernel, &window.now.kernel);
    for http::Grown {
        key, all, outcomes, ..
    } in http::grown(window)
    {
        let secure = Endpoint::of(TCP, key.role, key.server, key.server.port);
        let completed = |maps: &KernelMaps| {
            let row = maps.endpoints.get(&secure);
            row.map_or(0, |row| row.outcomes.completed())
        };
        let count = outcomes.client_error + outcomes.no_answer;
        if count == 0 || completed(now) == 0 || speaks_http(all) {
            continue;
        }
        let Some(scope) = http::scope(window, key) else {
            continue;
        };
        let row = rows.entry(scope.clone()).or_insert_with(|| Plain {
            scope,
            refused: 0,
            unanswered: 0,
            secured: completed(now).saturating_sub(completed(before)),
        });
        row.refused += outcomes.client_error;
        row.unanswered += outcomes.no_answer;
    }
    rows.into_values().collect()
}

/// Whether it ever gave an answer that only a server of plain text gives.
const fn speaks_http(outcomes: &Outcomes) -> bool {
    outcomes.answers() > outcomes.client_error
}
