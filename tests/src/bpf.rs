//! eBPF programs and links: which of them a process holds, and which the kernel has.
//!
//! What a process holds is read from its descriptors: bpftool tells it only where it was built with a loader of its own.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;

/// Ids of programs and of links.
#[derive(Debug, Default)]
pub struct Objects {
    /// Programs.
    pub programs: BTreeSet<u64>,
    /// Links.
    pub links: BTreeSet<u64>,
}

impl Objects {
    /// What a process and its children hold.
    pub fn held_by(pid: u32) -> Result<Self> {
        let mut held = Self::default();
        held.add_descriptors(pid)?;
        for child in children(pid)? {
            held.add_descriptors(child)?;
        }
        Ok(held)
    }

    /// What the kernel has, by bpftool.
    pub fn loaded() -> Result<Self> {
        Ok(Self {
            programs: ids("prog")?,
            links: ids("link")?,
        })
    }

    /// Whether nothing of this is left in `other`.
    pub fn is_gone_from(&self, other: &Self) -> bool {
        self.programs.is_disjoint(&other.programs) && self.links.is_disjoint(&other.links)
    }

    fn add_descriptors(&mut self, pid: u32) -> Result<()> {
        let directory = format!("/proc/{pid}/fdinfo");
        for entry in fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))? {
            let text = match fs::read_to_string(entry?.path()) {
                Ok(text) => text,
                // Closed since it was listed.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error).context("cannot read a descriptor"),
            };
            let field = |name| {
                text.lines()
                    .filter_map(|line| line.split_once(':'))
                    .find_map(|(key, value)| {
                        (key == name).then(|| value.trim().parse::<u64>().ok())?
                    })
            };
            self.programs.extend(field("prog_id"));
            self.links.extend(field("link_id"));
        }
        Ok(())
    }
}

fn children(pid: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("children"))?;
        for child in text.split_whitespace() {
            found.push(child.parse()?);
        }
    }
    Ok(found)
}

fn ids(kind: &str) -> Result<BTreeSet<u64>> {
    let listing = command::json(Command::new("bpftool").args(["-j", kind, "show"]))?;
    let objects = listing.as_array().context("bpftool prints no list")?;
    Ok(objects
        .iter()
        .filter_map(|object| object["id"].as_u64())
        .collect())
}
