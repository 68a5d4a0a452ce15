//! Certificates of the lab's own, curl, which asks over TLS, and OpenSSL's own server and client.

use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::daemon::{Daemon, READY};
use crate::netns::Namespace;
use crate::{command, counters, server, wait};

/// The name that certificates are for.
pub const NAME: &str = "secure.lab";

/// A certificate that signs itself, and its key; the files go with it.
#[derive(Debug)]
pub struct Certificate {
    directory: PathBuf,
}

impl Certificate {
    /// Makes one that holds for a day from now on.
    pub fn create(host: &Namespace, role: &str) -> Result<Self> {
        Self::create_for(host, role, "1")
    }

    /// Makes one whose time was over yesterday.
    pub fn create_expired(host: &Namespace, role: &str) -> Result<Self> {
        Self::create_for(host, role, "-1")
    }

    fn create_for(host: &Namespace, role: &str, days: &str) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("{}-{role}", host.name()));
        std::fs::create_dir_all(&directory)?;
        let made = Self { directory };
        let request = made.directory.join("request");
        let subject = format!("/CN={NAME}");
        let mut openssl = Command::new("openssl");
        openssl
            .args(["req", "-new", "-nodes", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", &subject]);
        command::output(
            openssl
                .arg("-keyout")
                .arg(made.key())
                .arg("-out")
                .arg(&request),
        )?;
        let names = made.directory.join("names");
        std::fs::write(&names, format!("subjectAltName=DNS:{NAME}\n"))?;
        let mut openssl = Command::new("openssl");
        openssl.args(["x509", "-req", "-days", days]);
        openssl.arg("-extfile").arg(&names).arg("-in").arg(&request);
        openssl.arg("-signkey").arg(made.key());
        command::output(openssl.arg("-out").arg(made.file()))?;
        Ok(made)
    }

    /// The certificate.
    pub fn file(&self) -> PathBuf {
        self.directory.join("certificate")
    }

    /// This certificate and another one in a file that goes with this one, for who trusts both.
    pub fn with(&self, other: &Self) -> Result<PathBuf> {
        let both = [std::fs::read(self.file())?, std::fs::read(other.file())?].concat();
        let file = self.directory.join("both");
        std::fs::write(&file, both)?;
        Ok(file)
    }

    /// Its key.
    pub fn key(&self) -> PathBuf {
        self.directory.join("key")
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("a certificate stays behind: {error}");
        }
    }
}

/// Requests over TLS, one after the other and each on a connection of its own.
#[derive(Clone, Copy, Debug)]
pub struct Requests<'a> {
    /// Whom.
    pub server: SocketAddr,
    /// The certificate that the client trusts.
    pub trusts: &'a Path,
    /// The only version that it speaks, such as `1.2`.
    pub version: &'a str,
    /// How many.
    pub count: u64,
    /// How many of these a second; 0 for as fast as they go.
    pub per_second: u64,
}

/// curl at work.
#[derive(Debug)]
pub struct Curl {
    daemon: Daemon,
}

/// How handshakes ended, as their client tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// How long those took that came to a good end, from the connection's begin; over QUIC from the first datagram to the first packet
    /// of data, in milliseconds.
    pub times: Vec<Duration>,
    /// How many did not.
    pub failed: u64,
}

impl Told {
    /// How many came to a good end.
    pub fn completed(&self) -> u64 {
        self.times.len() as u64
    }
}

/// Starts curl.
pub fn curl(host: &Namespace, requests: Requests<'_>) -> Result<Curl> {
    let Requests {
        server,
        trusts,
        version,
        count,
        per_second,
    } = requests;
    let mut curl = host.command("curl")?;
    curl.args(["-s", "-o", "/dev/null", "-H", "Connection: close"])
        .args(["-w", "%{exitcode} %{time_connect} %{time_appconnect}\\n"])
        .args([
            "--resolve",
            &format!("{NAME}:{}:{}", server.port(), server.ip()),
        ])
        .args([&format!("--tlsv{version}"), "--tls-max", version])
        .args(["--no-sessionid", "--cacert"])
        .arg(trusts);
    if per_second > 0 {
        curl.args(["--rate", &format!("{per_second}/s")]);
    }
    curl.arg(format!("https://{NAME}:{}/[1-{count}]", server.port()));
    let daemon = Daemon::start(curl.stdout(Stdio::piped()).stderr(Stdio::null()))?;
    Ok(Curl { daemon })
}

impl Curl {
    /// Waits for its end.
    pub fn join(mut self) -> Result<Told> {
        let text = std::io::read_to_string(self.daemon.stdout()?)?;
        let mut told = Told::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let mut word = || words.next().context("curl said too little");
            let code: i32 = word()?.parse()?;
            let (connected, secured): (f64, f64) = (word()?.parse()?, word()?.parse()?);
            if code == 0 {
                let time = Duration::try_from_secs_f64(secured - connected)?;
                told.times.push(time);
            } else {
                told.failed += 1;
            }
        }
        Ok(told)
    }
}

/// OpenSSL's own server, which listens.
pub fn serve(host: &Namespace, server: SocketAddr, certificate: &Certificate) -> Result<Daemon> {
    serve_with(host, server, certificate, &[])
}

/// The same with options of its own, such as `-www` to answer requests.
pub fn serve_with(
    host: &Namespace,
    server: SocketAddr,
    certificate: &Certificate,
    options: &[&str],
) -> Result<Daemon> {
    let mut openssl = host.command("openssl")?;
    openssl.args(["s_server", "-quiet", "-accept", &server.port().to_string()]);
    openssl.arg("-cert").arg(certificate.file());
    openssl.arg("-key").arg(certificate.key()).args(options);
    let serving = Daemon::start(openssl.stdout(Stdio::null()).stderr(Stdio::null()))?;
    wait::until("openssl listens", READY, || {
        Ok(counters::is_listening(host, server.port())?.then_some(()))
    })?;
    Ok(serving)
}

/// How OpenSSL's own client says that its handshake ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The version, such as `TLSv1.3`; none where it came to no good end.
    pub version: Option<String>,
    /// Whether it went on with an earlier session, so that nobody had to prove who he is.
    pub resumed: bool,
}

/// Asks once with OpenSSL's own client and these options, and waits until the server closes.
pub fn agree(host: &Namespace, server: SocketAddr, options: &[&str]) -> Result<Agreed> {
    let mut openssl = host.command("openssl")?;
    openssl
        .args(["s_client", "-brief", "-ign_eof", "-servername", NAME])
        .args(["-connect", &server.to_string()])
        .args(options);
    let said = command::diagnostics_with_input(&mut openssl, "GET / HTTP/1.0\r\n\r\n")?;
    let value = |key: &str| said.lines().find_map(|line| line.strip_prefix(key));
    Ok(Agreed {
        version: value("Protocol version: ").map(str::to_owned),
        resumed: value("Signature type: ").is_none(),
    })
}

/// The hello of OpenSSL's own client with these options: one record, as it leaves.
pub fn hello(host: &Namespace, options: &[&str]) -> Result<Vec<u8>> {
    let listener = server::listen(host, (Ipv4Addr::LOCALHOST, 0).into(), 1)?;
    let mut openssl = host.command("openssl")?;
    openssl
        .args(["s_client", "-servername", NAME, "-connect"])
        .arg(listener.local_addr()?.to_string())
        .args(options);
    let _client = Daemon::start(openssl.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let mut stream = wait::until("openssl connects", READY, || match listener.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    })?;
    stream.set_nonblocking(false)?;
    let mut record = vec![0; 5];
    stream.read_exact(&mut record)?;
    let length = u16::from_be_bytes([record[3], record[4]]);
    record.resize(5 + usize::from(length), 0);
    stream.read_exact(&mut record[5..])?;
    Ok(record)
}

/// Names of protocols that a client may offer (`-alpn`), which make its hello longer than a segment.
pub fn many_protocols() -> String {
    const PROTOCOLS: [u8; 8] = *b"abcdefgh";
    const LONG: usize = 200;
    let name = |letter: u8| char::from(letter).to_string().repeat(LONG);
    PROTOCOLS.map(name).join(",")
}

/// OpenSSL's own client, with a hello that does not fit into one segment: it offers many protocols.
pub fn long_hello(host: &Namespace, server: SocketAddr) -> Result<Daemon> {
    let mut openssl = host.command("openssl")?;
    openssl.args(["s_client", "-connect", &server.to_string()]);
    openssl.args(["-alpn", &many_protocols()]);
    Daemon::start(openssl.stdout(Stdio::null()).stderr(Stdio::null()))
}
