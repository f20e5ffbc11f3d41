//! What comes before the handler: a PROXY header, and the TLS handshake. Both in the conn's own task, under the
//! `handshake` clock, so that nobody who dawdles keeps the accept loop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use proxy_header::{ParseConfig, ProxyHeader};

use super::Rules;
use crate::config::{self, ProxyProtocol};
use crate::net::{Conn, PeerKey, Prelude};
use crate::stats::{Peer, RejectReason};

/// The longest header of version 1 (proxy-protocol.txt, 2.1), and the longest of version 2 that is read: its addresses
/// have at most 216 bytes, the rest is for TLVs.
const LONGEST_V1: usize = 107;
const LONGEST_V2: usize = 4096;

/// How a header of version 2 begins, and where its length stands.
const SIGNATURE_V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const HEAD_V2: usize = 16;

/// What is done for each conn of a listener before its handler gets it.
pub(super) struct Before(pub(super) Arc<Rules>);

impl Rules {
    /// Whether anything comes before the handler.
    pub(super) fn has_prelude(&self) -> bool {
        self.proxy.is_some() || self.tls.is_some()
    }

    /// Whether the peer may send PROXY headers, where they are asked for. Unix peers may.
    pub(super) fn trusts_headers_of(&self, peer: &Peer) -> bool {
        let trusts = |proxy: &ProxyProtocol| peer.ip().is_none_or(|ip| config::contains(&proxy.from, ip));
        self.proxy.as_ref().is_none_or(trusts)
    }
}

impl Prelude for Before {
    fn run<'a>(
        self: Box<Self>,
        conn: &'a mut Conn,
    ) -> Pin<Box<dyn Future<Output = Result<(), RejectReason>> + Send + 'a>> {
        Box::pin(async move {
            let rules = self.0;
            if let Some(proxy) = &rules.proxy {
                let peer = named_peer(conn, proxy).await.map_err(|_| RejectReason::ProxyHeader)?;
                if let Some(peer) = peer {
                    conn.describe("proxy", conn.peer().to_string());
                    conn.name_peer(peer);
                }
                examine(&rules, conn)?;
            }
            if let Some(acceptor) = &rules.tls {
                conn.start_tls(acceptor).await.map_err(|_| RejectReason::Tls)?;
            }
            Ok(())
        })
    }
}

/// Whether the peer that is known now may have the place that the conn has taken already.
fn examine(rules: &Rules, conn: &mut Conn) -> Result<(), RejectReason> {
    let turned_away = |conn: &mut Conn, reason| {
        if let Some(word) = rules.built.refusals[reason as usize].as_ref().filter(|_| rules.tls.is_none()) {
            conn.refuse(word);
        }
        reason
    };
    if !rules.admits(conn.peer()) {
        return Err(turned_away(conn, RejectReason::Acl));
    }
    let spared = rules.spares_loopback && conn.peer().ip().is_some_and(|ip| ip.is_loopback());
    if let Some(key) = PeerKey::of(conn.peer()) {
        let limit = if spared { usize::MAX } else { rules.per_peer };
        if !rules.door.peers.try_enter(key, limit) {
            return Err(turned_away(conn, RejectReason::PerIp));
        }
        conn.count_peer(rules.door.peers.clone(), key);
    }
    Ok(())
}

/// Reads the header, and nothing behind it. None: it says that the connection is the proxy's own.
async fn named_peer(conn: &mut Conn, proxy: &ProxyProtocol) -> io::Result<Option<Peer>> {
    let mut header = Vec::new();
    loop {
        let mut seen = [0; 536];
        let n = conn.peek(&mut seen).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = header.len();
        header.extend_from_slice(&seen[..n]);
        match length(&header)? {
            // What has come so far belongs to it: it is taken, so that the next look shows what is new.
            None => conn.skip(n).await?,
            Some(end) if header.len() < end => conn.skip(n).await?,
            Some(end) => {
                conn.skip(end - before).await?;
                return parse(&header[..end], proxy);
            }
        }
    }
}

/// How long the header is that begins like this; none while that cannot be told.
fn length(header: &[u8]) -> io::Result<Option<usize>> {
    let wrong = || Err(io::ErrorKind::InvalidData.into());
    if header.starts_with(b"P") {
        let end = header.windows(2).take(LONGEST_V1 - 1).position(|pair| pair == b"\r\n");
        return match end {
            Some(end) => Ok(Some(end + 2)),
            None if header.len() >= LONGEST_V1 || !b"PROXY ".starts_with(&header[..header.len().min(6)]) => {
                wrong()
            }
            None => Ok(None),
        };
    }
    if header[..header.len().min(12)] != SIGNATURE_V2[..header.len().min(12)] {
        return wrong();
    }
    match header.get(HEAD_V2 - 2..HEAD_V2) {
        Some([high, low]) => {
            let length = HEAD_V2 + usize::from(u16::from_be_bytes([*high, *low]));
            if length > LONGEST_V2 { wrong() } else { Ok(Some(length)) }
        }
        _ => Ok(None),
    }
}

fn parse(header: &[u8], proxy: &ProxyProtocol) -> io::Result<Option<Peer>> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    // A number with a sign is none.
    if header.starts_with(b"P") && header.contains(&b'+') {
        return Err(wrong());
    }
    let config = ParseConfig {
        include_tlvs: false,
        allow_v1: proxy.versions.contains(&1),
        allow_v2: proxy.versions.contains(&2),
    };
    let (parsed, used) = ProxyHeader::parse(header, config).map_err(|_| wrong())?;
    if used != header.len() {
        return Err(wrong());
    }
    let peer = parsed.proxied_address().map(|address| address.source);
    Ok(peer.map(|at| Peer::Inet(SocketAddr::new(at.ip().to_canonical(), at.port()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both() -> ProxyProtocol {
        ProxyProtocol { from: Vec::new(), versions: vec![1, 2] }
    }

    fn v2(tail: &[u8]) -> Vec<u8> {
        [&SIGNATURE_V2[..], tail].concat()
    }

    /// The peer that a whole header names; `-` is the proxy's own connection.
    fn read(header: &[u8]) -> String {
        let end = match length(header) {
            Ok(Some(end)) if end == header.len() => end,
            Ok(Some(_)) => return "another length".into(),
            Ok(None) => return "more".into(),
            Err(_) => return "wrong".into(),
        };
        match parse(&header[..end], &both()) {
            Ok(Some(peer)) => peer.to_string(),
            Ok(None) => "-".into(),
            Err(_) => "wrong".into(),
        }
    }

    #[test]
    fn headers_of_both_versions_name_the_peer() {
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n".to_vec(), "192.0.2.1:1000"),
            (b"PROXY TCP6 2001:db8::1 ::1 1000 80\r\n".to_vec(), "[2001:db8::1]:1000"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "-"),
            (b"PROXY UNKNOWN 1 2 3 4\r\n".to_vec(), "-"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 +100 80\r\n".to_vec(), "wrong"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 99999 80\r\n".to_vec(), "wrong"),
            (b"PROXY TCP4 ::1 ::1 1 1\r\n".to_vec(), "wrong"),
            (b"PROXY SCTP 192.0.2.1 192.0.2.2 1 1\r\n".to_vec(), "wrong"),
            (b"PROXY TCP4 192.0.2.1".to_vec(), "more"),
            (b"PRI * HTTP/2.0".to_vec(), "wrong"),
            (b"GET / HTTP/1.1\r\n".to_vec(), "wrong"),
            ([&b"PROXY TCP4 "[..], &[b'1'; 120]].concat(), "wrong"),
            (v2(b"\x20\0\0\0"), "-"),
            (v2(b"\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x03\xe8\0\x50"), "192.0.2.1:1000"),
            (v2(b"\x21\x11\0\x0f\xc0\0\x02\x01\xc0\0\x02\x02\x03\xe8\0\x50\x04\0\0"), "192.0.2.1:1000"),
            (v2(b"\x21\x11\0\x04\xc0\0\x02\x01"), "wrong"),
            (v2(b"\x31\x11\0\0"), "wrong"),
            (v2(b"\x21\x11\xff\xff"), "wrong"),
            (v2(b"\x21\x11"), "more"),
        ] {
            assert_eq!(read(&header), expected, "{:?}", String::from_utf8_lossy(&header));
        }
    }

    #[test]
    fn a_version_that_is_not_asked_for_is_wrong() {
        let one = ProxyProtocol { versions: vec![1], ..both() };
        assert!(parse(b"PROXY UNKNOWN\r\n", &one).is_ok() && parse(&v2(b"\x20\0\0\0"), &one).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 1..200), v1 in any::<bool>()) {
            let header = if v1 { [b"PROXY TCP4 ", &bytes[..]].concat() } else { v2(&bytes) };
            read(&header);
        }
    }
}
