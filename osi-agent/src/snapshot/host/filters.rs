//! Where nftables can drop packets: rules by `NFT_MSG_GETRULE`, policies of base chains by `NFT_MSG_GETCHAIN`.
//!
//! Rule sets may be huge, and nobody needs them until packets are missed: they are read where the watcher asks for them, and
//! nowhere else. It asks only where nf_tables is there, because the kernel would load it to answer. What is asked are dumps,
//! which change nothing; those that reset counters are other messages.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;

use super::decode::{attribute, attributes, be32_at, be64_at, string, u8_at};
use super::netlink::{self, Request, Whole, dump_and_tell};
use super::{Kept, Scratch};
use crate::host::text::clean;
use crate::scope::Netns;
use crate::snapshot::filter::{DropPlace, Family};

/// Places that are kept per namespace.
const PLACES: usize = 256;

/// Base chains that are known by their hook, per namespace.
const BASE_CHAINS: usize = 1024;

/// Rules that are looked at, per namespace.
const RULES: u32 = 16_384;

/// Longest name in nftables (`NFT_NAME_MAXLEN`).
pub(crate) const NAME_MAX: usize = 255;

/// `struct nfgenmsg` of a question about all families.
const HEADER: [u8; 4] = [0; 4];

/// `NFT_MSG_GETCHAIN`.
const GET_CHAIN: u16 = 4;
/// `NFT_MSG_GETRULE`.
const GET_RULE: u16 = 7;
/// `NFT_MSG_GETOBJ`.
const GET_OBJECT: u16 = 19;

/// `NFNL_SUBSYS_NFTABLES`, in the upper byte of a message's kind.
const NFTABLES: u16 = 10;

const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_COUNTERS: u16 = 8;

const NFTA_HOOK_HOOKNUM: u16 = 1;

const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;

const NFTA_LOOKUP_DREG: u16 = 3;
const NFT_REG_VERDICT: u32 = 0;

const NFTA_TARGET_NAME: u16 = 1;

const NFTA_COUNTER_PACKETS: u16 = 2;

const NFTA_OBJREF_IMM_TYPE: u16 = 1;
const NFTA_OBJREF_IMM_NAME: u16 = 2;

const NFTA_OBJ_TABLE: u16 = 1;
const NFTA_OBJ_NAME: u16 = 2;
const NFTA_OBJ_TYPE: u16 = 3;
const NFTA_OBJ_DATA: u16 = 4;
const NFTA_OBJ_USE: u16 = 5;
const NFT_OBJECT_COUNTER: u32 = 1;

/// `NF_VERDICT_MASK`.
const VERDICT: u32 = 0xff;
const NF_DROP: u32 = 0;

/// A counter with a name: family, table, name.
type Named = (Family, String, String);
/// A rule, and the name of the counter that it counts by.
type Counted = (DropPlace, Option<String>);

/// Reads where packets can be dropped, if somebody asks for it.
pub(super) fn read(
    netns: &Netns,
    scratch: &mut Scratch,
) -> io::Result<Option<Whole<Kept<DropPlace>>>> {
    let Scratch {
        netlink, rule_sets, ..
    } = scratch;
    if !rule_sets.contains(&netns.inode) {
        return Ok(None);
    }
    let (chains, chains_whole) = chains(netlink)?;
    let (rules, rules_whole) = rules(netlink)?;
    let counted = rules.rows.iter().any(|(_, name)| name.is_some());
    let named = counted.then(|| counters(netlink)).transpose()?;
    let (counters, counters_whole) = named.unwrap_or_else(|| (BTreeMap::new(), true));
    let mut kept = Kept::new(PLACES);
    kept.omitted = chains.omitted + rules.omitted;
    for (chain, drops) in &chains.rows {
        if *drops {
            kept.push(chain.clone());
        }
    }
    let of = |place: &DropPlace| (place.family, place.table.clone(), place.chain.clone());
    let hooks: BTreeMap<_, _> = chains
        .rows
        .iter()
        .map(|(chain, _)| (of(chain), chain.hook.as_ref()))
        .collect();
    for (mut rule, counter) in rules.rows {
        rule.hook = hooks.get(&of(&rule)).copied().flatten().cloned();
        if let Some(name) = counter {
            let named = (rule.family, rule.table.clone(), name);
            rule.packets = counters.get(&named).copied();
        }
        kept.push(rule);
    }
    Ok(Some((kept, chains_whole && rules_whole && counters_whole)))
}

/// The base chains, and whether their policy is to drop.
fn chains(buffer: &mut Vec<u8>) -> io::Result<Whole<Kept<(DropPlace, bool)>>> {
    let request = question(GET_CHAIN, &HEADER);
    dump_and_tell(
        request,
        buffer,
        || Kept::new(BASE_CHAINS),
        |kept, payload| {
            if let Some(found) = base_chain(payload) {
                kept.push(found);
            }
            ControlFlow::Continue(())
        },
    )
}

/// The rules that can drop, and the named counters that they count by.
fn rules(buffer: &mut Vec<u8>) -> io::Result<Whole<Kept<Counted>>> {
    let request = question(GET_RULE, &HEADER);
    let start = || (0, Kept::new(PLACES));
    let ((_, kept), whole) = dump_and_tell(request, buffer, start, |(seen, kept), payload| {
        *seen += 1;
        if *seen > RULES {
            // How many more there are is not worth the kernel's time.
            kept.omitted += 1;
            return ControlFlow::Break(());
        }
        if let Some(found) = rule(payload) {
            kept.push(found);
        }
        ControlFlow::Continue(())
    })?;
    Ok((kept, whole))
}

/// Packets of the named counters that one place alone counts by.
fn counters(buffer: &mut Vec<u8>) -> io::Result<Whole<BTreeMap<Named, u64>>> {
    let mut body = HEADER.to_vec();
    body.extend(8_u16.to_ne_bytes());
    body.extend(NFTA_OBJ_TYPE.to_ne_bytes());
    body.extend(NFT_OBJECT_COUNTER.to_be_bytes());
    let request = question(GET_OBJECT, &body);
    let mut seen = 0;
    dump_and_tell(request, buffer, BTreeMap::new, |found, payload| {
        seen += 1;
        found.extend(counter(payload));
        if seen < RULES {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })
}

const fn question(message: u16, body: &[u8]) -> Request<'_> {
    Request {
        family: netlink::Family::Netfilter,
        kind: (NFTABLES << 8) | message,
        body,
    }
}

/// A base chain, and whether its policy is to drop.
pub(crate) fn base_chain(payload: &[u8]) -> Option<(DropPlace, bool)> {
    let (family, rest) = family(payload)?;
    let hook = attribute(attribute(rest, NFTA_CHAIN_HOOK)?, NFTA_HOOK_HOOKNUM)?;
    let policy = attribute(rest, NFTA_CHAIN_POLICY).and_then(|code| be32_at(code, 0));
    let chain = DropPlace {
        family,
        table: name(rest, NFTA_CHAIN_TABLE)?,
        chain: name(rest, NFTA_CHAIN_NAME)?,
        hook: hook_name(family, be32_at(hook, 0)?).map(str::to_owned),
        rule: None,
        always: true,
        packets: attribute(rest, NFTA_CHAIN_COUNTERS).and_then(packets),
    };
    Some((chain, policy.is_some_and(is_drop)))
}

/// A rule that can drop, and the name of the counter that counts what it drops.
pub(crate) fn rule(payload: &[u8]) -> Option<Counted> {
    let (family, rest) = family(payload)?;
    let (mut always, mut may, mut count, mut by_name) = (false, false, None, None);
    for (_, expression) in attributes(attribute(rest, NFTA_RULE_EXPRESSIONS)?) {
        let kind = string(attribute(expression, NFTA_EXPR_NAME)?);
        let data = attribute(expression, NFTA_EXPR_DATA).unwrap_or_default();
        match kind {
            b"counter" => count = packets(data),
            b"objref" if number(data, NFTA_OBJREF_IMM_TYPE) == Some(NFT_OBJECT_COUNTER) => {
                by_name = name(data, NFTA_OBJREF_IMM_NAME);
            }
            b"immediate" if verdict(data).is_some_and(is_drop) => always = true,
            b"reject" => may = true,
            // `-j REJECT` of iptables.
            b"target" => may |= attribute(data, NFTA_TARGET_NAME).map(string) == Some(b"REJECT"),
            b"lookup" if number(data, NFTA_LOOKUP_DREG) == Some(NFT_REG_VERDICT) => may = true,
            b"log" => {}
            // Not all that was counted so far goes on from here.
            _ => (count, by_name) = (None, None),
        }
        if always || may {
            break;
        }
    }
    let place = DropPlace {
        family,
        table: name(rest, NFTA_RULE_TABLE)?,
        chain: name(rest, NFTA_RULE_CHAIN)?,
        hook: None,
        rule: Some(be64_at(attribute(rest, NFTA_RULE_HANDLE)?, 0)?),
        always,
        packets: count,
    };
    (always || may).then(|| (place, by_name.filter(|_| count.is_none())))
}

/// A named counter and its packets; `None` where several places share it, since it tells of none of them.
pub(crate) fn counter(payload: &[u8]) -> Option<(Named, u64)> {
    let (family, rest) = family(payload)?;
    let is_counter = number(rest, NFTA_OBJ_TYPE) == Some(NFT_OBJECT_COUNTER);
    let is_shared = number(rest, NFTA_OBJ_USE) != Some(1);
    if !is_counter || is_shared {
        return None;
    }
    let named = (
        family,
        name(rest, NFTA_OBJ_TABLE)?,
        name(rest, NFTA_OBJ_NAME)?,
    );
    Some((named, packets(attribute(rest, NFTA_OBJ_DATA)?)?))
}

/// `struct nfgenmsg`, and the attributes after it.
fn family(payload: &[u8]) -> Option<(Family, &[u8])> {
    let family = match u8_at(payload, 0)? {
        1 => Family::Inet,
        2 => Family::Ip,
        3 => Family::Arp,
        5 => Family::Netdev,
        7 => Family::Bridge,
        10 => Family::Ip6,
        _ => return None,
    };
    Some((family, payload.get(HEADER.len()..)?))
}

/// `NF_INET_*`, `NF_BR_*`, `NF_ARP_*`, `NF_NETDEV_*`.
fn hook_name(family: Family, number: u32) -> Option<&'static str> {
    const IP: [&str; 6] = [
        "prerouting",
        "input",
        "forward",
        "output",
        "postrouting",
        "ingress",
    ];
    let names: &[&str] = match family {
        Family::Inet | Family::Ip | Family::Ip6 | Family::Bridge => &IP,
        Family::Arp => &["input", "output", "forward"],
        Family::Netdev => &["ingress", "egress"],
    };
    names.get(usize::try_from(number).ok()?).copied()
}

/// The verdict that an `immediate` expression gives, if it gives one.
fn verdict(immediate: &[u8]) -> Option<u32> {
    let data = attribute(immediate, NFTA_IMMEDIATE_DATA)?;
    number(attribute(data, NFTA_DATA_VERDICT)?, NFTA_VERDICT_CODE)
}

const fn is_drop(code: u32) -> bool {
    code & VERDICT == NF_DROP
}

fn packets(counter: &[u8]) -> Option<u64> {
    be64_at(attribute(counter, NFTA_COUNTER_PACKETS)?, 0)
}

fn number(bytes: &[u8], kind: u16) -> Option<u32> {
    be32_at(attribute(bytes, kind)?, 0)
}

fn name(bytes: &[u8], kind: u16) -> Option<String> {
    Some(clean(string(attribute(bytes, kind)?), NAME_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::decode::align;
    use super::*;

    fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u16 + 4).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(align(bytes.len()), 0);
        bytes
    }

    fn number(kind: u16, value: u32) -> Vec<u8> {
        attribute(kind, &value.to_be_bytes())
    }

    fn expression(name: &str, data: &[u8]) -> Vec<u8> {
        let name = attribute(NFTA_EXPR_NAME, name.as_bytes());
        attribute(1, &[name, attribute(NFTA_EXPR_DATA, data)].concat())
    }

    /// Counts nine packets.
    fn count() -> Vec<u8> {
        expression(
            "counter",
            &attribute(NFTA_COUNTER_PACKETS, &9_u64.to_be_bytes()),
        )
    }

    fn verdict(code: i32) -> Vec<u8> {
        let code = number(NFTA_VERDICT_CODE, code as u32);
        let data = attribute(NFTA_IMMEDIATE_DATA, &attribute(NFTA_DATA_VERDICT, &code));
        expression("immediate", &data)
    }

    /// Whether a rule of these expressions always drops, and what it counted; `None` where it never drops.
    fn parsed(expressions: &[Vec<u8>]) -> Option<(bool, Option<u64>)> {
        let attributes = [
            attribute(NFTA_RULE_TABLE, b"lab\0"),
            attribute(NFTA_RULE_CHAIN, b"drops\0"),
            attribute(NFTA_RULE_HANDLE, &7_u64.to_be_bytes()),
            attribute(NFTA_RULE_EXPRESSIONS, &expressions.concat()),
        ];
        let message = [vec![1, 0, 0, 0], attributes.concat()].concat();
        rule(&message).map(|(place, _)| (place.always, place.packets))
    }

    #[test]
    fn a_counter_counts_what_the_verdict_after_it_drops() {
        let matching = || expression("cmp", &[]);
        let log = || expression("log", &[]);
        assert_eq!(
            parsed(&[matching(), count(), log(), verdict(0)]),
            Some((true, Some(9)))
        );
        assert_eq!(
            parsed(&[count(), matching(), verdict(0)]),
            Some((true, None))
        );
    }

    #[test]
    fn verdicts_that_drop_are_told_from_the_others() {
        let (jump, accept) = (-3, 1);
        assert_eq!(parsed(&[count(), verdict(jump)]), None);
        assert_eq!(parsed(&[count(), verdict(accept)]), None);
        let map = expression("lookup", &number(NFTA_LOOKUP_DREG, NFT_REG_VERDICT));
        assert_eq!(parsed(&[map]), Some((false, None)));
        assert_eq!(parsed(&[expression("lookup", &[])]), None);
        assert_eq!(
            parsed(&[count(), expression("reject", &[])]),
            Some((false, Some(9)))
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = (base_chain(&bytes), rule(&bytes), counter(&bytes));
        }
    }
}
