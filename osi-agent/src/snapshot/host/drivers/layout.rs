//! Which of a driver's statistics are kept.

use crate::host::text::clean;
use crate::snapshot::driver::{self, DriverCounter};
use crate::snapshot::host::link::NAME_MAX;

/// Counters that are kept of a driver that is not in the table.
const RAW: usize = 64;

/// Words that names of counters have which nobody likes to see grow.
const ALARMING: [&str; 9] = [
    "err", "drop", "discard", "miss", "fail", "timeout", "overrun", "exceeded", "bad",
];

/// Where the counters that are kept lie among a device's statistics.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// Statistics that it has.
    pub(super) statistics: u32,
    /// Those that are kept could not all be: so many are not.
    pub(super) omitted: u64,
    names: Vec<String>,
    places: Vec<Place>,
}

/// A statistic that is kept.
#[derive(Debug)]
struct Place {
    /// Its place among the device's.
    statistic: usize,
    /// The counter that it belongs to.
    counter: usize,
    /// The queue that it is of.
    queue: Option<u32>,
}

impl Layout {
    /// Chooses among a driver's statistics.
    pub(crate) fn of<'a>(driver: &str, names: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut layout = Self::default();
        let rows = driver::rows(driver);
        for (statistic, name) in names.enumerate() {
            layout.statistics += 1;
            let name = clean(name, NAME_MAX);
            let kept = match rows {
                Some(rows) => driver::named(rows, &name).map(|row| row.counter.to_owned()),
                None => is_alarming(&name).then(|| without_queue(&name)),
            };
            let Some(kept) = kept else { continue };
            let queue = driver::queue(&kept, &name);
            let known = layout.names.iter().position(|known| *known == kept);
            if known.is_none() && rows.is_none() && layout.names.len() >= RAW {
                layout.omitted += 1;
                continue;
            }
            let counter = known.unwrap_or_else(|| {
                layout.names.push(kept);
                layout.names.len() - 1
            });
            layout.places.push(Place {
                statistic,
                counter,
                queue,
            });
        }
        layout
    }

    /// Whether there is nothing to keep.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The counters, queues added up.
    pub(crate) fn sum(&self, values: &[u64]) -> Vec<DriverCounter> {
        let counter = |name: &String| DriverCounter {
            name: name.clone(),
            value: 0,
            queues: Vec::new(),
        };
        let mut counters: Vec<_> = self.names.iter().map(counter).collect();
        for place in &self.places {
            let value = values.get(place.statistic).copied().unwrap_or(0);
            let counter = &mut counters[place.counter];
            counter.value = counter.value.wrapping_add(value);
            let counted = place.queue.filter(|_| value > 0);
            counter.queues.extend(counted.map(|queue| (queue, value)));
        }
        counters
    }
}

fn is_alarming(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ALARMING.iter().any(|word| name.contains(word))
}

/// The name with `*` for each number in it.
fn without_queue(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        if !character.is_ascii_digit() {
            text.push(character);
        } else if !text.ends_with('*') {
            text.push('*');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(driver: &str, names: &[&str]) -> Layout {
        Layout::of(driver, names.iter().map(|name| name.as_bytes()))
    }

    fn pairs(layout: &Layout, values: &[u64]) -> Vec<(String, u64)> {
        let counters = layout.sum(values).into_iter();
        counters
            .map(|counter| (counter.name, counter.value))
            .collect()
    }

    #[test]
    fn the_queues_of_a_known_driver_are_added_up() {
        let layout = layout(
            "veth",
            &[
                "peer_ifindex",
                "rx_queue_0_xdp_packets",
                "rx_queue_0_drops",
                "rx_queue_1_drops",
            ],
        );
        assert_eq!(
            pairs(&layout, &[7, 1, 20, 300]),
            [("rx_queue_*_drops".to_owned(), 320)]
        );
        assert_eq!((layout.statistics, layout.omitted), (4, 0));
        assert_eq!(
            layout.sum(&[7, 1, 0, 300])[0].queues,
            [(1, 300)],
            "those that have counted"
        );
    }

    #[test]
    fn of_an_unknown_driver_what_sounds_like_errors_is_kept() {
        let layout = layout(
            "new",
            &["rx_packets", "rx3_crc_err", "rx4_crc_err", "Bad\x1bTx"],
        );
        assert_eq!(
            pairs(&layout, &[1, 2, 3, 4]),
            [("rx*_crc_err".to_owned(), 5), ("Bad\\x*bTx".to_owned(), 4)]
        );
        let many: Vec<_> = ('a'..='z')
            .flat_map(|a| ('a'..='z').map(move |b| format!("{a}{b}_errors")))
            .collect();
        let names: Vec<_> = many.iter().map(String::as_str).collect();
        let layout = self::layout("new", &names);
        assert_eq!(
            (layout.names.len(), layout.omitted),
            (RAW, 26 * 26 - RAW as u64)
        );
    }
}
