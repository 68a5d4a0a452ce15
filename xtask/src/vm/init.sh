#!/bin/sh
# The guest's first program: prepares the machine, runs what /osi/job asks for, tells it on the console, switches off.
# Lines that begin with @@ are read by `cargo xtask vm`; everything else is for people.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
echo +cpu >/sys/fs/cgroup/cgroup.subtree_control
echo "@@up $(cat /proc/uptime)"

while read -r module; do
  insmod "$module" || echo "the module $module was refused"
done </osi/modules/order
mkdir -p /run/netns
ip link set lo up
. /osi/job
export OSI_AGENT=/osi/osi-agent OSI_SKIP_LOG=/run/skipped OSI_GUEST=1
: >"$OSI_SKIP_LOG"
echo "@@kernel $(cat /proc/sys/kernel/osrelease)"

/osi/scenarios --list --format terse $SCENARIOS | while read -r line; do
  echo "@@listed $line"
done
echo "@@doctor $($OSI_AGENT doctor --json)"
# The harness tells times only where it may be unstable.
RUSTC_BOOTSTRAP=1 /osi/scenarios -Z unstable-options --report-time --test-threads="$THREADS" $SCENARIOS
echo "@@tested $?"
# Again and at the end, where no other line can have come between.
while read -r line; do
  echo "@@$line"
done <"$OSI_SKIP_LOG"
echo "@@end $(cat /proc/uptime)"
# A program that is process 1 cannot end: the kernel switches off.
echo o >/proc/sysrq-trigger
sleep 60
