//! SNMP counters: `/proc/net/{snmp,netstat,snmp6}`, those of IPsec in `/proc/net/xfrm_stat`, and of TLS in the kernel in
//! `/proc/net/tls_stat`.

use std::io;

use super::{Scratch, procfs, stalled, syn_queues};
use crate::snapshot::{Mib, Mibs};

/// Files of pairs. A host without IPv6 has no `snmp6`, a kernel without `CONFIG_XFRM_STATISTICS` no `xfrm_stat`, and one where nobody
/// has used TLS in the kernel yet no `tls_stat`, which is no error.
pub(crate) const PAIRS: [&str; 3] = ["snmp6", "xfrm_stat", "tls_stat"];

/// Reads every counter that this kernel keeps.
pub(super) fn read(scratch: &mut Scratch) -> io::Result<Mibs> {
    let mut mibs = Mibs::default();
    for file in ["snmp", "netstat"] {
        groups(file, procfs::net(file, &mut scratch.text)?, &mut mibs);
    }
    for file in PAIRS {
        match procfs::net(file, &mut scratch.text) {
            Ok(text) => pairs(file, text, &mut mibs),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let lost = [Mib::UdpRcvbufErrors, Mib::Udp6RcvbufErrors].map(|mib| mibs.get(mib));
    scratch.datagrams_lost = Some(lost.into_iter().flatten().sum());
    scratch.syns_lost.note(&mibs, syn_queues::MOVES);
    scratch.windows_closed.note(&mibs, stalled::MOVES);
    Ok(mibs)
}

/// A line of keys and a line of values per group, both beginning with the group's name: `Tcp: InSegs …`, `Tcp: 7 …`.
pub(crate) fn groups(file: &str, text: &str, mibs: &mut Mibs) {
    let mut lines = text.lines();
    while let Some((group, keys)) = lines.next().and_then(|line| line.split_once(':')) {
        let Some(values) = lines
            .next()
            .and_then(|line| line.strip_prefix(group)?.strip_prefix(':'))
        else {
            return;
        };
        for (mib, _, _, wanted) in Mib::TABLE
            .iter()
            .filter(|row| (row.1, row.2) == (file, group))
        {
            let position = keys.split_ascii_whitespace().position(|key| key == *wanted);
            if let Some(value) = position.and_then(|position| procfs::number(values, position)) {
                mibs.set(*mib, value);
            }
        }
    }
}

/// A key and a value per line.
pub(crate) fn pairs(file: &str, text: &str, mibs: &mut Mibs) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(key), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) else {
            continue;
        };
        if let Some((mib, ..)) = Mib::TABLE.iter().find(|row| row.1 == file && row.3 == key) {
            mibs.set(*mib, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From a 6.18 host, shortened.
    const SNMP: &str = "\
Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes
Ip: 2 64 12417 1 0 5 0 0 12417 7082 0 3
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 52 3 4 36 1 12323 7037 9 0 44 0
UdpLite: InDatagrams NoPorts
UdpLite: 8 8
";

    #[test]
    fn values_stand_under_their_keys() {
        let mut mibs = Mibs::default();
        groups("snmp", SNMP, &mut mibs);
        assert_eq!(mibs.get(Mib::IpOutNoRoutes), Some(3));
        assert_eq!(mibs.get(Mib::IpForwDatagrams), Some(5));
        assert_eq!(mibs.get(Mib::TcpRetransSegs), Some(9));
        assert_eq!(mibs.get(Mib::TcpOutRsts), Some(44));
        // Only UdpLite has been read, and that is another group.
        assert_eq!(mibs.get(Mib::UdpNoPorts), None);
    }

    #[test]
    fn a_key_that_is_missing_or_added_moves_nothing() {
        let mut mibs = Mibs::default();
        groups(
            "netstat",
            "TcpExt: New ListenDrops\nTcpExt: 1 2 3\nIpExt: InNoRoutes\nIpExt:\n",
            &mut mibs,
        );
        assert_eq!(
            (mibs.get(Mib::ListenDrops), mibs.get(Mib::ListenOverflows)),
            (Some(2), None)
        );
        assert_eq!(mibs.get(Mib::IpInNoRoutes), None);
    }

    #[test]
    fn snmp6_is_pairs() {
        let mut mibs = Mibs::default();
        pairs(
            "snmp6",
            "Ip6InReceives\t42\nIp6OutNoRoutes                   \t7\nbroken\nIp6InNoRoutes x\n",
            &mut mibs,
        );
        assert_eq!(
            (mibs.get(Mib::Ip6InReceives), mibs.get(Mib::Ip6OutNoRoutes)),
            (Some(42), Some(7))
        );
        assert_eq!(mibs.get(Mib::Ip6InNoRoutes), None);
    }

    #[test]
    fn this_kernel_keeps_the_common_ones() {
        let mibs = read(&mut Scratch::default()).expect("counters");
        for mib in [
            Mib::TcpOutSegs,
            Mib::IpInReceives,
            Mib::IcmpInDestUnreachs,
            Mib::IcmpInTimeExcds,
            Mib::ListenOverflows,
            Mib::UdpRcvbufErrors,
        ] {
            assert!(mibs.get(mib).is_some(), "{mib:?}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "(Tcp|Ip|TcpExt)?: ?[a-zA-Z0-9 :\\n-]{0,200}") {
            let mut mibs = Mibs::default();
            groups("snmp", &text, &mut mibs);
            pairs("snmp6", &text, &mut mibs);
        }
    }
}
