//! Ways through a TLS handshake that a client and a server seldom take: each is counted by how it ended, on both sides.
//!
//! Each way has a port of its own, so that what is counted is told apart by where.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Daemon;
use osi_tests::netns::Namespace;
use osi_tests::scale;
use osi_tests::secure::{Certificate, agree, hello, many_protocols, serve_with};
use osi_tests::server::{Behaviour, Server, reset_on_close};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, event_count, rows, sum};
use osi_tests::topology::{Family, Pair};

/// Handshakes of each way; more than three failures in a window would be a fault.
const EACH: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(5);
/// The agent gives up after thirty seconds, whatever the client does.
const GIVEN_UP: Duration = Duration::from_secs(45);

/// What the signals of handshakes count.
const SIGNALS: [&str; 7] = [
    TLS_1_3,
    TLS_1_2,
    OLDER,
    CLIENT_ALERTS,
    SERVER_ALERTS,
    ABORTED,
    "tls_no_answer",
];
const TLS_1_3: &str = "tls13_completed";
const TLS_1_2: &str = "tls12_completed";
const OLDER: &str = "tls_older_completed";
const CLIENT_ALERTS: &str = "tls_client_alerts";
const SERVER_ALERTS: &str = "tls_server_alerts";
const ABORTED: &str = "tls_aborted";

/// Words that stand for what only a run knows.
const CERTIFICATE: &str = "<certificate>";
const KEY: &str = "<key>";
const PROTOCOLS: &str = "<protocols>";

/// Options by which the server asks clients for a certificate, and believes none that signs itself.
const ASKS_FOR_ONE: &[&str] = &["-Verify", "1", "-verify_return_error"];
/// By which both sides take what is broken.
const WEAK: &str = "DEFAULT@SECLEVEL=0";

/// A way that OpenSSL's own client and server take.
struct Way {
    /// What it is.
    what: &'static str,
    server: &'static [&'static str],
    client: &'static [&'static str],
    /// Whether all but the first go on with its session.
    resumes: bool,
    /// The version that the client says they agreed on; none where it says that they did not.
    agreed: Option<&'static str>,
    /// What each is counted as.
    counted: &'static [&'static str],
    /// Why it failed, where it did.
    reason: Option<&'static str>,
}

impl Way {
    /// One that comes to a good end in TLS 1.3.
    const GOOD: Self = Self {
        what: "",
        server: &[],
        client: &["-tls1_3"],
        resumes: false,
        agreed: Some("TLSv1.3"),
        counted: &[TLS_1_3],
        reason: None,
    };
    const GOOD_1_2: Self = Self {
        client: &["-tls1_2"],
        agreed: Some("TLSv1.2"),
        counted: &[TLS_1_2],
        ..Self::GOOD
    };
}

#[rustfmt::skip]
const WAYS: &[Way] = &[
    Way { what: "a hello longer than a segment", client: &["-tls1_3", "-alpn", PROTOCOLS], ..Way::GOOD },
    Way { what: "the same with TLS 1.2", client: &["-tls1_2", "-alpn", PROTOCOLS], ..Way::GOOD_1_2 },
    Way { what: "a server that wants another hello", server: &["-groups", "P-384"], ..Way::GOOD },
    Way { what: "the same after a hello longer than a segment", server: &["-groups", "P-384"], client: &["-tls1_3", "-alpn", PROTOCOLS], ..Way::GOOD },
    Way { what: "sessions that go on", resumes: true, ..Way::GOOD },
    Way { what: "sessions that go on by a ticket", resumes: true, ..Way::GOOD_1_2 },
    Way { what: "sessions that go on by their ids", client: &["-tls1_2", "-no_ticket"], resumes: true, ..Way::GOOD_1_2 },
    Way { what: "TLS 1.2 without a ticket", client: &["-tls1_2", "-no_ticket"], ..Way::GOOD_1_2 },
    Way { what: "TLS 1.1", server: &["-cipher", WEAK], client: &["-tls1_1", "-cipher", WEAK], agreed: Some("TLSv1.1"), counted: &[OLDER], ..Way::GOOD },
    Way { what: "TLS 1.0", server: &["-cipher", WEAK], client: &["-tls1", "-cipher", WEAK], agreed: Some("TLSv1"), counted: &[OLDER], ..Way::GOOD },
    Way { what: "a client's certificate that is taken", server: &["-Verify", "1"], client: &["-tls1_3", "-cert", CERTIFICATE, "-key", KEY], ..Way::GOOD },
    Way { what: "the same with TLS 1.2", server: &["-Verify", "1"], client: &["-tls1_2", "-cert", CERTIFICATE, "-key", KEY], ..Way::GOOD_1_2 },
    // The client has ended the handshake before the server looks at its certificate: completed and failed.
    Way { what: "a client's certificate that is refused", server: ASKS_FOR_ONE, client: &["-tls1_3", "-cert", CERTIFICATE, "-key", KEY],
          counted: &[TLS_1_3, SERVER_ALERTS], reason: Some("encrypted_alert"), ..Way::GOOD },
    Way { what: "a client without a certificate", server: ASKS_FOR_ONE, counted: &[TLS_1_3, SERVER_ALERTS], reason: Some("encrypted_alert"), ..Way::GOOD },
    Way { what: "a certificate that is refused in TLS 1.2", server: ASKS_FOR_ONE, client: &["-tls1_2", "-cert", CERTIFICATE, "-key", KEY],
          agreed: None, counted: &[SERVER_ALERTS], reason: Some("unknown_ca"), ..Way::GOOD },
    Way { what: "no certificate in TLS 1.2", server: ASKS_FOR_ONE, client: &["-tls1_2"],
          agreed: None, counted: &[SERVER_ALERTS], reason: Some("handshake_failure"), ..Way::GOOD },
];

/// How a client of the lab, which knows nothing but a hello, goes on.
#[derive(Clone, Copy)]
enum Then {
    /// Sends no more, and reads until the server has done so, too.
    Leaves,
    /// Resets the connection.
    Resets,
    /// Says what only the server could read, as long as an alert, and leaves.
    SaysAlert,
    /// Waits for the server's reset.
    Waits,
}

/// A way that such a client takes.
struct Broken {
    what: &'static str,
    /// Of the hello.
    version: &'static str,
    /// Bytes of it that are a segment of their own.
    first: usize,
    /// A server of the lab that does not know TLS; else OpenSSL's, of which some words are awaited.
    server: Option<Behaviour>,
    then: Then,
    counted: &'static [&'static str],
    reason: Option<&'static str>,
}

impl Broken {
    /// One that ends before the server has said anything.
    const EARLY: Self = Self {
        what: "",
        version: "-tls1_3",
        first: 0,
        server: Some(Behaviour::Hold),
        then: Then::Leaves,
        counted: &[ABORTED],
        reason: Some("aborted_before_server_hello"),
    };
    /// One that ends after the server's hello.
    const LATE: Self = Self {
        server: None,
        reason: Some("aborted_after_server_hello"),
        ..Self::EARLY
    };
    const REFUSED: Self = Self {
        then: Then::SaysAlert,
        counted: &[CLIENT_ALERTS],
        reason: Some("encrypted_alert"),
        ..Self::LATE
    };
}

#[rustfmt::skip]
const BROKEN: &[Broken] = &[
    Broken { what: "a client that leaves before the server's hello", ..Broken::EARLY },
    Broken { what: "a client that resets before the server's hello", then: Then::Resets, ..Broken::EARLY },
    Broken { what: "a server that resets instead of a hello", server: Some(Behaviour::HangUp), then: Then::Waits, ..Broken::EARLY },
    Broken { what: "a client that leaves after the server's hello", ..Broken::LATE },
    Broken { what: "a client that resets after the server's hello", then: Then::Resets, ..Broken::LATE },
    Broken { what: "a client that leaves in TLS 1.2", version: "-tls1_2", ..Broken::LATE },
    Broken { what: "an encrypted alert", ..Broken::REFUSED },
    Broken { what: "a hello of which the first segment has six bytes", first: 6, ..Broken::REFUSED },
    // What it is stands in the sixth byte.
    Broken { what: "a hello of which the first segment has five bytes", first: 5, counted: &[], reason: None, ..Broken::REFUSED },
];

/// The ports of the ways, and of handshakes that nobody answers.
const FIRST_PORT: u16 = 6000;
const SILENT: u16 = 5999;

#[test]
fn each_way_is_counted_by_how_it_ends() -> Result<()> {
    let test = "l6_presentation::tls_paths::each_way_is_counted_by_how_it_ends";
    let Some(_turn) = skip::ready(test, &[Need::Program("openssl")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    // Over IPv6 next to no message fits into a segment.
    let route = "-6 route replace fd00:1::/64 dev eth0 proto kernel metric 256 advmss 160";
    for host in [&pair.client, &pair.server] {
        host.ip(&route.split(' ').collect::<Vec<_>>())?;
    }
    let certificate = Certificate::create(&pair.server, "ways")?;
    let hellos = [
        ("-tls1_3", hello(&pair.client, &["-tls1_3"])?),
        ("-tls1_2", hello(&pair.client, &["-tls1_2"])?),
    ];
    let hello_of = |version: &str| {
        let mut all = hellos.iter().filter(|(known, _)| *known == version);
        all.next().map(|(_, hello)| hello).context("no such hello")
    };
    let agents = [Agent::watch(&pair.client)?, Agent::watch(&pair.server)?];

    let silent = Pair::server_at(Family::V4, SILENT);
    let _silent = Server::start(&pair.server, silent, Behaviour::Hold)?;
    let waiting = (0..EACH).map(|_| connect(&pair.client, silent));
    let mut waiting = waiting.collect::<Result<Vec<_>>>()?;
    for stream in &mut waiting {
        stream.write_all(hello_of("-tls1_3")?)?;
    }
    let mut expected = vec![(SILENT, "a server that says nothing", &["tls_no_answer"][..])];
    let mut reasons = BTreeMap::from([("no_answer", EACH)]);

    let mut running = Running::default();
    let mut ports = FIRST_PORT..;
    for way in WAYS {
        for family in [Family::V4, Family::V6] {
            let port = ports.next().context("no port")?;
            running.take(&pair, way, Pair::server_at(family, port), &certificate)?;
            expected.push((port, way.what, way.counted));
            if let Some(reason) = way.reason {
                *reasons.entry(reason).or_default() += EACH;
            }
        }
    }
    for way in BROKEN {
        let port = ports.next().context("no port")?;
        let server = Pair::server_at(Family::V4, port);
        running.break_off(&pair, way, server, &certificate, hello_of(way.version)?)?;
        expected.push((port, way.what, way.counted));
        if let Some(reason) = way.reason {
            *reasons.entry(reason).or_default() += EACH;
        }
    }

    for agent in &agents {
        agent.wait_for("a handshake to be given up", GIVEN_UP, |line| {
            line.value()["kind"] == "tls_failed" && line.value()["reason"] == "no_answer"
        })?;
    }
    let ended = SystemTime::now();
    for agent in agents {
        agent.wait_for_window(ended, 2)?;
        let lines = agent.stop()?;
        for (port, what, counted) in &expected {
            for id in SIGNALS {
                let offered = if counted.contains(&id) { EACH } else { 0 };
                let told = growth(&lines, id, *port);
                if offered + told > 0 {
                    let what = format!("{id} of {what} (port {port})");
                    stream::ensure_counted(&lines, &what, offered, told)?;
                }
            }
        }
        for (reason, offered) in &reasons {
            let told = event_count(&lines, "tls_failed", |event| event["reason"] == *reason);
            stream::ensure_counted(&lines, reason, *offered, told)?;
        }
        let is_good = |id: &&&str| [TLS_1_3, TLS_1_2, OLDER].contains(*id);
        let all = expected.iter().flat_map(|(_, _, counted)| *counted);
        let completed = EACH * all.filter(is_good).count() as u64;
        let timed = sum(&lines, |map| {
            map.latency("L6", "tls_handshake", "count").unwrap_or(0)
        });
        stream::ensure_counted(&lines, "times", completed, timed)?;
        stream::ensure_none_in_flight(&lines, "L6", "tls_handshake")?;
    }
    drop(waiting);
    Ok(())
}

/// What counts a port has in all windows.
fn growth(lines: &[Line], id: &str, port: u16) -> u64 {
    sum(lines, |map| {
        rows(map.layer("L6"), "counters")
            .filter(|row| row["id"] == id && row["scope"]["port"] == port)
            .filter_map(|row| row["delta"].as_u64())
            .sum()
    })
}

fn connect(client: &Namespace, server: SocketAddr) -> Result<TcpStream> {
    let stream = client.run(|| {
        Ok(TcpStream::connect_timeout(
            &server,
            scale::patience(PATIENCE),
        )?)
    })?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(scale::patience(PATIENCE)))?;
    Ok(stream)
}

/// Servers, which stay until all is counted: a port without a listener is nobody's.
#[derive(Default)]
struct Running {
    openssl: Vec<Daemon>,
    lab: Vec<Server>,
}

impl Running {
    fn take(
        &mut self,
        pair: &Pair,
        way: &Way,
        server: SocketAddr,
        certificate: &Certificate,
    ) -> Result<()> {
        let options = [&["-www"], way.server].concat();
        let serving = serve_with(&pair.server, server, certificate, &options)?;
        self.openssl.push(serving);
        let (file, key) = (certificate.file(), certificate.key());
        let session = file.with_file_name(format!("session-{}", server.port()));
        let (file, key, session) = (
            file.to_string_lossy(),
            key.to_string_lossy(),
            session.to_string_lossy(),
        );
        let protocols = many_protocols();
        let known = [(CERTIFICATE, &*file), (KEY, &key), (PROTOCOLS, &protocols)];
        let word = |word: &&'static str| {
            let mut all = known.iter().filter(|(name, _)| name == word);
            all.next().map_or(*word, |(_, value)| *value)
        };
        for number in 0..EACH {
            let mut options: Vec<&str> = way.client.iter().map(word).collect();
            let goes_on = way.resumes && number > 0;
            if way.resumes {
                options.extend([if goes_on { "-sess_in" } else { "-sess_out" }, &session]);
            }
            let told = agree(&pair.client, server, &options)?;
            ensure!(
                told.version.as_deref() == way.agreed
                    && (told.version.is_none() || told.resumed == goes_on),
                "{} at {server}: {told:?}",
                way.what
            );
        }
        Ok(())
    }

    fn break_off(
        &mut self,
        pair: &Pair,
        way: &Broken,
        server: SocketAddr,
        certificate: &Certificate,
        hello: &[u8],
    ) -> Result<()> {
        if let Some(behaviour) = way.server {
            let serving = Server::start(&pair.server, server, behaviour)?;
            self.lab.push(serving);
        } else {
            let serving = serve_with(&pair.server, server, certificate, &["-www"])?;
            self.openssl.push(serving);
        }
        for _ in 0..EACH {
            let mut stream = connect(&pair.client, server)?;
            let (first, rest) = hello.split_at(way.first);
            stream.write_all(first)?;
            stream.write_all(rest)?;
            if way.server.is_none() {
                stream.read_exact(&mut [0; 5]).context(way.what)?;
            }
            match way.then {
                Then::Leaves => stream.shutdown(Shutdown::Write)?,
                Then::Resets => reset_on_close(&stream)?,
                Then::SaysAlert => {
                    let record = [&[23, 3, 3, 0, 19][..], &[0x5a; 19]].concat();
                    stream.write_all(&record)?;
                    // Nothing of this is a record that the server can open.
                    stream.shutdown(Shutdown::Write)?;
                }
                Then::Waits => {
                    let ended = stream.read(&mut [0]);
                    let is_reset = ended
                        .as_ref()
                        .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
                    ensure!(is_reset, "{}: {ended:?}", way.what);
                }
            }
            if way.server.is_none() && !matches!(way.then, Then::Resets) {
                // To its end, so that closing it is no reset. The server may make one of it.
                let _ended = std::io::copy(&mut stream, &mut std::io::sink());
            }
        }
        Ok(())
    }
}
