//! Real servers of three kinds with the real clients that ask them: redis, PostgreSQL over TLS, and nginx with a file.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::daemon::{Daemon, READY};
use crate::netns::Namespace;
use crate::{command, counters, processes, wait};

/// Where Debian keeps each version's programs.
const POSTGRES: &str = "/usr/lib/postgresql";
/// PostgreSQL refuses to run as root; its package makes this user.
const POSTGRES_USER: &str = "postgres";

/// Which server, and how it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// redis-benchmark asks for a key.
    Redis,
    /// pgbench selects a row; every connection speaks TLS.
    Postgres,
    /// curl fetches a file.
    Nginx,
}

impl Kind {
    /// Programs that it takes.
    pub const fn programs(self) -> [&'static str; 2] {
        match self {
            Self::Redis => ["redis-server", "redis-benchmark"],
            Self::Postgres => ["pg_createcluster", "pgbench"],
            Self::Nginx => ["nginx", "curl"],
        }
    }

    /// What its clients say first: it is answered.
    pub const fn greeting(self) -> &'static [u8] {
        match self {
            Self::Redis => b"PING\r\n",
            // SSLRequest, of eight bytes.
            Self::Postgres => &[0, 0, 0, 8, 4, 210, 22, 47],
            Self::Nginx => b"GET /file HTTP/1.0\r\n\r\n",
        }
    }

    /// How many more messages arrive of so many clients in one run than in another: those of PostgreSQL say goodbye and end TLS,
    /// which is read as one or as two.
    pub const fn farewells(self, clients: u64) -> u64 {
        match self {
            Self::Redis | Self::Nginx => 0,
            Self::Postgres => clients,
        }
    }

    /// How the kernel calls the process that answers.
    pub const fn comm(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Postgres => "postgres",
            Self::Nginx => "nginx",
        }
    }
}

/// What a client says of its requests.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// How many were answered.
    pub answered: u64,
    /// How long half of them took at most, from the moment that it was sent until its answer was read.
    pub median: Duration,
}

impl Asked {
    fn of(times: &[Duration]) -> Result<Self> {
        let mut times = times.to_vec();
        times.sort_unstable();
        let median = times.get(times.len() / 2);
        Ok(Self {
            answered: times.len() as u64,
            median: *median.context("the client tells no time")?,
        })
    }
}

/// A running server; it and its files are gone when this is dropped.
#[derive(Debug)]
pub struct Real {
    kind: Kind,
    address: SocketAddr,
    process: Daemon,
    directory: PathBuf,
}

impl Real {
    /// Starts it and waits until it listens and has what it will be asked for.
    pub fn start(host: &Namespace, kind: Kind, address: SocketAddr) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("{}-{}", host.name(), kind.comm()));
        fs::create_dir_all(&directory)?;
        let mut command = match kind {
            Kind::Redis => redis(host, &directory, address)?,
            Kind::Postgres => postgres(host, &directory, address)?,
            Kind::Nginx => nginx(host, &directory, address)?,
        };
        let process = Daemon::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let server = Self {
            kind,
            address,
            process,
            directory,
        };
        wait::until("the server listens", READY, || {
            Ok(counters::is_listening(host, address.port())?.then_some(()))
        })?;
        if kind == Kind::Postgres {
            // It listens before it lets anybody in.
            let mut fill = host.command("pgbench")?;
            fill.args(["--initialize", "--quiet"]).arg(uri(address));
            wait::until("the database is filled", READY, || {
                Ok(command::output(&mut fill).ok())
            })?;
        }
        Ok(server)
    }

    /// Stops all of its processes (SIGSTOP), or lets them go on (SIGCONT).
    pub fn signal(&self, signal: Signal) -> Result<()> {
        for child in processes::children(self.process.pid())? {
            let child = Pid::from_raw(child.cast_signed()).context("a child has no pid")?;
            kill_process(child, signal).context("a child is gone")?;
        }
        self.process.signal(signal)
    }

    /// Runs its client, which asks so many times over so many connections.
    pub fn ask(&self, host: &Namespace, connections: u64, requests: u64) -> Result<Asked> {
        let mut client = self.client(host, connections, requests)?;
        let log = self.directory.join(format!("asked-{requests}"));
        match self.kind {
            Kind::Redis => client.arg("--csv"),
            Kind::Postgres => client.arg("--log").arg("--log-prefix").arg(&log),
            Kind::Nginx => client.args(["--write-out", "%{time_total}\n"]),
        };
        let said = command::output(&mut client)?;
        match self.kind {
            Kind::Redis => benchmarked(&said, requests),
            Kind::Postgres => Asked::of(&logged(&log)?),
            Kind::Nginx => Asked::of(&transferred(&said)?),
        }
    }

    /// The same beside the caller, until it is dropped.
    pub fn keep_asking(&self, host: &Namespace, connections: u64, requests: u64) -> Result<Daemon> {
        let mut client = self.client(host, connections, requests)?;
        Daemon::start(client.stdout(Stdio::null()).stderr(Stdio::null()))
    }

    fn client(&self, host: &Namespace, connections: u64, requests: u64) -> Result<Command> {
        let (address, port) = (
            self.address.ip().to_string(),
            self.address.port().to_string(),
        );
        let mut client = host.command(self.kind.programs()[1])?;
        match self.kind {
            Kind::Redis => client
                .args(["-h", &address, "-p", &port, "-t", "get"])
                .args(["-c", &connections.to_string()])
                .args(["-n", &requests.to_string()]),
            Kind::Postgres => client
                .args(["--no-vacuum", "--select-only"])
                .args(["-c", &connections.to_string()])
                .args(["-t", &(requests / connections).to_string()])
                .arg(uri(self.address)),
            Kind::Nginx => client
                .args(["--silent", "--output", "/dev/null", "--parallel"])
                .args(["--parallel-max", &connections.to_string()])
                .arg(format!("http://{}/file?[1-{requests}]", self.address)),
        };
        Ok(client)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // TERM lets nginx take its worker along, INT ends PostgreSQL whoever is still connected; neither wakes who is stopped.
        let end = match self.kind {
            Kind::Redis | Kind::Nginx => Signal::TERM,
            Kind::Postgres => Signal::INT,
        };
        let stopped = self
            .signal(Signal::CONT)
            .and_then(|()| self.process.signal(end))
            .and_then(|()| self.process.ended())
            .and_then(|()| Ok(fs::remove_dir_all(&self.directory)?));
        if let Err(error) = stopped {
            eprintln!("{:?} did not stop cleanly: {error:#}", self.kind);
        }
    }
}

/// What redis-benchmark says: a line of names, a line of values, all in quotes. It asks exactly as often as it was told to.
fn benchmarked(said: &str, requests: u64) -> Result<Asked> {
    let rows = said.lines().filter(|line| line.starts_with('"'));
    let rows: Vec<Vec<_>> = rows
        .map(|line| line.split(',').map(|word| word.trim_matches('"')).collect())
        .collect();
    let [names, values] = &rows[..] else {
        bail!("redis-benchmark said {said:?}");
    };
    let at = names.iter().position(|name| *name == "p50_latency_ms");
    let median = at.and_then(|at| values.get(at));
    let ms: f64 = median.context("no median is told")?.parse()?;
    Ok(Asked {
        answered: requests,
        median: Duration::from_secs_f64(ms / 1e3),
    })
}

/// What pgbench wrote of each transaction into files of this name and more: the third word of a line is its time in microseconds.
fn logged(prefix: &Path) -> Result<Vec<Duration>> {
    let (directory, name) = (prefix.parent(), prefix.file_name());
    let directory = directory.context("a file without a directory")?;
    let name = format!(
        "{}.",
        name.context("a file without a name")?.to_string_lossy()
    );
    let mut times = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(&name) {
            continue;
        }
        for line in fs::read_to_string(entry.path())?.lines() {
            let time = line.split(' ').nth(2);
            let time = time.with_context(|| format!("pgbench wrote {line:?}"))?;
            times.push(Duration::from_micros(time.parse()?));
        }
    }
    Ok(times)
}

/// What curl says of each transfer: how long it took in all, in seconds. When it sends is not told where several go on at once.
fn transferred(said: &str) -> Result<Vec<Duration>> {
    let of_line = |line: &str| Ok(Duration::try_from_secs_f64(line.parse()?)?);
    said.lines().map(of_line).collect()
}

fn redis(host: &Namespace, directory: &Path, address: SocketAddr) -> Result<Command> {
    let mut redis = host.command("redis-server")?;
    redis
        .args(["--bind", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        .args(["--save", "", "--protected-mode", "no", "--dir"])
        .arg(directory);
    Ok(redis)
}

fn nginx(host: &Namespace, directory: &Path, address: SocketAddr) -> Result<Command> {
    let root = directory.display();
    fs::write(directory.join("file"), [b'o'; 4096])?;
    let config = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {root}/pid;\nerror_log {root}/error.log;\n\
         events {{ }}\nhttp {{ access_log off; keepalive_requests 1000000; client_body_temp_path {root}/body;\n\
         proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi;\n\
         scgi_temp_path {root}/scgi; server {{ listen {address}; root {root}; }} }}\n"
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, config)?;
    let mut nginx = host.command("nginx")?;
    nginx.arg("-p").arg(directory).arg("-c").arg(file);
    Ok(nginx)
}

fn postgres(host: &Namespace, directory: &Path, address: SocketAddr) -> Result<Command> {
    let programs = programs()?;
    let data = directory.join("data");
    let (key, certificate) = (directory.join("key.pem"), directory.join("certificate.pem"));
    command::output(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes"])
            .args(["-subj", "/CN=lab", "-days", "1", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    )?;
    command::output(
        Command::new("chown")
            .args(["--recursive", &format!("{POSTGRES_USER}:")])
            .arg(directory),
    )?;
    let mut make = as_its_user(Command::new("setpriv"));
    let make = make
        .arg(programs.join("initdb"))
        .args(["--no-sync", "--auth=trust", "-D"]);
    command::output(make.arg(&data))?;
    fs::write(data.join("pg_hba.conf"), "hostssl all all all trust\n")?;
    let mut server = as_its_user(host.command("setpriv")?);
    server
        .arg(programs.join("postgres"))
        .arg("-D")
        .arg(&data)
        .args(["-c", "ssl=on", "-c", "unix_socket_directories="])
        .args(["-c", &format!("ssl_key_file={}", key.display())])
        .args(["-c", &format!("ssl_cert_file={}", certificate.display())])
        .args(["-c", &format!("listen_addresses={}", address.ip())])
        .args(["-c", &format!("port={}", address.port())]);
    Ok(server)
}

fn as_its_user(mut setpriv: Command) -> Command {
    setpriv
        .args(["--reuid", POSTGRES_USER, "--regid", POSTGRES_USER])
        .args(["--clear-groups", "--"])
        .current_dir("/");
    setpriv
}

/// The programs of the newest version.
fn programs() -> Result<PathBuf> {
    let listed = fs::read_dir(POSTGRES).with_context(|| format!("cannot read {POSTGRES}"))?;
    let versions: Vec<PathBuf> = listed
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    let newest = versions.into_iter().max().context("no version of it")?;
    Ok(newest.join("bin"))
}

fn uri(address: SocketAddr) -> String {
    format!("postgresql://{POSTGRES_USER}@{address}/postgres?sslmode=require")
}
