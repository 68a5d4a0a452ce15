//! Who owns listening sockets, as far as that is certain.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::host::holders::NAMED;
use crate::scope::Process;

/// Who owns a listening socket. Who accepts from it is another question, unless one process alone holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Owner {
    /// Who called `listen()`; null where the socket listened before the agent started. It may have ended since.
    pub opened_by: Option<Process>,
    /// Processes that have the socket open, lowest ids first, four at most.
    pub held_by: Vec<Process>,
    /// How many have it open; null where that was not looked at.
    pub processes: Option<u32>,
}

impl Owner {
    /// The one process that can accept: the only one that has the socket open.
    pub fn only(&self) -> Option<&Process> {
        match (self.processes, self.held_by.as_slice()) {
            (Some(1), [only]) => Some(only),
            _ => None,
        }
    }

    /// Owner of all sockets of a group that listens on one address (`SO_REUSEPORT`): a common opener, or none.
    pub fn of_group<'a>(mut members: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let first = members.next()?;
        let mut group = first.clone();
        let mut holders: BTreeSet<&Process> = first.held_by.iter().collect();
        for member in members {
            if group.opened_by != member.opened_by {
                group.opened_by = None;
            }
            holders.extend(&member.held_by);
            group.processes = group.processes.max(member.processes);
        }
        let named = holders.len() as u32;
        group.processes = group.processes.map(|most| most.max(named));
        group.held_by = holders.into_iter().take(NAMED).cloned().collect();
        Some(group)
    }
}

/// What is known of the owners of all listening sockets.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    /// Owners by the inode of the socket; an inode that is not in it has an owner nobody knows.
    pub of: HashMap<u32, Arc<Owner>>,
    /// Processes that the last walk through descriptors could not read: owners may be among them.
    pub unread: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::workload::Workload;

    fn process(pid: u32) -> Process {
        Process {
            pid,
            start_time: u64::from(pid),
            comm: "web".to_owned(),
            cgroup: None,
            workload: Workload::default(),
        }
    }

    fn owner(opened_by: Option<u32>, held_by: &[u32]) -> Owner {
        Owner {
            opened_by: opened_by.map(process),
            held_by: held_by.iter().copied().map(process).collect(),
            processes: Some(held_by.len() as u32),
        }
    }

    #[test]
    fn only_who_holds_it_alone_can_accept() {
        assert_eq!(owner(Some(1), &[7]).only(), Some(&process(7)));
        assert_eq!(owner(Some(1), &[1, 7]).only(), None);
        let unread = Owner {
            processes: None,
            ..owner(Some(1), &[])
        };
        assert_eq!(unread.only(), None);
    }

    #[test]
    fn a_group_has_the_opener_that_all_share() {
        let group = |members: &[Owner]| Owner::of_group(members.iter());
        let shared = [owner(Some(1), &[1, 2, 3]), owner(Some(1), &[1, 2, 3])];
        assert_eq!(group(&shared).as_ref(), Some(&shared[0]));
        let apart = [owner(Some(2), &[2]), owner(Some(3), &[3])];
        assert_eq!(group(&apart), Some(owner(None, &[2, 3])));
        assert_eq!(group(&[]), None);
    }
}
