//! What the kernel and the standard tools say: the truth that the agent's figures are held against.

use anyhow::{Context as _, Result};

use crate::command;
use crate::netns::Namespace;

/// One SNMP or netstat counter since the namespace was made, by nstat's name (`TcpExtListenOverflows`).
pub fn snmp(host: &Namespace, name: &str) -> Result<u64> {
    let all = command::json(host.command("nstat")?.args(["-asz", "--json", name]))?;
    all["kernel"][name]
        .as_u64()
        .with_context(|| format!("nstat knows no {name}: {all}"))
}

/// The value of a key in a file of such pairs.
pub fn pair(text: &str, key: &str) -> Result<u64> {
    let words = text.lines().map(str::split_ascii_whitespace);
    let mut values =
        words.filter_map(|mut words| (words.next() == Some(key)).then(|| words.next()));
    let value = values.next().flatten();
    Ok(value
        .with_context(|| format!("no {key} in {text:?}"))?
        .parse()?)
}

/// How many TCP sockets `ss` lists for a filter such as `dst 10.2.0.2:80`, whatever their state but listening.
pub fn tcp_sockets(host: &Namespace, filter: &str) -> Result<u64> {
    let text = command::output(
        host.command("ss")?
            .args(["-H", "-t", "-a", "-n", "-O"])
            .args(filter.split(' ')),
    )?;
    Ok(text
        .lines()
        .filter(|line| !line.starts_with("LISTEN"))
        .count() as u64)
}

/// A figure of `/proc/net/sockstat`, such as `mem` of `UDP`: of all namespaces together.
pub fn sockstat(protocol: &str, key: &str) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/net/sockstat")?;
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    let (_, row) = lines
        .find(|(name, _)| *name == protocol)
        .with_context(|| format!("no {protocol} in {text:?}"))?;
    let words: Vec<_> = row.split_whitespace().collect();
    let pair = words.chunks(2).find(|pair| pair[0] == key);
    let value = pair.and_then(|pair| pair.get(1));
    Ok(value
        .with_context(|| format!("no {key} of {protocol} in {text:?}"))?
        .parse()?)
}

/// Whether a UDP socket has this port.
pub fn is_bound(host: &Namespace, port: u16) -> Result<bool> {
    let filter = format!("sport = :{port}");
    let mut ss = host.command("ss")?;
    let text = command::output(ss.args(["-H", "-u", "-a", "-n"]).args(filter.split(' ')))?;
    Ok(!text.trim().is_empty())
}

/// Datagrams that the UDP socket on a port dropped: the last figure of `skmem` in `ss -uanm`.
pub fn socket_drops(host: &Namespace, port: u16) -> Result<u64> {
    let filter = format!("sport = :{port}");
    let text = command::output(
        host.command("ss")?
            .args(["-H", "-u", "-a", "-n", "-m", "-O"])
            .args(filter.split(' ')),
    )?;
    let drops = text.rsplit_once(",d").map(|(_, rest)| rest);
    drops
        .and_then(|rest| rest.split(')').next()?.parse().ok())
        .with_context(|| format!("ss names no drops of port {port}: {text:?}"))
}

/// The established TCP sockets of a filter with their timers: Recv-Q, Send-Q, both ends, timer.
pub fn timers(host: &Namespace, filter: &str) -> Result<String> {
    command::output(
        host.command("ss")?
            .args(["-H", "-t", "-n", "-o", "-O", "state", "established"])
            .args(filter.split(' ')),
    )
}

/// The established TCP sockets of a filter with all that `ss -i` knows of them.
pub fn details(host: &Namespace, filter: &str) -> Result<String> {
    command::output(
        host.command("ss")?
            .args(["-H", "-t", "-n", "-i", "-O", "state", "established"])
            .args(filter.split(' ')),
    )
}

/// How many connections at a TCP port have data that nobody has read: the column `Recv-Q` of `ss`.
pub fn unread(host: &Namespace, port: u16) -> Result<usize> {
    filled(host, &format!("sport = :{port}"), 0)
}

/// How many connections to a TCP port have sent what has not arrived: the column `Send-Q`.
pub fn unacknowledged(host: &Namespace, port: u16) -> Result<usize> {
    filled(host, &format!("dport = :{port}"), 1)
}

fn filled(host: &Namespace, filter: &str, column: usize) -> Result<usize> {
    let text = timers(host, filter)?;
    let rows = text.lines();
    let queues = rows.filter_map(|line| line.split_whitespace().nth(column));
    Ok(queues.filter(|queue| *queue != "0").count())
}

/// Whether something listens on a TCP port.
pub fn is_listening(host: &Namespace, port: u16) -> Result<bool> {
    Ok(!listeners(host, port)?.trim().is_empty())
}

/// How many connections wait in the accept queue of the listener on a TCP port: the column `Recv-Q` of `ss`.
pub fn accept_queue(host: &Namespace, port: u16) -> Result<u64> {
    let text = listeners(host, port)?;
    text.split_whitespace()
        .nth(1)
        .and_then(|waiting| waiting.parse().ok())
        .with_context(|| format!("ss names no queue of port {port}: {text:?}"))
}

/// The processes that hold the listener on a TCP port open, as `ss -p` lists them, lowest id first.
pub fn holders(host: &Namespace, port: u16) -> Result<Vec<u64>> {
    let filter = format!("sport = :{port}");
    let text = command::output(
        host.command("ss")?
            .args(["-H", "-l", "-t", "-n", "-p"])
            .args(filter.split(' ')),
    )?;
    let rows = text.split("pid=").skip(1);
    let mut pids = rows
        .filter_map(|row| row.split(|digit: char| !digit.is_ascii_digit()).next())
        .map(str::parse)
        .collect::<std::result::Result<Vec<_>, _>>()?;
    pids.sort_unstable();
    Ok(pids)
}

/// How many handshakes at a TCP port have been answered and are not finished, as `ss` lists them.
pub fn unfinished(host: &Namespace, port: u16) -> Result<u64> {
    let filter = format!("state syn-recv sport = :{port}");
    let text = command::output(
        host.command("ss")?
            .args(["-H", "-t", "-n"])
            .args(filter.split(' ')),
    )?;
    Ok(text.lines().count() as u64)
}

fn listeners(host: &Namespace, port: u16) -> Result<String> {
    let filter = format!("sport = :{port}");
    command::output(
        host.command("ss")?
            .args(["-H", "-l", "-t", "-n"])
            .args(filter.split(' ')),
    )
}
