//! Rows of what says who owns sockets, and how many a process may have.

use super::{assert_clean, assert_written};
use crate::host::workload::{NAME_MAX, Workload};
use crate::host::{holders, processes};
use crate::snapshot::host::{descriptors, procfs};

pub(super) fn socket_link(bytes: &[u8]) {
    if let Some(inode) = holders::parse_socket(bytes) {
        assert_written(&String::from_utf8_lossy(bytes), inode.into());
    }
}

pub(super) fn socket_link_seeds() -> Vec<Vec<u8>> {
    vec![b"socket:[4026531840]".to_vec()]
}

pub(super) fn workload(bytes: &[u8]) {
    let Some((path, workload)) = processes::parse_cgroup(bytes) else {
        return;
    };
    assert_eq!(workload, Workload::of(&path));
    let Workload {
        container,
        pod_uid,
        unit,
    } = workload;
    for name in [container, pod_uid, unit].into_iter().flatten() {
        assert_clean(&name, NAME_MAX);
        assert!(!name.is_empty());
    }
}

pub(super) fn workload_seeds() -> Vec<Vec<u8>> {
    let id = "0123456789abcdef".repeat(4);
    let pod = "kubepods-burstable-pod0b6f2c1a_8d3e_4f5a_9b7c_1d2e3f4a5b6c.slice";
    vec![
        format!("0::/kubepods.slice/{pod}/cri-containerd-{id}.scope\n").into_bytes(),
        format!("0::/system.slice/containerd.service/{pod}:cri-containerd:{id}\n").into_bytes(),
        format!("4:memory:/docker/{id}\n0::/system.slice/docker.service\n").into_bytes(),
        b"0::/machine.slice/machine-web\\x2d1.scope\n1:cpu:/lxc.payload.a\n".to_vec(),
    ]
}

pub(super) fn descriptors(bytes: &[u8]) {
    let text = procfs::text(bytes.to_vec());
    if let Some(limit) = descriptors::limit(&text) {
        assert_written(&text, limit);
    }
    if let Some(files) = descriptors::host(&text) {
        assert_written(&text, files.used);
        assert_written(&text, files.limit);
    }
}

pub(super) fn descriptors_seeds() -> Vec<Vec<u8>> {
    vec![
        b"Limit                     Soft Limit           Hard Limit           Units     \n\
          Max processes             unlimited            unlimited            processes \n\
          Max open files            1024                 1048576              files     \n"
            .to_vec(),
        b"1216\t0\t9223372036854775807\n".to_vec(),
    ]
}
