//! What the kernel has counted of one TCP connection, for those whose bytes do not pass through here.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags};

use super::{
    HEADER_BYTES, MESSAGE_ERROR, SOCK_DIAG_BY_FAMILY, TCP, attribute, malformed, message, open, u16_at,
    u32_at,
};

/// What a connection has carried, as far as its user has given and its peer has sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Bytes that came.
    pub received: u64,
    /// Bytes that were written.
    pub sent: u64,
}

/// `NLM_F_REQUEST` alone: one socket, no dump.
const REQUEST: u16 = 1;
/// `INET_DIAG_INFO`, as attribute and as bit in the request.
const INFO: u16 = 2;
const INFO_BIT: u8 = 1 << (INFO - 1);
/// The state of a socket that accepts.
const LISTEN: u8 = 10;
/// `tcpi_bytes_acked` and `tcpi_bytes_received` in `struct tcp_info`, since Linux 4.1.
const ACKED_AT: usize = 120;
const RECEIVED_AT: usize = 128;

/// Asks for a connection by its two ends; none if there is none any more.
///
/// # Errors
/// The kernel's: some sandboxes do not let anybody ask.
pub fn carried(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<Carried>> {
    let socket = open()?;
    rustix::net::send(&socket, &request(local, peer), SendFlags::empty())?;
    let mut buffer = vec![0; 4096];
    let (_, length) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::TRUNC)?;
    let answer = buffer.get(..length).ok_or_else(malformed)?;
    match u16_at(answer, 4) {
        Some(MESSAGE_ERROR) => {
            let code = u32_at(answer, HEADER_BYTES).ok_or_else(malformed)? as i32;
            match code.wrapping_neg() {
                super::NO_SUCH_FAMILY => Ok(None),
                code => Err(io::Error::from_raw_os_error(code)),
            }
        }
        Some(SOCK_DIAG_BY_FAMILY) => {
            let body = answer.get(HEADER_BYTES..).ok_or_else(malformed)?;
            // Where the connection is gone, the socket that accepted it is found.
            if body.get(1) == Some(&LISTEN) {
                return Ok(None);
            }
            read(body).map(Some).ok_or_else(malformed)
        }
        _ => Err(malformed()),
    }
}

/// `struct inet_diag_req_v2`.
fn request(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut body = Vec::with_capacity(56);
    body.extend([family.as_raw() as u8, TCP, INFO_BIT, 0]);
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(local.port().to_be_bytes());
    body.extend(peer.port().to_be_bytes());
    for end in [local, peer] {
        match end.ip() {
            IpAddr::V4(ip) => {
                body.extend(ip.octets());
                body.extend([0; 12]);
            }
            IpAddr::V6(ip) => body.extend(ip.octets()),
        }
    }
    body.extend([0; 4]);
    // No cookie: any socket with these ends.
    body.extend([0xff; 8]);
    message(REQUEST, 1, &body)
}

/// `struct inet_diag_msg` and its attributes.
fn read(body: &[u8]) -> Option<Carried> {
    let state = *body.get(1)?;
    let unacknowledged = u32_at(body, 60)?;
    let info = attribute(body.get(72..)?, INFO)?;
    // The peer's FIN has a place in the sequence, and is counted like a byte: CLOSE_WAIT, LAST_ACK, CLOSING.
    let fin = u64::from(matches!(state, 8 | 9 | 11));
    Some(Carried {
        received: u64_at(info, RECEIVED_AT)?.saturating_sub(fin),
        sent: u64_at(info, ACKED_AT)? + u64::from(unacknowledged),
    })
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_tells_what_it_has_carried_to_the_byte() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, peer) = listener.accept().unwrap();
            let local = server.local_addr().unwrap();
            assert_eq!(carried(local, peer).unwrap(), Some(Carried { received: 0, sent: 0 }));
            client.write_all(&[0; 1000]).unwrap();
            server.read_exact(&mut [0; 1000]).unwrap();
            server.write_all(&[0; 123]).unwrap();
            let expected = Carried { received: 1000, sent: 123 };
            assert_eq!(carried(local, peer).unwrap(), Some(expected));
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
            assert_eq!(carried(local, peer).unwrap(), Some(expected));
            // The listener is there still, and is no connection.
            socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(client);
            assert_eq!(carried(local, peer).unwrap(), None);
        }
    }

    #[test]
    fn cut_messages_are_no_answer() {
        assert_eq!(read(&[0; 71]), None);
        assert_eq!(read(&[0; 200]), None);
    }
}
