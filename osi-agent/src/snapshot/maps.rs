//! Reads the eBPF maps, merged over CPUs.

use std::collections::HashMap;
use std::hash::Hash;

use anyhow::Context as _;
use aya::maps::{
    Array, HashMap as BpfHashMap, MapData, PerCpuArray, PerCpuHashMap, PerCpuValues, RingBuf,
};
use aya::{Ebpf, Pod};
use osi_common::handshake::{Handshake, MAX_HANDSHAKES, MAX_PEERS, PeerKey, PeerRecord};
use osi_common::histogram::LatencyHistogram;
use osi_common::interface::{BURST_BINS, Bursts, Direction, Frames, Traffic, burst_bin, row};
use osi_common::latency::LATENCIES;
use osi_common::listener::{ListenerKey, ListenerRecord, MAX_LISTENERS};
use osi_common::occurrence::{Control, Count, HEALTH_SLOTS, Key, Kind, MAX_KEYS, Sample};
use osi_common::opener::{MAX_OPENERS, Opener};

use super::{InterfaceMaps, KernelMaps};
use crate::probe::Names;
use crate::probe::interfaces::Slot;

mod dns;

mod exchanges;

mod http;

mod listeners;

mod occurrences;

mod tls;

mod unanswered;

/// No TCP handshake takes this long: its end was missed (a nested run of the program on the same CPU), and the record is stale.
const FORGOTTEN_NS: u64 = 600_000_000_000;

/// The agent's side of the maps that the programs share.
pub struct Maps {
    occurrences: PerCpuHashMap<MapData, Key, Count>,
    peers: BpfHashMap<MapData, PeerKey, PeerRecord>,
    listeners: BpfHashMap<MapData, ListenerKey, ListenerRecord>,
    handshakes: BpfHashMap<MapData, u64, Handshake>,
    openers: BpfHashMap<MapData, u64, Opener>,
    exchanges: exchanges::Exchanges,
    dns: dns::Dns,
    tls: tls::Tls,
    http: http::Http,
    latency: PerCpuArray<MapData, LatencyHistogram>,
    traffic: PerCpuArray<MapData, Traffic>,
    bursts: Array<MapData, Bursts>,
    frames: PerCpuArray<MapData, Frames>,
    health: PerCpuArray<MapData, u64>,
    control: Array<MapData, u64>,
    slot_of: Array<MapData, u32>,
    samples: RingBuf<MapData>,
    cpus: usize,
    epoch: u64,
    /// Peers and occurrences at the last reading, to find the quiet ones when room is short.
    last_peers: HashMap<PeerKey, PeerRecord>,
    last_keys: HashMap<Key, Count>,
}

impl Maps {
    /// Takes the maps out of the loaded object.
    ///
    /// Programs must not run yet: the keys are made here under which they count what finds no room, in the watched namespace
    /// (inode number, 0 for all).
    pub fn take(ebpf: &mut Ebpf, netns: u32) -> anyhow::Result<Self> {
        let cpus =
            aya::util::nr_cpus().map_err(|(path, error)| anyhow::anyhow!("{path}: {error}"))?;
        let mut map = |name: &str| {
            ebpf.take_map(name)
                .with_context(|| format!("the object has no map {name}"))
        };
        let mut occurrences: PerCpuHashMap<MapData, Key, Count> = map("OCCURRENCES")?.try_into()?;
        for kind in Kind::ALL {
            occurrences.insert(Key::other(kind as u32, netns), zeros(cpus)?, 0)?;
        }
        Ok(Self {
            occurrences,
            peers: map("PEERS")?.try_into()?,
            listeners: map("LISTENERS")?.try_into()?,
            handshakes: map("HANDSHAKES")?.try_into()?,
            openers: map("OPENERS")?.try_into()?,
            exchanges: exchanges::Exchanges::take(&mut map)?,
            dns: dns::Dns::take(&mut map)?,
            tls: tls::Tls::take(&mut map)?,
            http: http::Http::take(&mut map)?,
            latency: map("LATENCY")?.try_into()?,
            traffic: map("TRAFFIC")?.try_into()?,
            bursts: map("BURSTS")?.try_into()?,
            frames: map("FRAMES")?.try_into()?,
            health: map("HEALTH")?.try_into()?,
            control: map("CONTROL")?.try_into()?,
            slot_of: map("SLOT_OF")?.try_into()?,
            samples: map("SAMPLES")?.try_into()?,
            cpus,
            epoch: 0,
            last_peers: HashMap::new(),
            last_keys: HashMap::new(),
        })
    }

    /// Starts a window: every key may send samples again.
    pub fn next_epoch(&mut self) {
        self.epoch += 1;
        self.tell(Control::Epoch, self.epoch);
    }

    /// Tells the programs something. A refusal can only mean that the maps are gone, and then nothing runs that could care.
    pub fn tell(&mut self, slot: Control, value: u64) {
        if let Err(error) = self.control.set(slot as u32, value, 0) {
            log::warn!("control map: {error}");
        }
    }

    /// Samples that arrived since the last call, oldest first.
    pub fn drain(&mut self, into: &mut Vec<Sample>) {
        while let Some(record) = self.samples.next() {
            into.extend(sample(&record));
        }
        into.append(&mut self.dns.unanswered.examples);
        into.append(&mut self.tls.unanswered.examples);
        into.append(&mut self.tls.unfinished.examples);
        into.append(&mut self.http.unanswered.examples);
    }

    /// Gives an interface its rows, emptied.
    pub fn open_slot(&mut self, slot: u32, ifindex: u32) -> anyhow::Result<()> {
        for direction in [Direction::Rx, Direction::Tx] {
            let row = row(slot, direction);
            self.traffic.set(row, zeros(self.cpus)?, 0)?;
            self.bursts.set(
                row,
                Bursts {
                    bins: [0; BURST_BINS],
                },
                0,
            )?;
        }
        self.frames.set(slot, zeros(self.cpus)?, 0)?;
        self.slot_of
            .set(ifindex, slot + 1, 0)
            .context("no slot for the interface")
    }

    /// Takes an interface's rows away.
    pub fn close_slot(&mut self, ifindex: u32) {
        if let Err(error) = self.slot_of.set(ifindex, 0, 0) {
            log::warn!("interface {ifindex}: {error}");
        }
    }

    /// Reads everything else than [`listeners`](Self::listeners), as of `now_ns` (boot time).
    pub fn read(
        &mut self,
        names: &Names,
        slots: &[Slot],
        now_ns: u64,
        listeners: HashMap<ListenerKey, ListenerRecord>,
    ) -> KernelMaps {
        let mut maps = KernelMaps {
            nameless: names.is_nameless(),
            listeners,
            ..KernelMaps::default()
        };
        self.read_occurrences(names, &mut maps);
        self.read_peers(&mut maps);
        self.read_handshakes(now_ns, &mut maps);
        // As with handshakes, the kernel may begin the list anew while it is read.
        let listed = self.openers.iter().flatten();
        let listed = listed.take(2 * MAX_OPENERS as usize);
        maps.openers = listed
            .map(|(_, opener)| (opener.inode as u32, opener))
            .filter(|(inode, _)| *inode != 0)
            .collect();
        maps.latencies = (0..LATENCIES)
            .map(|index| {
                merged(
                    &self.latency,
                    index,
                    LatencyHistogram::EMPTY,
                    LatencyHistogram::merge,
                )
            })
            .collect();
        maps.health = (0..HEALTH_SLOTS)
            .map(|index| merged(&self.health, index, 0, |sum, share| *sum += share))
            .collect();
        maps.interfaces = slots
            .iter()
            .map(|slot| self.read_interface(slot, now_ns))
            .collect();
        maps.fill = vec![
            ("occurrences", self.last_keys.len() as u64, MAX_KEYS.into()),
            ("peers", maps.peers.len() as u64, MAX_PEERS.into()),
            (
                "listeners",
                maps.listeners.len() as u64,
                MAX_LISTENERS.into(),
            ),
            (
                "handshakes",
                maps.handshakes_in_flight.values().sum(),
                MAX_HANDSHAKES.into(),
            ),
            ("openers", maps.openers.len() as u64, MAX_OPENERS.into()),
        ];
        self.exchanges.read(&mut maps);
        self.dns.read(now_ns, &mut maps);
        self.tls.read(now_ns, &mut maps);
        self.http.read(now_ns, &mut maps);
        maps
    }

    fn read_peers(&mut self, maps: &mut KernelMaps) {
        maps.peers = self.peers.iter().flatten().collect();
        for key in quiet(&maps.peers, &self.last_peers, MAX_PEERS) {
            // Already gone is as good.
            let _gone = self.peers.remove(&key);
            maps.peers.remove(&key);
        }
        self.last_peers.clone_from(&maps.peers);
    }

    /// Handshakes come and go while they are listed, and the kernel begins the list anew when the place where it stood is
    /// gone: each is noted once, and the list is bounded.
    fn read_handshakes(&mut self, now_ns: u64, maps: &mut KernelMaps) {
        let listed = self
            .handshakes
            .iter()
            .flatten()
            .take(2 * MAX_HANDSHAKES as usize);
        let begun: HashMap<u64, (u32, u64)> = listed
            .map(|(sock, handshake)| (sock, (handshake.netns, handshake.begun_ns)))
            .collect();
        for (sock, (netns, begun_ns)) in begun {
            let age_ns = now_ns.saturating_sub(begun_ns);
            if age_ns > FORGOTTEN_NS {
                // Already gone is as good.
                let _gone = self.handshakes.remove(&sock);
                continue;
            }
            *maps.handshakes_in_flight.entry(netns).or_default() += 1;
            maps.oldest_handshake_ns = maps.oldest_handshake_ns.max(age_ns);
        }
    }

    fn read_interface(&self, slot: &Slot, now_ns: u64) -> InterfaceMaps {
        let traffic = |direction| {
            merged(
                &self.traffic,
                row(slot.slot, direction),
                Traffic::default(),
                Traffic::merge,
            )
        };
        InterfaceMaps {
            netns: slot.netns.clone(),
            iface: slot.iface.clone(),
            attachment: slot.attachment,
            rx: traffic(Direction::Rx),
            tx: traffic(Direction::Tx),
            rx_peak_ms_bytes: self.peak(row(slot.slot, Direction::Rx), now_ns),
            tx_peak_ms_bytes: self.peak(row(slot.slot, Direction::Tx), now_ns),
            frames: slot
                .xdp
                .then(|| merged(&self.frames, slot.slot, Frames::default(), Frames::merge)),
        }
    }

    /// The largest millisecond of the last 1024, over all CPUs: the shared bins plus what each CPU has not handed over yet.
    fn peak(&self, row: u32, now_ns: u64) -> u64 {
        let now_ms = now_ns / osi_common::interface::BURST_BIN_NS;
        let oldest_ms = now_ms.saturating_sub(BURST_BINS as u64 - 1);
        let Ok(bursts) = self.bursts.get(&row, 0) else {
            return 0;
        };
        let mut bins: HashMap<u64, u64> = HashMap::new();
        for millisecond in oldest_ms..=now_ms {
            let value = bursts
                .bins
                .get(millisecond as usize & (BURST_BINS - 1))
                .copied()
                .unwrap_or(0);
            let (stamp, bytes) = burst_bin(value);
            if stamp == millisecond as u32 && bytes > 0 {
                bins.insert(millisecond, bytes.into());
            }
        }
        let pending = self.traffic.get(&row, 0).map(|shares| {
            shares
                .iter()
                .map(|share| (share.burst_ms, share.burst_bytes))
                .collect::<Vec<_>>()
        });
        for (millisecond, bytes) in pending.unwrap_or_default() {
            if millisecond >= oldest_ms {
                *bins.entry(millisecond).or_default() += bytes;
            }
        }
        bins.into_values().max().unwrap_or(0)
    }
}

/// A record of the ring; `None` where it is shorter than a sample.
pub(crate) fn sample(record: &[u8]) -> Option<Sample> {
    if record.len() < size_of::<Sample>() {
        return None;
    }
    // SAFETY: the record is at least as long as a sample, and a sample is plain integers without padding.
    Some(unsafe { record.as_ptr().cast::<Sample>().read_unaligned() })
}

/// What has not moved since the last reading, once the map is three quarters full: it makes room for what moves.
///
/// Gone from the kernel and from the snapshot alike, it begins again at zero when it moves again. What moves between the
/// reading and the removal, microseconds later, is lost.
fn quiet<K: Copy + Eq + Hash, V: PartialEq>(
    now: &HashMap<K, V>,
    last: &HashMap<K, V>,
    capacity: u32,
) -> Vec<K> {
    if now.len() <= capacity as usize * 3 / 4 {
        return Vec::new();
    }
    now.iter()
        .filter(|(key, value)| last.get(key) == Some(*value))
        .map(|(key, _)| *key)
        .collect()
}

fn merged<T: Pod>(
    map: &PerCpuArray<MapData, T>,
    index: u32,
    zero: T,
    merge: impl Fn(&mut T, &T),
) -> T {
    let mut total = zero;
    if let Ok(shares) = map.get(&index, 0) {
        shares.iter().for_each(|share| merge(&mut total, share));
    }
    total
}

fn zeros<T: Pod + Default>(cpus: usize) -> anyhow::Result<PerCpuValues<T>> {
    PerCpuValues::try_from(vec![T::default(); cpus]).context("one value per CPU")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_map_loses_its_quiet_keys() {
        let last = HashMap::from([(1, 'a'), (2, 'b'), (3, 'c')]);
        let now = HashMap::from([(1, 'a'), (2, 'B'), (3, 'c'), (4, 'd')]);
        assert!(quiet(&now, &last, 100).is_empty());
        let mut gone = quiet(&now, &last, 5);
        gone.sort_unstable();
        assert_eq!(gone, [1, 3]);
    }
}
