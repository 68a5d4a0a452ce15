//! A filter of kind `bpf` with a loaded program, by netlink: `tc` takes programs from files only.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Result, ensure};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{connect, recv, send, socket_with};

/// `TC_H_CLSACT` with `TC_H_MIN_INGRESS`.
const INGRESS: u32 = 0xffff_fff2;
/// `ETH_P_ALL`.
const ALL: u16 = 3;
/// Within the options of a filter of kind `bpf` (uapi/linux/pkt_cls.h).
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
/// `TCA_BPF_FLAG_ACT_DIRECT`: what the program returns is the verdict.
const ACT_DIRECT: u32 = 1;

/// Adds it on the way in, in the calling thread's namespace.
pub(super) fn add(index: u32, program: &OwnedFd, name: &str, preference: u16) -> Result<()> {
    let options = [
        attribute(TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes()),
        attribute(TCA_BPF_NAME, &[name.as_bytes(), &[0]].concat()),
        attribute(TCA_BPF_FLAGS, &ACT_DIRECT.to_ne_bytes()),
    ]
    .concat();
    // `struct tcmsg`: family, interface, handle, parent, preference and protocol.
    let protocol = u32::from(ALL.to_be());
    let header = [0, index, 0, INGRESS, u32::from(preference) << 16 | protocol];
    let mut body: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
    body.extend(attribute(libc::TCA_KIND, b"bpf\0"));
    body.extend(attribute(libc::TCA_OPTIONS, &options));
    order(libc::RTM_NEWTFILTER, &body)
}

fn order(kind: u16, body: &[u8]) -> Result<()> {
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((flags as u16).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // Route netlink is protocol 0.
        None,
    )?;
    connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0_u8; 1024];
    recv(&socket, &mut answer[..], RecvFlags::empty())?;
    // `struct nlmsgerr` begins with a negative errno, 0 for success.
    let error = answer[16..20].try_into().map(i32::from_ne_bytes)?;
    ensure!(error == 0, std::io::Error::from_raw_os_error(-error));
    Ok(())
}

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u16 + 4).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
