//! Packet filters: one rule that drops, and a firewall that drops by default. Both count what they drop. And rules that track
//! and translate connections.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::netns::Namespace;
use crate::{command, stream};

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
        hits(self.host)
    }

    /// Handle of the rule, as nft shows it.
    pub fn handle(&self) -> Result<u64> {
        let listing = command::json(
            self.host
                .command("nft")?
                .args(["-a", "-j", "list", "chain", "inet", "lab", "drops"]),
        )?;
        let rule = stream::rows(&listing, "nftables").find_map(|object| object.get("rule"));
        rule.and_then(|rule| rule["handle"].as_u64())
            .context("nft lists no rule with a handle")
    }

    /// Takes the rule away; returns what it dropped in all. Its counter outlives it, so that nothing is dropped uncounted.
    pub fn remove(self) -> Result<u64> {
        command::output(
            self.host
                .command("nft")?
                .args(["flush", "chain", "inet", "lab", "drops"]),
        )?;
        let packets = self.packets()?;
        command::output(
            self.host
                .command("nft")?
                .args(["delete", "table", "inet", "lab"]),
        )?;
        Ok(packets)
    }
}

/// A rule that refuses what is to be handed on, and says so by ICMP; removed with [`Refusal::remove`] or with the namespace.
#[derive(Debug)]
pub struct Refusal<'a> {
    host: &'a Namespace,
}

impl<'a> Refusal<'a> {
    /// Refuses what matches, such as `udp dport 53`; `None` where this kernel has no such rule.
    pub fn add(host: &'a Namespace, matching: &str) -> Result<Option<Self>> {
        let rules = format!(
            "table inet refusal {{\n chain refuses {{\n  type filter hook forward priority 0;\n  {matching} reject with icmpx type admin-prohibited;\n }}\n}}\n"
        );
        match command::output_with_input(host.command("nft")?.args(["-f", "-"]), &rules) {
            Ok(_) => Ok(Some(Self { host })),
            Err(error) if format!("{error:#}").contains("No such file") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the rule away.
    pub fn remove(self) -> Result<()> {
        let mut nft = self.host.command("nft")?;
        command::output(nft.args(["delete", "table", "inet", "refusal"])).map(drop)
    }
}

/// A firewall as hosts have it: whatever no rule accepts is dropped. Ends with the namespace.
#[derive(Debug)]
pub struct DefaultDrop<'a> {
    host: &'a Namespace,
}

impl<'a> DefaultDrop<'a> {
    /// Accepts what belongs to a connection, ICMPv6 (58: its name is in a file that a minimal system lacks), and new connections
    /// to one TCP port.
    pub fn add(host: &'a Namespace, port: u16) -> Result<Self> {
        let rules = format!(
            "table inet lab {{\n counter hits {{ }}\n}}\n\
             table inet lab {{\n chain firewall {{\n  type filter hook input priority 0; policy drop;\n  \
             ct state established,related accept\n  iif lo accept\n  meta l4proto 58 accept\n  \
             tcp dport {port} accept\n  counter name hits\n }}\n}}\n"
        );
        command::output_with_input(host.command("nft")?.args(["-f", "-"]), &rules)?;
        Ok(Self { host })
    }

    /// Packets that no rule accepted so far.
    pub fn packets(&self) -> Result<u64> {
        hits(self.host)
    }
}

/// Translation of what leaves by an interface to an address and a range of ports. Ends with the namespace.
#[derive(Debug)]
pub struct SourceNat<'a> {
    host: &'a Namespace,
}

impl<'a> SourceNat<'a> {
    /// Translates TCP over IPv4 to such as `10.2.0.1:40000-40009`.
    pub fn add(host: &'a Namespace, interface: &str, to: &str) -> Result<Self> {
        let rules = format!(
            "table ip lab {{\n counter hits {{ }}\n}}\n\
             table ip lab {{\n chain nat {{\n  type nat hook postrouting priority 100;\n  \
             oifname {interface} meta l4proto 6 counter name hits snat to {to}\n }}\n}}\n"
        );
        command::output_with_input(host.command("nft")?.args(["-f", "-"]), &rules)?;
        Ok(Self { host })
    }

    /// Connections that were to be translated so far, again for each packet of those that could not be.
    pub fn attempts(&self) -> Result<u64> {
        counter(self.host, "ip", "hits")
    }
}

/// Tracks the connections that a router forwards, and counts SYNs to a port before and after connection tracking saw them.
/// Ends with the namespace.
#[derive(Debug)]
pub struct Tracking<'a> {
    host: &'a Namespace,
}

impl<'a> Tracking<'a> {
    /// Begins to track; -200 is the priority at which connections are.
    pub fn add(host: &'a Namespace, port: u16) -> Result<Self> {
        let chain = |name: &str, priority: i32| {
            format!(
                "table inet lab {{\n counter {name} {{ }}\n}}\n\
                 table inet lab {{\n chain at_{name} {{\n  type filter hook prerouting priority {priority};\n  \
                 tcp dport {port} tcp flags & (syn | ack) == syn counter name {name}\n }}\n}}\n"
            )
        };
        let forward = "table inet lab {\n chain track {\n  type filter hook forward priority 0;\n  ct state invalid counter\n }\n}\n";
        let rules = [
            chain("before", -300),
            chain("after", -150),
            forward.to_owned(),
        ]
        .concat();
        command::output_with_input(host.command("nft")?.args(["-f", "-"]), &rules)?;
        Ok(Self { host })
    }

    /// SYNs that connection tracking dropped so far.
    pub fn dropped(&self) -> Result<u64> {
        // In this order none is counted that is on its way between the two.
        let after = counter(self.host, "inet", "after")?;
        Ok(counter(self.host, "inet", "before")?.saturating_sub(after))
    }
}

fn counter(host: &Namespace, family: &str, name: &str) -> Result<u64> {
    let listing = command::json(
        host.command("nft")?
            .args(["-j", "list", "counter", family, "lab", name]),
    )?;
    stream::rows(&listing, "nftables")
        .find_map(|object| object["counter"]["packets"].as_u64())
        .with_context(|| format!("nft lists no counter {name}"))
}

fn hits(host: &Namespace) -> Result<u64> {
    let listing = command::json(
        host.command("nft")?
            .args(["-j", "list", "counters", "table", "inet", "lab"]),
    )?;
    listing["nftables"]
        .as_array()
        .and_then(|objects| objects.iter().find_map(|object| object.get("counter")))
        .and_then(|counter: &Value| counter["packets"].as_u64())
        .context("nft lists no counter of dropped packets")
}
