//! nginx is reloaded, and stopped and started again, under load.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect;
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};

fn requests() -> Plan {
    Plan {
        target: Pair::server_at(Family::V4, 80),
        connections: 1600,
        per_second: 200,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Http,
    }
}

#[test]
fn reload() -> Result<()> {
    let Some(_turn) = skip::ready("controls::restart::reload", &[Need::Program("nginx")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let plan = requests();
    let nginx = Nginx::start(&pair.server, plan.target)?;
    let watched = [Agent::watch(&pair.client)?, Agent::watch(&pair.server)?];
    let traffic = load::connections(&pair.client, plan)?;
    watched[0].wait_for_window(SystemTime::now(), 3)?;
    nginx.reload()?;
    let report = traffic.join()?;
    ensure!(
        report.connected == plan.connections,
        "a reload refused connections: {:?}",
        report.errors
    );
    for agent in watched {
        agent.wait_for_window(SystemTime::now(), 2)?;
        expect::calm(agent)?;
    }
    Ok(())
}

#[test]
fn restart() -> Result<()> {
    let needs = [Need::Program("nginx")];
    let Some(_turn) = skip::ready_to_time("controls::restart::restart", &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let plan = requests();
    let mut nginx = Nginx::start(&pair.server, plan.target)?;
    let watched = [Agent::watch(&pair.client)?, Agent::watch(&pair.server)?];
    let traffic = load::connections(&pair.client, plan)?;
    watched[0].wait_for_window(SystemTime::now(), 2)?;
    nginx.restart()?;
    let report = traffic.join()?;
    let lost = plan.connections - report.completed;
    ensure!(
        lost < plan.connections / 4,
        "the restart lost {lost} requests: {:?}",
        report.errors
    );
    let ended = SystemTime::now();
    for agent in watched {
        // Whatever opened must have been closed by then.
        agent.wait_for_window(ended, 7)?;
        expect::at_most_resolved_warnings(agent)?;
    }
    Ok(())
}
