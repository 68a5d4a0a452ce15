//! Limits and rates of queueing disciplines, out of `TCA_OPTIONS`, whose content each kind defines for itself
//! (uapi/linux/pkt_sched.h).

use super::decode::{attribute, u32_at, u64_at};

/// What is read of a discipline's options; `None` where it has no such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Queue limit in packets.
    pub(super) limit_packets: Option<u64>,
    /// Queue limit in bytes.
    pub(super) limit_bytes: Option<u64>,
    /// Rate of a shaper in bit/s.
    pub(super) rate_bits_per_s: Option<u64>,
}

/// Attribute numbers within `TCA_OPTIONS`.
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_CEIL64: u16 = 7;
const TCA_FQ_PLIMIT: u16 = 1;
const TCA_FQ_CODEL_LIMIT: u16 = 2;
const TCA_FQ_CODEL_MEMORY_LIMIT: u16 = 9;
const TCA_CODEL_LIMIT: u16 = 2;
const TCA_PIE_LIMIT: u16 = 2;
const TCA_CAKE_BASE_RATE64: u16 = 2;

/// Size of `struct tc_ratespec`; its rate, in bytes/s, stands at 8.
const RATESPEC: usize = 12;

/// Reads the options of a discipline of this kind.
pub(crate) fn options(kind: &str, bytes: &[u8]) -> Options {
    let limit = |wanted| {
        attribute(bytes, wanted)
            .and_then(|value| u32_at(value, 0))
            .map(u64::from)
    };
    let none = Options::default();
    match kind {
        "tbf" => tbf(bytes),
        // `struct tc_fifo_qopt`; pfifo_head_drop is a pfifo.
        "pfifo" | "pfifo_head_drop" => Options {
            limit_packets: u32_at(bytes, 0).map(u64::from),
            ..none
        },
        "bfifo" => Options {
            limit_bytes: u32_at(bytes, 0).map(u64::from),
            ..none
        },
        "fq_codel" => Options {
            limit_packets: limit(TCA_FQ_CODEL_LIMIT),
            limit_bytes: limit(TCA_FQ_CODEL_MEMORY_LIMIT),
            ..none
        },
        "fq" => Options {
            limit_packets: limit(TCA_FQ_PLIMIT),
            ..none
        },
        "codel" => Options {
            limit_packets: limit(TCA_CODEL_LIMIT),
            ..none
        },
        "pie" => Options {
            limit_packets: limit(TCA_PIE_LIMIT),
            ..none
        },
        // `struct tc_sfq_qopt`: quantum, perturb_period, limit.
        "sfq" => Options {
            limit_packets: u32_at(bytes, 8).map(u64::from),
            ..none
        },
        // `struct tc_netem_qopt`: latency, limit.
        "netem" => Options {
            limit_packets: u32_at(bytes, 4).map(u64::from),
            ..none
        },
        "cake" => {
            let rate = attribute(bytes, TCA_CAKE_BASE_RATE64).and_then(|value| u64_at(value, 0));
            Options {
                rate_bits_per_s: rate.filter(|rate| *rate > 0).map(to_bits),
                ..none
            }
        }
        _ => none,
    }
}

/// `struct tc_tbf_qopt`: rate, peakrate, limit; above 4 GiB/s the rate is in `TCA_TBF_RATE64`.
fn tbf(bytes: &[u8]) -> Options {
    let parameters = attribute(bytes, TCA_TBF_PARMS).unwrap_or_default();
    let wide = attribute(bytes, TCA_TBF_RATE64).and_then(|value| u64_at(value, 0));
    let rate = wide.or_else(|| u32_at(parameters, 8).map(u64::from));
    Options {
        limit_packets: None,
        limit_bytes: u32_at(parameters, 2 * RATESPEC).map(u64::from),
        rate_bits_per_s: rate.map(to_bits),
    }
}

/// Ceiling of an htb class in bit/s: `struct tc_htb_opt` begins with rate and ceil.
pub(super) fn htb_ceiling(bytes: &[u8]) -> Option<u64> {
    let wide = attribute(bytes, TCA_HTB_CEIL64).and_then(|value| u64_at(value, 0));
    let narrow = || u32_at(attribute(bytes, TCA_HTB_PARMS)?, RATESPEC + 8).map(u64::from);
    wide.or_else(narrow).map(to_bits)
}

/// The kernel counts rates in bytes per second.
const fn to_bits(bytes: u64) -> u64 {
    bytes.saturating_mul(8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fifo_has_the_limit_of_its_kind() {
        let bytes = 1000u32.to_ne_bytes();
        assert_eq!(options("pfifo", &bytes).limit_packets, Some(1000));
        assert_eq!(options("bfifo", &bytes).limit_bytes, Some(1000));
        assert_eq!(options("mq", &bytes), Options::default());
    }

    #[test]
    fn a_wide_rate_wins() {
        let mut parameters = vec![0; 36];
        parameters[8..12].copy_from_slice(&u32::MAX.to_ne_bytes());
        parameters[24..28].copy_from_slice(&3000u32.to_ne_bytes());
        let mut bytes = [40u16.to_ne_bytes(), TCA_TBF_PARMS.to_ne_bytes()].concat();
        bytes.extend(&parameters);
        assert_eq!(
            options("tbf", &bytes).rate_bits_per_s,
            Some(u64::from(u32::MAX) * 8)
        );
        bytes.extend([12u16.to_ne_bytes(), TCA_TBF_RATE64.to_ne_bytes()].concat());
        bytes.extend(5_000_000_000u64.to_ne_bytes());
        let wide = options("tbf", &bytes);
        assert_eq!(
            (wide.rate_bits_per_s, wide.limit_bytes),
            (Some(40_000_000_000), Some(3000))
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            for kind in ["tbf", "pfifo", "fq_codel", "fq", "sfq", "netem", "cake", ""] {
                let _ = options(kind, &bytes);
            }
            let _ = htb_ceiling(&bytes);
        }
    }
}
