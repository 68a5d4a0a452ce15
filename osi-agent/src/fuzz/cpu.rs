//! Rows of what says who waits for CPU time.

use super::assert_written;
use crate::snapshot::host::{pressure, procfs, quotas};

/// A quota's file, `cpu.stat`, and the mounts that tell where they are.
pub(super) fn quota(bytes: &[u8]) {
    let text = procfs::text(bytes.to_vec());
    if quotas::quota_ns(&text).is_some() {
        let first = text.split_ascii_whitespace().next();
        assert!(first.is_some_and(|word| word.parse::<u64>().is_ok()));
    }
    for key in [
        "nr_periods",
        "nr_throttled",
        "throttled_usec",
        "throttled_time",
    ] {
        if let Some(number) = quotas::stat(&text, key) {
            assert_written(&text, number);
            assert!(text.contains(key));
        }
    }
    if let Some(hierarchy) = quotas::hierarchy(&text) {
        let root = hierarchy.root.to_str();
        assert!(root.is_some_and(|root| text.contains(root)), "{root:?}");
    }
}

pub(super) fn quota_seeds() -> Vec<Vec<u8>> {
    [
        &b"max 100000\n"[..],
        b"50000 100000\n",
        b"-1\n",
        b"usage_usec 81\nnr_periods 12\nnr_throttled 7\nthrottled_usec 18446744073709551615\n",
        b"nr_periods 3\nnr_throttled 1\nthrottled_time 900\n",
        b"30 24 0:26 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
          31 24 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

pub(super) fn pressure(bytes: &[u8]) {
    let text = procfs::text(bytes.to_vec());
    if let Some(waited_ns) = pressure::waited_ns(&text) {
        assert_eq!(waited_ns % 1000, 0);
        assert_written(&text, waited_ns / 1000);
    }
}

pub(super) fn pressure_seeds() -> Vec<Vec<u8>> {
    vec![
        b"some avg10=8.74 avg60=8.33 avg300=6.65 total=1011\n\
          full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
            .to_vec(),
        b"some avg10=0.00 total=18446744073709551615\n".to_vec(),
    ]
}
