//! Who owns listening sockets, as far as that is certain.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::holders::{Held, NAMED};
use crate::scope::Process;

/// Who owns a listening socket, or one that receives datagrams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Owner {
    /// Who called `listen()`; null where the socket listened before the agent started, or is none of TCP. It may have ended since.
    pub opened_by: Option<Process>,
    /// Processes that have the socket open, lowest ids first, four at most.
    pub held_by: Vec<Process>,
    /// How many have it open; null where that was not looked at.
    pub processes: Option<u32>,
    /// Processes that hold connections accepted from it, lowest ids first, four at most; empty where nobody was found, or where
    /// that was not looked at.
    pub served_by: Vec<Process>,
    /// How many hold any; null where that is not known.
    pub servers: Option<u32>,
}

impl Owner {
    /// The one process that can accept: the only one that has the socket open.
    pub fn only(&self) -> Option<&Process> {
        match (self.processes, self.held_by.as_slice()) {
            (Some(1), [only]) => Some(only),
            _ => None,
        }
    }

    /// Whether it alone holds the socket, or nobody else is known to have anything to do with it.
    pub fn is_alone(&self, process: &Process) -> bool {
        let mut known = self.opened_by.iter().chain(&self.held_by);
        let nobody_else = self.processes.is_none() && known.all(|other| other == process);
        self.only() == Some(process) || nobody_else
    }

    /// Who serves it and can accept: processes that hold both the socket and connections from it. A process that is handed
    /// connections, or forked for one, only serves.
    pub fn acceptors(&self) -> impl Iterator<Item = &Process> {
        let all_known = self.processes.map(|count| count as usize) == Some(self.held_by.len());
        let served = self.served_by.iter();
        served.filter(move |process| !all_known || self.held_by.contains(process))
    }

    /// Owner of all sockets of a group that listens on one address (`SO_REUSEPORT`): a common opener, or none.
    pub fn of_group<'a>(mut members: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let first = members.next()?;
        let mut group = first.clone();
        let mut holders: BTreeSet<&Process> = first.held_by.iter().collect();
        let mut servers: BTreeSet<&Process> = first.served_by.iter().collect();
        for member in members {
            if group.opened_by != member.opened_by {
                group.opened_by = None;
            }
            holders.extend(&member.held_by);
            servers.extend(&member.served_by);
            group.processes = group.processes.max(member.processes);
            group.servers = group.servers.max(member.servers);
        }
        let named = holders.len() as u32;
        group.processes = group.processes.map(|most| most.max(named));
        group.held_by = holders.into_iter().take(NAMED).cloned().collect();
        // The kernel deals connections to the members, and one of them was asked for all.
        group.served_by = servers.into_iter().take(NAMED).cloned().collect();
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

/// What a walk through descriptors is to tell: inodes of sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Who holds them.
    pub held: Vec<u32>,
    /// Those of them that listen and whose accepted connections are looked for, too.
    pub served: Vec<u32>,
}

/// What it told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holders {
    /// Who holds each of the sockets that were asked about, by its inode.
    pub held: HashMap<u32, Held>,
    /// Who holds connections that were accepted from a listener, by the listener's inode.
    pub served: HashMap<u32, Held>,
    /// Processes of which some or all descriptors were not looked at.
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
            ..Owner::default()
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
    fn who_serves_can_accept_if_it_holds_the_listener() {
        let acceptors = |owner: &Owner| owner.acceptors().map(|one| one.pid).collect::<Vec<_>>();
        let served = Owner {
            served_by: vec![process(7), process(9)],
            servers: Some(2),
            ..owner(Some(1), &[1, 7])
        };
        assert_eq!(acceptors(&served), [7], "9 was handed a connection");
        let many = Owner {
            processes: Some(12),
            ..served
        };
        assert_eq!(
            acceptors(&many),
            [7, 9],
            "9 may be among those that are not named"
        );
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
