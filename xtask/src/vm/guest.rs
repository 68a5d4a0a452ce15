//! One guest: started, listened to, ended.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::kernel::Kernel;
use crate::architecture::Architecture;
use crate::sh;

/// How a guest's instructions are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// By the processor.
    Kvm,
    /// By translation, many times slower.
    Tcg,
}

/// What carries a guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) architecture: &'static Architecture,
    pub(super) accelerator: Accelerator,
    /// Whether other guests have the CPUs first.
    pub(super) gives_way: bool,
}

/// What a guest's priority is lowered by: it has a quarter of what it competes for.
const NICE: &str = "6";
/// A working KVM prints the first line within two seconds.
const FIRST_LINE: Duration = Duration::from_secs(20);
/// No scenario is silent for so long: the healthy minute takes four, and twice as long where guests share the CPUs with a compiler.
const SILENCE: Duration = Duration::from_mins(20);
const MEMORY: &str = "1024";

/// What a guest said, and how it ended.
pub(super) struct Ended {
    pub(super) lines: Vec<String>,
    /// Why its time was cut, if it was.
    pub(super) cut: Option<String>,
    pub(super) took: Duration,
}

/// Finds out by trying: a device file says nothing about whether guests run, least of all inside a guest.
pub(super) fn accelerator(
    architecture: &'static Architecture,
    kernel: &Kernel,
    file_system: &Path,
    log: &Path,
) -> Accelerator {
    let device = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    if device.is_err() || !architecture.is_native() {
        return Accelerator::Tcg;
    }
    let how = How {
        architecture,
        accelerator: Accelerator::Kvm,
        gives_way: false,
    };
    let attempt = Console::start(how, kernel, file_system, log).and_then(|mut guest| {
        let first = guest.lines.recv_timeout(FIRST_LINE);
        guest.end()?;
        Ok(first.is_ok())
    });
    if attempt.unwrap_or(false) {
        Accelerator::Kvm
    } else {
        eprintln!("vm: there is a /dev/kvm, and no guest starts with it: emulating");
        Accelerator::Tcg
    }
}

/// Boots a kernel and listens until the machine is off, for as long as `limit`. `hear` is told every line as it comes.
pub(super) fn run(
    how: How,
    kernel: &Kernel,
    file_system: &Path,
    log: &Path,
    limit: Duration,
    hear: impl Fn(&str),
) -> Result<Ended> {
    let began = Instant::now();
    let mut transcript =
        File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut guest = Console::start(how, kernel, file_system, &log.with_extension("qemu"))?;
    let mut lines = Vec::new();
    let cut = loop {
        let left = limit.saturating_sub(began.elapsed());
        match guest.lines.recv_timeout(left.min(SILENCE)) {
            Ok(line) => {
                writeln!(transcript, "{line}")?;
                hear(&line);
                lines.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) if left <= SILENCE => {
                break Some(format!(
                    "it was still running after {} min",
                    limit.as_secs() / 60
                ));
            }
            Err(RecvTimeoutError::Timeout) => {
                break Some(format!("it was silent for {} min", SILENCE.as_secs() / 60));
            }
        }
    };
    guest.end()?;
    Ok(Ended {
        lines,
        cut,
        took: began.elapsed(),
    })
}

/// A running guest and the lines of its serial console.
struct Console {
    qemu: Child,
    lines: Receiver<String>,
}

impl Console {
    fn start(how: How, kernel: &Kernel, file_system: &Path, complaints: &Path) -> Result<Self> {
        let mut qemu = qemu(how, kernel, file_system)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(complaints)?)
            .spawn()
            .with_context(|| format!("cannot start {}", how.architecture.machine.program))?;
        let stdout = qemu.stdout.take().context("qemu has no standard output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut bytes = Vec::new();
            while reader
                .read_until(b'\n', &mut bytes)
                .is_ok_and(|read| read > 0)
            {
                let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                bytes.clear();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { qemu, lines })
    }

    fn end(&mut self) -> Result<()> {
        // Fails for a guest that has ended by itself.
        let _ended = self.qemu.kill();
        self.qemu.wait().context("cannot wait for qemu")?;
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ended = self.end();
    }
}

fn qemu(how: How, kernel: &Kernel, file_system: &Path) -> Command {
    let machine = &how.architecture.machine;
    let mut command = if how.gives_way {
        let mut nice = sh::command("nice");
        nice.args(["-n", NICE, machine.program]);
        nice
    } else {
        sh::command(machine.program)
    };
    command.args(machine.board);
    match how.accelerator {
        Accelerator::Kvm => command.args(["-accel", "kvm", "-cpu", "host"]),
        // One thread for both processors: with two, a kernel that patches itself may run what was just replaced (seen
        // with 7.3 and QEMU 7.2: an int3 that nobody expects). It leaves the other core to another guest.
        Accelerator::Tcg => {
            command.args(["-accel", "tcg,thread=single", "-cpu", machine.processor])
        }
    };
    command.args(["-m", MEMORY, "-smp", "2", "-nodefaults", "-no-reboot"]);
    command.args(["-display", "none", "-monitor", "none", "-serial", "stdio"]);
    command.arg("-kernel").arg(&kernel.image);
    command.arg("-initrd").arg(file_system);
    command.arg("-append").arg(format!(
        "console={} loglevel=3 panic=-1 mitigations=off nokaslr rdinit=/init",
        machine.console
    ));
    command
}

/// Everything that a guest finds, as one file: archives, of which the kernel unpacks one after the other.
pub(super) fn file_system(
    directory: &Path,
    archives: &[&[u8]],
    kernel: &Kernel,
) -> Result<PathBuf> {
    let path = directory.join(format!("{}.cpio", kernel.release));
    fs::write(&path, [&archives.concat(), &*kernel.modules].concat())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
