//! Counting what happens, and sending a few examples of it.

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_NOEXIST, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task,
        bpf_ktime_get_boot_ns,
    },
    macros::map,
    maps::{Array, PerCpuHashMap, RingBuf},
};
use aya_log_ebpf::warn;
use osi_common::occurrence::{CONTROLS, Control, Count, Health, Key, MAX_KEYS, Sample, sampled};
use osi_common::wire::NAME_BYTES;

use super::own::{bump, note};
use super::read::Object;
use super::rodata::{offset, watched_netns};

/// Writer: every hook. Reader: the agent, each window. Deleter: the agent, quiet keys when room is short.
/// Full: what finds no room is counted by kind only, in keys made beforehand, and noted in `HEALTH`.
#[map]
static OCCURRENCES: PerCpuHashMap<Key, Count> = PerCpuHashMap::with_max_entries(MAX_KEYS, 0);

/// Writer: every hook, at most `SAMPLES_PER_EPOCH` per key and CPU and window. Reader: the agent. Refusals are counted in `HEALTH`.
#[map]
static SAMPLES: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// Writer: the agent. Reader: every hook. One slot per [`Control`].
#[map]
static CONTROL: Array<u64> = Array::with_max_entries(CONTROLS, 0);

/// What a key begins with; not built on the stack, which is short of room.
static NEW_COUNT: Count = Count {
    count: 0,
    segments: 0,
    sampled: 0,
};

/// What the agent last told the programs.
#[inline(always)]
pub(crate) fn control(slot: Control) -> u64 {
    CONTROL.get(slot as u32).copied().unwrap_or_default()
}

/// Counts an occurrence of a kind of which no examples are sent.
#[inline(always)]
pub(crate) fn tick<C: EbpfContext>(ctx: &C, key: &Key) {
    if let Some(value) = OCCURRENCES.get_ptr_mut(key).or_else(|| begin(ctx, key)) {
        bump!(value, count, 1);
    }
}

/// Counts an occurrence; true when an example of it is wanted.
#[inline(always)]
pub(crate) fn count<C: EbpfContext>(ctx: &C, key: &Key, segments: u64) -> bool {
    let Some(value) = OCCURRENCES.get_ptr_mut(key).or_else(|| begin(ctx, key)) else {
        return false;
    };
    bump!(value, count, 1);
    bump!(value, segments, segments);
    let epoch = control(Control::Epoch);
    // SAFETY: the pointer comes from a map lookup. Only this CPU writes the field; a nested run may overwrite it with the
    // same epoch, which costs at most one sample more or less.
    let (after, send) = sampled(unsafe { (*value).sampled }, epoch);
    if send {
        // SAFETY: as above.
        unsafe { (*value).sampled = after };
    } else {
        note(Health::NotSampled);
    }
    send
}

/// Makes room for a new key. Another CPU may be faster; its entry is as good.
#[inline(always)]
fn begin<C: EbpfContext>(ctx: &C, key: &Key) -> Option<*mut Count> {
    let new = &NEW_COUNT;
    let _raced = OCCURRENCES.insert(key, new, u64::from(BPF_NOEXIST));
    if let Some(value) = OCCURRENCES.get_ptr_mut(key) {
        return Some(value);
    }
    warn!(
        ctx,
        "occurrence map full: kind {} code {}", key.kind, key.code
    );
    let other = OCCURRENCES.get_ptr_mut(Key::other(key.kind, watched_netns()));
    note(if other.is_some() {
        Health::KeysFull
    } else {
        Health::Uncounted
    });
    other
}

/// Sends an example. The record is built in the ring itself: it is too large for the stack beside a program's own needs.
#[inline(always)]
pub(crate) fn send<C: EbpfContext>(ctx: &C, key: &Key, fill: impl FnOnce(&mut Sample)) {
    let Some(mut entry) = SAMPLES.reserve::<Sample>(0) else {
        note(Health::RingFull);
        warn!(ctx, "sample ring full: kind {}", key.kind);
        return;
    };
    // SAFETY: helper without preconditions.
    let at_ns = unsafe { bpf_ktime_get_boot_ns() };
    let sample = entry.write(Sample {
        at_ns,
        key: *key,
        cgroup: 0,
        started_ns: 0,
        pid: 0,
        ethertype: 0,
        family: 0,
        local: [0; 16],
        remote: [0; 16],
        sender: [0; 16],
        local_port: 0,
        remote_port: 0,
        protocol: 0,
        established: 0,
        comm: [0; 16],
        name: [0; NAME_BYTES],
    });
    fill(sample);
    // The agent reads when its window ends and never waits on the ring, so that an interrupt would wake nobody; it costs far more
    // than the rest of a run.
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    note(Health::Sampled);
}

/// The current task as the actor: only where it is certain to be one, never in a state change that softirq may run.
#[inline(always)]
pub(crate) fn actor() -> (u32, u64, [u8; 16]) {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: helper without preconditions.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    (
        pid,
        cgroup,
        aya_ebpf::helpers::bpf_get_current_comm().unwrap_or_default(),
    )
}

/// When the current process started (boot time), 0 where it can not be read: with the pid, its identity. As for [`actor`].
#[inline(always)]
pub(crate) fn started_ns() -> u64 {
    // SAFETY: helper without preconditions.
    let task = unsafe { bpf_get_current_task() };
    Object::untyped(task as *const u8)
        .and_then(|task| task.pointer(offset!(task_leader)))
        .and_then(|leader| leader.probe(offset!(task_started)))
        .unwrap_or(0)
}
