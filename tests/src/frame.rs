//! Frames written by hand and sent as they are: what no well-behaved host would send.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, SocketType, socket};

use crate::netns::{Namespace, Task};
use crate::{link, scale};

/// `ETH_P_IP`.
pub const IPV4: u16 = 0x0800;
/// `ETH_P_IPV6`.
pub const IPV6: u16 = 0x86dd;
/// `ETH_P_ARP`.
const ARP: u16 = 0x0806;
/// An EtherType for experiments (IEEE 802, local experimental): no host has a handler for it.
pub const EXPERIMENTAL: u16 = 0x88b5;

/// The most frames that any plan may ask for.
const MOST: u64 = 20_000;
/// Frames that leave back to back.
const BURST: u64 = 10;
/// From the start of one burst to the start of the next, on a machine at full speed.
const EVERY: Duration = Duration::from_millis(50);

/// An Ethernet frame from the end of a link to the other one.
pub fn ethernet(
    from: (&Namespace, &str),
    to: (&Namespace, &str),
    ethertype: u16,
    payload: &[u8],
) -> Result<Vec<u8>> {
    let mut frame = Vec::with_capacity(14 + payload.len());
    frame.extend(link::address(to.0, to.1)?);
    frame.extend(link::address(from.0, from.1)?);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    Ok(frame)
}

/// An ARP announcement (RFC 5227, section 3): the host tells everybody on the link that an address is its own.
pub fn announcement(host: (&Namespace, &str), address: Ipv4Addr) -> Result<Vec<u8>> {
    const REQUEST: u8 = 1;
    let own = link::address(host.0, host.1)?;
    let mut frame = [[0xff; 6], own].concat();
    frame.extend(ARP.to_be_bytes());
    // Ethernet and IPv4, with the lengths of their addresses.
    frame.extend([0, 1, 8, 0, 6, 4, 0, REQUEST]);
    frame.extend(own);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    Ok(frame)
}

/// A UDP datagram's IPv4 packet (RFC 791) whose header is right; `more` fragments follow it.
pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, more: bool) -> Vec<u8> {
    const PAYLOAD: usize = 64;
    let mut packet = vec![0; 20 + PAYLOAD];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&((20 + PAYLOAD) as u16).to_be_bytes());
    packet[6] = u8::from(more) << 5;
    packet[8] = 64;
    packet[9] = 17;
    packet[12..16].copy_from_slice(&source.octets());
    packet[16..20].copy_from_slice(&destination.octets());
    seal(&mut packet);
    packet
}

/// A SYN (RFC 9293) in an IPv4 packet, with checksums that fit.
pub fn syn(source: Ipv4Addr, from: u16, destination: Ipv4Addr, to: u16) -> Vec<u8> {
    const TCP: u8 = 6;
    const LENGTH: usize = 20;
    let mut packet = ipv4(source, destination, false);
    packet.truncate(20 + LENGTH);
    packet[2..4].copy_from_slice(&((20 + LENGTH) as u16).to_be_bytes());
    packet[9] = TCP;
    packet[20..22].copy_from_slice(&from.to_be_bytes());
    packet[22..24].copy_from_slice(&to.to_be_bytes());
    packet[24..28].copy_from_slice(&(u32::from(from) * 7919).to_be_bytes());
    // Data offset in words, the flag, and a window.
    packet[32..36].copy_from_slice(&[5 << 4, 0x02, 0xff, 0xff]);
    seal(&mut packet);
    // The pseudo header: addresses, protocol, length.
    let pseudo = [&packet[12..20], &[0, TCP, 0, LENGTH as u8]].concat();
    let sum = checksum(&[&pseudo[..], &packet[20..]].concat());
    packet[36..38].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Gives a packet an identification of its own, and a header checksum that fits.
pub fn identify(packet: &mut [u8], number: u16) {
    packet[4..6].copy_from_slice(&number.to_be_bytes());
    seal(packet);
}

/// Gives a packet a header checksum that fits.
pub fn seal(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The checksum of RFC 1071; a byte that is left over stands for a pair with zero.
pub fn checksum(bytes: &[u8]) -> u16 {
    let pairs = bytes.chunks(2);
    let sum: u32 = pairs
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !(folded as u16)
}

/// Sends exactly `count` frames through an interface of `host`, each made by its number.
pub fn send(
    host: &Namespace,
    interface: &str,
    count: u64,
    make: impl Fn(u64) -> Vec<u8> + Send + 'static,
) -> Result<Task<()>> {
    ensure!(count <= MOST, "{count} frames are unbounded");
    let index = link::index(host, interface)?;
    host.spawn(move || {
        let socket = socket(AddressFamily::PACKET, SocketType::RAW, None)?;
        let start = Instant::now();
        for number in 0..count {
            if number % BURST == 0 {
                let due = start + scale::patience(EVERY * (number / BURST) as u32);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            put(&socket, index, &make(number)).with_context(|| format!("frame {number}"))?;
        }
        Ok(())
    })
}

fn put(socket: &OwnedFd, index: u64, frame: &[u8]) -> Result<()> {
    // SAFETY: the structure consists of integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = i32::try_from(index)?;
    // SAFETY: frame and address live through the call, and the lengths are theirs.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    };
    ensure!(
        usize::try_from(sent) == Ok(frame.len()),
        "{}",
        io::Error::last_os_error()
    );
    Ok(())
}
