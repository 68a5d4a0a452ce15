//! A healthy web server: a fifth of what is asked for is not there, and nobody is at fault.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::expect;
use osi_tests::http::browse;
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Pair};

#[test]
fn links_to_what_is_gone() -> Result<()> {
    let test = "controls::http::links_to_what_is_gone";
    let Some(_turn) = skip::ready(test, &[Need::Program("nginx")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let server = Pair::server_at(Family::V4, 80);
    let _nginx = Nginx::start_with_errors(&pair.server, server)?;
    let agents = [Agent::watch(&pair.client)?, Agent::watch(&pair.server)?];
    let (well, gone) = (
        browse(&pair.client, server, "/", 480, 40)?,
        browse(&pair.client, server, "/404", 120, 10)?,
    );
    let (well, gone) = (well.join()?, gone.join()?);
    ensure!(
        well.of(200) == 480 && gone.of(404) == 120,
        "{well:?}, {gone:?}"
    );
    for agent in agents {
        agent.wait_for_window(SystemTime::now(), 2)?;
        let lines = expect::calm(agent)?;
        for (signal, offered) in [("http_answers", 600), ("http_client_errors", 120)] {
            stream::ensure_counted(&lines, signal, offered, growth(&lines, "L7", signal))?;
        }
    }
    Ok(())
}
