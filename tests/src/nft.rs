//! One nft rule that drops, with its own counter.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::command;
use crate::netns::Namespace;

/// A drop rule in its own table, removed with [`DropRule::remove`] or with the namespace.
#[derive(Debug)]
pub struct DropRule<'a> {
    host: &'a Namespace,
}

impl<'a> DropRule<'a> {
    /// Drops what matches, such as `udp dport 9`, in a hook such as `input` or `forward`.
    pub fn add(host: &'a Namespace, hook: &str, matching: &str) -> Result<Self> {
        let rules = format!(
            "table inet lab {{\n counter hits {{ }}\n}}\n\
             table inet lab {{\n chain drops {{\n  type filter hook {hook} priority 0;\n  {matching} counter name hits drop;\n }}\n}}\n"
        );
        command::output_with_input(host.command("nft")?.args(["-f", "-"]), &rules)?;
        Ok(Self { host })
    }

    /// Packets that the rule dropped so far.
    pub fn packets(&self) -> Result<u64> {
        let listing = command::json(
            self.host
                .command("nft")?
                .args(["-j", "list", "counters", "table", "inet", "lab"]),
        )?;
        listing["nftables"]
            .as_array()
            .and_then(|objects| objects.iter().find_map(|object| object.get("counter")))
            .and_then(|counter: &Value| counter["packets"].as_u64())
            .context("nft lists no counter of the drop rule")
    }

    /// Takes the rule away; returns what it dropped in all.
    pub fn remove(self) -> Result<u64> {
        let packets = self.packets()?;
        command::output(
            self.host
                .command("nft")?
                .args(["delete", "table", "inet", "lab"]),
        )?;
        Ok(packets)
    }
}
