//! What a confined process can still do, tried in a process of its own: there is no way back out of it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Output};

use osi_agent::sandbox;

/// Says which of the trials below the process is to make.
const TRIAL: &str = "OSI_SANDBOX_TRIAL";

/// Runs this test again, confined, up to the trial.
fn tried(test: &str) -> Output {
    Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", test, "--nocapture"])
        .env(TRIAL, "1")
        .output()
        .expect("starts")
}

fn is_trial() -> bool {
    std::env::var_os(TRIAL).is_some()
}

fn assert_passed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
}

#[test]
fn the_watcher_reads_and_nothing_else() {
    if !is_trial() {
        return assert_passed(&tried("the_watcher_reads_and_nothing_else"));
    }
    sandbox::begin().expect("begins");
    sandbox::watcher(false, None).expect("is confined");
    assert!(fs::read_to_string("/proc/self/stat").is_ok());
    assert!(UnixDatagram::unbound().is_ok());
    let internet = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.raw_os_error());
    assert_eq!(internet.err(), Some(Some(libc::ENOSYS)));
    // Kernels before 5.13 have no Landlock.
    if fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|all| all.contains("landlock")) {
        let refused = |result: std::io::Result<File>| result.err().map(|error| error.kind());
        assert_eq!(
            refused(File::open("/etc/passwd")),
            Some(ErrorKind::PermissionDenied)
        );
        let new = std::env::temp_dir().join("osi-sandbox");
        assert_eq!(
            refused(File::create(new)),
            Some(ErrorKind::PermissionDenied)
        );
    }
    // Threads that come later are no freer.
    let thread = std::thread::spawn(|| UdpSocket::bind("127.0.0.1:0").is_err());
    assert!(thread.join().expect("joins"));
}

/// The whole process ends, and not only what asked.
#[test]
fn who_runs_a_program_ends() {
    if is_trial() {
        sandbox::helper().expect("is confined");
        let refused = Command::new("/bin/true").exec();
        panic!("still there: {refused}");
    }
    let status = tried("who_runs_a_program_ends").status;
    assert_eq!(status.signal(), Some(libc::SIGSYS));
}
