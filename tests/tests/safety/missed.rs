//! A program that is interrupted by an occasion of its own: the kernel does not run it then, counts that, and the agent says so.
//!
//! A process whose datagrams the firewall drops spends much of its time in the program on drops. Packets that another CPU
//! hands over interrupt it there, and are dropped, too, because nobody listens. They come in thousands of bursts while it
//! sends: in one burst they would be handled by the kernel's own thread, which interrupts nobody.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use osi_tests::agent::Agent;
use osi_tests::hidden::Watch;
use osi_tests::load::{self, Datagrams};
use osi_tests::nft::DropRule;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, stats, sum};
use osi_tests::topology::{Family, Pair};
use osi_tests::{counters, cpu, kernel};

/// The most datagrams that the client's firewall drops; they end with those that arrive meanwhile.
const FILTERED: u64 = 20_000_000;
const ARRIVING: u64 = 100_000;
const BURST: u64 = 20;
const EVERY: Duration = Duration::from_micros(200);
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
    let watch = Watch::begin()?;
    let unheard_before = counters::snmp(&pair.client, "UdpNoPorts")?;
    let plan = Datagrams {
        target: Pair::client_at(Family::V4, 10),
        count: ARRIVING,
        size: 1,
        burst: BURST,
        every: EVERY,
    };
    let all_arrived = AtomicBool::new(false);
    let offered = std::thread::scope(|scope| {
        let arriving = scope.spawn(|| {
            let sent = cpu::on(1, || load::datagrams(&pair.server, plan)?.join());
            all_arrived.store(true, Ordering::Relaxed);
            sent
        });
        let target = Pair::server_at(Family::V4, 9);
        let filtered = pair
            .client
            .run(|| cpu::on(0, || send_filtered(target, &all_arrived)));
        arriving.join().ok().context("the sender panicked")??;
        filtered
    })?;
    let unheard = counters::snmp(&pair.client, "UdpNoPorts")? - unheard_before;
    let filtered = rule.packets()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;

    let counted = |layer, reason| sum(&lines, |map| map.dropped(layer, reason));
    let interrupted = counted("L3", "NETFILTER_DROP");
    stream::ensure(
        &lines,
        interrupted == filtered && filtered == offered,
        || {
            format!(
                "of {offered} packets {filtered} were filtered and {interrupted} are counted: what was interrupted lost some"
            )
        },
    )?;
    let told = counted("L4", "NO_SOCKET");
    let stats = stats(&lines).next_back().context("no stats line came")?;
    let missed = stats.misses();
    let hidden = watch.hidden()?;
    // Missed and hidden calls are those of all packets that were freed, a neighbour's question among them.
    let accounted = told + missed + hidden;
    let exact = told <= unheard && (unheard..=unheard + OTHERS).contains(&accounted);
    stream::ensure(&lines, missed > 0 && exact, || {
        format!(
            "of {unheard} unheard datagrams {told} are counted, {missed} said to be missed, and {hidden} hidden from all programs"
        )
    })
}

/// Sends until the others have all arrived; returns how many.
fn send_filtered(target: SocketAddr, all_arrived: &AtomicBool) -> Result<u64> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    for number in 0..FILTERED {
        if all_arrived.load(Ordering::Relaxed) {
            return Ok(number);
        }
        match socket.send_to(b"o", target) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error).context("a datagram failed"),
            Ok(_) => bail!("datagram {number} passed the firewall"),
        }
    }
    bail!("{FILTERED} datagrams were filtered before {ARRIVING} had arrived")
}
