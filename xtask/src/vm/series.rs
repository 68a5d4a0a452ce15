//! The table of kernel series: which kernels are tried, and which Debian suites carry them.

use std::str::FromStr;

use anyhow::{Error, bail};

/// One row.
#[derive(Debug)]
pub(super) struct Series {
    /// As it is asked for and shown.
    pub(super) name: &'static str,
    /// The upstream version begins with these numbers.
    pub(super) version: &'static [u64],
    /// Suites of the Debian archive.
    pub(super) suites: &'static [&'static str],
    /// Suites of the security archive.
    pub(super) security: &'static [&'static str],
    /// Whether it is tried when none is named.
    pub(super) default: bool,
}

/// Every series, oldest first.
pub(super) const SERIES: &[Series] = &[
    Series {
        // No drop reasons, no BPF loops, memory of maps counted against the process.
        name: "5.10",
        version: &[5, 10],
        suites: &["bullseye"],
        security: &["bullseye-security"],
        default: true,
    },
    Series {
        // Drop reasons, and no TCX.
        name: "6.1",
        version: &[6, 1],
        suites: &["bookworm"],
        security: &["bookworm-security"],
        default: true,
    },
    Series {
        name: "6.12",
        version: &[6, 12],
        suites: &["trixie"],
        security: &["trixie-security"],
        default: false,
    },
    Series {
        name: "6.18",
        version: &[6, 18],
        suites: &["trixie-backports"],
        security: &[],
        default: false,
    },
    Series {
        // The newest that Debian has.
        name: "7.x",
        version: &[7],
        suites: &["trixie-backports", "sid"],
        security: &[],
        default: true,
    },
];

/// A series by its name, as the command line takes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named(pub(super) &'static Series);

impl FromStr for Named {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some(series) = SERIES.iter().find(|series| series.name == text) else {
            let names: Vec<_> = SERIES.iter().map(|series| series.name).collect();
            bail!("no such series; there are {}", names.join(", "));
        };
        Ok(Self(series))
    }
}

/// The series to try.
pub(super) fn chosen(named: &[Named], all: bool) -> Vec<&'static Series> {
    SERIES
        .iter()
        .filter(|series| {
            let is_named = named.iter().any(|named| named.0.name == series.name);
            all || is_named || named.is_empty() && series.default
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Named, chosen};

    #[test]
    fn named_default_and_all() {
        let names = |named: &[Named], all| -> Vec<_> {
            chosen(named, all)
                .iter()
                .map(|series| series.name)
                .collect()
        };
        assert_eq!(names(&[], false), ["5.10", "6.1", "7.x"]);
        assert_eq!(names(&["6.12".parse().unwrap()], false), ["6.12"]);
        assert_eq!(names(&[], true).len(), 5);
        assert!("4.4".parse::<Named>().is_err());
    }
}
