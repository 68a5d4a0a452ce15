//! Names near one that nobody has: what was probably meant.

// Letters to insert, delete, replace, or swap with their neighbour.
use strsim::osa_distance as distance;

/// A longer word is no misspelt name.
const LONGEST: usize = 64;

/// Suggestions that a sentence still takes.
const MOST: usize = 5;

/// Names that are few slips of a finger away, nearest first; else those that share a word with it.
pub(super) fn near(wanted: &str, known: &[&'static str]) -> Vec<&'static str> {
    let wanted = wanted.to_lowercase();
    if wanted.chars().count() > LONGEST {
        return Vec::new();
    }
    let slips = |name: &str| distance(&wanted, &name.to_lowercase());
    let mut misspelt: Vec<_> = known
        .iter()
        .map(|name| (slips(name), *name))
        .filter(|(slips, name)| *slips <= (name.len() / 4).max(1))
        .collect();
    misspelt.sort_unstable();
    misspelt.dedup();
    if let Some((fewest, _)) = misspelt.first().copied() {
        misspelt.retain(|(slips, _)| *slips <= fewest + 1);
        return misspelt
            .into_iter()
            .map(|(_, name)| name)
            .take(MOST)
            .collect();
    }
    let words: Vec<_> = wanted
        .split(['_', '-', ' '])
        .filter(|word| word.len() > 2)
        .collect();
    let shared = |name: &str| {
        let name = name.to_lowercase();
        words.iter().filter(|word| name.contains(**word)).count()
    };
    let mut related: Vec<_> = known
        .iter()
        .map(|name| (shared(name), *name))
        .filter(|(shared, _)| *shared > 0)
        .collect();
    // Stable: of equals those first that the tables have first.
    related.sort_by_key(|(shared, _)| std::cmp::Reverse(*shared));
    related
        .into_iter()
        .map(|(_, name)| name)
        .take(MOST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{distance, near};

    #[test]
    fn slips_of_a_finger_are_counted() {
        for (a, b, slips) in [
            ("loss", "loss", 0),
            ("los", "loss", 1),
            ("losss", "loss", 1),
            ("lass", "loss", 1),
            ("lsos", "loss", 1),
            ("", "loss", 4),
            ("loss", "", 4),
            ("drop", "loss", 4),
        ] {
            assert_eq!(distance(a, b), slips, "{a} {b}");
        }
    }

    #[test]
    fn the_nearest_comes_first_and_nonsense_suggests_nothing() {
        let known = ["packet_loss", "packet_filtered", "link_down", "NO_SOCKET"];
        assert_eq!(near("packet_los", &known), ["packet_loss"]);
        assert_eq!(near("PACKTE_LOSS", &known), ["packet_loss"]);
        assert_eq!(near("no_sockett", &known), ["NO_SOCKET"]);
        assert_eq!(
            near("packet_gone", &known),
            ["packet_loss", "packet_filtered"]
        );
        assert!(near("rain", &known).is_empty());
        assert!(near(&"packet_loss".repeat(9), &known).is_empty());
    }
}
