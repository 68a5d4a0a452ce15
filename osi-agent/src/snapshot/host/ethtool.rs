//! `SIOCETHTOOL`: what the kernel tells of a device's driver and link. sysfs shows only the devices of the namespace that it
//! was mounted in, the ioctl follows the thread.

use std::ffi::c_char;
use std::io;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::decode::{bytes_at, string, u32_at, u64_at};

/// A question to the driver that changes nothing (`include/uapi/linux/ethtool.h`).
#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    /// `ETHTOOL_GDRVINFO`.
    Driver,
    /// `ETHTOOL_GSTRINGS` of `ETH_SS_STATS`: the names of so many statistics.
    Names(u32),
    /// `ETHTOOL_GSTATS`: so many statistics.
    Statistics(u32),
    /// `ETHTOOL_GLINKSETTINGS` with masks of so many words; 0 asks for the number.
    Link(i8),
}

/// Statistics that a device may have and is still asked for them.
pub(super) const STATISTICS: u32 = 16_384;

/// `ETH_GSTRING_LEN`.
const NAME: usize = 32;

/// Room for an answer. Pages that are not written cost nothing.
const ROOM: usize = 16 * STATISTICS as usize * NAME;

/// A socket to ask through, and room for the answers.
#[derive(Debug)]
pub(super) struct Asking {
    socket: OwnedFd,
    room: Vec<u8>,
}

impl Asking {
    /// Asks in the namespace that the thread is in now.
    pub(super) fn here() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok(Self {
            socket,
            room: vec![0; ROOM],
        })
    }

    /// The driver's answer; `None` where it has none, or the device is gone.
    pub(super) fn ask(&mut self, name: &[u8], question: Question) -> io::Result<Option<&[u8]>> {
        let header = match question {
            Question::Driver => [3, 0, 0],
            Question::Names(count) => [0x1b, 1, count.min(STATISTICS)],
            Question::Statistics(count) => [0x1d, count.min(STATISTICS), 0],
            Question::Link(_) => [0x4c, 0, 0],
        };
        self.room[..48].fill(0);
        for (to, word) in self.room.chunks_exact_mut(4).zip(header) {
            to.copy_from_slice(&u32::to_ne_bytes(word));
        }
        if let Question::Link(words) = question {
            self.room[MASK_WORDS] = words.to_ne_bytes()[0];
        }
        let mut ifr_name: [c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
        if name.len() >= ifr_name.len() {
            return Ok(None);
        }
        for (to, from) in ifr_name.iter_mut().zip(name) {
            *to = *from as c_char;
        }
        let ifr_ifru = libc::__c_anonymous_ifr_ifru {
            ifru_data: self.room.as_mut_ptr().cast(),
        };
        let mut request = libc::ifreq { ifr_name, ifr_ifru };
        // SAFETY: SIOCETHTOOL takes a `struct ifreq` whose data pointer leads to the command's struct. That is `room`, which
        // lives through the call. The kernel writes 196 bytes for the driver, and 48 bytes and three masks of at most 127
        // words for the link. For names and statistics, kernels before 6.19 write as many as the device has at that moment,
        // whatever they were told: at most STATISTICS when it was first asked, and `room` holds the names of sixteen
        // times as many, more than a change of queues or programs can add.
        let done = unsafe {
            ioctl(
                &self.socket,
                Updater::<{ libc::SIOCETHTOOL as Opcode }, libc::ifreq>::new(&mut request),
            )
        };
        match done {
            Ok(()) => Ok(Some(&self.room)),
            Err(Errno::OPNOTSUPP | Errno::NODEV) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Where `link_mode_masks_nwords` lies in `struct ethtool_link_settings`.
pub(super) const MASK_WORDS: usize = 15;

/// The name of the driver and the number of its statistics in a `struct ethtool_drvinfo`.
pub(crate) fn driver_info(answer: &[u8]) -> Option<(&[u8], u32)> {
    Some((string(answer.get(4..36)?), u32_at(answer, 180)?))
}

/// The names in a `struct ethtool_gstrings`.
pub(crate) fn names(answer: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = u32_at(answer, 8).unwrap_or(0) as usize;
    let names = answer.get(12..).unwrap_or_default().chunks_exact(NAME);
    names.take(count).map(string)
}

/// The values in a `struct ethtool_stats`, if there are as many as expected.
pub(crate) fn statistics(answer: &[u8], expected: u32) -> Option<impl Iterator<Item = u64>> {
    let count = bytes_at(answer, 4).map(u32::from_ne_bytes)?;
    let values = answer.get(8..)?.get(..(count as usize).checked_mul(8)?)?;
    (count == expected).then(|| values.chunks_exact(8).filter_map(|value| u64_at(value, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_has_a_link_but_no_statistics() {
        let mut asking = Asking::here().expect("socket");
        let missing = asking.ask(b"no-such-device", Question::Driver);
        assert!(missing.is_ok_and(|answer| answer.is_none()));
        let long = asking.ask(b"a-name-that-is-longer-than-any", Question::Driver);
        assert!(long.is_ok_and(|answer| answer.is_none()));
    }

    /// As the kernel writes them.
    fn answer(header: &[u32], rest: &[u8]) -> Vec<u8> {
        let words = header.iter().flat_map(|word| word.to_ne_bytes());
        words.chain(rest.iter().copied()).collect()
    }

    #[test]
    fn structs_are_read_by_the_layout_of_the_kernel() {
        let mut info = answer(&[3], b"mlx5_core\0");
        info.resize(196, 0);
        info[180..184].copy_from_slice(&7_u32.to_ne_bytes());
        assert_eq!(driver_info(&info), Some((b"mlx5_core".as_slice(), 7)));
        assert_eq!(driver_info(&info[..100]), None);

        let mut texts = b"peer_ifindex".to_vec();
        texts.resize(32, 0);
        texts.extend([b'x'; 32]);
        texts.resize(96, 0);
        let strings = answer(&[0x1b, 1, 2], &texts);
        assert_eq!(
            names(&strings).collect::<Vec<_>>(),
            [b"peer_ifindex".as_slice(), &[b'x'; 32]]
        );

        let values: Vec<u8> = [5_u64, u64::MAX].map(u64::to_ne_bytes).concat();
        let stats = answer(&[0x1d, 2], &values);
        let read = statistics(&stats, 2).expect("two");
        assert_eq!(read.collect::<Vec<_>>(), [5, u64::MAX]);
        assert!(statistics(&stats, 3).is_none());
        assert!(statistics(&stats[..20], 2).is_none());
    }
}
