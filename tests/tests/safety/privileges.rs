//! A running agent holds what it uses, can not get more, and works.

use std::time::SystemTime;

use anyhow::{Context as _, Result};
use osi_tests::agent::Agent;
use osi_tests::skip;
use osi_tests::topology::Pair;

/// CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CAP_SYSLOG, CAP_PERFMON, CAP_BPF.
const USED: [u32; 8] = [2, 12, 19, 21, 24, 34, 38, 39];

#[test]
fn it_keeps_only_what_it_uses() -> Result<()> {
    let Some(_turn) = skip::ready("safety::privileges::it_keeps_only_what_it_uses", &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.client)?;
    let used = USED.iter().fold(0_u64, |set, bit| set | 1 << bit);
    // Capabilities belong to threads.
    for thread in std::fs::read_dir(format!("/proc/{}/task", agent.pid()))? {
        let path = thread?.path().join("status");
        let status = std::fs::read_to_string(&path)?;
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
                .with_context(|| format!("{} has no {name}", path.display()))
        };
        for name in ["CapEff", "CapPrm", "CapBnd"] {
            let held = u64::from_str_radix(field(name)?, 16)?;
            agent.ensure(held & !used == 0, || {
                format!(
                    "{name} of {} is {held:x}, which is more than {used:x}",
                    path.display()
                )
            })?;
        }
        for name in ["CapInh", "CapAmb"] {
            let held = u64::from_str_radix(field(name)?, 16)?;
            agent.ensure(held == 0, || {
                format!("{name} of {} is {held:x}", path.display())
            })?;
        }
        let sealed = field("NoNewPrivs")?;
        agent.ensure(sealed == "1", || {
            format!("NoNewPrivs of {} is {sealed}", path.display())
        })?;
    }
    agent.wait_for_window(SystemTime::now(), 2)?;
    agent.stop().map(drop)
}
