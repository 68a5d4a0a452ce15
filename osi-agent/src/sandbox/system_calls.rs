//! seccomp: which system calls can still be made.
//!
//! A call that is not in the lists fails as if the kernel did not have it, so that a C library that prefers a newer one takes
//! the older. A call that only an attacker would make ends the process.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

use super::Role;

/// What every process does: memory, threads, time, signals, reading files, writing to what is open.
const COMMON: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_capget,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_ioctl,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_ppoll,
    libc::SYS_prctl,
    libc::SYS_pread64,
    libc::SYS_prlimit64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_tkill,
    libc::SYS_uname,
    libc::SYS_write,
    libc::SYS_writev,
    // Sockets of the kernel's interfaces; which families, see below.
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
];

/// The same by names that only older architectures have.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_stat,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// Ending the helper and itself.
const WATCHER: &[c_long] = &[
    libc::SYS_kill,
    libc::SYS_pidfd_send_signal,
    libc::SYS_wait4,
    libc::SYS_waitid,
];

/// What neither process does in any version: it runs nothing, looks into nobody, and changes nothing of the machine.
const NEVER: &[c_long] = &[
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_settimeofday,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Filters the system calls of all threads of this process and of those to come; `elsewhere` as of [`super::watcher`].
pub(super) fn filter(role: Role, elsewhere: bool) -> io::Result<()> {
    let allowed = program(
        allowed(role, elsewhere).map_err(io::Error::other)?,
        SeccompAction::Errno(libc::ENOSYS as u32),
        SeccompAction::Allow,
    );
    let never = program(
        NEVER.iter().map(|call| (*call, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
    );
    // The wider list last: it ends the taking of filters, too.
    for program in [never, allowed] {
        let program = program.map_err(io::Error::other)?;
        apply_filter_all_threads(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

fn program(
    rules: Rules,
    otherwise: SeccompAction,
    on_match: SeccompAction,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, otherwise, on_match, architecture)?.try_into()
}

fn allowed(role: Role, elsewhere: bool) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = COMMON
        .iter()
        .chain(OLDER)
        .map(|call| (*call, Vec::new()))
        .collect();
    let (families, of_role): (&[_], &[_]) = match role {
        Role::Watcher => (&[libc::AF_UNIX, libc::AF_NETLINK], WATCHER),
        // Drivers are asked through a datagram socket of any family.
        Role::Helper => (&[libc::AF_UNIX, libc::AF_NETLINK, libc::AF_INET], &[]),
    };
    rules.extend(of_role.iter().map(|call| (*call, Vec::new())));
    let families = families.iter().map(|family| equal(0, *family));
    rules.insert(libc::SYS_socket, families.collect::<Result<_, _>>()?);
    if elsewhere {
        rules.insert(libc::SYS_setns, vec![equal(1, libc::CLONE_NEWNET)?]);
    }
    if role == Role::Helper {
        // It asks who is on an interface; it loads, makes and attaches nothing.
        let commands = NAMING.map(|command| equal(0, command));
        let commands = commands.into_iter().collect::<Result<_, _>>()?;
        rules.insert(libc::SYS_bpf, commands);
    }
    if role == Role::Watcher {
        // Everything is loaded by now; what is left is reading and attaching.
        let conditions =
            [BPF_MAP_CREATE, BPF_PROG_LOAD].map(|command| condition(0, SeccompCmpOp::Ne, command));
        let conditions = conditions.into_iter().collect::<Result<_, _>>()?;
        rules.insert(libc::SYS_bpf, vec![SeccompRule::new(conditions)?]);
    }
    Ok(rules)
}

/// `enum bpf_cmd` of `include/uapi/linux/bpf.h`.
const BPF_MAP_CREATE: i32 = 0;
/// The same.
const BPF_PROG_LOAD: i32 = 5;
/// The same: `BPF_PROG_GET_NEXT_ID`, `BPF_PROG_GET_FD_BY_ID`, `BPF_OBJ_GET_INFO_BY_FD`, `BPF_PROG_QUERY`.
const NAMING: [i32; 4] = [11, 13, 15, 16];

fn equal(argument: u8, value: i32) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![condition(argument, SeccompCmpOp::Eq, value)?])
}

fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: i32,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value as u64)
}
