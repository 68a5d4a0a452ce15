//! A wire with a known delay: a TUN device on each of two hosts and threads that carry packets between them.
//!
//! The lab's kernel has no netem. One direction is one reader, which stamps packets, and one writer, which waits until they are
//! due: a packet that is held back is overtaken.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::netns::Namespace;
use crate::topology::Family;

/// The name of the device on both hosts.
pub const INTERFACE: &str = "wire0";

const GLANCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
const LARGEST_PACKET: usize = 65_536;

struct Packet {
    due: Instant,
    bytes: Vec<u8>,
}

/// What the wire does to packets; may change while it carries them.
#[derive(Debug, Default)]
struct Manner {
    /// Of each direction, in nanoseconds.
    delay_ns: AtomicU64,
    /// One packet in so many is held back, in each direction; 0 for none.
    one_in: AtomicU64,
    /// For so long beyond the delay, in nanoseconds.
    held_ns: AtomicU64,
}

impl Manner {
    /// How long the packet of this number is on its way.
    fn delay(&self, number: u64) -> Duration {
        let held = number.checked_rem(self.one_in.load(Ordering::Relaxed)) == Some(0);
        let held_ns = if held {
            self.held_ns.load(Ordering::Relaxed)
        } else {
            0
        };
        Duration::from_nanos(self.delay_ns.load(Ordering::Relaxed) + held_ns)
    }
}

/// Two hosts on a slow wire.
#[derive(Debug)]
pub struct DelayedPair {
    /// End 1.
    pub client: Namespace,
    /// End 2.
    pub server: Namespace,
    stop: Arc<AtomicBool>,
    manner: Arc<Manner>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl DelayedPair {
    /// Makes both hosts and a wire that delays every packet by `delay` in each direction.
    pub fn build(delay: Duration) -> Result<Self> {
        let mut pair = Self {
            client: Namespace::create("client")?,
            server: Namespace::create("server")?,
            stop: Arc::new(AtomicBool::new(false)),
            manner: Arc::default(),
            threads: Vec::new(),
        };
        let left = attach(&pair.client, 1)?;
        let right = attach(&pair.server, 2)?;
        pair.set_delay(delay);
        pair.carry(left.try_clone()?, right.try_clone()?);
        pair.carry(right, left);
        Ok(pair)
    }

    /// Delays packets by another time from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.manner
            .delay_ns
            .store(delay.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Holds one packet in so many back in each direction, so that others overtake it.
    pub fn hold_back(&self, one_in: u64, by: Duration) {
        self.manner
            .held_ns
            .store(by.as_nanos() as u64, Ordering::Relaxed);
        self.manner.one_in.store(one_in, Ordering::Relaxed);
    }

    /// An address of the server.
    pub fn server_at(family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(address(family, 2), port)
    }

    fn carry(&mut self, from: File, to: File) {
        let (sender, receiver) = channel();
        let (stop, manner) = (Arc::clone(&self.stop), Arc::clone(&self.manner));
        self.threads.push(std::thread::spawn(move || {
            read(from, &sender, &manner, &stop)
        }));
        self.threads
            .push(std::thread::spawn(move || write(to, &receiver)));
    }
}

impl Drop for DelayedPair {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("the delayed wire failed: {error:#}"),
                Err(_) => eprintln!("the delayed wire panicked"),
            }
        }
    }
}

fn address(family: Family, number: u8) -> IpAddr {
    family.pick(
        IpAddr::V4(Ipv4Addr::new(10, 9, 0, number)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, u16::from(number))),
    )
}

/// Stamps packets until told to stop; dropping the sender ends the writer.
fn read(mut from: File, to: &Sender<Packet>, manner: &Manner, stop: &AtomicBool) -> Result<()> {
    let mut buffer = vec![0; LARGEST_PACKET];
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(&from, PollFlags::IN)];
        poll(&mut ready, Some(&GLANCE))?;
        match from.read(&mut buffer) {
            Ok(length) => {
                number += 1;
                to.send(Packet {
                    due: Instant::now() + manner.delay(number),
                    bytes: buffer[..length].to_vec(),
                })
                .context("the writer is gone")?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("cannot read from the wire"),
        }
    }
    Ok(())
}

/// Delivers packets when they are due. What is still on its way when the reader ends is lost.
fn write(mut to: File, from: &Receiver<Packet>) -> Result<()> {
    // What is due at the same time keeps its order.
    let mut on_its_way: BTreeMap<(Instant, u64), Vec<u8>> = BTreeMap::new();
    let mut number = 0;
    loop {
        let wait = match on_its_way.first_entry() {
            Some(next) => {
                let &(due, _) = next.key();
                let wait = due.saturating_duration_since(Instant::now());
                if wait.is_zero() {
                    to.write_all(&next.remove())
                        .context("cannot write to the wire")?;
                    continue;
                }
                wait
            }
            None => Duration::MAX,
        };
        match from.recv_timeout(wait) {
            Ok(packet) => {
                on_its_way.insert((packet.due, number), packet.bytes);
                number += 1;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// Makes the TUN device in `host`, addresses it and brings it up.
fn attach(host: &Namespace, number: u8) -> Result<File> {
    let device = host.run(open_tun)?;
    let v4 = format!("{}/24", address(Family::V4, number));
    let v6 = format!("{}/64", address(Family::V6, number));
    host.ip(&["address", "add", &v4, "dev", INTERFACE])?;
    host.ip(&["address", "add", &v6, "dev", INTERFACE, "nodad"])?;
    host.ip(&["link", "set", INTERFACE, "up"])?;
    Ok(device)
}

fn open_tun() -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .context("cannot open /dev/net/tun")?;
    // SAFETY: an all-zero ifreq is a valid value: it holds only integers and a pointer that TUNSETIFF does not follow.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(
        INTERFACE.len() < request.ifr_name.len(),
        "the interface name is too long"
    );
    for (slot, byte) in request.ifr_name.iter_mut().zip(INTERFACE.bytes()) {
        *slot = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open, TUNSETIFF reads and writes one ifreq, and `request` outlives the call.
    let outcome = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    ensure!(
        outcome == 0,
        "TUNSETIFF failed: {}",
        std::io::Error::last_os_error()
    );
    Ok(device)
}
