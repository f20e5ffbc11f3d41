//! UDP in batches: one system call receives many datagrams, each with the address that it was sent to.
//!
//! Answers go out one by one: `sendmmsg` would report an error of the second only with the next call, and
//! every datagram is accounted for.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use nix::libc;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmsg,
    setsockopt,
};

/// Datagrams that one call receives at most.
pub const BATCH: usize = 32;

/// Room for one datagram and an answer in its place: more than UDP can carry (65,507 bytes over IPv4).
pub const SLOT: usize = 64 * 1024;

/// Where an answer leaves from: the address that the question was sent to, where the socket is bound to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The socket's own address.
    Bound,
    /// This one (IP_PKTINFO, `ip(7)`).
    V4(Ipv4Addr),
    /// This one, over this interface (RFC 3542, 6.2).
    V6(Ipv6Addr, u32),
}

impl Source {
    /// The address, where it is not the socket's own.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Source::Bound => None,
            Source::V4(ip) => Some(ip.into()),
            Source::V6(ip, _) => Some(ip.into()),
        }
    }
}

/// One received datagram; its bytes are in the batch's slot of the same number.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// The sender.
    pub peer: SocketAddr,
    /// What the answer leaves from.
    pub source: Source,
    /// Its length, at most what was asked for.
    pub len: usize,
    /// Whether it was longer than that.
    pub truncated: bool,
}

/// Makes the kernel say which address each datagram was sent to, where the socket is bound to all of them.
///
/// # Errors
/// The system's.
pub fn ask_for_destination(socket: &UdpSocket) -> io::Result<()> {
    let bound = socket.local_addr()?;
    if bound.ip().is_unspecified() {
        if bound.is_ipv4() {
            setsockopt(socket, Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(socket, Ipv6RecvPacketInfo, &true)?;
        }
    }
    Ok(())
}

/// What the kernel fills in beside the bytes.
type Headers = RefCell<MultiHeaders<SockaddrStorage>>;

thread_local! {
    /// They hold pointers, so they stay with their thread, while a loop and its buffers may move to another
    /// between two calls. Each kind of socket has its own: the kernel leaves in them how long the address
    /// and the control message were, and the next call takes that for the room that there is.
    static HEADERS: [Headers; 4] = std::array::from_fn(|_| headers());
}

fn headers() -> Headers {
    RefCell::new(MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(libc::in6_pktinfo))))
}

/// Buffers for [`BATCH`] datagrams. Pages that no datagram has touched take no memory.
pub struct Batch {
    /// Which headers its socket uses.
    kind: usize,
    slots: Vec<u8>,
    received: Vec<Received>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("received", &self.received).finish_non_exhaustive()
    }
}

impl Batch {
    /// Empty buffers for that socket.
    pub fn new(socket: &UdpSocket) -> Self {
        let kind = socket
            .local_addr()
            .map_or(0, |bound| usize::from(bound.is_ipv6()) + 2 * usize::from(bound.ip().is_unspecified()));
        Batch { kind, slots: vec![0; BATCH * SLOT], received: Vec::with_capacity(BATCH) }
    }

    /// Receives what is there, each datagram cut to `limit` bytes, and returns how many.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; else the system's.
    pub fn receive(&mut self, fd: RawFd, limit: usize) -> io::Result<usize> {
        self.received.clear();
        let limit = limit.clamp(1, SLOT);
        HEADERS.with(|kinds| {
            let headers = &mut *kinds[self.kind].borrow_mut();
            let mut slots = self.slots.chunks_exact_mut(SLOT);
            let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = std::array::from_fn(|_| {
                let slot = slots.next().unwrap_or_default();
                [IoSliceMut::new(&mut slot[..limit])]
            });
            let flags = MsgFlags::MSG_DONTWAIT;
            for message in recvmmsg(fd, headers, slices.iter_mut(), flags, None)? {
                let told = message.cmsgs().ok().and_then(|mut all| all.find_map(source));
                self.received.push(Received {
                    peer: message.address.as_ref().and_then(inet).unwrap_or(NOBODY),
                    source: told.unwrap_or(Source::Bound),
                    len: message.bytes.min(limit),
                    truncated: message.flags.contains(MsgFlags::MSG_TRUNC),
                });
            }
            Ok(self.received.len())
        })
    }

    /// A received datagram and its slot.
    pub fn get(&mut self, index: usize) -> (Received, &mut [u8]) {
        (self.received[index], &mut self.slots[index * SLOT..(index + 1) * SLOT])
    }
}

/// A sender that cannot be answered: port 0 is never.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn inet(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    address.as_sockaddr_in6().map(|v6| {
        SocketAddr::V6(std::net::SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()))
    })
}

fn source(message: ControlMessageOwned) -> Option<Source> {
    match message {
        // ipi_spec_dst is the local address even where the datagram was a broadcast (ip(7)).
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Source::V4(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr))))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some(Source::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr), info.ipi6_ifindex))
        }
        _ => None,
    }
}

/// Sends one datagram from `source` to `peer`.
///
/// # Errors
/// `WouldBlock` if the send buffer is full; else the system's.
pub fn send(fd: RawFd, bytes: &[u8], peer: SocketAddr, source: Source) -> io::Result<()> {
    let slices = [IoSlice::new(bytes)];
    let peer = SockaddrStorage::from(peer);
    let flags = MsgFlags::MSG_NOSIGNAL;
    let sent = match source {
        Source::Bound => sendmsg(fd, &slices, &[], flags, Some(&peer)),
        Source::V4(ip) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(ip).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            sendmsg(fd, &slices, &[ControlMessage::Ipv4PacketInfo(&info)], flags, Some(&peer))
        }
        Source::V6(ip, interface) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                ipi6_ifindex: interface,
            };
            sendmsg(fd, &slices, &[ControlMessage::Ipv6PacketInfo(&info)], flags, Some(&peer))
        }
    };
    sent.map(drop).map_err(io::Error::from)
}

/// The socket's number, for the calls above.
pub fn number(socket: &impl AsRawFd) -> RawFd {
    socket.as_raw_fd()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_what_came_and_where_it_was_sent_to() {
        let server = UdpSocket::bind("0.0.0.0:0").unwrap();
        server.set_nonblocking(true).unwrap();
        ask_for_destination(&server).unwrap();
        let port = server.local_addr().unwrap().port();
        let client = UdpSocket::bind("127.0.0.2:0").unwrap();
        for text in ["one", "", "three"] {
            client.send_to(text.as_bytes(), ("127.0.0.3", port)).unwrap();
        }
        let mut batch = Batch::new(&server);
        for round in 0..3 {
            // Headers are used again: the second round must say as much as the first.
            if round > 0 {
                client.send_to(b"three", ("127.0.0.3", port)).unwrap();
            }
            let n = batch.receive(server.as_raw_fd(), 4).unwrap();
            assert_eq!(n, if round == 0 { 3 } else { 1 });
            let (last, slot) = batch.get(n - 1);
            assert_eq!((last.len, last.truncated, &slot[..last.len]), (4, true, &b"thre"[..]));
            assert_eq!(last.source, Source::V4("127.0.0.3".parse().unwrap()));
            assert_eq!(last.peer, client.local_addr().unwrap());
        }
    }

    #[test]
    fn sockets_of_every_kind_can_share_a_thread() {
        for _ in 0..2 {
            for (any, asked) in
                [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("::", "::1")]
            {
                let asked: IpAddr = asked.parse().unwrap();
                let server = UdpSocket::bind((any, 0)).unwrap();
                server.set_nonblocking(true).unwrap();
                ask_for_destination(&server).unwrap();
                let bound = server.local_addr().unwrap();
                let client = UdpSocket::bind((asked, 0)).unwrap();
                client.send_to(b"x", (asked, bound.port())).unwrap();
                let mut batch = Batch::new(&server);
                assert_eq!(batch.receive(server.as_raw_fd(), SLOT).unwrap(), 1);
                let (received, _) = batch.get(0);
                assert_eq!(received.peer, client.local_addr().unwrap());
                assert_eq!(received.source.ip(), bound.ip().is_unspecified().then_some(asked), "{any}");
            }
        }
    }

    #[test]
    fn an_answer_leaves_from_the_address_that_was_asked() {
        let server = UdpSocket::bind("0.0.0.0:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = Source::V4("127.0.0.9".parse().unwrap());
        send(server.as_raw_fd(), b"hi", client.local_addr().unwrap(), from).unwrap();
        let mut buffer = [0; 8];
        let (n, peer) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..n], peer.ip().to_string().as_str()), (&b"hi"[..], "127.0.0.9"));
    }

    #[test]
    fn ipv6_too() {
        let Ok(server) = UdpSocket::bind("[::]:0") else { return };
        server.set_nonblocking(true).unwrap();
        ask_for_destination(&server).unwrap();
        let client = UdpSocket::bind("[::1]:0").unwrap();
        client.send_to(b"q", ("::1", server.local_addr().unwrap().port())).unwrap();
        let mut batch = Batch::new(&server);
        batch.receive(server.as_raw_fd(), SLOT).unwrap();
        let (question, _) = batch.get(0);
        assert_eq!(question.source.ip(), Some("::1".parse().unwrap()));
        send(server.as_raw_fd(), b"a", question.peer, question.source).unwrap();
        assert_eq!(client.recv(&mut [0; 8]).unwrap(), 1);
    }
}
