//! The client's IPv6 default route is deleted and its IPv4 one stays, then it connects over IPv6.

use anyhow::Result;
use osi_tests::expect::{Expected, HARD};
use osi_tests::topology::Family;

use super::no_route::scenario;

const EXPECTED: Expected = Expected {
    cause: "ipv6_broken",
    layer: "L3",
    within: HARD,
    beside: &[],
};

#[test]
fn ipv6_broken() -> Result<()> {
    scenario(
        "l3_network::ipv6_broken::ipv6_broken",
        Family::V6,
        &EXPECTED,
    )
}
