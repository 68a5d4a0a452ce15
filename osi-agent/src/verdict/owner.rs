//! Findings on listeners and sockets for datagrams name who owns them: one place for all causes.

use super::{Finding, Sighting};
use crate::layer::Window;
use crate::scope::{Process, Proto, Scope, ScopeKind};
use crate::snapshot::{Owner, Snapshot};

/// Says in a sighting's summary who owns the socket that it is about, or that nobody knows.
pub(super) fn tell(window: &Window, sighting: &mut Sighting) {
    if is_socket(&sighting.scope) {
        let known = of(window, &sighting.scope);
        let sentence = sentence(
            noun(&sighting.scope),
            known.as_ref(),
            window.now.owners.unread,
        );
        sighting.summary.push_str(&sentence);
    }
}

/// Notes the owner in a finding. It stays when the socket is gone.
pub(super) fn note(window: &Window, finding: &mut Finding) {
    if is_socket(&finding.scope)
        && let Some(owner) = of(window, &finding.scope)
    {
        finding.owner = Some(owner);
    }
}

/// Whom the advice is about: who serves and can accept, or the only process that can, else no one in particular.
pub(super) fn who(finding: &Finding) -> String {
    let Some(owner) = &finding.owner else {
        return NOBODY.to_owned();
    };
    let acceptors: Vec<&Process> = owner.acceptors().collect();
    match acceptors.as_slice() {
        [] => owner.only().map_or_else(|| NOBODY.to_owned(), process),
        [only] => process(only),
        all @ [first, ..] => {
            let named = all.len() as u32;
            let count = owner.servers.filter(|_| all.len() == owner.served_by.len());
            let count = count.unwrap_or(named).max(named);
            format!("{}, one of {count} that serve it,", process(first))
        }
    }
}

/// Whom advice is about where no process is certain.
const NOBODY: &str = "the application";

fn is_socket(scope: &Scope) -> bool {
    scope.kind == ScopeKind::Listener
}

/// What a socket is called: those of UDP do not listen.
fn noun(scope: &Scope) -> &'static str {
    if scope.proto == Some(Proto::Udp) {
        "socket"
    } else {
        "listener"
    }
}

/// The owner of a socket, as it was before where it has been closed in the window.
pub(super) fn of(window: &Window, scope: &Scope) -> Option<Owner> {
    in_snapshot(window.now, scope).or_else(|| in_snapshot(window.previous, scope))
}

fn in_snapshot(snapshot: &Snapshot, scope: &Scope) -> Option<Owner> {
    let mut states = snapshot.namespaces.iter();
    let state = states.find(|state| Some(&state.netns) == scope.netns.as_ref())?;
    let is_it = |address, port| {
        scope.local.is_none_or(|local| local == address) && Some(port) == scope.port
    };
    let listeners = state.listeners.iter();
    let listeners = listeners.filter(|listener| is_it(listener.address, listener.port));
    let datagrams = state.datagram_sockets.iter();
    let datagrams = datagrams.filter(|socket| is_it(socket.address, socket.port));
    let inodes: Vec<u32> = if scope.proto == Some(Proto::Udp) {
        datagrams.map(|socket| socket.inode).collect()
    } else {
        listeners.map(|listener| listener.inode).collect()
    };
    let owners = inodes
        .iter()
        .filter_map(|inode| snapshot.owners.of.get(inode));
    Owner::of_group(owners.map(|owner| &**owner))
}

fn sentence(noun: &str, owner: Option<&Owner>, unread: u32) -> String {
    let (opened_by, held_by) = owner.map_or((None, &[][..]), |owner| {
        (owner.opened_by.as_ref(), owner.held_by.as_slice())
    });
    let count = owner.and_then(|owner| owner.processes).unwrap_or(0);
    let served = owner.map_or_else(String::new, served);
    match (opened_by, held_by) {
        (Some(opener), [only]) if count == 1 && only != opener => format!(
            " The {noun} was opened by {} and is held by {}{served}.",
            process(opener),
            process(only)
        ),
        (Some(opener), _) if count > 1 => format!(
            " The {noun} was opened by {} and is shared by {count} processes{served}.",
            process(opener)
        ),
        (Some(opener), _) => format!(" The {noun} was opened by {}{served}.", process(opener)),
        (None, [first, ..]) if count > 1 => format!(
            " The {noun} is held by {} and {} more{served}.",
            process(first),
            count - 1
        ),
        (None, [first, ..]) => format!(" The {noun} is held by {}{served}.", process(first)),
        (None, []) if unread > 0 => {
            format!(
                " The {noun}'s owner is unknown: {unread} processes could not be looked into{served}."
            )
        }
        (None, []) => format!(" The {noun}'s owner is unknown{served}."),
    }
}

/// `; nginx (pid 8) and 3 more serve it`, or nothing where that is not known or says nothing new.
fn served(owner: &Owner) -> String {
    let count = owner.servers.unwrap_or(0);
    match owner.served_by.as_slice() {
        [] => String::new(),
        [only] if count <= 1 && owner.is_alone(only) => String::new(),
        [only] if count <= 1 => format!("; {} serves it", process(only)),
        [first, ..] => format!(
            "; {} and {} more serve it",
            process(first),
            count.saturating_sub(1)
        ),
    }
}

/// `nginx (pid 7, nginx.service)`.
pub(super) fn process(process: &Process) -> String {
    let Process {
        pid,
        start_time: _,
        comm,
        cgroup: _,
        workload,
    } = process;
    let runs_in = workload
        .words()
        .map_or_else(String::new, |words| format!(", {words}"));
    format!("{comm} (pid {pid}{runs_in})")
}
