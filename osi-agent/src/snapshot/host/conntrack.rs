//! What connection tracking dropped: `/proc/net/stat/nf_conntrack`, or `IPCTNL_MSG_CT_GET_STATS_CPU` where the kernel was
//! built without that file (uapi/linux/netfilter/nfnetlink_conntrack.h).

use std::io;
use std::ops::ControlFlow;

use super::decode::{attribute, be32_at};
use super::diag::is_loaded;
use super::netlink::{Family, Request, dump};
use super::procfs::{self, optional_setting};
use super::{Scratch, gauges};
use crate::snapshot::Conntrack;

/// `IPCTNL_MSG_CT_GET_STATS_CPU`, below `NFNL_SUBSYS_CTNETLINK`.
const GET_STATS: u16 = (1 << 8) | 4;

/// `struct nfgenmsg`.
const HEADER: usize = 4;

const CTA_STATS_INSERT_FAILED: u16 = 9;
const CTA_STATS_DROP: u16 = 10;
const CTA_STATS_EARLY_DROP: u16 = 11;
const CTA_STATS_CHAIN_TOOLONG: u16 = 15;

/// The module that answers by netlink; asking would load it.
const MODULE: &str = "nf_conntrack_netlink";

/// Reads the counters of the thread's namespace; `None` where nothing is tracked.
pub(super) fn read(scratch: &mut Scratch) -> io::Result<Option<Conntrack>> {
    let tracked: Option<u64> =
        optional_setting("netfilter/nf_conntrack_count", 0, &mut scratch.text)?;
    let Some(tracked) = tracked else {
        return Ok(None);
    };
    match procfs::net("stat/nf_conntrack", &mut scratch.text) {
        Ok(text) => return Ok(table(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if !is_loaded(MODULE) {
        if tracked == 0 {
            return Ok(None);
        }
        return Err(io::Error::other(format!(
            "the kernel module {MODULE} is not loaded, and the agent loads none: run `modprobe {MODULE}`"
        )));
    }
    let request = Request {
        family: Family::Netfilter,
        kind: GET_STATS,
        body: &[0; HEADER],
    };
    let sum = dump(
        request,
        &mut scratch.netlink,
        || None,
        |sum: &mut Option<Conntrack>, payload| {
            if let Some(cpu) = parse(payload) {
                let so_far = sum.unwrap_or_default();
                *sum = Some(Conntrack {
                    dropped: so_far.dropped + cpu.dropped,
                    insert_failed: so_far.insert_failed + cpu.insert_failed,
                    chain_too_long: so_far.chain_too_long + cpu.chain_too_long,
                    evicted: so_far.evicted + cpu.evicted,
                });
            }
            ControlFlow::Continue(())
        },
    )?;
    Ok(sum)
}

/// The file: a column per counter, a line per CPU.
pub(crate) fn table(text: &str) -> Option<Conntrack> {
    Some(Conntrack {
        dropped: gauges::column(text, "drop")?,
        insert_failed: gauges::column(text, "insert_failed")?,
        // Older kernels have another column in its place.
        chain_too_long: gauges::column(text, "chainlength").unwrap_or(0),
        evicted: gauges::column(text, "early_drop")?,
    })
}

/// One CPU's counters.
pub(crate) fn parse(payload: &[u8]) -> Option<Conntrack> {
    let attributes = payload.get(HEADER..)?;
    let counter = |kind| be32_at(attribute(attributes, kind)?, 0).map(u64::from);
    Some(Conntrack {
        dropped: counter(CTA_STATS_DROP)?,
        insert_failed: counter(CTA_STATS_INSERT_FAILED)?,
        chain_too_long: counter(CTA_STATS_CHAIN_TOOLONG).unwrap_or(0),
        evicted: counter(CTA_STATS_EARLY_DROP)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_names() {
        // From a 6.18 host after 37 failed insertions; in 5.10 the second column is `searched`.
        let text = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n\
                    00000014  00000000 000000d9 00000000 00000000 00000000 00000000 00000004 00000000 00000025 00000026 00000001 00000000  00000000 00000000 00000000 00000000\n\
                    00000014  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000010 00000010 00000002 00000000  00000000 00000000 00000000 00000000\n";
        let sum = Conntrack {
            dropped: 0x36,
            insert_failed: 0x35,
            chain_too_long: 4,
            evicted: 3,
        };
        assert_eq!(table(text), Some(sum));
        assert_eq!(table("entries drop\n0 1\n"), None);
    }

    #[test]
    fn attributes_are_in_network_order() {
        let mut payload = vec![0; HEADER];
        for (kind, value) in [(9_u16, 1_u32), (10, 2), (11, 3), (15, 5)] {
            payload.extend(8_u16.to_ne_bytes());
            payload.extend(kind.to_ne_bytes());
            payload.extend(value.to_be_bytes());
        }
        let cpu = Conntrack {
            dropped: 2,
            insert_failed: 1,
            chain_too_long: 5,
            evicted: 3,
        };
        assert_eq!(parse(&payload), Some(cpu));
        assert_eq!(parse(&payload[..20]), None);
    }
}
