//! The shapers that give a link of the lab a rate, and what they counted.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::command;
use crate::netns::Namespace;
use crate::scale;

/// A shaper at the root of an interface, removed with [`Shaper::remove`] or with the namespace.
#[derive(Debug)]
pub struct Shaper<'a> {
    host: &'a Namespace,
    interface: &'a str,
    kind: &'static str,
}

/// What a shaper counted since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShaperCounts {
    /// Bytes that left, each segment with its own headers.
    pub bytes: u64,
    /// Packets refused because the queue was full.
    pub drops: u64,
    /// How often a packet had to wait for tokens.
    pub overlimits: u64,
}

impl<'a> Shaper<'a> {
    /// Caps an interface: to `bits_per_s` on a machine at full speed, with a `burst` such as `64kb` and a queue of `limit` such as `300kb`.
    pub fn cap(
        host: &'a Namespace,
        interface: &'a str,
        bits_per_s: u64,
        burst: &str,
        limit: &str,
    ) -> Result<Self> {
        let rate = format!("{}bit", scale::rate(bits_per_s));
        command::output(tc(host).args([
            "qdisc", "add", "dev", interface, "root", "handle", "1:", "tbf", "rate", &rate,
            "burst", burst, "limit", limit,
        ]))?;
        Ok(Self {
            host,
            interface,
            kind: "tbf",
        })
    }

    /// Makes the queue of a cap one of `packets` that drops the oldest: their sender has taken them for sent, while what is
    /// refused by a full queue it offers once more.
    pub fn drops_the_oldest(&self, packets: u32) -> Result<()> {
        let limit = packets.to_string();
        let child = ["parent", "1:1", "pfifo_head_drop", "limit", &limit];
        command::output(
            tc(self.host)
                .args(["qdisc", "add", "dev", self.interface])
                .args(child),
        )
        .map(drop)
    }

    /// Lets an interface be, but puts all that it sends into a class of `bits_per_s`, whose queue takes `packets`.
    pub fn class(
        host: &'a Namespace,
        interface: &'a str,
        bits_per_s: u64,
        packets: u32,
    ) -> Result<Self> {
        let rate = format!("{}bit", scale::rate(bits_per_s));
        let limit = packets.to_string();
        for what in [
            "qdisc add dev IFACE root handle 1: htb default 10",
            "class add dev IFACE parent 1: classid 1:1 htb rate 10gbit quantum 1514",
            "class add dev IFACE parent 1:1 classid 1:10 htb rate RATE ceil RATE quantum 1514",
            "qdisc add dev IFACE parent 1:10 handle 10: pfifo limit LIMIT",
        ] {
            command::output(tc(host).args(what.split(' ').map(|word| match word {
                "IFACE" => interface,
                "RATE" => &rate,
                "LIMIT" => &limit,
                word => word,
            })))?;
        }
        Ok(Self {
            host,
            interface,
            kind: "htb",
        })
    }

    /// What it counted so far.
    pub fn counts(&self) -> Result<ShaperCounts> {
        let all = qdiscs(self.host, self.interface)?;
        let root = all
            .as_array()
            .and_then(|list| list.iter().find(|qdisc| qdisc["kind"] == self.kind))
            .context("the shaper is gone")?;
        let count = |key: &str| {
            root[key]
                .as_u64()
                .with_context(|| format!("tc prints no {key}"))
        };
        Ok(ShaperCounts {
            bytes: count("bytes")?,
            drops: count("drops")?,
            overlimits: count("overlimits")?,
        })
    }

    /// Takes the cap away.
    pub fn remove(self) -> Result<()> {
        good_wire(self.host, self.interface)
    }
}

/// Every queueing discipline of an interface.
pub fn qdiscs(host: &Namespace, interface: &str) -> Result<Value> {
    command::json(tc(host).args(["-s", "-j", "qdisc", "show", "dev", interface]))
}

/// Every filter of an interface in one direction, `ingress` or `egress`.
pub fn filters(host: &Namespace, interface: &str, direction: &str) -> Result<String> {
    command::output(tc(host).args(["filter", "show", "dev", interface, direction]))
}

/// Packets that the filters of an interface's clsact qdisc dropped.
pub fn filter_drops(host: &Namespace, interface: &str) -> Result<u64> {
    let all = qdiscs(host, interface)?;
    let mut list = all.as_array().into_iter().flatten();
    let holder = list.find(|qdisc| qdisc["kind"] == "clsact");
    holder
        .and_then(|qdisc| qdisc["drops"].as_u64())
        .context("there is no clsact")
}

/// A filter that somebody else has on both directions of an interface, with a qdisc of their own: it matches and does nothing.
pub fn add_foreign_filter(host: &Namespace, interface: &str) -> Result<()> {
    command::output(tc(host).args(["qdisc", "add", "dev", interface, "clsact"]))?;
    for direction in ["ingress", "egress"] {
        command::output(tc(host).args([
            "filter", "add", "dev", interface, direction, "protocol", "all", "pref", "10", "u32",
            "match", "u32", "0", "0",
        ]))?;
    }
    Ok(())
}

/// Makes an interface treat what it sends as a bad wire would (`tc-netem(8)`); `None` where the kernel has no netem.
pub fn bad_wire(host: &Namespace, interface: &str, what: &[&str]) -> Result<Option<()>> {
    let mut add = tc(host);
    add.args(["qdisc", "add", "dev", interface, "root", "netem"]);
    match command::output(add.args(what)) {
        Ok(_) => Ok(Some(())),
        Err(error) if format!("{error:#}").contains("qdisc kind is unknown") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes an interface's root qdisc away.
pub fn good_wire(host: &Namespace, interface: &str) -> Result<()> {
    command::output(tc(host).args(["qdisc", "del", "dev", interface, "root"])).map(drop)
}

fn tc(host: &Namespace) -> Command {
    let mut command = Command::new("tc");
    command.args(["-n", host.name()]);
    command
}
