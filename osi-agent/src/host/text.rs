//! Text from outside the agent: process, interface, namespace and cgroup names are bytes that anyone may choose.

use std::fmt::Write as _;

/// What stands for the part that was cut off.
const CUT: char = '…';

/// Outside bytes as text that no terminal, log or browser acts on: lossy UTF-8, control characters and marks that
/// hide or reorder text escaped (`\x1b`, `\u{202e}`), at most `max` characters.
///
/// A backslash stands for itself: systemd writes `\x2d` into unit names, and those must stay comparable.
pub fn clean(bytes: &[u8], max: usize) -> String {
    // A character takes at most four bytes, so no more of them can matter.
    let bytes = &bytes[..bytes.len().min(max.saturating_add(1).saturating_mul(4))];
    let mut text = String::with_capacity(bytes.len().min(max));
    let mut length = 0;
    for character in String::from_utf8_lossy(bytes).chars() {
        let before = text.len();
        if character.is_control() && u32::from(character) < 0x100 {
            let _ = write!(text, "\\x{:02x}", u32::from(character));
        } else if is_deceptive(character) {
            let _ = write!(text, "\\u{{{:x}}}", u32::from(character));
        } else {
            text.push(character);
        }
        length += text[before..].chars().count();
        if length > max {
            let keep = text
                .char_indices()
                .nth(max.saturating_sub(1))
                .map_or(0, |(position, _)| position);
            text.truncate(keep);
            if max > 0 {
                text.push(CUT);
            }
            break;
        }
    }
    text
}

/// Characters that print nothing, end a line or turn the direction of those around them.
pub(crate) const fn is_deceptive(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(clean(b"eth0", 16), "eth0");
        assert_eq!(clean("größe".as_bytes(), 16), "größe");
        assert_eq!(clean(br"dev\x2dsda.slice", 64), r"dev\x2dsda.slice");
    }

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        assert_eq!(clean(b"\x1b[2Jx", 16), r"\x1b[2Jx");
        assert_eq!(clean(b"a\nb\x7f", 16), r"a\x0ab\x7f");
        assert_eq!(clean("a\u{202e}b\u{9b}".as_bytes(), 32), r"a\u{202e}b\x9b");
        assert_eq!(clean(b"\xff\xfe", 16), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn length_is_capped() {
        assert_eq!(clean(b"abcdef", 6), "abcdef");
        assert_eq!(clean(b"abcdefg", 6), "abcde…");
        assert_eq!(clean(b"abc", 0), "");
    }

    proptest! {
        #[test]
        fn no_bytes_get_through_that_act(bytes in proptest::collection::vec(any::<u8>(), 0..64), max in 0usize..40) {
            let text = clean(&bytes, max);
            prop_assert!(text.chars().count() <= max);
            prop_assert!(!text.chars().any(|character| character.is_control() || is_deceptive(character)));
        }
    }
}
