//! Findings on listeners name who owns them: one place for all causes.

use super::{Finding, Sighting};
use crate::layer::Window;
use crate::scope::{Process, Proto, Scope, ScopeKind};
use crate::snapshot::{Owner, Snapshot};

/// Says in a sighting's summary who owns the listener that it is about, or that nobody knows.
pub(super) fn tell(window: &Window, sighting: &mut Sighting) {
    if is_listener(&sighting.scope) {
        let known = of(window, &sighting.scope);
        let sentence = sentence(known.as_ref(), window.now.owners.unread);
        sighting.summary.push_str(&sentence);
    }
}

/// Notes the owner in a finding. It stays when the listener is gone.
pub(super) fn note(window: &Window, finding: &mut Finding) {
    if is_listener(&finding.scope)
        && let Some(owner) = of(window, &finding.scope)
    {
        finding.owner = Some(owner);
    }
}

/// Whom the advice on a listener is about: the only process that can accept, else no one in particular.
pub(super) fn who(finding: &Finding) -> String {
    let only = finding.owner.as_ref().and_then(Owner::only);
    only.map_or_else(|| "the application".to_owned(), process)
}

fn is_listener(scope: &Scope) -> bool {
    scope.kind == ScopeKind::Listener && scope.proto == Some(Proto::Tcp)
}

/// The owner of a listener, as it was before where it has been closed in the window.
fn of(window: &Window, scope: &Scope) -> Option<Owner> {
    let in_snapshot = |snapshot: &Snapshot| {
        let mut states = snapshot.namespaces.iter();
        let state = states.find(|state| Some(&state.netns) == scope.netns.as_ref())?;
        let sockets = state.listeners.iter().filter(|listener| {
            Some(listener.address) == scope.local && Some(listener.port) == scope.port
        });
        let owners = sockets.filter_map(|listener| snapshot.owners.of.get(&listener.inode));
        Owner::of_group(owners.map(|owner| &**owner))
    };
    in_snapshot(window.now).or_else(|| in_snapshot(window.previous))
}

fn sentence(owner: Option<&Owner>, unread: u32) -> String {
    let (opened_by, held_by) = owner.map_or((None, &[][..]), |owner| {
        (owner.opened_by.as_ref(), owner.held_by.as_slice())
    });
    let count = owner.and_then(|owner| owner.processes).unwrap_or(0);
    match (opened_by, held_by) {
        (Some(opener), [only]) if count == 1 && only != opener => format!(
            " The listener was opened by {} and is held by {}.",
            process(opener),
            process(only)
        ),
        (Some(opener), _) if count > 1 => format!(
            " The listener was opened by {} and is shared by {count} processes.",
            process(opener)
        ),
        (Some(opener), _) => format!(" The listener was opened by {}.", process(opener)),
        (None, [first, ..]) if count > 1 => format!(
            " The listener is held by {} and {} more.",
            process(first),
            count - 1
        ),
        (None, [first, ..]) => format!(" The listener is held by {}.", process(first)),
        (None, []) if unread > 0 => {
            format!(
                " The listener's owner is unknown: {unread} processes could not be looked into."
            )
        }
        (None, []) => " The listener's owner is unknown.".to_owned(),
    }
}

/// `nginx (pid 7, nginx.service)`.
fn process(process: &Process) -> String {
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
