//! Real servers: nginx and iperf3; killed when they are dropped.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::netns::Namespace;
use crate::secure::Certificate;
use crate::{command, counters, processes, scale, wait};

/// Those of TLS that are not broken.
const VERSIONS: &str = "TLSv1.2 TLSv1.3";

pub(crate) const READY: Duration = Duration::from_secs(10);

/// A child that does not outlive its owner.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
}

impl Daemon {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("the daemon is gone")
    }

    /// What it says on standard output, where that was piped; once.
    pub(crate) fn stdout(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("its output is not piped")
    }

    /// The same of its errors.
    pub(crate) fn stderr(&mut self) -> Result<ChildStderr> {
        self.child.stderr.take().context("its errors are not piped")
    }

    /// Waits until it has ended well.
    pub(crate) fn ended(&mut self) -> Result<()> {
        self.wait(READY)
    }

    fn wait(&mut self, timeout: Duration) -> Result<()> {
        let child = &mut self.child;
        let status = wait::until("the daemon ends", timeout, || Ok(child.try_wait()?))?;
        ensure!(status.success(), "the daemon ended with {status}");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            for outcome in [self.child.kill(), self.child.wait().map(drop)] {
                if let Err(error) = outcome {
                    eprintln!("cannot end process {}: {error}", self.child.id());
                }
            }
        }
    }
}

/// A process that waits for a line on its standard input before it does what it is for.
#[derive(Debug)]
pub struct Waiting {
    daemon: Daemon,
    input: ChildStdin,
}

impl Waiting {
    /// Starts it.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let input = child.stdin.take().context("it has no input")?;
        Ok(Self {
            daemon: Daemon { child },
            input,
        })
    }

    /// Lets it begin.
    pub fn go(&mut self) -> Result<()> {
        Ok(self.input.write_all(b"go\n")?)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }
}

/// nginx with one worker that answers every request with `ok`.
#[derive(Debug)]
pub struct Nginx<'a> {
    host: &'a Namespace,
    address: SocketAddr,
    directory: PathBuf,
    master: Daemon,
}

impl<'a> Nginx<'a> {
    /// Starts it and waits until it listens.
    pub fn start(host: &'a Namespace, address: SocketAddr) -> Result<Self> {
        Self::start_with(host, address, "", &page("/", "return 200 ok;"))
    }

    /// The same, but `/404`, `/500` and so on are answered with these codes.
    pub fn start_with_errors(host: &'a Namespace, address: SocketAddr) -> Result<Self> {
        let errors = [301, 404, 500, 503].map(|code| {
            let path = format!("= /{code}");
            page(&path, &format!("return {code};"))
        });
        let pages = errors.concat() + &page("/", "return 200 ok;");
        Self::start_with(host, address, "", &pages)
    }

    /// The same, but the answer takes more than a minute: it leaves at 20 bytes a second on a machine at full speed.
    pub fn start_slow(host: &'a Namespace, address: SocketAddr) -> Result<Self> {
        let body = "slow ".repeat(400);
        Self::start_with(
            host,
            address,
            "",
            &page(
                "/",
                &format!("limit_rate {}; return 200 \"{body}\";", scale::rate(20)),
            ),
        )
    }

    /// The same, but over TLS of these versions, such as `TLSv1.2 TLSv1.3`. It closes before the client's last words come, which
    /// the kernel answers with a reset.
    pub fn start_tls(
        host: &'a Namespace,
        address: SocketAddr,
        certificate: &Certificate,
        versions: &str,
    ) -> Result<Self> {
        Self::start_with(host, address, " ssl", &secured(certificate, versions))
    }

    /// The same, and by the same worker without TLS at another address.
    pub fn start_tls_beside(
        host: &'a Namespace,
        address: SocketAddr,
        certificate: &Certificate,
        plain: SocketAddr,
    ) -> Result<Self> {
        let pages = format!("listen {plain}; {}", secured(certificate, VERSIONS));
        Self::start_with(host, address, " ssl", &pages)
    }

    fn start_with(
        host: &'a Namespace,
        address: SocketAddr,
        over: &str,
        pages: &str,
    ) -> Result<Self> {
        let port = address.port();
        let directory = std::env::temp_dir().join(format!("{}-nginx-{port}", host.name()));
        std::fs::create_dir_all(&directory)?;
        std::fs::write(
            directory.join("nginx.conf"),
            config(&directory, &format!("{address}{over}"), pages),
        )?;
        let master = launch(host, &directory, address)?;
        Ok(Self {
            host,
            address,
            directory,
            master,
        })
    }

    /// Stops its workers (SIGSTOP), or lets them go on (SIGCONT).
    pub fn signal_workers(&self, signal: Signal) -> Result<()> {
        for worker in self.workers()? {
            let worker = Pid::from_raw(worker.cast_signed()).context("a worker has no pid")?;
            kill_process(worker, signal).context("a worker is gone")?;
        }
        Ok(())
    }

    /// Process ids of its workers.
    pub fn workers(&self) -> Result<Vec<u32>> {
        processes::children(self.master.pid())
    }

    /// A graceful reload, as `nginx -s reload` does it.
    pub fn reload(&self) -> Result<()> {
        self.master.signal(Signal::HUP)
    }

    /// A clean stop of the old and a start of a new one.
    pub fn restart(&mut self) -> Result<()> {
        self.master.signal(Signal::QUIT)?;
        self.master.wait(READY)?;
        self.master = launch(self.host, &self.directory, self.address)?;
        Ok(())
    }
}

impl Drop for Nginx<'_> {
    fn drop(&mut self) {
        // TERM lets the master take its worker along; the daemon's own drop would orphan it.
        let stopped = self
            .master
            .signal(Signal::TERM)
            .and_then(|()| self.master.wait(READY))
            .and_then(|()| Ok(std::fs::remove_dir_all(&self.directory)?));
        if let Err(error) = stopped {
            eprintln!("nginx did not stop cleanly: {error:#}");
        }
    }
}

fn launch(host: &Namespace, directory: &Path, address: SocketAddr) -> Result<Daemon> {
    let daemon = Daemon::start(
        host.command("nginx")?
            .arg("-p")
            .arg(directory)
            .arg("-c")
            .arg(directory.join("nginx.conf"))
            .stderr(Stdio::null()),
    )?;
    wait::until("nginx listens", READY, || {
        Ok(counters::is_listening(host, address.port())?.then_some(()))
    })?;
    Ok(daemon)
}

fn secured(certificate: &Certificate, versions: &str) -> String {
    format!(
        "ssl_protocols {versions}; ssl_certificate {}; ssl_certificate_key {}; {}",
        certificate.file().display(),
        certificate.key().display(),
        page("/", "return 200 ok;")
    )
}

fn page(path: &str, answer: &str) -> String {
    format!("location {path} {{ {answer} }} ")
}

fn config(directory: &Path, listens: &str, pages: &str) -> String {
    let directory = directory.display();
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {directory}/pid;\nerror_log {directory}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n access_log off;\n client_body_temp_path {directory}/body;\n proxy_temp_path {directory}/proxy;\n\
          fastcgi_temp_path {directory}/fastcgi;\n uwsgi_temp_path {directory}/uwsgi;\n scgi_temp_path {directory}/scgi;\n\
          server {{ listen {listens}; {pages}}}\n}}\n"
    )
}

/// An iperf3 server for one test, then it ends.
pub fn iperf3_server(host: &Namespace, port: u16) -> Result<Daemon> {
    let port_text = port.to_string();
    let daemon = Daemon::start(
        host.command("iperf3")?
            .args(["-s", "-1", "-p", &port_text])
            .stdout(Stdio::null()),
    )?;
    wait::until("iperf3 listens", READY, || {
        Ok(counters::is_listening(host, port)?.then_some(()))
    })?;
    Ok(daemon)
}

/// Runs an iperf3 client against it for some seconds; the bytes that arrived.
pub fn iperf3_bytes(host: &Namespace, server: SocketAddr, seconds: u64) -> Result<u64> {
    let (address, port, seconds) = (
        server.ip().to_string(),
        server.port().to_string(),
        seconds.to_string(),
    );
    let report = command::json(
        host.command("iperf3")?
            .args(["-J", "-c", &address, "-p", &port, "-t", &seconds]),
    )?;
    report["end"]["sum_received"]["bytes"]
        .as_u64()
        .context("iperf3 reports no bytes")
}
