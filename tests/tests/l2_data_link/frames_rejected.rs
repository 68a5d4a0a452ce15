//! Frames of a protocol that nothing on the server handles.
//!
//! First evidence: the interface counts the first one as dropped.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use osi_tests::agent::Agent;
use osi_tests::expect::{Expected, STATISTICAL};
use osi_tests::frame::{self, EXPERIMENTAL};
use osi_tests::stream::{self, growth};
use osi_tests::topology::Pair;
use osi_tests::{kernel, link, skip, wait};

const EXPECTED: Expected = Expected {
    cause: "frames_rejected",
    layer: "L2",
    within: STATISTICAL,
    beside: &[],
};

const FRAMES: u64 = 1200;

#[test]
fn frames_rejected() -> Result<()> {
    let Some(_turn) = skip::ready("l2_data_link::frames_rejected::frames_rejected", &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch(&pair.server)?;
    let before = link::dropped_packets(&pair.server, "eth0")?;
    let (from, to) = ((&pair.client, "eth0"), (&pair.server, "eth0"));
    let frame = frame::ethernet(from, to, EXPERIMENTAL, &[0; 64])?;

    let fault = SystemTime::now();
    let frames = frame::send(&pair.client, "eth0", FRAMES, move |_| frame.clone())?;
    let dropped = || Ok(link::dropped_packets(&pair.server, "eth0")? - before);
    let evidence = wait::until_above("dropped frames", 0, Duration::from_secs(5), dropped)?;
    let map = EXPECTED.named(&agent, fault, evidence)?;
    let scope = &map.verdict()["scope"];
    agent.ensure(scope["iface"]["name"] == "eth0", || {
        format!("the frames came in on eth0, not {scope}")
    })?;
    let summary = &map.verdict()["summary"];
    let named = summary.as_str().is_some_and(|text| text.contains("0x88b5"));
    agent.ensure(named, || format!("the protocol is not named: {summary}"))?;

    frames.join()?;
    let truth = dropped()?;
    EXPECTED.resolves(&agent, &map)?;
    let lines = EXPECTED.stop(agent)?;
    let said = growth(&lines, "L2", "frames_rejected_frames");
    stream::ensure(&lines, truth == FRAMES, || {
        format!("{FRAMES} frames were sent and the interface dropped {truth}")
    })?;
    stream::ensure_counted(&lines, "frames for nobody", truth, said)?;
    if kernel::is_at_least(5, 17)? {
        let by_reason = stream::sum(&lines, |map| map.dropped("L2", "UNHANDLED_PROTO"));
        stream::ensure(&lines, by_reason == said, || {
            format!("{said} frames were counted, {by_reason} of them by reason")
        })?;
    }
    Ok(())
}
