//! eBPF programs, links and maps: which of them a process holds, and which the kernel has.
//!
//! What a process holds is read from its descriptors: bpftool tells it only where it was built with a loader of its own.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{command, processes};

/// Ids of programs, links and maps.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Programs.
    pub programs: BTreeSet<u64>,
    /// Links.
    pub links: BTreeSet<u64>,
    /// Maps.
    pub maps: BTreeSet<u64>,
}

impl Objects {
    /// What a process and its children hold.
    pub fn held_by(pid: u32) -> Result<Self> {
        let mut held = Self::default();
        held.add_descriptors(pid)?;
        for child in processes::children(pid)? {
            held.add_descriptors(child)?;
        }
        Ok(held)
    }

    /// What of this the kernel still has, by bpftool.
    ///
    /// Asked id by id: a list of everything fails when another test's agent ends while bpftool walks it.
    pub fn remaining(&self) -> Result<Self> {
        Ok(Self {
            programs: shown("prog", &self.programs)?,
            links: shown("link", &self.links)?,
            maps: shown("map", &self.maps)?,
        })
    }

    /// Whether there is none of anything.
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.links.is_empty() && self.maps.is_empty()
    }

    /// Memory of the maps, by bpftool.
    pub fn map_bytes(&self) -> Result<u64> {
        let mut total = 0;
        for id in &self.maps {
            let id = id.to_string();
            let map =
                command::json(Command::new("bpftool").args(["-j", "map", "show", "id", &id]))?;
            total += map["bytes_memlock"]
                .as_u64()
                .with_context(|| format!("bpftool prints no bytes_memlock: {map}"))?;
        }
        Ok(total)
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
            self.maps.extend(field("map_id"));
        }
        Ok(())
    }
}

/// What the kernel counts of a program while somebody asks it to, see [`crate::foreign::counting`].
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// The program's name, as bpftool has it.
    pub name: String,
    /// How often it ran.
    pub count: u64,
    /// How long that took in all.
    pub time_ns: u64,
    /// How often the kernel did not run it because it was already running on that CPU (since 5.12).
    pub missed: u64,
}

impl Runs {
    /// Asks bpftool.
    pub fn of(program: u64) -> Result<Self> {
        let id = program.to_string();
        let shown = command::json(Command::new("bpftool").args(["-j", "prog", "show", "id", &id]))?;
        Ok(Self {
            name: shown["name"].as_str().unwrap_or_default().to_owned(),
            count: shown["run_cnt"].as_u64().unwrap_or(0),
            time_ns: shown["run_time_ns"].as_u64().unwrap_or(0),
            missed: shown["recursion_misses"].as_u64().unwrap_or(0),
        })
    }

    /// What was counted since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            name: self.name.clone(),
            count: self.count - before.count,
            time_ns: self.time_ns - before.time_ns,
            missed: self.missed - before.missed,
        }
    }

    /// Nanoseconds a run.
    pub fn each_ns(&self) -> u64 {
        self.time_ns / self.count.max(1)
    }
}

fn shown(kind: &str, ids: &BTreeSet<u64>) -> Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for &id in ids {
        let done = Command::new("bpftool")
            .args(["-j", kind, "show", "id", &id.to_string()])
            .output()
            .context("cannot start bpftool")?;
        let answer = String::from_utf8_lossy(&done.stdout);
        if done.status.success() {
            found.insert(id);
        } else {
            // ENOENT, of the object or of what it belongs to; every other error is one.
            ensure!(
                answer.contains("No such file or directory"),
                "bpftool does not show {kind} {id}: {answer}"
            );
        }
    }
    Ok(found)
}
