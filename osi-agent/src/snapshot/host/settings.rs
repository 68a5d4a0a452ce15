//! How a link runs and how it could: speed, duplex, and what both ends support (`ETHTOOL_GLINKSETTINGS`).

use std::collections::HashMap;

use super::decode::{u8_at, u32_at};
use super::ethtool::{Asking, MASK_WORDS, Question};
use crate::scope::Netns;
use crate::snapshot::LinkMode;

/// Asking takes the kernel's rtnl lock and some drivers then ask their firmware, so an answer is kept until the carrier
/// has changed or this many windows have passed.
const KEPT: u32 = 60;

/// Devices whose settings are remembered.
const DEVICES: usize = 4096;

/// What the driver says of a link; nothing where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Speed in bit/s.
    pub(crate) bits_per_s: Option<u64>,
    /// Full duplex, or half.
    pub(crate) full_duplex: Option<bool>,
    /// The best mode that both ends support.
    pub(crate) best: Option<LinkMode>,
}

/// Settings by namespace and interface index, with the carrier count they were read at and the windows since then.
#[derive(Debug, Default)]
pub(super) struct Known {
    links: HashMap<(Netns, u32), Link>,
}

#[derive(Debug)]
struct Link {
    carrier_changes: u64,
    windows: u32,
    settings: Settings,
}

impl Known {
    /// The settings of a hardware device.
    pub(super) fn get(
        &mut self,
        netns: &Netns,
        ifindex: u32,
        name: &[u8],
        carrier_changes: u64,
    ) -> Settings {
        if self.links.len() >= DEVICES {
            self.links.clear();
        }
        let link = self.links.entry((netns.clone(), ifindex)).or_insert(Link {
            carrier_changes,
            windows: KEPT,
            settings: Settings::default(),
        });
        link.windows += 1;
        if link.windows > KEPT || link.carrier_changes != carrier_changes {
            *link = Link {
                carrier_changes,
                windows: 0,
                settings: read(name).unwrap_or_default(),
            };
        }
        link.settings
    }
}

fn read(name: &[u8]) -> Option<Settings> {
    let mut asking = Asking::here().ok()?;
    // The first call only agrees on the length of the masks: the kernel answers with the negative number that it wants.
    let answer = asking.ask(name, Question::Link(0)).ok()??;
    let words = mask_words(answer)?;
    if words >= 0 {
        return parse(answer);
    }
    parse(
        asking
            .ask(name, Question::Link(words.checked_neg()?))
            .ok()??,
    )
}

fn mask_words(answer: &[u8]) -> Option<i8> {
    Some(i8::from_ne_bytes([u8_at(answer, MASK_WORDS)?]))
}

/// A `struct ethtool_link_settings` with its three masks.
pub(crate) fn parse(answer: &[u8]) -> Option<Settings> {
    Some(Settings {
        // All ones (`SPEED_UNKNOWN`) or 0 where the device does not say.
        bits_per_s: match u32_at(answer, 4)? {
            0 | u32::MAX => None,
            megabits => Some(u64::from(megabits) * 1_000_000),
        },
        full_duplex: match u8_at(answer, 8)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        best: best(answer),
    })
}

/// The best mode among those that the device supports and the other end advertises.
fn best(answer: &[u8]) -> Option<LinkMode> {
    let words = usize::try_from(mask_words(answer)?).ok()?;
    let has = |mask: usize, bit: u16| {
        let word = usize::from(bit / 32);
        let offset = 48 + 4 * (mask * words + word);
        word < words && u32_at(answer, offset).is_some_and(|set| set & 1 << (bit % 32) != 0)
    };
    let (supported, advertised, partner) = (0, 1, 2);
    let speeds = MODES
        .iter()
        .flat_map(|(bits, megabits)| bits.clone().map(move |bit| (bit, *megabits)));
    let common = speeds.filter(|(bit, _)| has(supported, *bit) && has(partner, *bit));
    let mode = |(bit, megabits): (u16, u32)| LinkMode {
        bits_per_s: u64::from(megabits) * 1_000_000,
        full_duplex: !HALF_DUPLEX.contains(&bit),
        advertised: has(advertised, bit),
    };
    common.map(mode).max()
}

/// Bits of a link mode mask and their speed in Mbit/s (`enum ethtool_link_mode_bit_indices` of
/// `include/uapi/linux/ethtool.h`, up to 6.18); bits that are no speed are left out.
#[rustfmt::skip]
const MODES: &[(std::ops::RangeInclusive<u16>, u32)] = &[
    (0..=1, 10), (2..=3, 100), (4..=5, 1_000), (12..=12, 10_000), (15..=15, 2_500), (17..=17, 1_000), (18..=20, 10_000),
    (21..=22, 20_000), (23..=26, 40_000), (27..=30, 56_000), (31..=33, 25_000), (34..=35, 50_000), (36..=39, 100_000),
    (40..=40, 50_000), (41..=41, 1_000), (42..=46, 10_000), (47..=47, 2_500), (48..=48, 5_000), (52..=56, 50_000),
    (57..=61, 100_000), (62..=66, 200_000), (67..=67, 100), (68..=68, 1_000), (69..=73, 400_000), (75..=79, 100_000),
    (80..=84, 200_000), (85..=89, 400_000), (90..=91, 100), (92..=92, 10), (93..=98, 800_000), (99..=102, 10),
    (103..=108, 200_000), (109..=114, 400_000), (115..=120, 800_000), (121..=124, 1_600_000),
];

/// The bits of modes in which only one end may send at a time.
const HALF_DUPLEX: [u16; 6] = [0, 2, 4, 90, 100, 101];

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct with masks of four words as the kernel writes it: supported, advertised, the other end's.
    fn answer(megabits: u32, duplex: u8, masks: [&[u16]; 3]) -> Vec<u8> {
        let mut bytes = vec![0; 48];
        bytes[4..8].copy_from_slice(&megabits.to_ne_bytes());
        (bytes[8], bytes[MASK_WORDS]) = (duplex, 4);
        for mask in masks {
            let mut words = [0_u32; 4];
            for bit in mask {
                words[usize::from(bit / 32)] |= 1 << (bit % 32);
            }
            bytes.extend(words.map(u32::to_ne_bytes).concat());
        }
        bytes
    }

    const COPPER: &[u16] = &[0, 1, 2, 3, 4, 5, 6, 7];

    #[test]
    fn the_best_mode_is_one_that_both_ends_have() {
        let best = |supported, advertised, partner| {
            parse(&answer(100, 1, [supported, advertised, partner]))
                .expect("settings")
                .best
                .map(|mode| (mode.bits_per_s, mode.full_duplex, mode.advertised))
        };
        assert_eq!(
            best(COPPER, COPPER, COPPER),
            Some((1_000_000_000, true, true))
        );
        assert_eq!(
            best(COPPER, &[2, 3], COPPER),
            Some((1_000_000_000, true, false))
        );
        assert_eq!(
            best(COPPER, COPPER, &[0, 1, 2, 3, 6]),
            Some((100_000_000, true, true))
        );
        assert_eq!(
            best(COPPER, COPPER, &[2, 6]),
            Some((100_000_000, false, true))
        );
        // Fibre and virtual devices do not see what the other end supports.
        assert_eq!(best(&[33, 37], &[33, 37], &[]), None);
        assert_eq!(
            best(&[64, 104], &[104], &[64, 104]),
            Some((200_000_000_000, true, true))
        );
    }

    #[test]
    fn unknown_is_nothing() {
        let settings = parse(&answer(u32::MAX, 0xff, [COPPER, COPPER, &[]]));
        assert_eq!(settings, Some(Settings::default()));
        assert_eq!(parse(&[0; 8]), None);
        let half = parse(&answer(10, 0, [COPPER, COPPER, &[0]])).expect("settings");
        assert_eq!(
            (half.bits_per_s, half.full_duplex),
            (Some(10_000_000), Some(false))
        );
    }

    #[test]
    fn a_device_without_settings_has_none() {
        assert_eq!(read(b"lo").unwrap_or_default(), Settings::default());
        assert_eq!(read(b"no-such-device"), None);
        assert_eq!(read(b"a-name-that-is-longer-than-any-interface"), None);
    }
}
