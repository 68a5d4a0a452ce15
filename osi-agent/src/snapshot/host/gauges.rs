//! Tables and memory with a limit: `/proc/net/sockstat`, connection tracking, and their settings.

use std::io;

use super::Scratch;
use super::procfs::{self, keyed, optional_setting, setting};
use crate::snapshot::{Gauge, NeighbourTable};

/// Connection tracking entries of the thread's namespace and `nf_conntrack_max`, which is one number for the host;
/// `None` where the kernel has no connection tracking.
pub(super) fn conntrack(scratch: &mut Scratch) -> io::Result<Option<Gauge>> {
    let Some(used) = optional_setting("netfilter/nf_conntrack_count", 0, &mut scratch.text)? else {
        return Ok(None);
    };
    let limit = optional_setting("netfilter/nf_conntrack_max", 0, &mut scratch.text)?;
    Ok(limit.map(|limit| Gauge { used, limit }))
}

/// What `sockstat` counts per namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::snapshot) struct NamespaceGauges {
    /// TIME_WAIT sockets and `tcp_max_tw_buckets`.
    pub(super) time_wait: Option<Gauge>,
    /// Bytes of IPv4 fragments and `ipfrag_high_thresh`.
    pub(super) fragments: Option<Gauge>,
}

/// Reads TIME_WAIT and fragments of the thread's namespace.
pub(super) fn namespace(scratch: &mut Scratch) -> io::Result<NamespaceGauges> {
    let text = procfs::net("sockstat", &mut scratch.text)?;
    let (time_wait, fragments) = (keyed(text, "TCP", "tw"), keyed(text, "FRAG", "memory"));
    let mut with_limit = |used: Option<u64>, name| -> io::Result<Option<Gauge>> {
        let Some(used) = used else { return Ok(None) };
        Ok(optional_setting(name, 0, &mut scratch.text)?.map(|limit| Gauge { used, limit }))
    };
    Ok(NamespaceGauges {
        time_wait: with_limit(time_wait, "ipv4/tcp_max_tw_buckets")?,
        fragments: with_limit(fragments, "ipv4/ipfrag_high_thresh")?,
    })
}

/// What `sockstat` counts for the whole host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::snapshot) struct Memory {
    /// Pages of TCP and `tcp_mem[2]`.
    pub(super) tcp: Option<Gauge>,
    /// `tcp_mem[1]`.
    pub(super) tcp_pressure: Option<u64>,
    /// Pages of UDP and `udp_mem[2]`.
    pub(super) udp: Option<Gauge>,
    /// Orphaned TCP sockets and `tcp_max_orphans`.
    pub(super) orphans: Option<Gauge>,
}

/// Reads the host-wide part: TCP and UDP memory in pages, orphans. Every namespace shows the same use, only the initial
/// one shows the limits.
pub(super) fn host(scratch: &mut Scratch) -> io::Result<Memory> {
    let text = procfs::net("sockstat", &mut scratch.text)?;
    let (tcp, udp, orphans) = (
        keyed(text, "TCP", "mem"),
        keyed(text, "UDP", "mem"),
        keyed(text, "TCP", "orphan"),
    );
    let mut with_limit = |used: Option<u64>, name, position| -> io::Result<Option<Gauge>> {
        let Some(used) = used else { return Ok(None) };
        Ok(Some(Gauge {
            used,
            limit: setting(name, position, &mut scratch.text)?,
        }))
    };
    Ok(Memory {
        // Of the three numbers (low, pressure, maximum) the last one refuses.
        tcp: with_limit(tcp, "ipv4/tcp_mem", 2)?,
        tcp_pressure: with_limit(tcp, "ipv4/tcp_mem", 1)?.map(|gauge| gauge.limit),
        udp: with_limit(udp, "ipv4/udp_mem", 2)?,
        orphans: with_limit(orphans, "ipv4/tcp_max_orphans", 0)?,
    })
}

/// The neighbour tables of IPv4 and IPv6: what they hold at most, and how often they were full.
pub(super) fn neighbour_tables(
    scratch: &mut Scratch,
) -> io::Result<(NeighbourTable, NeighbourTable)> {
    let v4 = NeighbourTable {
        limit: Some(setting(
            "ipv4/neigh/default/gc_thresh3",
            0,
            &mut scratch.text,
        )?),
        overflows: overflows("stat/arp_cache", scratch)?,
    };
    let v6 = NeighbourTable {
        limit: optional_setting("ipv6/neigh/default/gc_thresh3", 0, &mut scratch.text)?,
        overflows: overflows("stat/ndisc_cache", scratch)?,
    };
    Ok((v4, v6))
}

fn overflows(file: &str, scratch: &mut Scratch) -> io::Result<Option<u64>> {
    match procfs::net(file, &mut scratch.text) {
        Ok(text) => Ok(column(text, "table_fulls")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A column of hexadecimal numbers, one per CPU below its name, summed (`neigh_stat_seq_show()`).
pub(crate) fn column(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    let at = lines.next()?.position(|word| word == name)?;
    let mut cpus = lines.map(|mut words| u32::from_str_radix(words.nth(at)?, 16).ok());
    cpus.try_fold(0, |sum, cpu| Some(sum + u64::from(cpu?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOCKSTAT: &str = "\
sockets: used 22
TCP: inuse 2 orphan 1 tw 5 alloc 3 mem 299
UDP: inuse 0 mem 7
FRAG: inuse 0 memory 4096
";

    #[test]
    fn sockstat_is_read_by_key() {
        assert_eq!(keyed(SOCKSTAT, "TCP", "tw"), Some(5));
        assert_eq!(keyed(SOCKSTAT, "TCP", "mem"), Some(299));
        assert_eq!(keyed(SOCKSTAT, "UDP", "mem"), Some(7));
        assert_eq!(keyed(SOCKSTAT, "FRAG", "memory"), Some(4096));
        assert_eq!(keyed(SOCKSTAT, "TCP6", "inuse"), None);
    }

    #[test]
    fn columns_are_found_by_their_name_and_summed() {
        let text =
            "entries allocs  table_fulls\n00000002 0000187f 0000000a\n00000002 00001822 00000001\n";
        assert_eq!(column(text, "table_fulls"), Some(11));
        assert_eq!(column(text, "hits"), None);
        assert_eq!(column("table_fulls\nx\n", "table_fulls"), None);
        assert_eq!(column("", ""), None);
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "(TCP:)?[a-zA-Z0-9: \\n]{0,100}") {
            let _ = keyed(&text, "TCP", "mem");
        }
    }
}
