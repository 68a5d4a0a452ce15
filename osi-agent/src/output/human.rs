//! Quantities for people: three digits and an SI prefix.

use std::time::Duration;

/// A value with its unit, as signals name it: `9.41 Gbit/s`, `1.25 ms`, `27951`.
pub fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "bits_per_s" => scaled(value, "bit/s"),
        "bytes" => scaled(value, "B"),
        "ns" => nanoseconds(value),
        "ratio" => percent(value),
        _ => count(value),
    }
}

/// The unit behind a number that [`quantity`] does not already carry, as a word with its space: ` ports`.
pub fn unit_word(unit: &str) -> String {
    match unit {
        "bits_per_s" | "bytes" | "ns" | "ratio" | "" => String::new(),
        other => format!(" {}", other.replace('_', " ")),
    }
}

/// A plain number: exact below a hundred thousand, `1.23 M` above.
pub fn count(value: f64) -> String {
    if value.abs() >= 100_000.0 {
        scaled(value, "").trim_end().to_owned()
    } else if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        three_digits(value)
    }
}

/// A duration in nanoseconds: `850 ns`, `1.25 ms`, `3.20 s`, `2 min 5 s`.
pub fn nanoseconds(value: f64) -> String {
    match value {
        v if v < 1e3 => format!("{v:.0} ns"),
        v if v < 1e6 => format!("{} µs", three_digits(v / 1e3)),
        v if v < 1e9 => format!("{} ms", three_digits(v / 1e6)),
        v if v < 60e9 => format!("{} s", three_digits(v / 1e9)),
        v => age(Duration::from_secs_f64((v / 1e9).clamp(0.0, 1e15))),
    }
}

/// A longer time in its two largest units: `42 s`, `2 min 5 s`, `3 h 12 min`, `5 d 1 h`.
pub fn age(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

/// A ratio in percent, at most five characters up to 9999 %: `0.4%`, `99.2%`, `142%`.
///
/// Never rounded up to 100 %: full is a statement.
pub fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent >= 100.0 || percent == 0.0 {
        format!("{percent:.0}%")
    } else if percent < 0.05 {
        "<0.1%".to_owned()
    } else {
        format!("{:.1}%", (percent * 10.0).min(999.0).round() / 10.0)
    }
}

fn scaled(value: f64, unit: &str) -> String {
    let prefixes = ["", "k", "M", "G", "T", "P", "E"];
    let mut rest = value;
    let mut step = 0;
    while rest.abs() >= 999.5 && step + 1 < prefixes.len() {
        rest /= 1000.0;
        step += 1;
    }
    let number = if step == 0 && rest.fract() == 0.0 {
        format!("{rest:.0}")
    } else {
        three_digits(rest)
    };
    format!("{number} {}{unit}", prefixes[step])
}

fn three_digits(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{age, count, percent, quantity, unit_word};

    #[test]
    fn quantities() {
        for (value, unit, shown) in [
            (0.0, "bits_per_s", "0 bit/s"),
            (9.41e9, "bits_per_s", "9.41 Gbit/s"),
            (999.9e6, "bits_per_s", "1.00 Gbit/s"),
            (1500.0, "bytes", "1.50 kB"),
            (850.0, "ns", "850 ns"),
            (1.25e6, "ns", "1.25 ms"),
            (125e9, "ns", "2 min 5 s"),
            (27951.0, "ports", "27951"),
            (1.234e6, "packets", "1.23 M"),
            (12.34, "packets", "12.3"),
            (0.993, "ratio", "99.3%"),
        ] {
            assert_eq!(quantity(value, unit), shown);
        }
        assert_eq!(unit_word("ports"), " ports");
        assert_eq!(unit_word("ns"), "");
        assert_eq!(count(99_999.0), "99999");
    }

    #[test]
    fn full_is_never_a_rounding() {
        assert_eq!(percent(0.9999), "99.9%");
        assert_eq!(percent(1.0), "100%");
        assert_eq!(percent(1.424), "142%");
        assert_eq!(percent(0.0), "0%");
        assert_eq!(percent(0.0001), "<0.1%");
    }

    #[test]
    fn ages() {
        assert_eq!(age(Duration::from_secs(42)), "42 s");
        assert_eq!(age(Duration::from_mins(192)), "3 h 12 min");
        assert_eq!(age(Duration::from_hours(121)), "5 d 1 h");
    }
}
