//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use super::values::{self, FailOn, LinkSpeed, NetnsChoice, XdpMode};

/// Which OSI layer broke? Measures every layer of this host from inside the kernel with eBPF,
/// shows how close each one is to saturation, and names the one to fix.
#[derive(Debug, Parser)]
#[command(name = "osi-agent", version, max_term_width = 100, after_help = AFTER_HELP)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the live fault map: seven layers, their saturation, and the one that broke
    ///
    /// On a terminal a full-screen view (press ? in it), otherwise one block of text per window.
    #[command(after_help = WATCH_HELP)]
    Watch(Box<WatchArgs>),

    /// Tell what this host lets us see, and what stays blind; changes nothing
    ///
    /// Lists every probe with the variant that this kernel takes or the reason why none does, other eBPF programs on
    /// our hooks, the risk of XDP per interface, and privileges.
    Doctor(DoctorArgs),

    /// Explain a cause, layer, signal or kernel drop reason: what it means, how to confirm it
    #[command(after_help = EXPLAIN_HELP)]
    Explain {
        /// Its name as any output shows it, in any case; `list` lists all that are known
        name: String,
    },

    /// Print the JSON Schema of the NDJSON stream
    Schema,

    /// Print a completion script
    ///
    /// For bash: osi-agent completions bash > /etc/bash_completion.d/osi-agent
    Completions {
        /// Shell to complete for
        shell: Shell,
    },

    /// Read the host for the process at the other end of standard input
    #[command(name = crate::helper::COMMAND, hide = true)]
    Helper,

    /// Print the manual page
    ///
    /// To read it: osi-agent man | man -l -
    Man,
}

/// Options of `watch`.
#[derive(Debug, Default, Args)]
pub struct WatchArgs {
    /// Write the NDJSON stream to standard output: one object a line, see `osi-agent schema`
    #[arg(long)]
    pub json: bool,

    /// What is measured, where and for how long.
    #[command(flatten)]
    pub shared: SharedArgs,
}

/// Options that every measuring command shares. Absent ones come from the configuration file, else the default.
#[derive(Debug, Default, Args)]
pub struct SharedArgs {
    /// Length of a window, 100ms to 1h [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = values::interval)]
    pub interval: Option<Duration>,

    /// Exit after this time [default: run until stopped]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub duration: Option<Duration>,

    /// Attach packet programs to these interfaces only; counters are always read for all
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',', value_parser = values::iface)]
    pub iface: Vec<String>,

    /// What a link really carries, as in eth0=1gbit: where the device does not know, or the provider allows less
    ///
    /// Holds for interfaces of the namespace whose interfaces get programs: the own one, or the one of --netns.
    #[arg(long, value_name = "IFACE=RATE", num_args = 1.., value_delimiter = ',', value_parser = values::link_speed)]
    pub link_speed: Vec<LinkSpeed>,

    /// Network namespaces to watch: all, current, NAME, /path or pid:N [default: all]
    ///
    /// A single one limits every probe, event, finding and counter to it, so that one container can be watched alone.
    /// Resources that the whole host shares stay visible, with scope `host`.
    #[arg(long, value_name = "WHICH")]
    pub netns: Option<NetnsChoice>,

    /// XDP programs [default: auto]
    ///
    /// Attaching in native mode resets the link with several drivers, halves the queues with others, and an empty
    /// program on veth cuts bulk throughput to a fifth. `auto` therefore attaches only where it is known to be
    /// harmless; `doctor` tells for each interface.
    #[arg(long, value_name = "MODE", value_enum)]
    pub xdp: Option<XdpMode>,

    /// Show no names of DNS queries and TLS servers and no paths of HTTP requests; none leaves the kernel
    #[arg(long)]
    pub no_names: bool,

    /// Exit with 10 when the final verdict is that bad
    #[arg(long, value_name = "SEVERITY", value_enum)]
    pub fail_on: Option<FailOn>,

    /// Configuration file [default: /etc/osi-agent/config.toml, where it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print the diagnostics of the kernel programs to standard error
    #[arg(long)]
    pub probe_log: bool,

    /// Try only this variant of a probe, as in tc=clsact: for tests of the ladders
    #[arg(long, value_name = "PROBE=VARIANT", hide = true)]
    pub probe_variant: Vec<String>,
}

/// Options of `doctor`.
#[derive(Debug, Default, Args)]
pub struct DoctorArgs {
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  sudo osi-agent watch                         the live map
  sudo osi-agent watch --json | jq .verdict    the same for programs
  sudo osi-agent doctor                        what can be seen on this host, and what can not
  osi-agent explain ephemeral_ports_exhausted  what a verdict means, and what to do

Exit codes:
  0  done                        4  this kernel can run no probe
  1  failed while running        5  configuration file wrong
  2  wrong usage                10  --fail-on hit
  3  not enough privilege      141  standard output was closed

Nothing on the host is changed: programs are attached for as long as the agent runs, and gone with it.";

const WATCH_HELP: &str = "\
Examples:
  sudo osi-agent watch --netns pid:$(pgrep -o nginx)
      only the network namespace (the container) that nginx runs in
  sudo osi-agent watch --duration 30s --fail-on critical >map.txt || echo broken
      for scripts: 30 windows as text, exit code 10 when it ends critical
  sudo osi-agent watch --json | jq -c 'select(.type==\"finding\")'
      what opened, changed and was resolved

Configuration file (TOML): the options above by their long names with underscores, and limits of causes:
  interval = \"2s\"
  iface = [\"eth0\"]
  [causes.packet_loss]
  ratio = 0.02
`osi-agent explain CAUSE` lists a cause's limits. The command line beats the file.";

const EXPLAIN_HELP: &str = "\
Examples:
  osi-agent explain L4
  osi-agent explain packet_filtered
  osi-agent explain NETFILTER_DROP
  osi-agent explain list";

impl Cli {
    /// The completion script for a shell.
    pub fn completions(shell: Shell) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Self::command(), "osi-agent", &mut script);
        script
    }

    /// The manual page in roff: the program, then each command. One page for all: there is none per command to refer to.
    pub fn man() -> Vec<u8> {
        let mut command = Self::command();
        command.build();
        let subs: Vec<_> = command
            .get_subcommands()
            .filter(|sub| sub.get_name() != "help")
            .collect();
        let man = clap_mangen::Man::new(command.clone());
        let mut page = Vec::new();
        // Writing to memory can not fail; what is missing would be seen by the test.
        let _ = man.render_title(&mut page);
        let _ = man.render_name_section(&mut page);
        let _ = man.render_synopsis_section(&mut page);
        let _ = man.render_description_section(&mut page);
        let _ = man.render_options_section(&mut page);
        page.extend(b".SH COMMANDS\nEach has a section of its own below.\n");
        for sub in &subs {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            page.extend(format!(".TP\n\\fB{}\\fR\n{about}\n", sub.get_name()).into_bytes());
        }
        let _ = man.render_extra_section(&mut page);
        let _ = man.render_version_section(&mut page);
        for sub in subs {
            page.extend(
                format!(".SH \"COMMAND {}\"\n", sub.get_name().to_uppercase()).into_bytes(),
            );
            let man = clap_mangen::Man::new(sub.clone());
            let mut part = Vec::new();
            let _ = man.render_synopsis_section(&mut part);
            let _ = man.render_description_section(&mut part);
            let _ = man.render_options_section(&mut part);
            page.extend(demote(&String::from_utf8_lossy(&part)).into_bytes());
        }
        page
    }
}

/// Sections of a command become subsections of its own section.
fn demote(roff: &str) -> String {
    roff.lines()
        .map(|line| {
            line.strip_prefix(".SH ")
                .map_or_else(|| format!("{line}\n"), |rest| format!(".SS {rest}\n"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};
    use clap_complete::Shell;

    use super::{Cli, Command};

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_shows_help_and_ends_with_2() {
        let error = Cli::try_parse_from(["osi-agent"]).expect_err("no command");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("Exit codes:"));
    }

    #[test]
    fn several_interfaces_in_either_way() {
        for args in [
            ["--iface", "a", "b"].as_slice(),
            &["--iface", "a,b"],
            &["--iface", "a", "--iface", "b"],
        ] {
            let cli =
                Cli::try_parse_from(["osi-agent", "watch"].iter().chain(args)).expect("valid");
            let Command::Watch(watch) = cli.command else {
                panic!("not watch")
            };
            assert_eq!(watch.shared.iface, ["a", "b"]);
        }
    }

    #[test]
    fn wrong_usage_ends_with_2_and_names_the_value() {
        for (args, hint) in [
            (["--interval", "10ms"], "100ms and 1h"),
            (["--netns", "a/b"], "slash"),
            (["--xdp", "fast"], "possible values"),
            (["--iface", "a b"], "no interface"),
        ] {
            let error = Cli::try_parse_from(["osi-agent", "watch"].iter().chain(&args))
                .expect_err("invalid");
            assert_eq!(error.exit_code(), 2, "{args:?}");
            assert!(error.to_string().contains(hint), "{error}");
        }
    }

    #[test]
    fn help_fits_a_terminal_and_generated_texts_name_every_option() {
        let help = Cli::command().render_long_help().to_string();
        assert!(
            help.lines().all(|line| line.chars().count() <= 120),
            "{help}"
        );
        let man = String::from_utf8(Cli::man()).expect("UTF-8");
        let bash = String::from_utf8(Cli::completions(Shell::Bash)).expect("UTF-8");
        for option in [
            "interval",
            "duration",
            "iface",
            "netns",
            "xdp",
            "no-names",
            "fail-on",
            "config",
            "json",
            "probe-log",
        ] {
            assert!(
                bash.contains(&format!("--{option}")),
                "{option} in completions"
            );
            assert!(
                man.replace("\\-", "-").contains(&format!("--{option}")),
                "{option} in the manual"
            );
        }
    }

    #[test]
    fn the_manual_names_every_command_and_no_other_page() {
        let man = String::from_utf8(Cli::man()).expect("UTF-8");
        for sub in Cli::command().get_subcommands() {
            let name = sub.get_name();
            assert!(man.contains(&format!("\\fB{name}\\fR\n")), "{name}");
            let section = format!("\"COMMAND {}\"", name.to_uppercase());
            assert!(man.contains(&section), "{section}");
        }
        assert!(!man.contains("(1)"), "{man}");
    }
}
