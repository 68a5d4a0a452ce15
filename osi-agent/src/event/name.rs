//! Names as packets carry them.

use osi_common::occurrence::{Kind, Sample};
use osi_common::wire::NAME_BYTES;

use crate::host::text::clean;

/// What was asked for, as it stands in an example of this kind; `None` where there is none.
pub(crate) fn of_sample(sample: &Sample) -> Option<String> {
    if [Kind::TlsFailed as u32, Kind::HttpFailed as u32].contains(&sample.key.kind) {
        of_text(&sample.name)
    } else {
        of_wire(&sample.name)
    }
}

/// A name, or method and path, as text that ends with the first zero, or is cut.
fn of_text(bytes: &[u8; NAME_BYTES]) -> Option<String> {
    let name = bytes.split(|byte| *byte == 0).next()?;
    (!name.is_empty()).then(|| clean(name, NAME_BYTES))
}

/// A DNS name in wire format (RFC 1035 3.1) that ends with the first zero, or is cut; `None` where there is none.
fn of_wire(bytes: &[u8; NAME_BYTES]) -> Option<String> {
    let (mut labels, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((length @ 1.., behind)) = rest.split_first() {
        let length = usize::from(*length);
        let Some((label, next)) = behind.split_at_checked(length) else {
            break;
        };
        // A dot within a label is none between two.
        labels.push(clean(label, NAME_BYTES).replace('.', "\\."));
        rest = next;
    }
    (!labels.is_empty()).then(|| labels.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(name: &[u8]) -> [u8; NAME_BYTES] {
        let mut bytes = [0; NAME_BYTES];
        bytes[..name.len()].copy_from_slice(name);
        bytes
    }

    #[test]
    fn labels_are_joined_by_dots() {
        let name = |bytes| of_wire(&padded(bytes));
        assert_eq!(
            name(b"\x03www\x07example\x03com").as_deref(),
            Some("www.example.com")
        );
        assert_eq!(
            name(b"\x03a.b\x02\xff\x1b").as_deref(),
            Some("a\\.b.\u{fffd}\\x1b")
        );
        assert_eq!(name(b""), None);
        assert_eq!(name(b"\xff"), None);
    }

    #[test]
    fn text_ends_with_the_first_zero_and_is_cleaned() {
        let name = |bytes| of_text(&padded(bytes));
        assert_eq!(name(b"www.example\0x").as_deref(), Some("www.example"));
        assert_eq!(name(b"\xff\x1b").as_deref(), Some("\u{fffd}\\x1b"));
        assert_eq!(name(b"GET /a\x1b\0b").as_deref(), Some("GET /a\\x1b"));
        assert_eq!(name(b""), None);
    }
}
