//! Link speed by `SIOCETHTOOL`: sysfs shows only the devices of the namespace it was mounted in, the ioctl follows the
//! thread.

use std::collections::HashMap;
use std::ffi::c_char;

use rustix::fd::OwnedFd;
use rustix::ioctl::{Opcode, Updater, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::scope::Netns;

/// Reads link settings, changes nothing (`linux/ethtool.h`).
const ETHTOOL_GLINKSETTINGS: u32 = 0x4c;

/// Asking takes the kernel's rtnl lock and some drivers then ask their firmware, so an answer is kept until the carrier
/// has changed or this many windows have passed.
const KEPT: u32 = 60;

/// Devices whose speed is remembered.
const DEVICES: usize = 4096;

/// Speeds by namespace and interface index, with the carrier count they were read at and the windows since then.
#[derive(Debug, Default)]
pub(super) struct Speeds {
    known: HashMap<(Netns, u32), Known>,
}

#[derive(Debug)]
struct Known {
    carrier_changes: u64,
    windows: u32,
    bits_per_s: Option<u64>,
}

impl Speeds {
    /// Speed of a hardware device in bit/s; `None` where it has none or tells none.
    pub(super) fn get(
        &mut self,
        netns: &Netns,
        ifindex: u32,
        name: &[u8],
        carrier_changes: u64,
    ) -> Option<u64> {
        if self.known.len() >= DEVICES {
            self.known.clear();
        }
        let known = self.known.entry((netns.clone(), ifindex)).or_insert(Known {
            carrier_changes,
            windows: KEPT,
            bits_per_s: None,
        });
        known.windows += 1;
        if known.windows > KEPT || known.carrier_changes != carrier_changes {
            *known = Known {
                carrier_changes,
                windows: 0,
                bits_per_s: read(name),
            };
        }
        known.bits_per_s
    }
}

/// `struct ethtool_link_settings` with room for the link mode masks that follow it.
#[repr(C)]
struct LinkSettings {
    cmd: u32,
    /// In Mbit/s; all ones (`SPEED_UNKNOWN`) or 0 where the device does not say.
    speed: u32,
    duplex: u8,
    port: u8,
    phy_address: u8,
    autoneg: u8,
    mdio_support: u8,
    eth_tp_mdix: u8,
    eth_tp_mdix_ctrl: u8,
    /// Negative in the kernel's first answer: the number it wants to be asked with.
    link_mode_masks_nwords: i8,
    rest: [u32; 8],
    masks: [u32; 3 * 127],
}

const _: () = assert!(std::mem::offset_of!(LinkSettings, masks) == 48);

fn read(name: &[u8]) -> Option<u64> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .ok()?;
    let mut settings = LinkSettings {
        cmd: ETHTOOL_GLINKSETTINGS,
        speed: 0,
        duplex: 0,
        port: 0,
        phy_address: 0,
        autoneg: 0,
        mdio_support: 0,
        eth_tp_mdix: 0,
        eth_tp_mdix_ctrl: 0,
        link_mode_masks_nwords: 0,
        rest: [0; 8],
        masks: [0; 3 * 127],
    };
    // The first call only agrees on the length of the masks.
    ask(&socket, name, &mut settings)?;
    if settings.link_mode_masks_nwords < 0 {
        settings.link_mode_masks_nwords = settings.link_mode_masks_nwords.checked_neg()?;
        settings.cmd = ETHTOOL_GLINKSETTINGS;
        ask(&socket, name, &mut settings)?;
    }
    match settings.speed {
        0 | u32::MAX => None,
        speed => Some(u64::from(speed) * 1_000_000),
    }
}

fn ask(socket: &OwnedFd, name: &[u8], settings: &mut LinkSettings) -> Option<()> {
    let mut ifr_name: [c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    if name.len() >= ifr_name.len() {
        return None;
    }
    for (to, from) in ifr_name.iter_mut().zip(name) {
        *to = *from as c_char;
    }
    let ifr_ifru = libc::__c_anonymous_ifr_ifru {
        ifru_data: std::ptr::from_mut(settings).cast(),
    };
    let mut request = libc::ifreq { ifr_name, ifr_ifru };
    // SAFETY: SIOCETHTOOL takes a `struct ifreq` whose data pointer leads to the command's struct. That is `settings`,
    // which lives through the call, and ETHTOOL_GLINKSETTINGS writes no more than the header and three masks of at most
    // 127 words, for which it has room.
    unsafe {
        ioctl(
            socket,
            Updater::<{ libc::SIOCETHTOOL as Opcode }, libc::ifreq>::new(&mut request),
        )
    }
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_speed_has_none() {
        assert_eq!(read(b"lo"), None);
        assert_eq!(read(b"no-such-device"), None);
        assert_eq!(read(b"a-name-that-is-longer-than-any-interface"), None);
    }
}
