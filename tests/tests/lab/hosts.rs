//! Hosts go when their owner goes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use anyhow::{Result, ensure};
use osi_tests::netns::{self, Namespace};
use osi_tests::{command, skip};

#[test]
fn a_panic_removes_the_host() -> Result<()> {
    let Some(_turn) = skip::ready("lab::hosts::a_panic_removes_the_host", &[])? else {
        return Ok(());
    };
    let host = Namespace::create("panicking")?;
    let path = host.path();
    ensure!(path.exists(), "{} was not made", path.display());
    let outcome = catch_unwind(AssertUnwindSafe(move || {
        assert!(!host.path().exists(), "this panic is part of the test");
    }));
    ensure!(outcome.is_err(), "the test did not panic");
    ensure!(!path.exists(), "{} survived the panic", path.display());
    Ok(())
}

#[test]
fn what_a_dead_process_left_is_swept() -> Result<()> {
    let Some(_turn) = skip::ready("lab::hosts::what_a_dead_process_left_is_swept", &[])? else {
        return Ok(());
    };
    let mut dead = Command::new("true").spawn()?;
    dead.wait()?;
    let left_behind = format!("osi-{}-0-orphan", dead.id());
    command::output(Command::new("ip").args(["netns", "add", &left_behind]))?;
    let ours = Namespace::create("alive")?;
    netns::sweep()?;
    let path = ours.path().with_file_name(&left_behind);
    ensure!(!path.exists(), "{left_behind} was not swept");
    ensure!(ours.path().exists(), "a living process lost its host");
    Ok(())
}
