//! To be written.

super::rows! {}
