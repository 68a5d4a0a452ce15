//! Every parser of outside bytes, in one table: the property tests run its rows.
//!
//! No part of the agent, and not linked into it. A row panics where the parser does, or where what it made of the bytes
//! is not what it promises; how much it allocates and how long it takes is for whoever runs it to watch.

use std::net::IpAddr;

use bytes::Bytes;

use crate::config::file;
use crate::helper;
use crate::helper::wire::Reply;
use crate::host::text::clean;
use crate::host::{boot, namespaces, processes};
use crate::output::text::{from_kernel, safe};
use crate::probe::btf::Btf;
use crate::probe::kernel::{Symbols, reasons_of_format};
use crate::probe::{clsact, memory, own, preflight};
use crate::snapshot::host::{
    address, conntrack, datagrams, decode, diag, drivers, ethtool, filters, gauges, link, load,
    mibs, neighbour, netlink, ports, procfs, programs, qdisc, queue, route, settings, sockets,
    softnet,
};
use crate::snapshot::{Mib, Mibs};
use crate::verdict::causes;

mod cpu;

mod owners;

mod records;

mod seeds;

mod wire;

/// A parser of outside bytes.
pub struct Parser {
    /// Its name in reports.
    pub name: &'static str,
    /// Parses, and checks what came out.
    pub run: fn(&[u8]),
    /// What the outside sends when it is well, to begin from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
#[rustfmt::skip]
pub static PARSERS: &[Parser] = &[
    Parser { name: "netlink_messages", run: netlink_messages, seeds: seeds::messages },
    Parser { name: "netlink_attributes", run: netlink_attributes, seeds: seeds::attributes },
    Parser { name: "link", run: links, seeds: seeds::link },
    Parser { name: "ethtool", run: ethtool_answers, seeds: seeds::ethtool },
    Parser { name: "qdisc", run: qdiscs, seeds: seeds::qdisc },
    Parser { name: "route", run: routes, seeds: seeds::route },
    Parser { name: "neighbour", run: neighbours, seeds: seeds::neighbour },
    Parser { name: "address", run: addresses, seeds: seeds::address },
    Parser { name: "socket", run: sockets, seeds: seeds::socket },
    Parser { name: "filter", run: filters, seeds: seeds::filter },
    Parser { name: "nftables", run: nftables, seeds: seeds::nftables },
    Parser { name: "snmp", run: snmp, seeds: seeds::snmp },
    Parser { name: "sockstat", run: sockstat, seeds: seeds::sockstat },
    Parser { name: "softnet", run: softnets, seeds: seeds::softnet },
    Parser { name: "setting", run: setting, seeds: seeds::setting },
    Parser { name: "reserved_ports", run: reserved_ports, seeds: seeds::reserved_ports },
    Parser { name: "process", run: process, seeds: seeds::process },
    Parser { name: "namespace_link", run: namespace_link, seeds: seeds::namespace_link },
    Parser { name: "socket_link", run: owners::socket_link, seeds: owners::socket_link_seeds },
    Parser { name: "descriptors", run: owners::descriptors, seeds: owners::descriptors_seeds },
    Parser { name: "cpu_quota", run: cpu::quota, seeds: cpu::quota_seeds },
    Parser { name: "cpu_pressure", run: cpu::pressure, seeds: cpu::pressure_seeds },
    Parser { name: "workload", run: owners::workload, seeds: owners::workload_seeds },
    Parser { name: "helper_reply", run: helper_reply, seeds: seeds::helper_reply },
    Parser { name: "own_files", run: own_files, seeds: seeds::own_files },
    Parser { name: "kernel_names", run: kernel_names, seeds: seeds::kernel_names },
    Parser { name: "btf", run: btf, seeds: seeds::btf },
    Parser { name: "first_bytes", run: wire::first_bytes, seeds: wire::seeds },
    Parser { name: "dns", run: wire::dns, seeds: wire::seeds },
    Parser { name: "tls", run: wire::tls, seeds: wire::tls_seeds },
    Parser { name: "quic", run: wire::quic, seeds: wire::quic_seeds },
    Parser { name: "http", run: wire::http, seeds: wire::http_seeds },
    Parser { name: "ring_record", run: records::ring_record, seeds: seeds::ring_record },
    Parser { name: "name", run: name, seeds: seeds::name },
    Parser { name: "config", run: config, seeds: seeds::config },
];

/// What no terminal, log or browser acts on, and no longer than that.
fn assert_clean(text: &str, max: usize) {
    assert!(text.chars().count() <= max, "longer than {max}: {text:?}");
    assert_eq!(safe(text), text, "not clean");
}

/// A number that was read stands in the text, digit by digit.
fn assert_written(text: &str, number: u64) {
    assert!(
        text.contains(&number.to_string()),
        "{number} out of {text:?}"
    );
}

fn netlink_messages(bytes: &[u8]) {
    let mut length = 0;
    for message in netlink::messages(bytes) {
        length += 16 + message.payload.len();
    }
    assert!(length <= bytes.len());
}

fn netlink_attributes(bytes: &[u8]) {
    let mut length = 0;
    for (kind, payload) in decode::attributes(bytes) {
        assert!(kind <= 0x3fff);
        length += 4 + payload.len();
        assert!(decode::attribute(bytes, kind).is_some());
        let _ = (decode::string(payload), decode::address(payload));
    }
    assert!(length <= bytes.len());
}

fn links(bytes: &[u8]) {
    let Some(raw) = link::parse(bytes) else {
        return;
    };
    assert_clean(&raw.link.iface.name, link::NAME_MAX);
    assert_clean(raw.link.kind.as_deref().unwrap_or_default(), link::NAME_MAX);
}

/// One answer taken for each of the structs that the kernel may answer with.
fn ethtool_answers(bytes: &[u8]) {
    if let Some(best) = settings::parse(bytes).and_then(|settings| settings.best) {
        assert!(best.bits_per_s >= 10_000_000);
    }
    if let Some((name, _)) = ethtool::driver_info(bytes) {
        assert!(name.len() <= 32);
    }
    let count = decode::bytes_at(bytes, 4).map_or(0, u32::from_ne_bytes);
    let values: Vec<_> = ethtool::statistics(bytes, count)
        .into_iter()
        .flatten()
        .collect();
    assert!(values.len() <= bytes.len() / 8);
    for driver in ["veth", "nobody knows it"] {
        let layout = drivers::Layout::of(driver, ethtool::names(bytes));
        for counter in layout.sum(&values) {
            assert_clean(&counter.name, link::NAME_MAX);
        }
    }
}

fn qdiscs(bytes: &[u8]) {
    if let Some(qdisc) = qdisc::parse(bytes) {
        assert_clean(&qdisc.kind, link::NAME_MAX);
    }
    let _ = qdisc::class(bytes);
    for kind in ["tbf", "bfifo", "fq_codel", "fq", "sfq", "netem", "cake"] {
        let _ = queue::options(kind, bytes);
    }
}

fn routes(bytes: &[u8]) {
    let mut found = 0;
    let _ = route::parse(bytes, |_| found += 1);
    // A next hop takes eight bytes.
    assert!(found <= 1 + bytes.len() / 8);
}

fn neighbours(bytes: &[u8]) {
    let mut found = neighbour::Found::default();
    neighbour::add(&mut found, bytes);
    let (neighbours, holders) = found.holders();
    assert!(neighbours.entries_v4 + neighbours.entries_v6 <= 1);
    assert!(neighbours.unresolved.len() + holders.len() <= 1);
    for holder in holders {
        // Two digits a byte, and colons between them.
        assert_clean(&holder.link_address.to_string(), 3 * 32 - 1);
    }
}

fn addresses(bytes: &[u8]) {
    let _ = address::parse(bytes);
}

fn sockets(bytes: &[u8]) {
    let _ = (conntrack::parse(bytes), datagrams::parse(bytes));
    let _ = diag::tcp_info(bytes);
    let Some(socket) = diag::parse(bytes) else {
        return;
    };
    for (address, _) in [socket.local, socket.remote] {
        assert!(!matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()));
    }
}

fn filters(bytes: &[u8]) {
    let mut answers = Vec::new();
    let _ = clsact::collect(bytes, &mut answers);
    assert!(answers.len() <= bytes.len() / 16);
    for message in netlink::messages(bytes) {
        if let Some((_, name)) = programs::filter(message.payload) {
            assert_clean(&name, link::NAME_MAX);
        }
    }
}

fn nftables(bytes: &[u8]) {
    let chain = filters::base_chain(bytes).map(|(chain, _)| chain);
    for place in chain
        .into_iter()
        .chain(filters::rule(bytes).map(|(rule, _)| rule))
    {
        assert_clean(&place.table, filters::NAME_MAX);
        assert_clean(&place.chain, filters::NAME_MAX);
    }
    if let Some(((_, table, name), _)) = filters::counter(bytes) {
        assert_clean(&table, filters::NAME_MAX);
        assert_clean(&name, filters::NAME_MAX);
    }
}

fn snmp(bytes: &[u8]) {
    let text = procfs::text(bytes.to_vec());
    let mut mibs = Mibs::default();
    for file in ["snmp", "netstat"] {
        mibs::groups(file, &text, &mut mibs);
    }
    for file in mibs::PAIRS {
        mibs::pairs(file, &text, &mut mibs);
    }
    for (mib, ..) in Mib::TABLE {
        if let Some(value) = mibs.get(*mib) {
            assert_written(&text, value);
        }
    }
}

/// What the helper says, should somebody else speak through it.
fn helper_reply(bytes: &[u8]) {
    let _ = helper::wire::parse::<Reply>(bytes);
}

fn sockstat(bytes: &[u8]) {
    let text = procfs::text(bytes.to_vec());
    for (line, key) in [
        ("TCP", "inuse"),
        ("TCP", "mem"),
        ("FRAG", "memory"),
        ("TCP6", "inuse"),
    ] {
        if let Some(value) = procfs::keyed(&text, line, key) {
            assert_written(&text, value);
        }
    }
    let mut load = load::Load::parse(&text);
    load.add_v6(&text);
    for family in [0, 1] {
        let _ = load.may_fill(family, &sockets::Listening::default(), 0);
    }
}

fn softnets(bytes: &[u8]) {
    let text = procfs::text(bytes.to_vec());
    let lines = softnet::parse(&text);
    assert!(lines.len() <= text.lines().count());
    for (_, time) in softnet::times(&text) {
        assert!(time.softirq_ticks <= time.ticks);
    }
    let lines = text.lines().count() as u64;
    let _ = conntrack::table(&text);
    let column = gauges::column(&text, "table_fulls");
    assert!(column.is_none_or(|sum| sum <= lines * u64::from(u32::MAX)));
}

fn setting(bytes: &[u8]) {
    let text = procfs::text(bytes.to_vec());
    for position in 0..3 {
        if let Some(value) = procfs::number::<u64>(&text, position) {
            assert_written(&text, value);
        }
        if let Some(value) = procfs::number::<u16>(&text, position) {
            assert_written(&text, value.into());
        }
    }
    let _ = sockets::release_at_least(&text, (6, 8));
}

fn reserved_ports(bytes: &[u8]) {
    let text = procfs::text(bytes.to_vec());
    let ports = ports::parse_list(&text);
    if let Ok(port) = text.trim().parse() {
        assert!(ports.contains(port));
    }
}

fn process(bytes: &[u8]) {
    if let Some((comm, start_time)) = processes::parse_stat(bytes) {
        assert_clean(&comm, processes::COMM_MAX);
        assert_written(&String::from_utf8_lossy(bytes), start_time);
    }
    if let Some((path, _)) = processes::parse_cgroup(bytes) {
        assert_clean(&path, processes::CGROUP_MAX);
    }
}

fn namespace_link(bytes: &[u8]) {
    if let Some(inode) = namespaces::parse_link(bytes) {
        assert_written(&String::from_utf8_lossy(bytes), inode.into());
    }
}

fn own_files(bytes: &[u8]) {
    let text = procfs::text(bytes.to_vec());
    if let Some(value) = own::field(&text, "memlock") {
        assert_written(&text, value);
    }
    let _ = own::resident(&text);
    let _ = preflight::parse_capabilities(&text);
    let _ = preflight::parse_cgroup2_root(&text);
    let _ = boot::parse_offset(&text);
    assert!(memory::hierarchies(&text, &text).len() <= text.lines().count());
    if let Some(mode) = preflight::parse_lockdown(&text) {
        assert!(mode.len() < text.len());
    }
}

fn kernel_names(bytes: &[u8]) {
    let text = procfs::text(bytes.to_vec());
    let symbols = Symbols::parse(text.as_bytes());
    for address in [0, 1, 0xffff_ffff_8100_0000, u64::MAX] {
        let _ = symbols.find(address);
    }
    for name in reasons_of_format(&text).values() {
        assert!(text.contains(&**name));
    }
}

fn btf(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(&Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let _ = btf.offset("s", "a");
    let _ = btf.offset("s", "a.b");
    let _ = btf.enum_values("e");
    let _ = btf.tracepoint_arguments("t");
}

/// The first byte says how long the text may be.
fn name(bytes: &[u8]) {
    let (max, bytes) = bytes
        .split_first()
        .map_or((0, bytes), |(max, rest)| (usize::from(*max), rest));
    let text = clean(bytes, max);
    assert_clean(&text, max);
    assert_eq!(
        clean(text.as_bytes(), max),
        text,
        "cleaned once more it changes"
    );
    for shown in [from_kernel(bytes), crate::verdict::text::name(bytes)] {
        assert_eq!(safe(&shown), shown);
    }
}

fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Err(failure) = file::parse("c.toml", text, causes()) {
        assert!(failure.message.starts_with("c.toml, line "));
        assert_eq!(safe(&failure.message), failure.message);
    }
}
