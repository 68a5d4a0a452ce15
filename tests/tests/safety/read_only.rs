//! Every system call of a whole run that could change something, as strace sees it: nothing is written but the output.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use osi_tests::load::Plan;
use osi_tests::nft::DropRule;
use osi_tests::skip::{self, Need};
use osi_tests::topology::Family;
use osi_tests::topology::Pair;
use osi_tests::{agent, kernel, load};

/// Calls that can change a host beyond the process itself.
const TRACED: &str = "sendto,sendmsg,sendmmsg,ioctl,bpf,open,openat,openat2,creat,truncate,ftruncate,rename,renameat,renameat2,\
    unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,lchown,\
    fchownat,mount,umount2,move_mount,sethostname,init_module,finit_module,delete_module,kill,tkill,tgkill,settimeofday,\
    clock_settime,adjtimex";
/// `bpf(2)` commands that read, or make what belongs to the agent alone; attaching is by link only.
const BPF: [&str; 15] = [
    "BPF_MAP_CREATE",
    "BPF_MAP_LOOKUP_ELEM",
    "BPF_MAP_LOOKUP_BATCH",
    "BPF_MAP_UPDATE_ELEM",
    "BPF_MAP_DELETE_ELEM",
    "BPF_MAP_GET_NEXT_KEY",
    "BPF_MAP_FREEZE",
    "BPF_PROG_LOAD",
    "BPF_BTF_LOAD",
    "BPF_LINK_CREATE",
    "BPF_RAW_TRACEPOINT_OPEN",
    "BPF_OBJ_GET_INFO_BY_FD",
    // Who else is on an interface, and what it is called.
    "BPF_PROG_QUERY",
    "BPF_PROG_GET_NEXT_ID",
    "BPF_PROG_GET_FD_BY_ID",
];
/// `include/uapi/linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `include/uapi/linux/netfilter/nfnetlink.h`, in the upper byte: questions about nftables.
const NFT_GET: [u16; 3] = [0x0a04, 0x0a07, 0x0a13];
/// The same as strace names them: chains, rules, named counters.
const NFT_GET_NAMES: [&str; 3] = ["NFT_MSG_GETCHAIN", "NFT_MSG_GETRULE", "NFT_MSG_GETOBJ"];
/// `include/uapi/linux/rtnetlink.h`: the first message of rtnetlink.
const RTM_BASE: u16 = 16;

#[test]
fn a_run_writes_nothing_but_its_output() -> Result<()> {
    let test = "safety::read_only::a_run_writes_nothing_but_its_output";
    let Some(_turn) = skip::ready(test, &[Need::Program("strace"), Need::Program("nft")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let file = std::env::temp_dir().join(format!("osi-strace-{}", std::process::id()));
    let mut traced = Command::new("strace");
    traced
        .args([
            "-f",
            "-qq",
            // What a descriptor is: the two processes talk over a socket pair.
            "-yy",
            "-e",
            &format!("trace={}", TRACED.replace(' ', "")),
            "-o",
        ])
        .arg(&file)
        .arg(agent::binary()?)
        .args([
            "watch",
            "--json",
            "--netns",
            pair.client.name(),
            "--duration",
            "4s",
        ]);
    // Refusals, so that the readers of listeners, ports and processes have work.
    let plan = Plan::connects(Pair::server_at(Family::V4, 81), 300, 100);
    let work = load::connections(&pair.client, plan)?;
    // And a rule that drops connects for as long as the agent may need to start and to run, so that it asks for rules.
    let _rule = DropRule::add(&pair.client, "output", "tcp dport 82")?;
    let plan = Plan {
        connect_timeout: Duration::from_millis(400),
        ..Plan::connects(Pair::server_at(Family::V4, 82), 120, 10)
    };
    let missed = load::connections(&pair.client, plan)?;
    let ended = agent::run(&mut traced)?;
    work.join()?;
    missed.join()?;
    let calls = std::fs::read_to_string(&file);
    std::fs::remove_file(&file).context("strace wrote nothing")?;
    let calls = calls?;
    ensure!(
        ended.code() == 0,
        "the agent ended with {}: {}",
        ended.code(),
        ended.stderr
    );

    // Without TCX the agent's programs are filters, and the kernel wants a clsact to carry them.
    let filters = !kernel::is_at_least(6, 6)?;
    let (mut requests, mut commands, mut rules) = (0, 0, 0);
    for call in calls.lines() {
        // "PID name(arguments) = result"; the second half of an interrupted call has no name.
        let Some((name, arguments)) = call
            .split_once(' ')
            .and_then(|(_, text)| text.trim_start().split_once('('))
        else {
            continue;
        };
        let harmless = match name {
            // The helper's standard output leads nowhere.
            "open" | "openat" if arguments.contains("\"/dev/null\"") => true,
            "open" | "openat" => arguments.contains("O_RDONLY") && !arguments.contains("O_CREAT"),
            "sendto"
                if arguments
                    .split(',')
                    .next()
                    .is_some_and(|to| to.contains("<UNIX")) =>
            {
                true
            }
            "sendto" => {
                requests += 1;
                rules += u32::from(is_about_rules(arguments));
                is_question(arguments)
                    || is_about_rules(arguments)
                    || filters && is_own_filter(arguments)
            }
            // Its own helper, whose calls are in the same file.
            "kill" => {
                let target = arguments.split(',').next().unwrap_or("");
                calls
                    .lines()
                    .any(|line| line.split(' ').next() == Some(target))
            }
            "bpf" => {
                commands += 1;
                let command = arguments.split(',').next().unwrap_or("");
                BPF.contains(&command)
            }
            // The index of a name, what a device says of itself, what waits in a socket.
            "ioctl" => [
                "SIOCGIFINDEX",
                "SIOCETHTOOL",
                "FIONREAD",
                "TCGETS",
                "TIOCGWINSZ",
            ]
            .iter()
            .any(|request| arguments.contains(request)),
            // A thread that ended before strace could look at it.
            "???" => arguments.contains("<detached ...>"),
            _ => name.starts_with("<...") || name.starts_with("+++") || name.starts_with("---"),
        };
        ensure!(harmless, "the agent called {call}");
    }
    ensure!(
        requests > 10 && commands > 50,
        "strace saw {requests} netlink requests and {commands} bpf commands only: it did not follow the agent"
    );
    // Before 5.17 the kernel does not say that a filter drops.
    ensure!(
        rules > 0 || !kernel::is_at_least(5, 17)?,
        "nobody asked which rule drops"
    );
    Ok(())
}

/// Whether a netlink message asks for chains, rules or counters of nftables.
fn is_about_rules(arguments: &str) -> bool {
    let Some(kind) = kind(arguments) else {
        return false;
    };
    number(kind).map_or_else(
        || NFT_GET_NAMES.iter().any(|name| kind.ends_with(name)),
        |number| NFT_GET.contains(&number),
    )
}

/// Whether a netlink message makes or removes a clsact or a filter.
fn is_own_filter(arguments: &str) -> bool {
    // "clsact" as strace writes it, in letters or in bytes; what removes one names its place only, `TC_H_CLSACT`.
    let clsact = [
        "clsact",
        r"\x63\x6c\x73\x61\x63\x74",
        "TC_H_CLSACT",
        r"\xf1\xff\xff\xff",
    ];
    let is = |names: [&str; 4]| {
        names
            .iter()
            .any(|name| arguments.contains(&format!("nlmsg_type={name}")))
    };
    is(["RTM_NEWTFILTER", "RTM_DELTFILTER", "0x2c", "0x2d"])
        || is(["RTM_NEWQDISC", "RTM_DELQDISC", "0x24", "0x25"])
            && clsact.iter().any(|name| arguments.contains(name))
}

/// Whether a netlink message only asks: `RTM_GET*`, or a dump of sockets.
///
/// strace knows the protocol of a socket of its own namespace only, and shows the number of the others: of rtnetlink's four
/// kinds of each message the third one asks.
fn is_question(arguments: &str) -> bool {
    let Some(kind) = kind(arguments) else {
        return false;
    };
    match number(kind) {
        Some(number) => number == SOCK_DIAG_BY_FAMILY || number >= RTM_BASE && number % 4 == 2,
        None => kind.starts_with("RTM_GET") || kind == "SOCK_DIAG_BY_FAMILY",
    }
}

/// The kind of a netlink message, by name or number.
fn kind(arguments: &str) -> Option<&str> {
    let (_, rest) = arguments.split_once("nlmsg_type=")?;
    rest.split([',', ' ']).next()
}

fn number(kind: &str) -> Option<u16> {
    let digits = kind.strip_prefix("0x")?;
    u16::from_str_radix(digits, 16).ok()
}
