//! What tc filters need beyond links: the qdisc they hang on, and leftovers of an agent that was killed.
//!
//! A filter outlives its process. Ours carries a handle that names its owner: a tag and the process id. Another agent's
//! filter is left alone while that process lives, and removed when it is gone. The qdisc is removed when nothing hangs on
//! it any more, and only if it was us who made it.

use std::io;
use std::path::Path;

use aya::programs::tc::{TcHandle, qdisc_add_clsact};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcFilterBpfOption, TcHandle as RouteHandle, TcHeader, TcMessage, TcOption,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// `TC_H_CLSACT` with `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS`.
const PARENTS: [u32; 2] = [0xffff_fff2, 0xffff_fff3];
/// Parent and handle of the clsact qdisc itself.
const QDISC_PARENT: u32 = 0xffff_fff1;
const QDISC_HANDLE: u32 = 0xffff_0000;
/// What our programs' names begin with; the kernel keeps the name with the filter.
const NAME: &str = "osi_tc_";
/// The preference that the kernel gives to a first filter.
const DEFAULT_PREFERENCE: u16 = 0xc000;
/// The upper nine bits of our handles, then one that says whether we made the qdisc; the rest is the process id, which never
/// exceeds 22 bits (`PID_MAX_LIMIT`).
const TAG: u32 = 0xbd << 23;
const MADE_QDISC: u32 = 1 << 22;
const PID_BITS: u32 = 22;

/// Our handle.
pub(super) fn handle(made_qdisc: bool) -> TcHandle {
    let made = if made_qdisc { MADE_QDISC } else { 0 };
    TcHandle::from(TAG | made | std::process::id())
}

/// Makes sure that the interface has a clsact qdisc; true when it had none.
pub(super) fn ensure_qdisc(iface: &str, ifindex: u32) -> io::Result<bool> {
    if has_qdisc(ifindex)? {
        return Ok(false);
    }
    qdisc_add_clsact(iface).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(true)
}

/// A preference before all filters that are there, so that none of them can end a packet's way before it is counted.
///
/// # Errors
/// When a filter has the first preference already: ours would stand behind it and could be blind without knowing.
pub(super) fn first_preference(ifindex: u32) -> io::Result<u16> {
    let mut lowest = DEFAULT_PREFERENCE;
    for parent in PARENTS {
        for filter in filters(ifindex, parent)? {
            lowest = lowest.min((filter.header.info >> 16) as u16);
        }
    }
    match lowest {
        0 | 1 => Err(io::Error::other(
            "another filter holds the first preference and would hide packets from ours",
        )),
        taken => Ok(taken - 1),
    }
}

/// Removes filters of agents that are gone. True when one of them had made the qdisc, which is ours to remove then.
pub(super) fn remove_stale(ifindex: u32) -> io::Result<bool> {
    let mut made_qdisc = false;
    for parent in PARENTS {
        for filter in filters(ifindex, parent)?.into_iter().filter(is_ours) {
            let handle: u32 = filter.header.handle.into();
            if owner(handle).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                let exact = TcMessage::from_parts(filter.header, Vec::new());
                order(RouteNetlinkMessage::DelTrafficFilter(exact))?;
                made_qdisc |= handle & MADE_QDISC != 0;
            }
        }
    }
    Ok(made_qdisc)
}

/// Whether filters of this very process hang on the interface in both directions.
pub(super) fn has_own(ifindex: u32) -> io::Result<bool> {
    for parent in PARENTS {
        let own =
            |filter: &TcMessage| owner(filter.header.handle.into()) == Some(std::process::id());
        if !filters(ifindex, parent)?.iter().any(own) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A BPF filter with one of our programs' names; the handle alone could be anybody's.
fn is_ours(filter: &TcMessage) -> bool {
    filter.attributes.iter().any(|attribute| {
        matches!(attribute, TcAttribute::Options(options)
            if options.iter().any(|option| {
                matches!(option, TcOption::Bpf(TcFilterBpfOption::ProgName(name)) if name.starts_with(NAME))
            }))
    })
}

/// Removes the qdisc when nothing hangs on it.
pub(super) fn remove_empty_qdisc(ifindex: u32) -> io::Result<()> {
    for parent in PARENTS {
        if !filters(ifindex, parent)?.is_empty() {
            return Ok(());
        }
    }
    let header = TcHeader {
        index: ifindex as i32,
        handle: RouteHandle::from(QDISC_HANDLE),
        parent: RouteHandle::from(QDISC_PARENT),
        ..TcHeader::default()
    };
    order(RouteNetlinkMessage::DelQueueDiscipline(
        TcMessage::from_parts(header, Vec::new()),
    ))
}

/// The process that a handle names, if it is one of ours.
fn owner(handle: u32) -> Option<u32> {
    (handle & !MADE_QDISC & !((1 << PID_BITS) - 1) == TAG).then_some(handle & ((1 << PID_BITS) - 1))
}

fn has_qdisc(ifindex: u32) -> io::Result<bool> {
    let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::with_index(ifindex as i32));
    let qdiscs = ask(request, NLM_F_REQUEST | NLM_F_DUMP)?;
    Ok(qdiscs.iter().any(|message| {
        message.header.index == ifindex as i32
            && message
                .attributes
                .iter()
                .any(|attribute| matches!(attribute, TcAttribute::Kind(kind) if kind == "clsact"))
    }))
}

/// The filters of a parent.
fn filters(ifindex: u32, parent: u32) -> io::Result<Vec<TcMessage>> {
    let mut request = TcMessage::with_index(ifindex as i32);
    request.header.parent = RouteHandle::from(parent);
    let filters = ask(
        RouteNetlinkMessage::GetTrafficFilter(request),
        NLM_F_REQUEST | NLM_F_DUMP,
    )?;
    // The dump begins with one row per priority that has no handle.
    Ok(filters
        .into_iter()
        .filter(|message| u32::from(message.header.handle) != 0)
        .collect())
}

fn order(request: RouteNetlinkMessage) -> io::Result<()> {
    ask(request, NLM_F_REQUEST | NLM_F_ACK).map(drop)
}

/// Sends one request in the calling thread's namespace and collects its answers.
fn ask(request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<TcMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut message = NetlinkMessage::from(request);
    message.header.flags = flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if collect(&datagram, &mut answers)? == Dump::Ended {
            return Ok(answers);
        }
    }
}

/// Whether more datagrams follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dump {
    Goes,
    Ended,
}

/// Adds the answers of one datagram.
pub(crate) fn collect(datagram: &[u8], answers: &mut Vec<TcMessage>) -> io::Result<Dump> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message =
            NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
        let length = (message.header.length as usize).next_multiple_of(4);
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(Dump::Ended),
            NetlinkPayload::Error(error) => {
                return error.code.map_or(Ok(Dump::Ended), |_| Err(error.to_io()));
            }
            NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewTrafficFilter(answer)
                | RouteNetlinkMessage::NewQueueDiscipline(answer),
            ) => answers.push(answer),
            NetlinkPayload::InnerMessage(_)
            | NetlinkPayload::Noop
            | NetlinkPayload::Overrun(_)
            | _ => {}
        }
        rest = rest.get(length.max(4)..).unwrap_or_default();
    }
    Ok(Dump::Goes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_names_its_owner() {
        assert_eq!(owner(handle(false).into()), Some(std::process::id()));
        assert_eq!(owner(handle(true).into()), Some(std::process::id()));
        assert_eq!(owner(1), None);
        assert_eq!(owner(0x8000_0001), None);
    }
}
