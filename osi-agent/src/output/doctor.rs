//! What this host lets us see: the report of `osi-agent doctor` as a value and as a table.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::glyphs::Glyphs;
use super::text::wrap;
use crate::probe::{ProbeState, ProbeStatus};

/// Everything that decides what can be seen. The probe side fills it; outputs draw it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DoctorReport {
    /// Release of the running kernel.
    pub kernel: String,
    /// BTF of the running kernel: where it was read, or why not.
    pub btf: Check,
    /// Kernel lockdown mode: none, integrity or confidentiality; null where it can not be read (no lockdown, or securityfs is not mounted).
    pub lockdown: Option<String>,
    /// Effective user.
    pub uid: u32,
    /// Capabilities that matter here, and whether they are held.
    pub capabilities: Vec<Capability>,
    /// Every probe.
    pub probes: Vec<ProbeStatus>,
    /// Readers of host files and netlink.
    pub readers: Vec<Reader>,
    /// eBPF programs of others on the hooks that we use; null where they can not be listed.
    pub foreign: Option<Vec<ForeignProgram>>,
    /// What XDP would do to each interface.
    pub xdp: Vec<XdpRisk>,
}

/// Something that is there or not.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Check {
    /// Whether it is usable.
    pub ok: bool,
    /// Where it was found, or why not and what to do.
    pub detail: String,
}

/// A capability.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Capability {
    /// Its name: `CAP_BPF`.
    pub name: String,
    /// Whether the agent holds it.
    pub held: bool,
    /// What needs it.
    pub needed_for: String,
}

/// A reader of host files or netlink.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Reader {
    /// Name as signals refer to it, or what else is blind.
    pub name: String,
    /// Whether it can be read.
    pub ok: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Signals that are blind without it.
    pub feeds: Vec<String>,
}

/// An eBPF program of somebody else.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ForeignProgram {
    /// Hook: xdp, tcx ingress, tc egress, …
    pub hook: String,
    /// Interface, where the hook has one.
    pub iface: Option<String>,
    /// Kernel id, as `bpftool prog` shows it.
    pub id: u32,
    /// Name.
    pub name: String,
}

/// What XDP would do to an interface.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct XdpRisk {
    /// Interface.
    pub iface: String,
    /// Its driver; null for what has none.
    pub driver: Option<String>,
    /// What attaching does here, and what `--xdp auto` decides.
    pub advice: String,
}

const WIDTH: usize = 80;

/// The report as text, 80 columns wide.
pub fn render(report: &DoctorReport, glyphs: Glyphs) -> String {
    let DoctorReport {
        kernel,
        btf,
        lockdown,
        uid,
        capabilities,
        probes,
        readers,
        foreign,
        xdp,
    } = report;
    let mut out = Text {
        text: String::new(),
        glyphs,
    };
    out.row("kernel", kernel);
    out.row(
        "BTF",
        &format!("{}{}", if btf.ok { "" } else { "missing: " }, btf.detail),
    );
    out.row(
        "lockdown",
        lockdown
            .as_deref()
            .unwrap_or("not known: /sys/kernel/security is not mounted, or the kernel has none"),
    );
    out.row(
        "user",
        &if *uid == 0 {
            "root".to_owned()
        } else {
            format!("uid {uid}")
        },
    );

    out.title("Capabilities");
    for Capability {
        name,
        held,
        needed_for,
    } in capabilities
    {
        out.entry(*held, name, if *held { "held" } else { "MISSING" }, "");
        if !held {
            out.note("needed for", needed_for);
        }
    }
    let active = probes
        .iter()
        .filter(|probe| probe.state == ProbeState::Active)
        .count();
    out.title(&format!("Probes: {active} of {} active", probes.len()));
    for ProbeStatus {
        name,
        state,
        variant,
        measures,
        reason,
        feeds,
    } in probes
    {
        let (ok, word) = match state {
            ProbeState::Active => (true, "active"),
            ProbeState::Off => (true, "off"),
            ProbeState::Unavailable => (false, "UNAVAILABLE"),
        };
        out.entry(ok, name, word, variant.as_deref().unwrap_or_default());
        out.optional("measures", measures.as_deref());
        out.optional(
            if *state == ProbeState::Active {
                "instead of"
            } else {
                "because"
            },
            reason.as_deref(),
        );
        if *state != ProbeState::Active && !feeds.is_empty() {
            out.note("blinds", &feeds.join(", "));
        }
    }
    out.title("Readers");
    for Reader {
        name,
        ok,
        reason,
        feeds,
    } in readers
    {
        out.entry(*ok, name, if *ok { "ok" } else { "UNREADABLE" }, "");
        out.optional("because", reason.as_deref());
        if !ok && !feeds.is_empty() {
            out.note("blinds", &feeds.join(", "));
        }
    }
    out.title("eBPF programs of others on our hooks");
    match foreign.as_deref() {
        None => out.line("  can not be listed without CAP_SYS_ADMIN"),
        Some([]) => out.line("  none"),
        Some(programs) => {
            for ForeignProgram {
                hook,
                iface,
                id,
                name,
            } in programs
            {
                let place = iface
                    .as_deref()
                    .map_or_else(|| hook.clone(), |iface| format!("{hook} on {iface}"));
                out.entry(true, &place, &format!("id {id}"), name);
            }
        }
    }
    out.title("XDP, per interface");
    for XdpRisk {
        iface,
        driver,
        advice,
    } in xdp
    {
        out.entry(true, iface, driver.as_deref().unwrap_or("no driver"), "");
        out.note("", advice);
    }
    out.text
}

/// Lines of safe text.
struct Text {
    text: String,
    glyphs: Glyphs,
}

impl Text {
    fn line(&mut self, line: &str) {
        // Writing to memory can not fail.
        let _ = writeln!(self.text, "{}", line.trim_end());
    }

    fn title(&mut self, title: &str) {
        self.line("");
        self.line(title);
    }

    fn row(&mut self, name: &str, value: &str) {
        self.wrapped(&format!("{name:<10}"), value);
    }

    fn entry(&mut self, ok: bool, name: &str, state: &str, detail: &str) {
        let mark = if ok { ' ' } else { '!' };
        self.line(&format!(
            "{mark} {:<30} {:<12} {}",
            self.glyphs.text(name),
            self.glyphs.text(state),
            self.glyphs.text(detail)
        ));
    }

    fn optional(&mut self, label: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.note(label, text);
        }
    }

    fn note(&mut self, label: &str, text: &str) {
        let label = if label.is_empty() {
            String::new()
        } else {
            format!("{label}: ")
        };
        self.wrapped("      ", &format!("{label}{text}"));
    }

    fn wrapped(&mut self, first: &str, text: &str) {
        let indent = first.chars().count();
        for (i, part) in wrap(&self.glyphs.text(text), WIDTH - indent)
            .iter()
            .enumerate()
        {
            if i == 0 {
                self.line(&format!("{first}{part}"));
            } else {
                self.line(&format!("{:indent$}{part}", ""));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::output::fixture;
    use crate::output::glyphs::Glyphs;

    #[test]
    fn the_table_names_what_is_missing_and_what_it_blinds() {
        let text = super::render(&fixture::doctor(), Glyphs::Unicode);
        for part in [
            "6.18.0",
            "1 of 2 active",
            "! tcp_connect",
            "UNAVAILABLE",
            "because: fentry",
            "blinds: tcp_handshake_client",
            "id 42",
            "MISSING",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{text}"
        );
        let mut report = fixture::doctor();
        report.probes[0].measures = Some("SYN built → ESTABLISHED".to_owned());
        let ascii = super::render(&report, Glyphs::Ascii);
        assert!(
            ascii.is_ascii() && ascii.contains("built -> ESTABLISHED"),
            "{ascii}"
        );
    }
}
