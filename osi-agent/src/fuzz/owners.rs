//! Rows of what says who owns a socket.

use super::assert_written;
use crate::host::holders;

pub(super) fn socket_link(bytes: &[u8]) {
    if let Some(inode) = holders::parse_socket(bytes) {
        assert_written(&String::from_utf8_lossy(bytes), inode.into());
    }
}

pub(super) fn socket_link_seeds() -> Vec<Vec<u8>> {
    vec![b"socket:[4026531840]".to_vec()]
}
