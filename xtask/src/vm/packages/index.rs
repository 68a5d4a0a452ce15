//! Which packages make a bootable kernel.
//!
//! Debian's cloud kernels have what a virtual machine needs and are a third of the size of the general ones.
//! Until 6.18 one package `linux-image` holds all; later ones are split into `linux-binary` and `linux-modules`,
//! and `linux-image` is an empty package that depends on both.

/// Packages below this many bytes hold no kernel.
const EMPTY: u64 = 1 << 20;

/// One version of one package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// Name of its file.
    pub(super) file: String,
    pub(super) sha256: String,
    size: u64,
}

/// What has to be unpacked together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// Without the flavour: `6.1.0-9`.
    pub(super) release: String,
    pub(super) packages: Vec<Package>,
}

/// The packages that belong to kernels of an architecture.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// How the names of our kernels end.
    flavour: String,
    packages: Vec<Package>,
}

impl Index {
    /// An empty one.
    pub(super) fn of(architecture: &str) -> Self {
        Self {
            flavour: format!("-cloud-{architecture}"),
            packages: Vec::new(),
        }
    }

    /// Whether a package of this name belongs to a kernel that we boot.
    pub(super) fn is_kernel(&self, name: &str) -> bool {
        self.part(name).is_some()
    }

    /// Which part of a kernel it is, and of which release.
    fn part<'a>(&self, name: &'a str) -> Option<(&'static str, &'a str)> {
        let name = name.strip_prefix("linux-")?;
        let name = name.strip_suffix("-unsigned").unwrap_or(name);
        let name = name.strip_suffix(&self.flavour)?;
        let (part, release) = ["image", "binary", "modules"]
            .into_iter()
            .find_map(|part| Some((part, name.strip_prefix(part)?.strip_prefix('-')?)))?;
        let release = release.strip_prefix("unsigned-").unwrap_or(release);
        release
            .starts_with(|first: char| first.is_ascii_digit())
            .then_some((part, release))
    }

    /// Adds what `apt-cache show` prints.
    pub(super) fn read(&mut self, text: &str) {
        self.packages.extend(text.split("\n\n").filter_map(package));
    }

    /// The kernels of a series, newest first.
    pub(super) fn kernels(&self, series: &[u64]) -> Vec<Kernel> {
        let mut found: Vec<(Vec<u64>, Kernel)> = self
            .packages
            .iter()
            .filter(|package| numbers(&package.version).starts_with(series))
            .filter_map(|package| {
                let (part, release) = self.part(&package.name)?;
                let packages = match part {
                    "image" if package.size > EMPTY => vec![package.clone()],
                    "binary" => vec![package.clone(), self.modules(release)?.clone()],
                    _ => return None,
                };
                let kernel = Kernel {
                    release: release.to_owned(),
                    packages,
                };
                Some((numbers(&package.version), kernel))
            })
            .collect();
        found.sort_by(|(a, _), (b, _)| b.cmp(a));
        // Signed and unsigned packages hold the same kernel.
        found.dedup_by(|(_, a), (_, b)| a.release == b.release);
        found.into_iter().map(|(_, kernel)| kernel).collect()
    }

    fn modules(&self, release: &str) -> Option<&Package> {
        self.packages
            .iter()
            .find(|package| self.part(&package.name) == Some(("modules", release)))
    }
}

/// One paragraph of `apt-cache show`.
fn package(paragraph: &str) -> Option<Package> {
    let field = |name: &str| {
        paragraph
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    Some(Package {
        name: field("Package")?.to_owned(),
        version: field("Version")?.to_owned(),
        file: field("Filename")?.rsplit('/').next()?.to_owned(),
        sha256: field("SHA256")?.to_owned(),
        size: field("Size")?.parse().ok()?,
    })
}

/// The numbers in a version, in order: close enough to Debian's own order among versions of one package.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|other: char| !other.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Index;

    const INDEX: &str = "\
Package: linux-image-6.1.0-9-cloud-amd64
Version: 6.1.27-1
Size: 26000000
Filename: pool/main/l/linux/a.deb
SHA256: 00

Package: linux-image-6.1.0-10-cloud-amd64-unsigned
Version: 6.1.37-1
Size: 26000000
Filename: pool/main/l/linux/b.deb
SHA256: 01

Package: linux-image-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1~bpo13+1
Size: 1900
Filename: pool/main/l/linux/meta.deb
SHA256: 02

Package: linux-binary-unsigned-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1~bpo13+1
Size: 13000000
Filename: pool/main/l/linux/c.deb
SHA256: 03

Package: linux-modules-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1~bpo13+1
Size: 22000000
Filename: pool/main/l/linux/d.deb
SHA256: 04

Package: linux-binary-7.1.9+deb13-cloud-amd64
Version: 7.1.9-1~bpo13+1
Size: 13000000
Filename: pool/main/l/linux/e.deb
SHA256: 05
";

    #[test]
    fn names_of_kernels() {
        let index = Index::of("amd64");
        assert!(index.is_kernel("linux-image-6.1.0-9-cloud-amd64"));
        assert!(index.is_kernel("linux-binary-unsigned-7.3.4+deb13-cloud-amd64"));
        for other in [
            "linux-image-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64-dbg",
            "linux-image-6.1.0-9-amd64",
            "linux-image-6.1.0-9-cloud-arm64",
            "linux-headers-6.1.0-9-cloud-amd64",
        ] {
            assert!(!index.is_kernel(other), "{other}");
        }
    }

    #[test]
    fn newest_first_and_only_whole_ones() {
        let mut index = Index::of("amd64");
        index.read(INDEX);
        let files = |series: &[u64]| -> Vec<Vec<String>> {
            index
                .kernels(series)
                .into_iter()
                .map(|kernel| {
                    kernel
                        .packages
                        .into_iter()
                        .map(|package| package.file)
                        .collect()
                })
                .collect()
        };
        assert_eq!(files(&[6, 1]), [["b.deb"], ["a.deb"]]);
        // 7.1.9 has lost its modules, and the 7.3.4 of 1,900 bytes is empty.
        assert_eq!(files(&[7]), [["c.deb", "d.deb"]]);
        assert!(files(&[6, 12]).is_empty());
    }
}
