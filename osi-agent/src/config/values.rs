//! Values of options: what a namespace, an interval or an interface name may be. The command line and the file share them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use crate::verdict::{Severity, VerdictState};

/// Which network namespaces are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetnsChoice {
    /// Every one on the host.
    All,
    /// The agent's own.
    Current,
    /// One of /run/netns.
    Name(String),
    /// A namespace file, such as /proc/123/ns/net.
    Path(PathBuf),
    /// The one that a process lives in.
    Pid(u32),
}

impl FromStr for NetnsChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(pid) = text.strip_prefix("pid:") {
            let pid = pid.parse().ok().filter(|pid| *pid > 0);
            return pid
                .map(Self::Pid)
                .ok_or_else(|| "after `pid:` comes a process id, as in pid:1234".to_owned());
        }
        match text {
            "all" => Ok(Self::All),
            "current" => Ok(Self::Current),
            "" | "." | ".." => {
                Err("want all, current, a name from `ip netns`, a /path or pid:N".to_owned())
            }
            path if path.starts_with('/') => Ok(Self::Path(path.into())),
            name if name.contains('/') => {
                Err("a name from `ip netns` has no slash, a path begins with one".to_owned())
            }
            name => Ok(Self::Name(name.to_owned())),
        }
    }
}

impl fmt::Display for NetnsChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Current => f.write_str("current"),
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
        }
    }
}

/// Whether and how XDP programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum XdpMode {
    /// Only on drivers where attaching is known to be harmless
    #[default]
    Auto,
    /// In the driver: resets the link and halves the queues on some
    Native,
    /// In the network stack: slower, touches no driver
    Generic,
    /// Never
    Off,
}

impl FromStr for XdpMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as ValueEnum>::from_str(text, false)
            .map_err(|_| "want auto, native, generic or off".to_owned())
    }
}

/// How bad the final verdict must be for exit code 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A warning or worse
    Warn,
    /// Critical only
    Critical,
}

impl FailOn {
    /// Whether a final verdict of this state is bad enough.
    pub fn hit(self, state: VerdictState) -> bool {
        let limit = match self {
            Self::Warn => Severity::Warn,
            Self::Critical => Severity::Critical,
        };
        match state {
            VerdictState::Ok => false,
            VerdictState::Warn => Severity::Warn >= limit,
            VerdictState::Critical => true,
        }
    }
}

impl FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as ValueEnum>::from_str(text, false).map_err(|_| "want warn or critical".to_owned())
    }
}

/// A duration as people write it: 500ms, 1s, 2min.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write 500ms, 1s, 2min"))
}

/// A window: long enough to measure something, short enough to be one.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    let bounds = Duration::from_millis(100)..=Duration::from_hours(1);
    bounds
        .contains(&interval)
        .then_some(interval)
        .ok_or_else(|| "an interval is between 100ms and 1h".to_owned())
}

/// The name of an interface, as the kernel would take it (`dev_valid_name`).
pub(super) fn iface(text: &str) -> Result<String, String> {
    let wrong = text.is_empty()
        || text.len() > 15
        || matches!(text, "." | "..")
        || text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    if wrong {
        Err("no interface can have this name".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// What a link carries, whatever its device says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSpeed {
    /// Name of the interface.
    pub iface: String,
    /// Bits per second, each way.
    pub bits_per_s: u64,
}

/// An interface and a rate as tc writes it: eth0=1gbit.
pub(super) fn link_speed(text: &str) -> Result<LinkSpeed, String> {
    let (name, rate) = text
        .split_once('=')
        .ok_or_else(|| "write it as eth0=1gbit".to_owned())?;
    let units = [("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3), ("bit", 1.0)];
    let lower = rate.to_ascii_lowercase();
    let bits = units.iter().find_map(|(unit, factor)| {
        let number: f64 = lower.strip_suffix(unit)?.parse().ok()?;
        Some(number * factor)
    });
    let bits = bits.filter(|bits| (1e3..1e13).contains(bits));
    Ok(LinkSpeed {
        iface: iface(name)?,
        bits_per_s: bits.ok_or_else(|| "a rate is 1kbit to 9999gbit, as in 250mbit".to_owned())?
            as u64,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FailOn, NetnsChoice, iface, interval, link_speed};
    use crate::verdict::VerdictState;

    #[test]
    fn namespaces_are_told_apart_and_shown_as_given() {
        for (text, choice) in [
            ("all", NetnsChoice::All),
            ("current", NetnsChoice::Current),
            ("web", NetnsChoice::Name("web".to_owned())),
            ("/proc/7/ns/net", NetnsChoice::Path("/proc/7/ns/net".into())),
            ("pid:7", NetnsChoice::Pid(7)),
        ] {
            assert_eq!(text.parse(), Ok(choice.clone()));
            assert_eq!(choice.to_string(), text);
        }
        for wrong in ["", "..", "a/b", "pid:", "pid:0", "pid:x"] {
            assert!(wrong.parse::<NetnsChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn intervals_have_bounds() {
        assert_eq!(interval("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(interval("1h"), Ok(Duration::from_hours(1)));
        for wrong in ["99ms", "61min", "0s", "1", "fast", "-1s"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn impossible_interface_names_are_refused() {
        assert_eq!(iface("eth0.100"), Ok("eth0.100".to_owned()));
        for wrong in ["", ".", "a b", "a/b", "a:b", "sixteen_letters_"] {
            assert!(iface(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn link_speeds_are_written_as_for_tc() {
        for (text, bits) in [
            ("e=1gbit", 1_000_000_000),
            ("e=2.5Mbit", 2_500_000),
            ("e=64kbit", 64_000),
        ] {
            assert_eq!(link_speed(text).map(|speed| speed.bits_per_s), Ok(bits));
        }
        for wrong in [
            "e",
            "e=",
            "e=1",
            "e=fast",
            "=1gbit",
            "e=-1gbit",
            "e=infgbit",
            "e=nanbit",
        ] {
            assert!(link_speed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fail_on_warn_includes_critical() {
        let bad = [VerdictState::Ok, VerdictState::Warn, VerdictState::Critical];
        assert_eq!(
            bad.map(|state| FailOn::Warn.hit(state)),
            [false, true, true]
        );
        assert_eq!(
            bad.map(|state| FailOn::Critical.hit(state)),
            [false, false, true]
        );
    }
}
