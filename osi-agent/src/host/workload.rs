//! What a cgroup path tells of who runs there: a container, a Kubernetes pod, a systemd service.
//!
//! Pure and by table. Where several containers are nested, the innermost one counts: it is the one that the process is in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::clean;

/// Longest name of a container or service, in characters. systemd and LXC allow 255.
pub(crate) const NAME_MAX: usize = 255;

/// Digits of a container id that people read.
const SHORT: usize = 12;

/// Who runs in a cgroup. Keys that the path does not tell are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workload {
    /// Container: the full id of 64 hexadecimal digits, or the name where the runtime has only that (LXC, nspawn).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Kubernetes pod, its uid as the API shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// systemd service, as `systemctl` takes its name; inside a container, that container's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// How runtimes name the cgroup of a container by its id, behind these words and before an optional `.scope`.
const BY_ID: &[&str] = &[
    // Docker, containerd, cri-o and others with the cgroupfs driver: the bare id.
    "",
    "docker-",
    "cri-containerd-",
    "crio-",
    "libpod-",
    "libpod-payload-",
    "nerdctl-",
];

/// How runtimes without ids name it: before and after the name.
const BY_NAME: &[(&str, &str)] = &[
    ("lxc.payload.", ""),
    ("systemd-nspawn@", ".service"),
    ("machine-", ".scope"),
];

/// Folders below which each cgroup is a container by name: LXC before 4.0.
const FOLDERS: &[&str] = &["lxc", "lxc.payload"];

/// Virtual machines that libvirt registers as `machine-qemu\x2d7\x2dname.scope`: a host of its own, no container.
const VIRTUAL: &str = "qemu-";

impl Workload {
    /// What a path tells.
    pub fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').collect();
        let parent = |at: usize| at.checked_sub(1).map_or("", |above| parts[above]);
        let container = (0..parts.len())
            .rev()
            .find_map(|at| Some((at, container(parts[at], parent(at))?)));
        let (outside, inside) = match container {
            Some((at, _)) => parts.split_at(at + 1),
            None => (&parts[..], &parts[..]),
        };
        Self {
            pod_uid: outside.iter().rev().find_map(|part| pod(part)),
            unit: inside.iter().rev().find_map(|part| service(part)),
            container: container.map(|(_, name)| name),
        }
    }

    /// Whether the path told of anything but a service.
    pub fn is_contained(&self) -> bool {
        self.container.is_some() || self.pod_uid.is_some()
    }

    /// The narrowest thing known, in the words of a sentence: `container 0123456789ab`.
    pub fn words(&self) -> Option<String> {
        let Self {
            container,
            pod_uid,
            unit,
        } = self;
        if let Some(name) = container {
            let shown = if is_id(name) { &name[..SHORT] } else { name };
            return Some(format!("container {shown}"));
        }
        let pod = pod_uid.as_ref().map(|uid| format!("pod {uid}"));
        pod.or_else(|| unit.clone())
    }
}

fn container(part: &str, parent: &str) -> Option<String> {
    let bare = part.strip_suffix(".scope").unwrap_or(part);
    // containerd and cri-o that were told systemd's form of a path and manage cgroups themselves: `slice:word:id`.
    let bare = bare.rsplit(':').next().unwrap_or(bare);
    let mut ids = BY_ID.iter().filter_map(|word| bare.strip_prefix(word));
    if let Some(id) = ids.find(|id| is_id(id)) {
        return Some(id.to_owned());
    }
    let mut names = BY_NAME
        .iter()
        .filter_map(|(before, after)| part.strip_prefix(before)?.strip_suffix(after));
    let folder = || FOLDERS.contains(&parent).then_some(part);
    let name = unescaped(names.next().or_else(folder)?);
    (!name.is_empty() && !name.starts_with(VIRTUAL)).then_some(name)
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_hex)
}

const fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// The uid in `pod<uid>` and in `kubepods-burstable-pod<uid>.slice`, where systemd's form has `_` for `-`. Pods from files
/// have 32 digits.
fn pod(part: &str) -> Option<String> {
    let slice = part.split(':').next().unwrap_or(part);
    let uid = match slice.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1,
        None => slice.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    let digits: Vec<usize> = uid.split('-').map(str::len).collect();
    let is_uid = digits == [8, 4, 4, 4, 12] || digits == [32];
    let is_hex = uid.bytes().all(|byte| byte == b'-' || is_hex(byte));
    (is_uid && is_hex).then_some(uid)
}

fn service(part: &str) -> Option<String> {
    let name = part.strip_suffix(".service")?;
    (!name.is_empty()).then(|| clean(part.as_bytes(), NAME_MAX))
}

/// A name without systemd's escapes (`\x2d`), made safe again afterwards.
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, behind @ ..] = rest {
        let escape = match rest {
            [b'\\', b'x', digits @ ..] => digits.get(..2).and_then(number),
            _ => None,
        };
        if let Some(byte) = escape {
            bytes.push(byte);
            rest = &rest[4..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    clean(&bytes, NAME_MAX)
}

fn number(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    digits
        .iter()
        .all(u8::is_ascii_hexdigit)
        .then(|| u8::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::text::is_deceptive;

    const ID: &str = "4f8c1d2e3a5b69788796a5b4c3d2e1f00123456789abcdef0123456789abcdef";
    const POD: &str = "0b6f2c1a-8d3e-4f5a-9b7c-1d2e3f4a5b6c";
    const STATIC: &str = "5f3e2d1c0b9a88776655443322110fed";

    fn check(path: &str, container: Option<&str>, pod: Option<&str>, unit: Option<&str>) {
        let path = path
            .replace("ID", ID)
            .replace("P_D", &POD.replace('-', "_"))
            .replace("POD", POD);
        let found = Workload::of(&path);
        let told = (
            found.container.as_deref(),
            found.pod_uid.as_deref(),
            found.unit.as_deref(),
        );
        assert_eq!(told, (container, pod, unit), "{path}");
    }

    #[test]
    fn containers_of_every_runtime() {
        let id = Some(ID);
        check("/system.slice/docker-ID.scope", id, None, None);
        check("/docker/ID", id, None, None);
        check("/docker/ID/init.scope", id, None, None);
        check("/system.slice/nerdctl-ID.scope", id, None, None);
        check("/default/ID", id, None, None);
        check("/machine.slice/libpod-ID.scope", id, None, None);
        check("/machine.slice/libpod-ID.scope/container", id, None, None);
        check("/libpod_parent/libpod-ID", id, None, None);
        check(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            id,
            None,
            None,
        );
        check("/lxc.payload.web1", Some("web1"), None, None);
        check("/lxc/web1", Some("web1"), None, None);
        check(
            r"/machine.slice/machine-web\x2d1.scope",
            Some("web-1"),
            None,
            None,
        );
        check(
            "/machine.slice/systemd-nspawn@deb.service/payload",
            Some("deb"),
            None,
            None,
        );
    }

    #[test]
    fn pods_of_both_cgroup_drivers() {
        let (id, pod) = (Some(ID), Some(POD));
        check(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podP_D.slice/cri-containerd-ID.scope",
            id,
            pod,
            None,
        );
        check(
            "/kubepods.slice/kubepods-podP_D.slice/crio-ID.scope",
            id,
            pod,
            None,
        );
        check("/kubepods/besteffort/podPOD/ID", id, pod, None);
        check("/kubepods/besteffort/podPOD", None, pod, None);
        check(
            "/system.slice/containerd.service/kubepods-burstable-podP_D.slice:cri-containerd:ID",
            id,
            pod,
            None,
        );
        check(
            &format!("/kubepods/burstable/pod{STATIC}/ID"),
            id,
            Some(STATIC),
            None,
        );
        // Kubernetes in Docker: the inner one.
        let outer = ID.replace('4', "5");
        check(
            &format!(
                "/docker/{outer}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podP_D.slice/cri-containerd-ID.scope"
            ),
            id,
            pod,
            None,
        );
    }

    #[test]
    fn services_by_the_name_that_systemctl_takes() {
        let service = |path, unit| check(path, None, None, Some(unit));
        service("/system.slice/nginx.service", "nginx.service");
        service(
            r"/system.slice/system-postgresql.slice/postgresql@16\x2dmain.service",
            r"postgresql@16\x2dmain.service",
        );
        service(
            "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
            "web.service",
        );
        // A service inside a container, and not the one that manages containers outside.
        check(
            "/system.slice/docker-ID.scope/system.slice/nginx.service",
            Some(ID),
            None,
            Some("nginx.service"),
        );
    }

    #[test]
    fn what_is_no_container_is_none() {
        for path in [
            "",
            "/",
            "/init.scope",
            "/user.slice/user-0.slice/session-3.scope",
            // The runtime's own helpers beside a container.
            "/machine.slice/libpod-conmon-ID.scope",
            "/system.slice/crio-conmon-ID.scope",
            "/lxc.monitor.web1",
            r"/machine.slice/machine-qemu\x2d1\x2dvm.scope",
            "/system.slice/docker-abc.scope",
            "/kubepods/podxyz",
            "/lxc.payload.",
        ] {
            check(path, None, None, None);
        }
    }

    #[test]
    fn words_are_short() {
        let words = |path: &str| Workload::of(&path.replace("ID", ID)).words();
        assert_eq!(
            words("/docker/ID").as_deref(),
            Some("container 4f8c1d2e3a5b")
        );
        assert_eq!(words("/lxc.payload.web").as_deref(), Some("container web"));
        assert_eq!(words("/a/b.service").as_deref(), Some("b.service"));
        assert_eq!(words("/"), None);
    }

    proptest! {
        #[test]
        fn any_id_and_uid_come_out_as_they_went_in(
            id in "[0-9a-f]{64}",
            uid in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            word in 0..BY_ID.len(),
            scope in any::<bool>(),
        ) {
            let end = if scope { ".scope" } else { "" };
            let slice = uid.replace('-', "_");
            let path = format!("/kubepods.slice/kubepods-pod{slice}.slice/{}{id}{end}", BY_ID[word]);
            let found = Workload::of(&path);
            prop_assert_eq!(found.container, Some(id));
            prop_assert_eq!(found.pod_uid, Some(uid));
            prop_assert_eq!(found.unit, None);
        }

        #[test]
        fn nothing_comes_out_that_acts(path in r"(/(machine-|lxc\.payload\.|\\x1b|\\x|.){0,9}(\.scope|\.service)?){0,4}") {
            let found = Workload::of(&path);
            for name in [found.container, found.pod_uid, found.unit].into_iter().flatten() {
                prop_assert!(name.chars().count() <= NAME_MAX);
                prop_assert!(!name.chars().any(|c| c.is_control() || is_deceptive(c)), "{:?}", name);
            }
        }
    }
}
