//! What a person means by `--netns`.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};

use super::{Handle, NAME_MAX, NAMED, NetnsScope, OWN, cookies, named, own};
use crate::host::text::clean;
use crate::scope::Netns;

/// What `all`, `current`, `NAME`, `/path` or `pid:N` means on this host.
pub fn resolve(spec: &str) -> anyhow::Result<NetnsScope> {
    let (path, name) = match spec {
        "all" => return Ok(NetnsScope::All),
        "current" => {
            return Ok(NetnsScope::One(
                own().context("the agent's own network namespace cannot be read")?,
            ));
        }
        "" => bail!("an empty network namespace name: say all, current, a name, a path or pid:N"),
        _ => locate(spec)?,
    };
    let namespace =
        fs::metadata(OWN).context("the agent's own network namespace cannot be read")?;
    let file = fs::metadata(&path)
        .with_context(|| format!("network namespace {} cannot be opened", path.display()))?;
    // All namespaces live in one filesystem; a leftover of `ip netns` without its mount is a plain file.
    if file.dev() != namespace.dev() {
        bail!("{} is not a network namespace", path.display());
    }
    let inode = file.ino() as u32;
    let handle = Handle {
        netns: Netns {
            inode,
            cookie: 0,
            name,
            ..Netns::default()
        },
        path,
    };
    let path = handle.path.display();
    let found = cookies(std::slice::from_ref(&handle))
        .pop()
        .context("no thread to look into the namespace")?;
    match found {
        Ok(Some(cookie)) => {
            let netns = Netns {
                cookie,
                ..handle.netns
            };
            Ok(NetnsScope::One(Handle {
                netns,
                path: handle.path,
            }))
        }
        Ok(None) => Err(anyhow!("network namespace {path} went away just now")),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            Err(anyhow!("{path} is not a network namespace"))
        }
        Err(error) => Err(error).with_context(|| {
            format!("network namespace {path} cannot be entered: run as root or with CAP_SYS_ADMIN")
        }),
    }
}

/// File and name that a specification means, for a namespace that should exist.
fn locate(spec: &str) -> anyhow::Result<(PathBuf, Option<String>)> {
    if let Some(pid) = spec.strip_prefix("pid:") {
        let number: u32 = pid
            .parse()
            .map_err(|_| anyhow!("{pid:?} in pid:N is not a process id"))?;
        let path = PathBuf::from(format!("/proc/{number}/ns/net"));
        return match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("there is no process {number}")
            }
            _ => Ok((path, None)),
        };
    }
    if spec.contains('/') {
        let path = PathBuf::from(spec);
        if !path.exists() {
            bail!("there is no file {spec}");
        }
        let name = path
            .strip_prefix(NAMED)
            .ok()
            .map(|name| clean(name.as_os_str().as_bytes(), NAME_MAX));
        return Ok((path, name));
    }
    let path = Path::new(NAMED).join(spec);
    if spec != "." && spec != ".." && path.exists() {
        return Ok((path, Some(clean(spec.as_bytes(), NAME_MAX))));
    }
    let names: Vec<_> = named(None)
        .map(|(name, _)| clean(name.as_bytes(), NAME_MAX))
        .collect();
    let known = if names.is_empty() {
        "there are none".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    bail!(
        "no network namespace is named {:?} under {NAMED} ({known})",
        clean(spec.as_bytes(), NAME_MAX)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_is_wrong() {
        let error = |spec| resolve(spec).expect_err(spec).to_string();
        assert!(
            error("no-such-name")
                .starts_with("no network namespace is named \"no-such-name\" under /run/netns")
        );
        assert_eq!(error("pid:x"), "\"x\" in pid:N is not a process id");
        assert_eq!(error("pid:4294967295"), "there is no process 4294967295");
        assert_eq!(
            error("/nonexistent/net"),
            "there is no file /nonexistent/net"
        );
        assert_eq!(
            error("/etc/passwd"),
            "/etc/passwd is not a network namespace"
        );
        assert!(error("").starts_with("an empty network namespace name"));
        assert!(error("..").starts_with("no network namespace is named"));
    }
}
