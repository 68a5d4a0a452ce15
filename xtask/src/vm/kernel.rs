//! A kernel out of its packages: the image to boot, and the modules that the scenarios need in the order of loading.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::cpio::Archive;
use super::packages::Downloaded;
use crate::sh;

/// Modules of the lab's links, shapers, filters, IPsec and socket tables. What a kernel has built in, or under another name,
/// is no module of it.
const MODULES: &[&str] = &[
    "veth",
    "tun",
    "dummy",
    "bridge",
    "vxlan",
    "sch_tbf",
    "sch_htb",
    "sch_fq",
    "sch_fq_codel",
    "sch_ingress",
    "sch_netem",
    "cls_bpf",
    "cls_u32",
    "act_bpf",
    "nf_tables",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_nat",
    "nft_chain_nat",
    "nft_nat",
    "nfnetlink",
    "nft_objref",
    "nft_counter",
    "nft_ct",
    "nft_numgen",
    "nft_limit",
    "nft_reject_inet",
    "xfrm_user",
    "esp4",
    "authenc",
    "ansi_cprng",
    "echainiv",
    "inet_diag",
    "tcp_diag",
    "udp_diag",
    "unix_diag",
    "tls",
    "gcm",
    "ghash_generic",
];

/// Where the modules lie in the guest; `order` names them.
const DIRECTORY: &str = "osi/modules";

/// A kernel that can be booted.
pub(super) struct Kernel {
    /// As packages name it.
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// Its modules, as an archive.
    pub(super) modules: Vec<u8>,
}

impl Kernel {
    /// Unpacks the packages, unless they are, and collects the modules.
    pub(super) fn unpack(cache: &Path, downloaded: &Downloaded) -> Result<Self> {
        let root = cache.join("kernels").join(&downloaded.release);
        let done = root.join("unpacked");
        if !done.exists() {
            fs::create_dir_all(&root)
                .with_context(|| format!("cannot create {}", root.display()))?;
            for file in &downloaded.files {
                sh::output(sh::command("dpkg-deb").arg("-x").arg(file).arg(&root))?;
            }
            // From 6.12 on modules lie below /usr, where depmod looks only through the link of a merged system.
            if !root.join("lib").exists() {
                symlink("usr/lib", root.join("lib"))?;
            }
        }
        let release = only_entry(&root.join("lib/modules"))?;
        if !done.exists() {
            sh::output(sh::command("depmod").arg("-b").arg(&root).arg(&release))?;
            fs::write(&done, "")?;
        }
        Ok(Self {
            image: image(&root, &release)?,
            modules: modules(&root, &release)?,
            release,
        })
    }
}

fn only_entry(directory: &Path) -> Result<String> {
    let entry = fs::read_dir(directory)
        .with_context(|| format!("cannot list {}", directory.display()))?
        .next()
        .with_context(|| format!("{} is empty", directory.display()))??;
    Ok(entry.file_name().to_string_lossy().into_owned())
}

fn image(root: &Path, release: &str) -> Result<PathBuf> {
    let places = [root.join("boot"), root.join("lib/modules").join(release)];
    places
        .iter()
        .filter_map(|place| fs::read_dir(place).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        })
        .with_context(|| format!("the packages of {release} hold no vmlinuz"))
}

fn modules(root: &Path, release: &str) -> Result<Vec<u8>> {
    let mut order: Vec<PathBuf> = Vec::new();
    for module in MODULES {
        let mut modprobe = sh::command("modprobe");
        modprobe.arg("--dirname").arg(root);
        // This machine's own settings of modules are not the guest's.
        modprobe.args(["--config", "/dev/null"]);
        modprobe.args(["--set-version", release, "--show-depends", module]);
        // Built in, or not of this kernel: what needs it says so by itself.
        let Ok(text) = sh::output(&mut modprobe) else {
            continue;
        };
        for line in text.lines() {
            let Some(path) = line.strip_prefix("insmod ") else {
                continue;
            };
            let path = PathBuf::from(path.trim());
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    let mut archive = Archive::default();
    let mut names = String::new();
    for path in &order {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let (name, data) = match file.strip_suffix(".xz") {
            Some(name) => (name, unpacked(path)?),
            None => (
                &*file,
                fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
            ),
        };
        let name = format!("/{DIRECTORY}/{name}");
        archive.file(&name, 0o644, &data);
        names.push_str(&name);
        names.push('\n');
    }
    archive.file(&format!("/{DIRECTORY}/order"), 0o644, names.as_bytes());
    Ok(archive.finish())
}

/// Not every insmod unpacks.
fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let mut xz = sh::command("xz");
    xz.args([OsStr::new("-dc"), path.as_os_str()]);
    let done = xz.output().context("cannot start xz")?;
    anyhow::ensure!(
        done.status.success(),
        "cannot unpack {}: {}",
        path.display(),
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(done.stdout)
}
