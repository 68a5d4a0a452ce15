//! Every name of the tables, in any case and misspelt.

use osi_common::drop;

use super::explain;
use crate::config::Exit;
use crate::layer::signals;
use crate::output::glyphs::Glyphs;
use crate::verdict::causes;

#[test]
fn every_name_in_the_tables_is_explained() {
    let list = explain("list", Glyphs::Unicode).expect("known");
    for name in causes()
        .map(|cause| cause.id)
        .chain(signals().map(|signal| signal.id))
        .chain(drop::all().map(|reason| reason.name))
    {
        for name in [name, &name.to_uppercase(), &name.to_lowercase()] {
            explain(name, Glyphs::Unicode).expect(name);
        }
        let text = explain(name, Glyphs::Unicode).expect(name);
        assert!(text.starts_with(name), "{text}");
        assert!(list.contains(name), "{name}");
    }
}

#[test]
fn layers_by_any_of_their_names() {
    for name in ["L2", "l2", "data_link", "data link", "data-link"] {
        assert!(
            explain(name, Glyphs::Unicode)
                .expect(name)
                .starts_with("L2 data link\n")
        );
    }
}

#[test]
fn drop_reasons_with_or_without_prefix() {
    for name in [
        "NETFILTER_DROP",
        "SKB_DROP_REASON_NETFILTER_DROP",
        "skb_drop_reason_netfilter_drop",
    ] {
        assert!(explain(name, Glyphs::Ascii).expect(name).contains("policy"));
    }
}

#[test]
fn an_unknown_name_is_wrong_usage_and_says_what_to_do() {
    let failure = explain("rain\x1b[2J", Glyphs::Unicode).expect_err("unknown");
    assert_eq!(failure.exit, Exit::Usage);
    assert!(
        failure.message.contains("explain list") && !failure.message.contains('\x1b'),
        "{failure}"
    );
}

#[test]
fn a_misspelt_name_is_answered_with_the_nearest() {
    for (typo, meant) in [
        ("Packet_Los", "packet_loss?"),
        ("NETFILTER_DRP", "NETFILTER_DROP"),
        ("SKB_DROP_REASON_NO_SOKCET", "NO_SOCKET?"),
        ("transprot", "transport?"),
    ] {
        let failure = explain(typo, Glyphs::Unicode).expect_err(typo);
        let hint = format!("did you mean {meant}");
        assert!(failure.message.contains(&hint), "{failure}");
    }
}
