//! Builds the eBPF programs with the pinned stable compiler and leaves them in `OUT_DIR` for `include_bytes_aligned!`.

use anyhow::Context as _;
use aya_build::{Package, Toolchain, build_ebpf};

/// The compiler of rust-toolchain.toml; its LLVM must be the one bpf-linker is built with.
const TOOLCHAIN: &str = "1.95.0";

fn main() -> anyhow::Result<()> {
    // SAFETY: a build script is single-threaded here. Only the inner cargo inherits the variables: `-Z build-std=core` needs
    // the first on a stable compiler, and no other crate of this build sees it; without the second every line of progress
    // would come out as a warning of this crate, and again with each later build.
    unsafe {
        std::env::set_var("RUSTC_BOOTSTRAP", "1");
        std::env::set_var("CARGO_TERM_QUIET", "true");
    }
    // Asked when it runs: a build directory that several checkouts share keeps the script of one of them.
    let manifest_dir =
        std::env::var("CARGO_MANIFEST_DIR").context("run this by cargo: it names the crate")?;
    let root_dir = format!("{manifest_dir}/../osi-ebpf");
    println!("cargo:rerun-if-changed={manifest_dir}/../osi-common/src");
    let package = Package {
        name: "osi-ebpf",
        root_dir: &root_dir,
        no_default_features: false,
        features: &[],
    };
    build_ebpf([package], Toolchain::Custom(TOOLCHAIN))
        .context("run `cargo xtask setup` to install what the eBPF build needs")
}
