//! A table as it was read at one moment, which need not be the moment of the snapshot.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

/// Rows that were read together, and when.
///
/// A reader that is late leaves its table as it was: what grew meanwhile is told by the next reading, over the time that
/// really passed. That time is why a table knows its own moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table<T> {
    /// When (`CLOCK_BOOTTIME`); 0 where it has never been read.
    pub read_ns: u64,
    /// What was found.
    pub rows: Vec<T>,
}

impl<T> Table<T> {
    /// Whether it was read at all: what is not there may be missing only here.
    pub fn is_read(&self) -> bool {
        self.read_ns > 0
    }
}

impl<T: Clone> Table<T> {
    /// Takes over what was known `before`, where this pass brought nothing.
    pub(super) fn or_keep(&mut self, before: &Self) {
        if !self.is_read() {
            self.clone_from(before);
        }
    }
}

// Not derived: that would ask the same of the rows.
impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            read_ns: 0,
            rows: Vec::new(),
        }
    }
}

impl<T> Deref for Table<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Self::Target {
        &self.rows
    }
}

impl<T> DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.rows
    }
}

impl<'a, T> IntoIterator for &'a Table<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.iter()
    }
}
