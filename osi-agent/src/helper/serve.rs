//! The helper's own side: reads when it is told to, and ends when nobody is left to tell it.

use std::io::{self, BufReader};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use anyhow::Context as _;
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::wire::{self, Reply, Request};
use crate::config::{Exit, Failure};
use crate::host::namespaces::NetnsScope;
use crate::probe::own::Usage;
use crate::sandbox;
use crate::snapshot::sampler::Sampler;

/// Name of the process in `ps` and `top`.
const NAME: &std::ffi::CStr = c"osi-helper";

/// `osi-agent helper`: serves the process at the other end of standard input.
///
/// # Errors
/// When standard input is no socket: people do not start this.
pub fn serve() -> anyhow::Result<Exit> {
    let stdin = io::stdin();
    if socket_domain(stdin.as_fd()) != Ok(AddressFamily::UNIX) {
        return Err(Failure::usage("`helper` is what `osi-agent watch` starts by itself").into());
    }
    let mut socket = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
    sandbox::helper().context("the helper cannot give up privileges")?;
    rustix::thread::set_name(NAME)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _registered = left_to_the_other(&runtime)?;
    let mut orders = BufReader::new(socket.try_clone()?);
    let mut line = Vec::new();
    let Some(scope) = wire::receive::<NetnsScope>(&mut orders, &mut line)? else {
        return Ok(Exit::Done);
    };
    let mut sampler = Sampler::spawn(scope)?;
    while let Some(request) = wire::receive(&mut orders, &mut line)? {
        let Request {
            number,
            length,
            filtered,
            wanted,
        } = request;
        sampler.read_rule_sets(filtered);
        sampler.find_holders(wanted);
        let sample = sampler.sample(length);
        let usage = Usage::own();
        let reply = Reply {
            number,
            sample,
            usage,
        };
        if wire::send(&mut socket, &reply).is_err() {
            break;
        }
    }
    Ok(Exit::Done)
}

/// A signal to both processes ends the watcher first, which wants its last window; it ends this one.
fn left_to_the_other(runtime: &tokio::runtime::Runtime) -> io::Result<[Signal; 3]> {
    let _context = runtime.enter();
    Ok([
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ])
}
