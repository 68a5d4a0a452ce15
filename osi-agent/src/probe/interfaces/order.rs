//! Which interfaces come first where there are more than slots: the ways out of the host before those of its containers.

use aya::Ebpf;
use osi_common::interface::SLOTS;

use super::Interfaces;
use crate::scope::Iface;
use crate::snapshot::Link;
use crate::snapshot::maps::Maps;

/// What a container hangs on: hosts have hundreds, and what passes one passes a way out, too.
fn is_veth(link: &Link) -> bool {
    link.kind.as_deref() == Some("veth")
}

/// Puts the ways out first.
pub(super) fn sort(wanted: &mut [&Link]) {
    wanted.sort_by_key(|link| is_veth(link));
}

/// The slot that is given up for an interface when all are in use: the highest one of a veth, for another kind of interface.
fn spare<'a>(
    of: &Link,
    wanted: &[&Link],
    slots: impl Iterator<Item = (u32, &'a Iface)>,
) -> Option<u32> {
    let used: Vec<_> = slots.collect();
    if is_veth(of) || used.len() < SLOTS as usize {
        return None;
    }
    let of_veth = |iface: &Iface| {
        let mut links = wanted.iter();
        links.any(|link| link.iface == *iface && is_veth(link))
    };
    let veths = used.iter().filter(|(_, iface)| of_veth(iface));
    veths.map(|(slot, _)| *slot).max()
}

impl Interfaces {
    /// Gives up a slot for an interface, if it deserves one more than who has it.
    pub(super) fn make_room(
        &mut self,
        of: &Link,
        wanted: &[&Link],
        ebpf: &mut Ebpf,
        maps: &mut Maps,
    ) {
        let slots = self.slots.iter().map(|slot| (slot.slot, &slot.iface));
        if let Some(spare) = spare(of, wanted, slots) {
            // There is no more room than before for those that found none.
            let refused = std::mem::take(&mut self.refused);
            self.release(ebpf, maps, |slot| slot.slot == spare);
            self.refused = refused;
        }
    }

    /// Those without a slot in the same order, because not all of them are named.
    pub(super) fn sort_refused(&mut self, wanted: &[&Link]) {
        let position = |iface: &Iface| wanted.iter().position(|link| link.iface == *iface);
        self.refused.sort_by_key(|(iface, _)| position(iface));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::LinkStats;

    fn link(ifindex: u32, kind: Option<&str>) -> Link {
        Link {
            iface: Iface {
                ifindex,
                name: format!("if{ifindex}"),
            },
            kind: kind.map(str::to_owned),
            admin_up: true,
            carrier: true,
            loopback: false,
            promiscuity: 0,
            master: None,
            carrier_changes: 0,
            speed_bits_per_s: None,
            stated_bits_per_s: None,
            full_duplex: None,
            best: None,
            fdb: None,
            xdp_program: None,
            stats: LinkStats::default(),
        }
    }

    #[test]
    fn ways_out_come_before_containers() {
        let links = [
            link(1, None),
            link(2, Some("veth")),
            link(3, Some("bond")),
            link(4, Some("veth")),
        ];
        let mut wanted: Vec<_> = links.iter().collect();
        sort(&mut wanted);
        let order: Vec<_> = wanted.iter().map(|link| link.iface.ifindex).collect();
        assert_eq!(order, [1, 3, 2, 4]);
    }

    #[test]
    fn a_way_out_takes_the_last_slot_of_a_container() {
        let mut links: Vec<_> = (0..SLOTS).map(|n| link(n + 10, Some("veth"))).collect();
        links[31].kind = None;
        let (uplink, container) = (link(90, Some("bond")), link(91, Some("veth")));
        let all: Vec<_> = links.iter().collect();
        let slots = || (0..).zip(links.iter().map(|link| &link.iface));
        assert_eq!(spare(&uplink, &all, slots()), Some(30));
        assert_eq!(spare(&container, &all, slots()), None);
        assert_eq!(spare(&uplink, &all, slots().take(31)), None, "room");
        let none: Vec<_> = (0..SLOTS).map(|n| link(n + 10, None)).collect();
        let others: Vec<_> = none.iter().collect();
        let slots = (0..).zip(none.iter().map(|link| &link.iface));
        assert_eq!(spare(&uplink, &others, slots), None);
    }
}
