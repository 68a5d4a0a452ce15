//! The eBPF linker, built against the LLVM that the pinned compiler itself carries.
//!
//! The compiler hands it bitcode, so its LLVM must be no older than the compiler's.
//! rustup's toolchains ship that very library, with the BPF back end and the C interface in it:
//! no LLVM package has to exist for the machine's release (docs/adr/0001).

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::sh;

const VERSION: &str = "0.13.0";

/// Whether the linker that a build would find is the pinned one, runs, and understands the compiler.
pub(super) fn is_usable() -> bool {
    let is_pinned = sh::output(sh::command("bpf-linker").arg("--version"))
        .is_ok_and(|text| text.trim() == format!("bpf-linker {VERSION}"));
    is_pinned && linker_llvm().is_ok_and(|linker| rustc_llvm().is_ok_and(|rustc| linker >= rustc))
}

/// Builds and installs it, into cargo's own directory of programs.
pub(super) fn install() -> Result<()> {
    let sysroot = sh::sysroot()?;
    let link_directory = link_directory(&sysroot.join("lib"))?;
    eprintln!("setup: building bpf-linker {VERSION}: one to two minutes on two cores, once");
    sh::run(
        sh::cargo()
            .args(["install", "bpf-linker", "--version", VERSION])
            .args(["--locked", "--force", "--no-default-features"])
            .arg("--features")
            .arg(format!("llvm-{}", rustc_llvm()?))
            // Its release profile keeps full debug information: a fifth of the time, 40 MB.
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            // Where the linker looks for LLVM, now and (as its run path) later.
            .env("LLVM_PREFIX", &sysroot)
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                format!("-L\u{1f}native={}", link_directory.display()),
            ),
    )?;
    if !is_usable() {
        bail!(
            "the bpf-linker that is found first is {}, which is not the {VERSION} just installed; \
             remove it or put cargo's programs first on the path",
            sh::which("bpf-linker").unwrap_or_default().display()
        );
    }
    Ok(())
}

/// A directory with the toolchain's LLVM under the one name that the build asks for.
fn link_directory(toolchain_lib: &Path) -> Result<PathBuf> {
    let library = fs::read_dir(toolchain_lib)
        .with_context(|| format!("cannot read {}", toolchain_lib.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("libLLVM.so."))
        })
        .with_context(|| {
            format!(
                "{} holds no libLLVM.so.*: use a toolchain from rustup, \
                 or install bpf-linker {VERSION} by hand",
                toolchain_lib.display()
            )
        })?;
    let directory = sh::target_dir().join("bpf-linker-llvm");
    fs::create_dir_all(&directory)?;
    let link = directory.join("libLLVM.so");
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    symlink(&library, &link).with_context(|| format!("cannot create {}", link.display()))?;
    Ok(directory)
}

/// The major version of LLVM in the linker, which prints it when LLVM itself is asked.
fn linker_llvm() -> Result<u32> {
    let text = sh::output(sh::command("bpf-linker").args([
        "--target=bpfel",
        "--output=/dev/null",
        "--llvm-args=--version",
        "/dev/null",
    ]))?;
    llvm_major(&text)
}

/// The major version of LLVM in the pinned compiler.
fn rustc_llvm() -> Result<u32> {
    llvm_major(&sh::output(
        sh::command("rustc").arg("--version").arg("--verbose"),
    )?)
}

/// Reads `LLVM version 22.1.8` (LLVM's words) and `LLVM version: 22.1.2` (the compiler's).
fn llvm_major(text: &str) -> Result<u32> {
    text.split_once("LLVM version")
        .and_then(|(_, rest)| rest.trim_start_matches([':', ' ']).split('.').next())
        .and_then(|major| major.parse().ok())
        .with_context(|| format!("no LLVM version in: {text}"))
}

#[cfg(test)]
mod tests {
    use super::llvm_major;

    #[test]
    fn reads_the_llvm_version_of_compiler_and_linker() {
        let rustc = "release: 1.95.0\nLLVM version: 22.1.2\n";
        let debian = "Debian LLVM version 22.1.8\n  Optimized build.\n";
        let own = "LLVM (http://llvm.org/):\n  LLVM version 22.1.2-rust-1.95.0-stable\n";
        for text in [rustc, debian, own] {
            assert_eq!(llvm_major(text).unwrap(), 22, "{text}");
        }
        assert!(llvm_major("bpf-linker 0.13.0").is_err());
    }
}
