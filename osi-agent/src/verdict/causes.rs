//! The table of causes: one file per cause, below its layer's folder.

use super::{
    Cause, l1_physical, l2_data_link, l3_network, l4_transport, l5_session, l6_presentation,
    l7_application,
};

/// All causes, L1 first.
pub fn causes() -> impl Iterator<Item = &'static Cause> {
    [
        l1_physical::CAUSES,
        l2_data_link::CAUSES,
        l3_network::CAUSES,
        l4_transport::CAUSES,
        l5_session::CAUSES,
        l6_presentation::CAUSES,
        l7_application::CAUSES,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The cause with this id.
pub fn cause(id: &str) -> Option<&'static Cause> {
    causes().find(|cause| cause.id == id)
}
