//! Queue lengths and drops that only the kernel knows, from `sock_diag(7)`: one dump, each socket by its inode.
//!
//! The messages are few and fixed, so they are written and read here by hand: requests ask for listening
//! and unconnected sockets only, so that a dump costs the same with ten connections and ten thousand.

pub mod connection;

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// What the kernel says of one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queue {
    /// Connections that wait to be accepted; on datagram sockets, what waits to be received.
    pub length: u32,
    /// How many connections may wait; 0 on datagram sockets.
    pub limit: u32,
    /// Datagrams dropped because the receive buffer was full, since the socket was made. Wraps at 32 bits.
    pub drops: u64,
}

/// The queues of every listening TCP and Unix socket and of every unconnected UDP and Unix datagram
/// socket in this network namespace, by inode.
pub fn dump() -> io::Result<HashMap<u64, Queue>> {
    let socket = open()?;
    let mut queues = HashMap::new();
    for (sequence, family) in (1..).zip(FAMILIES) {
        match ask(&socket, sequence, family, &mut queues) {
            Err(error) if error.raw_os_error() == Some(NO_SUCH_FAMILY) => {}
            other => other?,
        }
    }
    Ok(queues)
}

fn open() -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    // The kernel answers at once; this is for the day when it does not.
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(1)))?;
    Ok(socket)
}

/// One family of sockets to ask for.
struct Family {
    family: AddressFamily,
    protocol: u8,
    /// Bits of the states to list.
    states: u32,
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const LISTENING: u32 = 1 << 10;
/// Datagram sockets that are not connected have this state.
const UNCONNECTED: u32 = 1 << 7;

const FAMILIES: [Family; 5] = [
    Family { family: AddressFamily::INET, protocol: TCP, states: LISTENING },
    Family { family: AddressFamily::INET6, protocol: TCP, states: LISTENING },
    Family { family: AddressFamily::INET, protocol: UDP, states: UNCONNECTED },
    Family { family: AddressFamily::INET6, protocol: UDP, states: UNCONNECTED },
    Family { family: AddressFamily::UNIX, protocol: 0, states: LISTENING | UNCONNECTED },
];

/// ENOENT: the kernel was built, or runs, without the module that lists this family.
const NO_SUCH_FAMILY: i32 = rustix::io::Errno::NOENT.raw_os_error();

const HEADER_BYTES: usize = 16;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_DUMP: u16 = 0x301;
const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;
/// `INET_DIAG_SKMEMINFO`, as attribute and as bit in the request.
const INET_MEMINFO: u16 = 7;
const INET_MEMINFO_BIT: u8 = 1 << (INET_MEMINFO - 1);
/// The place of the drops among the memory information's words.
const MEMINFO_DROPS: usize = 8;
/// `UNIX_DIAG_RQLEN`, and `UDIAG_SHOW_RQLEN`.
const UNIX_QUEUE: u16 = 4;
const UNIX_SHOW_QUEUE: u32 = 0x10;
/// The kernel fills at most 32 KiB at a time.
const BUFFER_BYTES: usize = 64 * 1024;

fn ask(socket: &OwnedFd, sequence: u32, family: Family, queues: &mut HashMap<u64, Queue>) -> io::Result<()> {
    rustix::net::send(socket, &request(sequence, &family), SendFlags::empty())?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let (_, length) = rustix::net::recv(socket, buffer.as_mut_slice(), RecvFlags::TRUNC)?;
        let Some(datagram) = buffer.get(..length) else {
            return Err(io::Error::other("a message of the kernel is longer than expected"));
        };
        if read(datagram, sequence, family.family == AddressFamily::UNIX, queues)? {
            return Ok(());
        }
    }
}

fn request(sequence: u32, family: &Family) -> Vec<u8> {
    let mut body = Vec::with_capacity(56);
    // AF_* are small numbers; the request has one byte for them.
    body.push(family.family.as_raw() as u8);
    body.push(family.protocol);
    if family.family == AddressFamily::UNIX {
        body.extend([0; 2]);
        body.extend(family.states.to_ne_bytes());
        body.extend([0; 4]);
        body.extend(UNIX_SHOW_QUEUE.to_ne_bytes());
        body.extend([0; 8]);
    } else {
        body.extend([INET_MEMINFO_BIT, 0]);
        body.extend(family.states.to_ne_bytes());
        body.extend([0; 48]);
    }
    message(REQUEST_DUMP, sequence, &body)
}

/// A message with its header (`struct nlmsghdr`).
fn message(flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
    message.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(body);
    message
}

/// Reads the messages of one datagram; true when the dump is complete.
fn read(
    mut datagram: &[u8],
    sequence: u32,
    unix: bool,
    queues: &mut HashMap<u64, Queue>,
) -> io::Result<bool> {
    while let Some(length) = u32_at(datagram, 0) {
        let length = length as usize;
        let Some(body) = datagram.get(HEADER_BYTES..length) else { return Err(malformed()) };
        let kind = u16_at(datagram, 4).ok_or_else(malformed)?;
        if u32_at(datagram, 8) == Some(sequence) {
            match kind {
                MESSAGE_DONE => return Ok(true),
                MESSAGE_ERROR => {
                    let code = u32_at(body, 0).ok_or_else(malformed)? as i32;
                    return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
                }
                SOCK_DIAG_BY_FAMILY => {
                    let found = if unix { unix_socket(body) } else { inet_socket(body) };
                    queues.extend(found);
                }
                _ => {}
            }
        }
        datagram = datagram.get(padded(length)..).unwrap_or_default();
    }
    Ok(false)
}

/// `struct inet_diag_msg` and its attributes.
fn inet_socket(body: &[u8]) -> Option<(u64, Queue)> {
    let (length, limit, inode) = (u32_at(body, 56)?, u32_at(body, 60)?, u32_at(body, 68)?);
    let memory = attribute(body.get(72..)?, INET_MEMINFO);
    let drops = memory.and_then(|words| u32_at(words, 4 * MEMINFO_DROPS)).unwrap_or(0);
    Some((inode.into(), Queue { length, limit, drops: drops.into() }))
}

/// `struct unix_diag_msg` and its attributes.
fn unix_socket(body: &[u8]) -> Option<(u64, Queue)> {
    const LISTEN: u8 = 10;
    let (state, inode) = (*body.get(2)?, u32_at(body, 4)?);
    let queue = attribute(body.get(16..)?, UNIX_QUEUE)?;
    // Of a socket that does not listen the second number is what it has sent.
    let limit = if state == LISTEN { u32_at(queue, 4)? } else { 0 };
    Some((inode.into(), Queue { length: u32_at(queue, 0)?, limit, drops: 0 }))
}

/// The value of an attribute (`struct rtattr`).
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if u16_at(attributes, 2)? == wanted {
            return Some(value);
        }
        attributes = attributes.get(padded(length)..)?;
    }
}

/// Messages and attributes start at multiples of four.
fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message of the kernel is shorter than it says")
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;

    #[track_caller]
    fn queue_of(socket: impl AsFd) -> Queue {
        let inode = rustix::fs::fstat(socket).unwrap().st_ino;
        *dump().unwrap().get(&inode).expect("the dump lists the socket")
    }

    #[test]
    fn a_waiting_connection_shows_in_the_accept_queue() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            assert_eq!(queue_of(&listener).length, 0);
            let first = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let _second = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let queue = queue_of(&listener);
            assert_eq!(queue.length, 2);
            assert!(queue.limit > 0);
            assert!(!dump().unwrap().contains_key(&rustix::fs::fstat(&first).unwrap().st_ino));
            listener.accept().unwrap();
            assert_eq!(queue_of(&listener).length, 1);
        }
    }

    #[test]
    fn a_unix_listener_has_a_queue_too() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let _waiting = UnixStream::connect(folder.path().join("s")).unwrap();
        let queue = queue_of(&listener);
        assert_eq!(queue.length, 1);
        assert!(queue.limit > 0);
    }

    #[test]
    fn datagrams_that_do_not_fit_are_counted_as_drops() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let receiver = UdpSocket::bind(address).unwrap();
            assert_eq!(queue_of(&receiver), Queue::default());
            rustix::net::sockopt::set_socket_recv_buffer_size(&receiver, 4096).unwrap();
            let sender = UdpSocket::bind(address).unwrap();
            for _ in 0..64 {
                sender.send_to(&[0; 1000], receiver.local_addr().unwrap()).unwrap();
            }
            let queue = queue_of(&receiver);
            assert!(queue.drops > 0 && queue.drops < 64, "{queue:?}");
            assert!(queue.length > 0);
        }
    }

    #[test]
    fn a_unix_datagram_socket_is_listed_without_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let receiver = UnixDatagram::bind(folder.path().join("s")).unwrap();
        UnixDatagram::unbound().unwrap().send_to(b"hello", folder.path().join("s")).unwrap();
        let queue = queue_of(&receiver);
        assert!(queue.length > 0);
        assert_eq!(queue.limit, 0);
    }

    #[test]
    fn cut_messages_are_an_error_and_not_a_panic() {
        let mut message = request(1, &FAMILIES[0]);
        message.truncate(20);
        assert!(read(&message, 1, false, &mut HashMap::new()).is_err());
        assert!(attribute(&[200, 0, 7, 0], 7).is_none());
        assert!(attribute(&[0, 0, 7, 0], 7).is_none());
        assert!(inet_socket(&[0; 71]).is_none());
    }
}
