//! Own addresses: `RTM_GETADDR`.

use std::io;
use std::ops::ControlFlow;

use super::decode::{address, attributes, u8_at, u32_at};
use super::netlink::{Family, Request, dump};
use super::{Kept, Scratch};
use crate::scope::Iface;
use crate::snapshot::OwnAddress;

/// Addresses that are kept per namespace.
const ADDRESSES: usize = 1024;

/// `struct ifaddrmsg`.
const HEADER: usize = 8;

/// Reads the addresses of both families. The links must have been read in the same pass: they name the interfaces.
pub(super) fn read(scratch: &mut Scratch) -> io::Result<Kept<OwnAddress>> {
    let Scratch {
        netlink, devices, ..
    } = scratch;
    // AF_UNSPEC: of every family.
    let body = [0; HEADER];
    let request = Request {
        family: Family::Route,
        kind: libc::RTM_GETADDR,
        body: &body,
    };
    let start = || Kept::new(ADDRESSES);
    let mut own = dump(request, netlink, start, |own, payload| {
        if let Some(address) = parse(payload) {
            own.push(address);
        }
        ControlFlow::Continue(())
    })?;
    for OwnAddress { iface, .. } in &mut own.rows {
        if let Some(device) = devices.get(&iface.ifindex) {
            iface.name.clone_from(&device.name);
        }
    }
    Ok(own)
}

/// An IPv4 or IPv6 address. `IFA_FLAGS` has more flags than the header's byte, which has the one that is wanted.
pub(crate) fn parse(payload: &[u8]) -> Option<OwnAddress> {
    let (flags, ifindex) = (u8_at(payload, 2)?, u32_at(payload, 4)?);
    let (mut own, mut other) = (None, None);
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            libc::IFA_LOCAL => own = address(value),
            // The other end's where there is one, and else the own.
            libc::IFA_ADDRESS => other = address(value),
            _ => {}
        }
    }
    Some(OwnAddress {
        address: own.or(other)?,
        iface: Iface {
            ifindex,
            name: String::new(),
        },
        refused: u32::from(flags) & libc::IFA_F_DADFAILED != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct ifaddrmsg` of interface 7 with these flags, and `IFA_ADDRESS`.
    fn message(flags: u8) -> Vec<u8> {
        let mut bytes = vec![libc::AF_INET6 as u8, 64, flags, 0, 7, 0, 0, 0, 20, 0, 1, 0];
        bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        bytes
    }

    #[test]
    fn what_failed_is_refused() {
        let (permanent, tentative, failed) = (0x80, 0x40, 0x08);
        for (flags, refused) in [
            (permanent, false),
            (permanent | tentative, false),
            (permanent | tentative | failed, true),
        ] {
            let found = parse(&message(flags)).expect("an address");
            assert_eq!(
                (found.address.to_string().as_str(), found.iface.ifindex),
                ("fd00::9", 7)
            );
            assert_eq!(found.refused, refused, "{flags:#x}");
        }
    }

    #[test]
    fn a_point_to_point_address_is_the_own_end() {
        let mut bytes = message(0x08);
        bytes.extend([
            20, 0, 2, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        ]);
        let found = parse(&bytes).expect("failed");
        assert_eq!(found.address.to_string(), "fd00::1");
    }
}
