//! Which listener a local end belongs to: of those at its port, the kernel prefers the closest (`inet_lookup_listener`).

use std::net::IpAddr;

/// The address, of those that are listened on at a port, whose listener takes connections to the local address.
pub(super) fn closest(listens: impl IntoIterator<Item = IpAddr>, local: IpAddr) -> Option<IpAddr> {
    let takes = |listens: IpAddr| Some((closeness(listens, local)?, listens));
    let best = listens.into_iter().filter_map(takes).max();
    best.map(|(_, listens)| listens)
}

/// How close a listener's address is; `None` where it does not take connections to the local one.
fn closeness(listens: IpAddr, local: IpAddr) -> Option<u8> {
    if listens == local {
        Some(3)
    } else if !listens.is_unspecified() {
        None
    } else if listens.is_ipv4() == local.is_ipv4() {
        Some(2)
    } else {
        // `::` takes IPv4, too, unless it is told not to; `0.0.0.0` never takes IPv6.
        listens.is_ipv6().then_some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(listens: &[&str], local: &str) -> Option<String> {
        let address = |text: &str| text.parse::<IpAddr>().expect("address");
        let listens = listens.iter().map(|text| address(text));
        closest(listens, address(local)).map(|found| found.to_string())
    }

    #[test]
    fn an_end_belongs_to_the_closest_listener_in_any_order() {
        for all in [["0.0.0.0", "::", "10.0.0.1"], ["10.0.0.1", "::", "0.0.0.0"]] {
            assert_eq!(of(&all, "10.0.0.1").as_deref(), Some("10.0.0.1"));
            assert_eq!(of(&all, "10.0.0.2").as_deref(), Some("0.0.0.0"));
            assert_eq!(of(&all, "fd00::1").as_deref(), Some("::"));
        }
    }

    #[test]
    fn all_of_ipv6_takes_ipv4_and_never_the_other_way_round() {
        assert_eq!(of(&["::", "10.0.0.1"], "10.0.0.2").as_deref(), Some("::"));
        assert_eq!(of(&["0.0.0.0"], "fd00::1"), None);
    }

    #[test]
    fn an_end_at_another_address_belongs_to_nobody() {
        assert_eq!(of(&["10.0.0.1", "fd00::1"], "10.0.0.2"), None);
        assert_eq!(of(&[], "10.0.0.2"), None);
    }
}
