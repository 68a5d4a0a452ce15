//! `cargo xtask docs`: the files that the agent generates about itself.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::setup::{self, Purpose};
use crate::{build, sh};

/// A generated file, and the arguments that make the agent print it.
struct Generated {
    file: &'static str,
    arguments: &'static [&'static str],
}

/// Every generated file; `check` compares each with what is committed.
const GENERATED: &[Generated] = &[
    Generated {
        file: "docs/schema/osi-agent.v1.schema.json",
        arguments: &["schema"],
    },
    Generated {
        file: "docs/names.txt",
        arguments: &["explain", "list"],
    },
];

/// Write the generated documents again, from what the built agent prints.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    setup::ensure(Purpose::Build)?;
    let agent = build::agent()?;
    for document in GENERATED {
        let path = sh::root().join(document.file);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&path, document.print(&agent)?)
            .with_context(|| format!("cannot write {}", document.file))?;
        println!("wrote {}", document.file);
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails, naming the files, when what is committed is not what the agent prints.
pub(crate) fn check_fresh() -> Result<()> {
    let agent = build::agent()?;
    let mut stale = Vec::new();
    for document in GENERATED {
        let committed = fs::read_to_string(sh::root().join(document.file)).unwrap_or_default();
        if committed != document.print(&agent)? {
            stale.push(document.file);
        }
    }
    if !stale.is_empty() {
        bail!(
            "not what the agent prints: {}; run `cargo xtask docs` and commit the result",
            stale.join(", ")
        );
    }
    Ok(())
}

impl Generated {
    fn print(&self, agent: &Path) -> Result<String> {
        // The same document whatever the language of the machine.
        sh::output(
            std::process::Command::new(agent)
                .args(self.arguments)
                .env("LC_ALL", "C.UTF-8"),
        )
    }
}
