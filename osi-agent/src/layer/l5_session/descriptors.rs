//! File descriptors, of processes and of the host.

use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, Use, Window, rows};
use crate::scope::{Netns, Scope, ScopeKind};
use crate::snapshot::OpenFiles;

rows! { Layer::L5;
    PROCESS_DESCRIPTORS: "Descriptors of a process that has most of them in use; at the soft limit (RLIMIT_NOFILE) accept(), connect() and open() fail with EMFILE." {
        id: "process_descriptors",
        unit: Unit::Descriptors,
        source: Source::Proc,
        scope: ScopeKind::Process,
        fed_by: &["descriptors"],
        since: "2.6.24",
        read: Read::Capacity(of_processes),
    }
    HOST_DESCRIPTORS: "Open files of the host; at fs.file-max further ones are refused with ENFILE." {
        id: "host_descriptors",
        unit: Unit::Descriptors,
        source: Source::Proc,
        scope: ScopeKind::Host,
        fed_by: &["descriptors"],
        since: "2.6",
        read: Read::Capacity(of_host),
    }
}

fn of_processes(window: &Window, rows: &mut Vec<Use>) {
    rows.extend(watched(window).map(|(netns, row)| Use {
        scope: Scope::process(netns, &row.process),
        used: row.used as f64,
        capacity: Some(row.limit as f64),
        lower_bound: false,
    }));
}

/// Processes that have most of their descriptors in use, with their namespace where it is known. Those in a namespace that is
/// not watched are nobody's.
pub(crate) fn watched<'a>(
    window: &Window<'a>,
) -> impl Iterator<Item = (Option<&'a Netns>, &'a OpenFiles)> + use<'a> {
    let window = *window;
    let all = window.now.host.open_files.iter();
    all.map(move |row| (window.netns(row.netns), row))
        .filter(move |(netns, _)| netns.is_some() || !window.single_netns)
}

fn of_host(window: &Window, rows: &mut Vec<Use>) {
    let files = window.host().files;
    rows.extend(files.map(|gauge| Use::of_gauge(Scope::host(), gauge)));
}
