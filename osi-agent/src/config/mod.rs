//! What the person wants: command line and configuration file, resolved into [`Settings`].

use std::collections::BTreeMap;
use std::time::Duration;

mod cli;

mod exit;

pub(crate) mod file;

mod values;

pub use cli::{Cli, Command, DoctorArgs, SharedArgs, WatchArgs};
pub use exit::{Exit, Failure};
pub use values::{FailOn, LinkSpeed, NetnsChoice, XdpMode};

/// What is measured, where and for how long: the command line over the file over the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Length of a window.
    pub interval: Duration,
    /// Exit after this time.
    pub duration: Option<Duration>,
    /// Interfaces that get programs; empty for all that deserve them.
    pub ifaces: Vec<String>,
    /// What links carry, whatever their devices say.
    pub link_speeds: Vec<LinkSpeed>,
    /// Namespaces in scope.
    pub netns: NetnsChoice,
    /// XDP programs.
    pub xdp: XdpMode,
    /// Whether names of hosts may be read from packets.
    pub names: bool,
    /// Exit with 10 when the final verdict is that bad.
    pub fail_on: Option<FailOn>,
    /// NDJSON instead of text or screen.
    pub json: bool,
    /// Diagnostics of the kernel programs to standard error.
    pub probe_log: bool,
    /// Variants that are forced, as `probe=variant`.
    pub probe_variants: Vec<String>,
    /// Configured limits of causes.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            duration: None,
            ifaces: Vec::new(),
            link_speeds: Vec::new(),
            netns: NetnsChoice::All,
            xdp: XdpMode::Auto,
            names: true,
            fail_on: None,
            json: false,
            probe_log: false,
            probe_variants: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// Limits that the configuration file sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits(BTreeMap<(String, String), f64>);

impl Limits {
    /// The configured limit of a cause, `None` where its default holds.
    pub fn get(&self, cause: &str, name: &str) -> Option<f64> {
        self.0.get(&(cause.to_owned(), name.to_owned())).copied()
    }
}

impl Settings {
    /// Reads the configuration file and puts the command line over it.
    pub fn resolve(args: &WatchArgs) -> Result<Self, Failure> {
        Self::merge(args, file::read(args.shared.config.as_deref())?)
    }

    fn merge(args: &WatchArgs, file: file::FileOptions) -> Result<Self, Failure> {
        let WatchArgs { json, shared } = args;
        let SharedArgs {
            interval,
            duration,
            iface,
            link_speed,
            netns,
            xdp,
            no_names,
            fail_on,
            config: _,
            probe_log,
            probe_variant,
        } = shared;
        let settings = Self {
            interval: interval.or(file.interval).unwrap_or(Duration::from_secs(1)),
            duration: duration.or(file.duration),
            ifaces: if iface.is_empty() {
                file.iface
            } else {
                iface.clone()
            },
            link_speeds: if link_speed.is_empty() {
                file.link_speed
            } else {
                link_speed.clone()
            },
            netns: netns.clone().or(file.netns).unwrap_or(NetnsChoice::All),
            xdp: xdp.or(file.xdp).unwrap_or_default(),
            names: !(*no_names || file.no_names),
            fail_on: fail_on.or(file.fail_on),
            json: *json || file.json,
            probe_log: *probe_log || file.probe_log,
            probe_variants: probe_variant.clone(),
            limits: Limits(file.limits),
        };
        match settings.duration {
            Some(duration) if duration < settings.interval => Err(Failure::usage(format!(
                "a duration of {} is shorter than the interval of {}: no window would complete; give a longer --duration or a shorter --interval",
                humantime::format_duration(duration),
                humantime::format_duration(settings.interval),
            ))),
            Some(_) | None => Ok(settings),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Exit, NetnsChoice, Settings, SharedArgs, WatchArgs, XdpMode, file::FileOptions};

    #[test]
    fn the_command_line_beats_the_file_and_the_file_the_defaults() {
        let shared = SharedArgs {
            interval: Some(Duration::from_secs(3)),
            ..SharedArgs::default()
        };
        let file = FileOptions {
            interval: Some(Duration::from_secs(2)),
            xdp: Some(XdpMode::Off),
            ..FileOptions::default()
        };
        let settings = Settings::merge(&WatchArgs { json: true, shared }, file).expect("valid");
        let expected = Settings {
            interval: Duration::from_secs(3),
            xdp: XdpMode::Off,
            json: true,
            ..Settings::default()
        };
        assert_eq!(settings, expected);
        assert_eq!(settings.netns, NetnsChoice::All);
    }

    #[test]
    fn a_run_holds_at_least_one_window() {
        let shared = SharedArgs {
            duration: Some(Duration::from_millis(500)),
            ..SharedArgs::default()
        };
        let failure = Settings::merge(
            &WatchArgs {
                json: false,
                shared,
            },
            FileOptions::default(),
        );
        assert_eq!(failure.expect_err("too short").exit, Exit::Usage);
    }

    #[test]
    fn a_named_file_must_exist() {
        let shared = SharedArgs {
            config: Some("/nonexistent/config.toml".into()),
            ..SharedArgs::default()
        };
        let failure = Settings::resolve(&WatchArgs {
            json: false,
            shared,
        })
        .expect_err("missing");
        assert_eq!(failure.exit, Exit::Config);
        assert!(
            failure.message.contains("/nonexistent/config.toml"),
            "{failure}"
        );
    }
}
