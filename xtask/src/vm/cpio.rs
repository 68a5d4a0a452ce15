//! Writes an initial file system: the kernel's "newc" archive, everything owned by root.

use std::collections::BTreeSet;

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_777;

/// An archive. Archives may be joined: the kernel unpacks one after the other.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    made: BTreeSet<String>,
}

impl Archive {
    /// Adds an empty directory and those above it.
    pub(super) fn directory(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || self.made.contains(path) {
            return;
        }
        self.parent(path);
        self.entry(path, DIRECTORY, &[]);
    }

    /// Adds a file with its permissions, unless there is one.
    pub(super) fn file(&mut self, path: &str, mode: u32, data: &[u8]) {
        self.new_entry(path, FILE | mode, data);
    }

    /// Adds a symbolic link, unless there is one.
    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.new_entry(path, LINK, target.as_bytes());
    }

    /// The finished archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn new_entry(&mut self, path: &str, mode: u32, data: &[u8]) {
        let path = path.trim_matches('/');
        if !self.made.contains(path) {
            self.parent(path);
            self.entry(path, mode, data);
        }
    }

    fn parent(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, data: &[u8]) {
        self.made.insert(path.to_owned());
        // One number for each: two files of the same number would be one.
        let number = self.made.len();
        let links = 1;
        let fields = [
            number,
            mode as usize,
            0,
            0,
            links,
            0,
            data.len(),
            0,
            0,
            0,
            0,
            path.len() + 1,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(data);
        self.pad();
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn parents_come_first_and_everything_is_aligned() {
        let mut archive = Archive::default();
        archive.file("/usr/bin/tool", 0o755, b"12345");
        archive.file("usr/bin/tool", 0o755, b"not twice");
        archive.link("bin", "usr/bin");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let at = |name: &str| text.find(&format!("{name}\0")).unwrap();
        assert!(at("usr") < at("usr/bin") && at("usr/bin") < at("usr/bin/tool"));
        assert!(text.contains("12345") && !text.contains("not twice"));
        assert_eq!(text.matches("070701").count(), 5);
    }
}
