//! The guest's tools: Debian's, with everything that they depend on.
//!
//! Whatever this machine has or has not, every guest of an architecture finds the same. They are the real ones: an applet
//! of busybox that is found first, or a busybox shell that prefers its own, knows neither namespaces nor half of the options.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use super::cpio::Archive;
use crate::sh;

/// The suite that they are taken from.
pub(super) const SUITE: &str = "bookworm";
/// What the first program and the scenarios start, and what advice tells its reader to type. A scenario that misses one
/// of its tools says so and is counted as unavailable.
pub(super) const PACKAGES: &[&str] = &[
    "dash",
    "coreutils",
    "grep",
    "mount",
    "util-linux",
    "kmod",
    "procps",
    "iproute2",
    "nftables",
    "bpftool",
    "strace",
    "iperf3",
    "nginx-light",
    "haproxy",
    "wrk",
    "ngtcp2-server",
    "ngtcp2-client",
    "dnsmasq-base",
    "bind9-dnsutils",
    "openssl",
    "curl",
    "tcpdump",
    // Names of protocols and services.
    "netbase",
];
/// Links to their namesakes below /usr.
const MERGED: &[&str] = &["bin", "sbin", "lib", "lib64"];
/// What nothing in a guest opens; it would double the file system.
const LEFT_OUT: &[&str] = &[
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/locale",
    "./usr/share/perl*",
    "./usr/lib/*/perl*",
    "./usr/lib/*/gconv",
    "./usr/bin/perl*",
];

/// Unpacks the packages, unless these are, and returns the directory.
pub(super) fn unpack(cache: &Path, packages: &[PathBuf]) -> Result<PathBuf> {
    let root = cache.join("tools");
    let stamp = cache.join("tools.unpacked");
    let names: Vec<_> = packages
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let names = names.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|unpacked| unpacked == names) {
        return Ok(root);
    }
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    for directory in MERGED {
        let merged = format!("usr/{directory}");
        fs::create_dir_all(root.join(&merged))?;
        symlink(&merged, root.join(directory))?;
    }
    for package in packages {
        add(&root, package).with_context(|| format!("cannot unpack {}", package.display()))?;
    }
    fs::write(&stamp, &names).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(root)
}

fn add(root: &Path, package: &Path) -> Result<()> {
    let mut content = sh::command("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()?;
    let pipe = content.stdout.take().context("dpkg-deb has no output")?;
    let mut tar = sh::command("tar");
    // `dpkg-deb -x` would put directories in the place of the links.
    tar.args(["--extract", "--keep-directory-symlink", "--directory"])
        .arg(root)
        .args(LEFT_OUT.iter().map(|path| format!("--exclude={path}")));
    let unpacked = tar.stdin(pipe).status()?;
    ensure!(
        content.wait()?.success() && unpacked.success(),
        "tar: {unpacked}"
    );
    Ok(())
}

/// Puts a directory and all below it into an archive.
pub(super) fn archive(archive: &mut Archive, root: &Path) -> Result<()> {
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        let listed = fs::read_dir(&directory)
            .with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in listed {
            let path = entry?.path();
            let name = path.strip_prefix(root)?.display().to_string();
            let about = path.symlink_metadata()?;
            if about.is_symlink() {
                archive.link(&name, &fs::read_link(&path)?.display().to_string());
            } else if about.is_dir() {
                archive.directory(&name);
                waiting.push(path);
            } else {
                let mode = about.permissions().mode() & 0o777;
                let data =
                    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                archive.file(&name, mode, &data);
            }
        }
    }
    Ok(())
}
