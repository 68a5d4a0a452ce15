//! A program that is interrupted by an occasion of its own: the kernel does not run it then, counts that, and the agent says so.
//!
//! A process whose datagrams the firewall drops spends much of its time in the program on drops. Packets that another CPU
//! hands over interrupt it there, and are dropped, too, because nobody listens.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use osi_tests::agent::Agent;
use osi_tests::load::{self, Datagrams};
use osi_tests::nft::DropRule;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, stats, sum};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, cpu, kernel};

/// Datagrams that the client's firewall drops, and datagrams that arrive meanwhile.
const FILTERED: u64 = 300_000;
const ARRIVING: u64 = 100_000;
/// Packets of other kinds that may be freed meanwhile.
const OTHERS: u64 = 100;

#[test]
fn what_the_kernel_skips_is_said() -> Result<()> {
    let test = "safety::missed::what_the_kernel_skips_is_said";
    let needs = ["nft", "nstat", "unshare"].map(Need::Program);
    let Some(_turn) = skip::ready_alone(test, &needs)? else {
        return Ok(());
    };
    if !kernel::is_at_least(5, 17)? {
        return skip::skip(
            test,
            "before Linux 5.17 a datagram that nobody hears is dropped for no reason of its own, and before 5.12 skipped calls are not counted",
        );
    }
    if std::thread::available_parallelism()?.get() < 2 {
        return skip::skip(test, "one CPU does not interrupt itself");
    }
    let pair = Pair::build()?;
    if let Err(error) = cpu::receive_on_first(&pair.client, "eth0") {
        return skip::skip(
            test,
            &format!("packets can not be handed to another CPU: {error:#}"),
        );
    }
    let rule = DropRule::add(&pair.client, "output", "udp dport 9")?;
    let agent = Agent::watch(&pair.client)?;
    let unheard_before = counters::snmp(&pair.client, "UdpNoPorts")?;
    let plan = Datagrams {
        target: Pair::client_at(Family::V4, 10),
        count: ARRIVING,
        size: 1,
        burst: ARRIVING,
        every: Duration::ZERO,
    };
    std::thread::scope(|scope| {
        let arriving = scope.spawn(|| cpu::on(1, || load::datagrams(&pair.server, plan)?.join()));
        let target = Pair::server_at(Family::V4, 9);
        let filtered = pair.client.run(|| cpu::on(0, || send_filtered(target)));
        let arrived = arriving.join();
        filtered.and(arrived.ok().context("the sender panicked")?)
    })?;
    let unheard = counters::snmp(&pair.client, "UdpNoPorts")? - unheard_before;
    let filtered = rule.packets()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;

    let counted = |layer, reason| sum(&lines, |map| map.dropped(layer, reason));
    let interrupted = counted("L3", "NETFILTER_DROP");
    stream::ensure(
        &lines,
        interrupted == filtered && filtered == FILTERED,
        || {
            format!(
                "{filtered} packets were filtered and {interrupted} are counted: what was interrupted lost some"
            )
        },
    )?;
    let told = counted("L4", "NO_SOCKET");
    let stats = stats(&lines).next_back().context("no stats line came")?;
    let missed = stats.misses();
    // Missed calls are those of all packets that were freed, a neighbour's question among them.
    let bounded = told <= unheard && told + missed <= unheard + OTHERS;
    stream::ensure(&lines, missed > 0 && bounded, || {
        format!("of {unheard} unheard datagrams {told} are counted and {missed} said to be missed")
    })?;
    println!(
        "{unheard} datagrams arrived unheard: {told} counted, {missed} missed, {} neither",
        unheard.saturating_sub(told + missed)
    );
    Ok(())
}

fn send_filtered(target: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    for number in 0..FILTERED {
        match socket.send_to(b"o", target) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error).context("a datagram failed"),
            Ok(_) => bail!("datagram {number} passed the firewall"),
        }
    }
    Ok(())
}
