//! Packages of kernels and tools: which ones the machine's own mirror offers now, and their files.
//!
//! Mirrors drop superseded versions, so none is written down. Lists and packages are kept in a private apt directory;
//! the system's apt is asked where its mirror is and otherwise left alone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use self::index::{Index, Kernel, Package};
use super::series::Series;
use super::tools;
use crate::architecture::Architecture;
use crate::setup::needs::KEYRING;
use crate::sh;

mod index;

/// How old the lists may be.
const FRESH: Duration = Duration::from_hours(12);
/// An index may name packages that its pool no longer holds; so many kernels are tried, newest first.
const TRIES: usize = 4;

/// The private apt directory of an architecture.
pub(super) struct Packages {
    directory: PathBuf,
    architecture: &'static Architecture,
    index: Index,
    /// Locked: the lists of another run's kernels would take the place of these while they are read.
    _alone: File,
}

/// A kernel's packages, downloaded and checked.
pub(super) struct Downloaded {
    /// As packages name it, such as `6.1.0-9-cloud-amd64`.
    pub(super) release: String,
    pub(super) files: Vec<PathBuf>,
}

impl Packages {
    /// Opens the directory, and brings the lists of what `series` need up to date.
    pub(super) fn open(
        cache: &Path,
        architecture: &'static Architecture,
        series: &[&Series],
    ) -> Result<Self> {
        let directory = cache.join("apt");
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let alone = File::create(directory.join("lock"))?;
        alone.lock()?;
        let mut packages = Self {
            directory,
            architecture,
            index: Index::of(architecture.debian),
            _alone: alone,
        };
        for part in ["lists/partial", "archives/partial", "sources.d", "debs"] {
            let path = packages.directory.join(part);
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {}", path.display()))?;
        }
        // apt is told that nothing is installed.
        fs::write(packages.directory.join("status"), "")?;
        packages.update(&sources(architecture, series)?)?;
        packages.index = packages.read_index()?;
        Ok(packages)
    }

    /// Brings the lists up to date, unless they are.
    fn update(&self, sources: &str) -> Result<()> {
        let file = self.directory.join("sources.d/kernels.sources");
        let stamp = self.directory.join("updated");
        let age = fs::metadata(&stamp)
            .and_then(|file| file.modified())
            .ok()
            .and_then(|time| SystemTime::now().duration_since(time).ok());
        let same = fs::read_to_string(&file).is_ok_and(|text| text == sources);
        if same && age.is_some_and(|age| age < FRESH) {
            return Ok(());
        }
        fs::write(&file, sources).with_context(|| format!("cannot write {}", file.display()))?;
        // A suite that has left the mirror is an error of the whole update; the lists of the others are there then.
        eprintln!("vm: bringing the lists of kernel packages up to date");
        match sh::output(self.apt("apt-get").args(["--quiet=2", "update"])) {
            Ok(_) => fs::write(&stamp, "")?,
            Err(error) => eprintln!("vm: {error:#}; going on with the lists that are there"),
        }
        Ok(())
    }

    /// The tools with everything that they depend on.
    pub(super) fn tools(&self) -> Result<Vec<PathBuf>> {
        let mut install = self.apt("apt-get");
        install.args(["--quiet=2", "--yes", "--no-install-recommends"]);
        install.args(["--target-release", tools::SUITE]);
        sh::output(
            install
                .args(["--download-only", "install"])
                .args(tools::PACKAGES),
        )?;
        // What has been superseded since goes.
        sh::output(self.apt("apt-get").args(["--quiet=2", "autoclean"]))?;
        let archives = self.directory.join("archives");
        let mut files = Vec::new();
        for entry in fs::read_dir(&archives)
            .with_context(|| format!("cannot list {}", archives.display()))?
        {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// The newest kernel of a series whose packages can be had.
    pub(super) fn fetch(&self, series: &Series) -> Result<Downloaded> {
        let kernels = self.index.kernels(series.version);
        if kernels.is_empty() {
            bail!("the mirror offers no kernel of the series {}", series.name);
        }
        let mut refusals = Vec::new();
        for kernel in kernels.iter().take(TRIES) {
            match self.download(kernel) {
                Ok(files) => {
                    return Ok(Downloaded {
                        release: kernel.release.clone(),
                        files,
                    });
                }
                Err(error) => refusals.push(format!("{}: {error:#}", kernel.release)),
            }
        }
        bail!("no kernel can be downloaded: {}", refusals.join("; "))
    }

    /// Which kernels the lists name.
    fn read_index(&self) -> Result<Index> {
        let mut index = Index::of(self.architecture.debian);
        let names = sh::output(self.apt("apt-cache").args(["pkgnames", "linux-"]))?;
        let names: Vec<_> = names.lines().filter(|name| index.is_kernel(name)).collect();
        if !names.is_empty() {
            index.read(&sh::output(self.apt("apt-cache").arg("show").args(names))?);
        }
        Ok(index)
    }

    fn download(&self, kernel: &Kernel) -> Result<Vec<PathBuf>> {
        let directory = self.directory.join("debs");
        let mut files = Vec::new();
        for package in &kernel.packages {
            let file = directory.join(&package.file);
            if !is_intact(&file, package) {
                sh::output(
                    self.apt("apt-get")
                        .current_dir(&directory)
                        .args(["--quiet=2", "download"])
                        .arg(format!("{}={}", package.name, package.version)),
                )?;
            }
            if !is_intact(&file, package) {
                bail!("{} is not what the index says it is", file.display());
            }
            files.push(file);
        }
        Ok(files)
    }

    fn apt(&self, program: &str) -> Command {
        let at = |part: &str| self.directory.join(part).display().to_string();
        let mut command = sh::command(program);
        for option in [
            "Dir::Etc::SourceList=/dev/null".to_owned(),
            format!("Dir::Etc::SourceParts={}", at("sources.d")),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::State::Status={}", at("status")),
            "Debug::NoLocking=true".to_owned(),
            format!("Dir::Cache={}", self.directory.display()),
            format!("Dir::Cache::Archives={}", at("archives")),
            // Its own user could not write here.
            "APT::Sandbox::User=".to_owned(),
            format!("APT::Architecture={}", self.architecture.debian),
            format!("APT::Architectures::={}", self.architecture.debian),
            // Nothing but the packages' names is wanted.
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ] {
            command.arg("--option").arg(option);
        }
        command
    }
}

fn is_intact(file: &Path, package: &Package) -> bool {
    file.is_file()
        && sh::output(sh::command("sha256sum").arg(file))
            .is_ok_and(|text| text.split_whitespace().next() == Some(package.sha256.as_str()))
}

/// apt's own description of where the suites are, from the mirrors that this machine uses.
fn sources(architecture: &Architecture, series: &[&Series]) -> Result<String> {
    let targets = sh::output(sh::command("apt-get").args([
        "indextargets",
        "--format",
        "$(LABEL)\t$(REPO_URI)\t$(CREATED_BY)",
    ]))?;
    let mirror = |label: &str| {
        targets.lines().find_map(|line| {
            let mut words = line.split('\t');
            (words.next()? == label).then(|| words.next())?
        })
    };
    let suites = |more: &[&'static str], of: fn(&Series) -> &'static [&'static str]| {
        let mut suites = more.to_vec();
        suites.extend(series.iter().flat_map(|series| of(series)));
        suites.sort_unstable();
        suites.dedup();
        suites.join(" ")
    };
    let Some(archive) = mirror("Debian") else {
        bail!(
            "this machine's package sources name no Debian mirror, and kernels are taken from there; \
             add one to /etc/apt/sources.list.d and run `apt-get update`"
        );
    };
    let mut text = stanza(
        architecture,
        archive,
        &suites(&[tools::SUITE], |series| series.suites),
    );
    let security = suites(&[], |series| series.security);
    match mirror("Debian-Security") {
        Some(mirror) if !security.is_empty() => {
            text.push_str(&stanza(architecture, mirror, &security));
        }
        Some(_) | None => {}
    }
    Ok(text)
}

fn stanza(architecture: &Architecture, mirror: &str, suites: &str) -> String {
    let architecture = architecture.debian;
    format!(
        "Types: deb\nURIs: {mirror}\nSuites: {suites}\nComponents: main\nArchitectures: {architecture}\n\
         Signed-By: {KEYRING}\n\n"
    )
}
