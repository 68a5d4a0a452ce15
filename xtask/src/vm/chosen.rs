//! Which scenarios run in a guest.

/// One of each thing that differs from kernel to kernel: a hook, a field, a reason, a privilege, a trap. What a scenario's
/// second family or its lab adds runs on the machine itself.
const QUICK: &[&str] = &[
    "controls::idle::idle",
    "l1_physical::link_down::link_down",
    "l2_data_link::frames::clsact_filters_count_every_frame",
    "l2_data_link::frames::xdp_and_tcx_count_every_frame",
    "l2_data_link::neighbor_unreachable::neighbor_unreachable",
    "l3_network::exact_drops::every_dropped_datagram_is_counted_once",
    "l3_network::no_route::no_route",
    "l3_network::packet_filtered::packet_filtered",
    "l4_transport::accept_queue_overflow::accept_queue_overflow",
    "l4_transport::connection_refused::connection_refused",
    "l4_transport::ephemeral_ports_exhausted::ephemeral_ports_exhausted",
    "l4_transport::handshake_latency::by_fentry",
    "l4_transport::handshake_latency::by_kprobe",
    "l4_transport::handshake_latency::by_sock_ops",
    "l4_transport::handshake_timeout::handshake_timeout",
    "l4_transport::packet_loss::on_the_wire",
    "l6_presentation::tls::every_handshake_is_counted_as_the_client_counts_it",
    "l7_application::dns::names_that_do_not_exist_are_normal_life",
    "l7_application::exchanges::every_request_is_one_of_each",
    "l7_application::http::every_request_is_counted_as_the_client_counts_it",
    "safety::foreign::an_xdp_program_of_others_stays",
    "safety::kernel_memory::unread_datagrams_are_freed",
    "safety::leftovers::sigkill_leaves_nothing",
    "safety::privileges::it_keeps_only_what_it_uses",
];

/// The words that make the test program run and list them.
pub(super) fn words(quick: bool, parts: &[String]) -> Vec<&str> {
    if quick {
        let exact = ["--exact"].into_iter();
        exact.chain(QUICK.iter().copied()).collect()
    } else {
        parts.iter().map(String::as_str).collect()
    }
}

/// Scenarios that have to be there. Renamed, one would be left out without a word.
pub(super) fn expected(quick: bool) -> &'static [&'static str] {
    if quick { QUICK } else { &[] }
}

#[cfg(test)]
mod tests {
    use super::{QUICK, words};

    #[test]
    fn quick_is_exact() {
        assert_eq!(words(false, &[]), Vec::<&str>::new());
        assert_eq!(words(false, &["l1".to_owned()]), ["l1"]);
        assert_eq!(words(true, &[]).len(), QUICK.len() + 1);
        assert!(
            QUICK.is_sorted(),
            "in the order in which the table lists them"
        );
    }
}
