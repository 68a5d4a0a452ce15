//! The row of the records that the programs send.

use std::sync::Arc;

use osi_common::occurrence::Count;

use crate::event::{self, Clock, Names};
use crate::layer::Window;
use crate::output::text::safe;
use crate::snapshot::Snapshot;
use crate::snapshot::maps::sample;

/// A record of any bytes becomes a sample, and a sample an event whose every word is safe to print.
pub(super) fn ring_record(bytes: &[u8]) {
    let Some(sample) = sample(bytes) else { return };
    let _ = crate::verdict::text::name(&sample.comm);
    let (previous, mut now) = (Snapshot::default(), Snapshot::default());
    let count = Count {
        count: 1,
        segments: 1,
        sampled: 1,
    };
    now.kernel.occurrences.insert(sample.key, count);
    now.samples.push(sample);
    let window = Window {
        previous: &previous,
        now: &now,
        single_netns: false,
    };
    let unknown = |_| Arc::from("");
    let names = Names {
        clock: Clock {
            offset_ns: i128::from(u64::MAX),
        },
        limited: false,
        cgroup: &|_| None,
        drop_reason: &|_, _| Arc::from("OTHERHOST"),
        function: &unknown,
        reset_reason: &|_| None,
        slow_handshake_ns: 0,
    };
    for event in event::events(&window, &names) {
        assert_eq!(event.count, 1);
        let name = event.name.unwrap_or_default();
        assert_eq!(safe(&name), name);
        let comm = event.process.map(|actor| actor.comm).unwrap_or_default();
        assert_eq!(safe(&comm), comm);
    }
}
