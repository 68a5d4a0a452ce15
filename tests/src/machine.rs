//! Settings of the whole machine, for scenarios that have one of their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A sysctl that no namespace has for itself, changed; put back also where the scenario fails, as others run after it.
#[derive(Debug)]
pub struct Setting {
    path: PathBuf,
    usual: Option<String>,
}

impl Setting {
    /// Gives a sysctl, such as `fs/file-max`, another value.
    pub fn change(key: &str, value: &str) -> Result<Self> {
        let path = Path::new("/proc/sys").join(key);
        let usual = fs::read_to_string(&path)
            .with_context(|| format!("this machine has no {}", path.display()))?;
        let setting = Self {
            path,
            usual: Some(usual),
        };
        setting.write(value)?;
        Ok(setting)
    }

    /// Puts it back.
    pub fn restore(mut self) -> Result<()> {
        let usual = self.usual.take().context("it is what it was")?;
        self.write(usual.trim())
    }

    fn write(&self, value: &str) -> Result<()> {
        let path = self.path.display();
        fs::write(&self.path, value).with_context(|| format!("cannot write {value} to {path}"))
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let put_back = self.usual.take().map(|usual| self.write(usual.trim()));
        if let Some(Err(error)) = put_back {
            eprintln!("a setting stays as it is: {error:#}");
        }
    }
}
