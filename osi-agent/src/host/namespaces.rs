//! stub
use crate::scope::Netns;
/// host
pub const HOST: &str = "host";
/// inside
pub fn inside<T: Send>(_n: &Netns, f: impl FnOnce() -> T + Send) -> anyhow::Result<T> { Ok(f()) }
