//! L5: established connections, how they end, and the descriptors that hold them.

use super::Topic;

pub mod accepting;

pub mod broken;

pub mod descriptors;

pub mod sessions;

/// This layer's topics.
pub(super) static TOPICS: &[Topic] = &[
    descriptors::SIGNALS,
    sessions::SIGNALS,
    accepting::SIGNALS,
    broken::SIGNALS,
];
