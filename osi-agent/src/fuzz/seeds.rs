//! What the outside sends when it is well: a few messages per parser, for tests to damage.

use osi_common::occurrence::Sample;

use crate::helper::wire::{self, Reply};

/// An attribute as the kernel writes it.
fn attribute(kind: i32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u16 + 4).to_ne_bytes().to_vec();
    bytes.extend((kind as u16).to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 + 16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A header of 32 bit words, then attributes.
fn body(header: &[u32], attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = header
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect::<Vec<_>>();
    bytes.extend(attributes.concat());
    bytes
}

fn words(words: &[u32]) -> Vec<u8> {
    body(words, &[])
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(super) fn messages() -> Vec<Vec<u8>> {
    let link = link().concat();
    vec![
        [message(16, &link), message(3, &[0; 4])].concat(),
        message(2, &(-95_i32).to_ne_bytes()),
    ]
}

pub(super) fn attributes() -> Vec<Vec<u8>> {
    vec![
        [
            attribute(3, b"eth0\0"),
            attribute(0x8001, &attribute(1, &[10, 0, 0, 1])),
        ]
        .concat(),
    ]
}

pub(super) fn link() -> Vec<Vec<u8>> {
    let kind = attribute(libc::IFLA_INFO_KIND.into(), b"veth\0");
    let attributes = [
        attribute(libc::IFLA_IFNAME.into(), b"eth\x1b0\0"),
        attribute(libc::IFLA_TXQLEN.into(), &words(&[1000])),
        attribute(libc::IFLA_CARRIER.into(), &[1]),
        attribute(libc::IFLA_CARRIER_CHANGES.into(), &words(&[2])),
        attribute(libc::IFLA_LINKINFO.into(), &kind),
        attribute(libc::IFLA_XDP.into(), &attribute(4, &words(&[7]))),
        attribute(libc::IFLA_STATS64.into(), &[0xff; 8 * 25]),
    ];
    vec![body(&[0, 2, 0x1043, 0], &attributes)]
}

pub(super) fn ethtool() -> Vec<Vec<u8>> {
    let text = |text: &[u8]| {
        let mut bytes = text.to_vec();
        bytes.resize(32, 0);
        bytes
    };
    let info = [
        words(&[3]),
        text(b"veth"),
        vec![0; 144],
        words(&[0, 2, 0, 0, 0]),
    ]
    .concat();
    let names = [text(b"rx_queue_0_drops"), text(b"rx_\x1b[2J_error")].concat();
    let modes = words(&[0x2f, 0, 0x2f, 0, 0x0f, 0]);
    let link = [words(&[0x4c, 100, 1, 2 << 24]), vec![0; 32], modes].concat();
    vec![
        info,
        body(&[0x1b, 1, 2], &[names]),
        body(&[0x1d, 2], &[vec![0xff; 16]]),
        link,
    ]
}

pub(super) fn qdisc() -> Vec<Vec<u8>> {
    let statistics = [
        attribute(1, &words(&[1, 2, 3, 0])),
        attribute(3, &words(&[1, 2, 3, 4, 5])),
        attribute(8, &[0xff; 8]),
    ]
    .concat();
    let of = |kind: &[u8], options: &[u8]| {
        body(
            &[0, 2, 0x8001_0000, u32::MAX, 2],
            &[
                attribute(libc::TCA_KIND.into(), kind),
                attribute(libc::TCA_OPTIONS.into(), options),
                attribute(libc::TCA_STATS2.into(), &statistics),
            ],
        )
    };
    let tbf = [attribute(1, &[0xff; 36]), attribute(4, &[0xff; 8])].concat();
    vec![
        of(b"tbf\0", &tbf),
        of(
            b"fq_codel\0",
            &[
                attribute(2, &words(&[10_240])),
                attribute(9, &words(&[1 << 25])),
            ]
            .concat(),
        ),
        of(b"pfifo\0", &words(&[1000])),
        of(
            b"htb\0",
            &[attribute(1, &[0xff; 48]), attribute(7, &[0xff; 8])].concat(),
        ),
    ]
}

pub(super) fn route() -> Vec<Vec<u8>> {
    let hops = [words(&[8, 3]), words(&[16, 4, 8 | 5 << 16, 0x0100_000a])].concat();
    let header = |family: u32| [family | 24 << 8, 0xfe | 1 << 24, 0];
    vec![
        body(
            &header(2),
            &[
                attribute(1, &[10, 0, 0, 0]),
                attribute(4, &words(&[2])),
                attribute(15, &words(&[254])),
            ],
        ),
        body(&header(10), &[attribute(1, &[0; 16]), attribute(9, &hops)]),
    ]
}

pub(super) fn neighbour() -> Vec<Vec<u8>> {
    let attributes = [
        attribute(1, &[10, 0, 0, 1]),
        attribute(2, &[2, 0, 0, 0, 0, 1]),
        attribute(3, &words(&[1, 2, u32::MAX, 3])),
    ];
    [0x20, 1, 2]
        .map(|state| body(&[2, 7, state], &attributes))
        .to_vec()
}

pub(super) fn address() -> Vec<Vec<u8>> {
    let attributes = [attribute(1, &[0xfd; 16]), attribute(2, &[0xfc; 16])];
    vec![body(&[0x0088_400a, 7], &attributes)]
}

pub(super) fn socket() -> Vec<Vec<u8>> {
    let mut v6 = vec![0; 72];
    v6[..4].copy_from_slice(&[10, 10, 0, 0]);
    v6[18..20].fill(0xff);
    let mut v4 = v6.clone();
    v4[0] = 2;
    let memory = [v4.clone(), attribute(7, &[1; 36])].concat();
    let tracking = [9, 10, 11].map(|kind| attribute(kind, &[0, 0, 0, 1]));
    let detailed = [v4.clone(), attribute(2, &[1; 232])].concat();
    vec![v4, v6, memory, detailed, body(&[0], &tracking)]
}

pub(super) fn filter() -> Vec<Vec<u8>> {
    let options = [
        attribute(7, b"osi_tc_ingress\0"),
        attribute(8, &words(&[1])),
        attribute(11, &words(&[42])),
    ]
    .concat();
    let filter = body(
        &[0, 2, 0x5e80_0001, 0xffff_fff2, 0xbfff_0300],
        &[
            attribute(libc::TCA_KIND.into(), b"bpf\0"),
            attribute(libc::TCA_OPTIONS.into(), &options),
        ],
    );
    vec![
        message(44, &filter),
        message(36, &qdisc().concat()),
        message(3, &[0; 4]),
    ]
}

/// A base chain, a rule that counts and drops, a named counter.
pub(super) fn nftables() -> Vec<Vec<u8>> {
    let number = |kind, value: u32| attribute(kind, &value.to_be_bytes());
    let count = attribute(2, &9_u64.to_be_bytes());
    let expression =
        |name: &[u8], data: &[u8]| attribute(1, &[attribute(1, name), attribute(2, data)].concat());
    let verdict = attribute(2, &attribute(2, &number(1, 0)));
    let expressions = [
        expression(b"counter\0", &count),
        expression(b"immediate\0", &verdict),
    ];
    let header = [1];
    vec![
        body(
            &header,
            &[
                attribute(1, b"l\x1bb\0"),
                attribute(3, b"input\0"),
                attribute(4, &number(1, 1)),
                number(5, 0),
                attribute(8, &count),
            ],
        ),
        body(
            &header,
            &[
                attribute(1, b"lab\0"),
                attribute(2, b"dr\x1bps\0"),
                attribute(3, &7_u64.to_be_bytes()),
                attribute(4, &expressions.concat()),
            ],
        ),
        body(
            &header,
            &[
                attribute(1, b"lab\0"),
                attribute(2, b"h\x1bts\0"),
                number(3, 1),
                attribute(4, &count),
                number(5, 1),
            ],
        ),
    ]
}

pub(super) fn snmp() -> Vec<Vec<u8>> {
    texts(&[
        "Ip: Forwarding InReceives OutNoRoutes\nIp: 2 12417 3\nTcp: RtoMin MaxConn OutSegs RetransSegs\nTcp: 1 -1 7 9\n",
        "TcpExt: ListenOverflows ListenDrops\nTcpExt: 18446744073709551615 18446744073709551616\n",
        "Ip6InReceives                   \t42\nIp6OutNoRoutes\t7\n",
        "XfrmInError             \t0\nXfrmInTmplMismatch      \t50\n",
        "TlsCurrTxSw                     \t1\nTlsDecryptError                 \t50\n",
    ])
}

pub(super) fn sockstat() -> Vec<Vec<u8>> {
    texts(&[
        "sockets: used 22\nTCP: inuse 18446744073709551615 orphan 1 tw 18446744073709551615 alloc 3 mem 299\nFRAG: inuse 0 memory 4096\n",
        "TCP6: inuse 4\nUDP6: inuse 2\n",
    ])
}

pub(super) fn softnet() -> Vec<Vec<u8>> {
    texts(&[
        "000594ad 00000002 00000001 0 0 0 0 0 0 0 0 00000010 ffffffff 0 0\n0000000a 0 100000000\n",
        "entries insert_failed drop early_drop\n00000001 00000002 00000002 ffffffff\n",
        "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 4 5 6 70 8 900 900\nintr 5 6\n",
    ])
}

pub(super) fn setting() -> Vec<Vec<u8>> {
    texts(&[
        "32768\t60999\n",
        "65536 18446744073709551616 007\n",
        "6.18.44-1-amd64\n",
    ])
}

pub(super) fn reserved_ports() -> Vec<Vec<u8>> {
    texts(&["8080,9148-9150\n", "0-65535,65535,9-1\n", "443\n"])
}

pub(super) fn process() -> Vec<Vec<u8>> {
    texts(&[
        "42 (a) \x1b[2J\u{ad}) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000\n",
        "12:cpu:/\n1:name=systemd:/a\n0::/system.slice/ssh\u{202e}.service\n",
    ])
}

pub(super) fn namespace_link() -> Vec<Vec<u8>> {
    texts(&["net:[4026531840]"])
}

pub(super) fn own_files() -> Vec<Vec<u8>> {
    texts(&[
        "CapEff:\t000001ffffffffff\nmap_type:\t1\nmemlock:\t4096\n",
        "18446744073709551615 18446744073709551615 7\n",
        "30 24 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n",
        "none [integrity] confidentiality\n",
        "monotonic           0         0\nboottime       -3         5\n",
        "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n4:memory:/jobs/a\n0::/c\n",
    ])
}

pub(super) fn kernel_names() -> Vec<Vec<u8>> {
    texts(&[
        "ffffffff81000000 T first\nffffffff81000100 t second.isra.0\nffffffff81000200 T third\t[module]\n",
        "__print_symbolic(REC->reason, { 2, \"NOT_SPECIFIED\" }, { 3, \"NO_SOCKET\" })",
    ])
}

/// Header, types, strings: a struct `s` whose anonymous members are itself, an enum `e`, a tracepoint `t`.
pub(super) fn btf() -> Vec<Vec<u8>> {
    let strings = b"\0s\0a\0b\0e\0btf_trace_t\0";
    let types = words(&[
        1,
        4 << 24 | 4,
        8,
        5,
        1,
        64,
        0,
        1,
        0,
        0,
        1,
        32,
        0,
        1,
        0, // struct s { b, s, s, s }
        7,
        6 << 24 | 2,
        4,
        3,
        0,
        5,
        1, // enum e { a, b }
        0,
        13 << 24 | 2,
        0,
        0,
        1,
        0,
        2, // (s, e)
        0,
        2 << 24,
        3, // *
        9,
        8 << 24,
        4, // typedef btf_trace_t
    ]);
    let mut blob = words(&[
        0x0001_eb9f,
        24,
        0,
        types.len() as u32,
        types.len() as u32,
        strings.len() as u32,
    ]);
    blob.extend(types);
    blob.extend(strings);
    vec![blob]
}

pub(super) fn ring_record() -> Vec<Vec<u8>> {
    let mut bytes = vec![0xff; size_of::<Sample>()];
    // The kind: a failed connect, a retransmit, a drop, a DNS query and an HTTP request that failed.
    [4_u32, 8, 1, 17, 20]
        .map(|kind| {
            bytes[8..12].copy_from_slice(&kind.to_ne_bytes());
            bytes.clone()
        })
        .to_vec()
}

pub(super) fn name() -> Vec<Vec<u8>> {
    texts(&[
        "\x10eth0",
        "\x08gr\u{f6}\u{df}e\x1b[2J",
        "\x40a\u{202e}b\u{ad}\u{180e}\u{206f}\u{fffa}\u{e0001}",
    ])
}

pub(super) fn config() -> Vec<Vec<u8>> {
    texts(&[
        "interval = \"2s\"\nduration = \"1min\"\niface = [\"eth0\"]\nnetns = \"pid:1\"\nxdp = \"off\"\nfail_on = \"warn\"\njson = true\n",
        "[causes.packet_loss]\nloss_ratio = 0.5\n",
        "[causes.\"\\u001b[2J\"]\nx = 1\n",
        "\"\\u202e\" = 1\n",
    ])
}

pub(super) fn helper_reply() -> Vec<Vec<u8>> {
    let mut line = Vec::new();
    let _infallible = wire::send(&mut line, &Reply::default());
    vec![line]
}
