//! The configuration file: options by their long names, and limits of causes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::Failure;
use super::values::{self, FailOn, LinkSpeed, NetnsChoice, XdpMode};
use crate::output::text::safe;
use crate::verdict::{Cause, causes};

/// Read where it exists, unless `--config` names another.
pub(super) const DEFAULT_PATH: &str = "/etc/osi-agent/config.toml";

/// Most that a file may have, in bytes.
const LENGTH: u64 = 1 << 20;

/// What the file says, checked.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct FileOptions {
    pub interval: Option<Duration>,
    pub duration: Option<Duration>,
    pub iface: Vec<String>,
    pub link_speed: Vec<LinkSpeed>,
    pub netns: Option<NetnsChoice>,
    pub xdp: Option<XdpMode>,
    pub no_names: bool,
    pub fail_on: Option<FailOn>,
    pub json: bool,
    pub probe_log: bool,
    /// (cause, limit) → value.
    pub limits: BTreeMap<(String, String), f64>,
}

/// The file as written. Unknown keys are errors: a misspelt limit must not pass for a set one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    interval: Option<Spanned<String>>,
    duration: Option<Spanned<String>>,
    #[serde(default)]
    iface: Vec<Spanned<String>>,
    #[serde(default)]
    link_speed: Vec<Spanned<String>>,
    netns: Option<Spanned<String>>,
    xdp: Option<Spanned<String>>,
    #[serde(default)]
    no_names: bool,
    fail_on: Option<Spanned<String>>,
    #[serde(default)]
    json: bool,
    #[serde(default)]
    probe_log: bool,
    #[serde(default)]
    causes: BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, Spanned<f64>>>,
}

/// Reads the file that `--config` names, or the default one where it exists.
pub(super) fn read(named: Option<&Path>) -> Result<FileOptions, Failure> {
    let path = named.unwrap_or(Path::new(DEFAULT_PATH));
    match read_text(path) {
        Ok(text) => parse(&path.display().to_string(), &text, causes()),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok(FileOptions::default())
        }
        Err(error) => Err(Failure::config(format!(
            "{}: can not be read: {error}",
            path.display()
        ))),
    }
}

/// A device or a log that somebody names by mistake must not fill the memory.
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(LENGTH + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > LENGTH {
        let message = format!("it is longer than {LENGTH} bytes, which no configuration is");
        return Err(io::Error::other(message));
    }
    Ok(text)
}

pub(crate) fn parse<'a>(
    path: &str,
    text: &str,
    known: impl Iterator<Item = &'a Cause>,
) -> Result<FileOptions, Failure> {
    let source = Source { path, text };
    let raw: Raw = toml::from_str(text).map_err(|error| {
        let at = error.span().unwrap_or_default();
        source.wrong(&at, &source.key_at(at.start), error.message())
    })?;
    let limits = limits(&source, raw.causes, known)?;
    Ok(FileOptions {
        interval: source.value("interval", raw.interval, values::interval)?,
        duration: source.value("duration", raw.duration, values::duration)?,
        iface: raw
            .iface
            .into_iter()
            .map(|name| source.checked("iface", name, values::iface))
            .collect::<Result<_, _>>()?,
        link_speed: raw
            .link_speed
            .into_iter()
            .map(|speed| source.checked("link_speed", speed, values::link_speed))
            .collect::<Result<_, _>>()?,
        netns: source.value("netns", raw.netns, str::parse)?,
        xdp: source.value("xdp", raw.xdp, str::parse)?,
        no_names: raw.no_names,
        fail_on: source.value("fail_on", raw.fail_on, str::parse)?,
        json: raw.json,
        probe_log: raw.probe_log,
        limits,
    })
}

type RawLimits = BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, Spanned<f64>>>;

fn limits<'a>(
    source: &Source,
    raw: RawLimits,
    known: impl Iterator<Item = &'a Cause>,
) -> Result<BTreeMap<(String, String), f64>, Failure> {
    let known: BTreeMap<&str, &Cause> = known.map(|cause| (cause.id, cause)).collect();
    let mut limits = BTreeMap::new();
    for (id, values) in raw {
        let key = format!("causes.{}", id.get_ref());
        let Some(cause) = known.get(id.get_ref().as_str()) else {
            let message = "no such cause; `osi-agent explain list` lists them";
            return Err(source.wrong(&id.span(), &key, message));
        };
        for (name, value) in values {
            let key = format!("{key}.{}", name.get_ref());
            if !cause
                .thresholds
                .iter()
                .any(|threshold| threshold.name == name.get_ref())
            {
                let names: Vec<_> = cause
                    .thresholds
                    .iter()
                    .map(|threshold| threshold.name)
                    .collect();
                let message = match names.as_slice() {
                    [] => "this cause has no limits".to_owned(),
                    names => format!("no such limit; this cause has {}", names.join(", ")),
                };
                return Err(source.wrong(&name.span(), &key, &message));
            }
            if !value.get_ref().is_finite() || *value.get_ref() < 0.0 {
                return Err(source.wrong(&value.span(), &key, "a limit is a number, 0 or more"));
            }
            limits.insert((cause.id.to_owned(), name.into_inner()), value.into_inner());
        }
    }
    Ok(limits)
}

/// Turns positions in the file into messages that name line and key.
struct Source<'a> {
    path: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn value<T>(
        &self,
        key: &str,
        value: Option<Spanned<String>>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        value
            .map(|value| self.checked(key, value, parse))
            .transpose()
    }

    fn checked<T>(
        &self,
        key: &str,
        value: Spanned<String>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let at = value.span();
        let value = value.into_inner();
        parse(&value)
            .map_err(|why| self.wrong(&at, key, &format!("`{}`: {why}", value.escape_debug())))
    }

    fn wrong(&self, at: &Range<usize>, key: &str, message: &str) -> Failure {
        let line = self.before(at.start).lines().count().max(1)
            + usize::from(self.before(at.start).ends_with('\n'));
        let key = if key.is_empty() {
            String::new()
        } else {
            format!("{key}: ")
        };
        let message = format!(
            "{}, line {line}: {key}{}",
            self.path,
            message.trim().replace('\n', ", ")
        );
        // Keys and values of the file are in it.
        Failure::config(safe(&message))
    }

    fn before(&self, position: usize) -> &str {
        self.text.get(..position).unwrap_or(self.text)
    }

    /// The key on the line of a position, for errors that the parser found.
    fn key_at(&self, position: usize) -> String {
        let start = self
            .before(position)
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let line = self
            .text
            .get(start..)
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default();
        let key = line.split(['=', '#']).next().unwrap_or_default();
        key.trim()
            .trim_matches(['[', ']'])
            .chars()
            .filter(|c| !c.is_control())
            .take(60)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use osi_common::layer::Layer;

    use super::{FileOptions, parse};
    use crate::config::Exit;
    use crate::config::values::{FailOn, NetnsChoice, XdpMode};
    use crate::verdict::{Cause, CauseClass, Onset, Severity, Threshold};

    static LOSS: Cause = Cause {
        id: "packet_loss",
        layer: Layer::L4,
        class: CauseClass::Loss,
        onset: Onset::Statistical,
        severity: Severity::Warn,
        help: "",
        explained_by: &[],
        thresholds: &[Threshold::of("loss_ratio", 0.01)],
        suspects: &[],
        reads: &[],
        detect: |_, _| {},
        advise: |_| Vec::new(),
    };

    fn read(text: &str) -> Result<FileOptions, String> {
        parse("c.toml", text, [&LOSS].into_iter()).map_err(|failure| {
            assert_eq!(failure.exit, Exit::Config);
            failure.message
        })
    }

    #[test]
    fn every_option_by_its_long_name() {
        let options = read(
            "interval = \"2s\"\nduration = \"1min\"\niface = [\"eth0\"]\nnetns = \"web\"\nxdp = \"off\"\nno_names = true\n\
             fail_on = \"warn\"\njson = true\nprobe_log = true\n[causes.packet_loss]\nloss_ratio = 2\n",
        )
        .expect("valid");
        assert_eq!(options.interval.expect("set").as_secs(), 2);
        assert_eq!(options.duration.expect("set").as_secs(), 60);
        assert_eq!(options.iface, ["eth0"]);
        assert_eq!(options.netns, Some(NetnsChoice::Name("web".to_owned())));
        assert_eq!(
            (options.xdp, options.fail_on),
            (Some(XdpMode::Off), Some(FailOn::Warn))
        );
        assert!(options.no_names && options.json && options.probe_log);
        assert_eq!(
            options.limits.into_iter().collect::<Vec<_>>(),
            [(("packet_loss".into(), "loss_ratio".into()), 2.0)]
        );
        assert_eq!(read(""), Ok(FileOptions::default()));
    }

    #[test]
    fn errors_name_line_and_key() {
        for (text, parts) in [
            ("\ninterval = \"1ms\"", ["line 2: interval: ", "100ms"]),
            ("interval = 5", ["line 1: interval: ", "expected a string"]),
            (
                "# c\n\nintervall = \"1s\"",
                ["line 3: intervall: ", "unknown field"],
            ),
            ("netns = \"a/b\"", ["line 1: netns: ", "slash"]),
            ("xdp = \"on\"", ["line 1: xdp: ", "native"]),
            ("json = \"yes\"", ["line 1: json: ", "boolean"]),
            (
                "[causes.rain]\nx = 1",
                ["line 1: causes.rain: ", "no such cause"],
            ),
            (
                "[causes.packet_loss]\n\nloss = 1",
                ["line 3: causes.packet_loss.loss: ", "loss_ratio"],
            ),
            (
                "[causes.packet_loss]\nloss_ratio = -1",
                ["line 2: causes.packet_loss.loss_ratio: ", "0 or more"],
            ),
            (
                "[causes.packet_loss]\nloss_ratio = nan",
                ["line 2: causes.packet_loss.loss_ratio: ", "0 or more"],
            ),
            ("json = true\njson = true", ["line 2: json: ", "duplicate"]),
            ("interval = ", ["line 1: interval: ", ""]),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.starts_with("c.toml, "), "{message}");
            assert!(
                parts.iter().all(|part| message.contains(part)),
                "{text:?}: {message}"
            );
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
