//! Reading kernel structs out of bytes that may be shorter or longer than the headers say.
//!
//! A field beyond the end is `None`: older kernels send shorter structs, newer ones longer ones, and neither is an
//! error. Integers are in the host's byte order unless the name says otherwise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `N` bytes at `offset`.
pub(crate) fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

/// The byte at `offset`.
pub(super) fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

/// A 16 bit integer.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes_at(bytes, offset).map(u16::from_ne_bytes)
}

/// A 16 bit integer in network byte order.
pub(super) fn be16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes_at(bytes, offset).map(u16::from_be_bytes)
}

/// A 32 bit integer.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes_at(bytes, offset).map(u32::from_ne_bytes)
}

/// A 32 bit integer in network byte order.
pub(super) fn be32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes_at(bytes, offset).map(u32::from_be_bytes)
}

/// A 64 bit integer.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes_at(bytes, offset).map(u64::from_ne_bytes)
}

/// A 64 bit integer in network byte order.
pub(super) fn be64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes_at(bytes, offset).map(u64::from_be_bytes)
}

/// An address of 4 or 16 bytes, as `RTA_DST` and `NDA_DST` carry it.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes_at::<4>(bytes, 0).map(|octets| IpAddr::V4(Ipv4Addr::from(octets))),
        16 => bytes_at::<16>(bytes, 0).map(|octets| IpAddr::V6(Ipv6Addr::from(octets))),
        _ => None,
    }
}

/// The bytes of a string attribute before its NUL, where it has one.
pub(crate) fn string(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    &bytes[..end]
}

/// Netlink attributes as (type without its flag bits, payload); ends quietly at the first malformed one.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// `NLA_TYPE_MASK`: the upper two bits say nested and network byte order.
    const TYPE: u16 = 0x3fff;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & TYPE;
        let payload = rest.get(4..length)?;
        rest = rest.get(align(length)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// Payload of the first attribute of this type.
pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, payload)| payload)
}

/// `NLMSG_ALIGN`, `NLA_ALIGN`.
pub(super) const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An attribute as the kernel writes it.
    fn encode(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u16 + 4).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(align(bytes.len()), 0);
        bytes
    }

    #[test]
    fn attributes_are_walked_with_padding_and_flags() {
        let mut bytes = encode(3, b"eth0\0");
        bytes.extend(encode(0x8000 | 0x12, &[1, 2, 3, 4]));
        let seen: Vec<_> = attributes(&bytes).collect();
        assert_eq!(seen, [(3, b"eth0\0".as_slice()), (18, &[1, 2, 3, 4])]);
        assert_eq!(attribute(&bytes, 3).map(string), Some(b"eth0".as_slice()));
        assert_eq!(attribute(&bytes, 4), None);
    }

    #[test]
    fn a_malformed_attribute_ends_the_walk() {
        let mut bytes = encode(1, &[9]);
        bytes.extend([200, 0, 2, 0, 1]);
        assert_eq!(attributes(&bytes).count(), 1);
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..128), offset in 0usize..200) {
            let _ = attributes(&bytes).count();
            let _ = (u8_at(&bytes, offset), u16_at(&bytes, offset), u64_at(&bytes, usize::MAX - offset));
            let _ = (address(&bytes), string(&bytes));
        }
    }
}
