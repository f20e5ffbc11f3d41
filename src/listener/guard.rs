//! The loop guard: answers that could set two machines, or this one alone, answering each other for ever.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Ports below this one belong to system services (RFC 6335, 6): echo, chargen, DNS and the like answer, too.
const FIRST_USER_PORT: u16 = 1024;

/// How long the list of this machine's addresses is believed.
const INTERFACES_KEPT: Duration = Duration::from_secs(5);

/// The addresses of the gateway's own datagram endpoints.
#[derive(Debug, Default)]
pub struct OwnAddresses {
    bound: RwLock<Bound>,
    interfaces: Mutex<Option<(Instant, Vec<IpAddr>)>>,
}

#[derive(Debug, Default)]
struct Bound {
    inet: HashSet<SocketAddr>,
    unix: HashSet<String>,
}

impl OwnAddresses {
    /// Replaces all of them: internet addresses as bound, and paths or `@name`s of Unix sockets.
    pub fn set(&self, inet: HashSet<SocketAddr>, unix: HashSet<String>) {
        *self.bound.write().unwrap_or_else(PoisonError::into_inner) = Bound { inet, unix };
    }

    /// Whether an answer to that sender could start a loop. `asked` is the address that the datagram was
    /// sent to, where it is known; `services` says that a sender may be one itself (DNS and NTP use 53 and 123).
    pub(super) fn could_loop(&self, sender: SocketAddr, asked: Option<IpAddr>, services: bool) -> bool {
        let ip = sender.ip().to_canonical();
        let lowest = if services { 1 } else { FIRST_USER_PORT };
        if sender.port() < lowest || ip.is_unspecified() || ip.is_multicast() {
            return true;
        }
        if matches!(ip, IpAddr::V4(v4) if v4.is_broadcast()) {
            return true;
        }
        let bound = self.bound.read().unwrap_or_else(PoisonError::into_inner);
        let is_own = |at: &SocketAddr| {
            at.port() == sender.port()
                && (at.ip() == ip || (at.ip().is_unspecified() && self.is_local(ip, asked)))
        };
        bound.inet.iter().any(is_own)
    }

    /// Whether a Unix datagram socket is one of ours.
    pub(super) fn is_own_unix(&self, address: &str) -> bool {
        self.bound.read().unwrap_or_else(PoisonError::into_inner).unix.contains(address)
    }

    /// Whether an address is this machine's. Asked only for a sender with the port of one of our endpoints
    /// that is bound to all addresses.
    fn is_local(&self, ip: IpAddr, asked: Option<IpAddr>) -> bool {
        if ip.is_loopback() || asked == Some(ip) {
            return true;
        }
        let mut kept = self.interfaces.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if kept.as_ref().is_none_or(|(at, _)| now.duration_since(*at) > INTERFACES_KEPT) {
            *kept = Some((now, interface_addresses()));
        }
        kept.as_ref().is_some_and(|(_, all)| all.contains(&ip))
    }
}

fn interface_addresses() -> Vec<IpAddr> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    all.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|at| at.ip().into());
        v4.or_else(|| address.as_sockaddr_in6().map(|at| at.ip().into()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_ports_ourselves_and_crowds_get_no_answer() {
        let own = OwnAddresses::default();
        let bound = ["10.0.0.1:7007", "0.0.0.0:7008"].map(|at| at.parse().unwrap());
        own.set(HashSet::from(bound), HashSet::from(["/run/echo".to_string()]));
        for (sender, loops) in [
            ("192.0.2.1:40000", false),
            ("192.0.2.1:0", true),
            ("192.0.2.1:53", true),
            ("192.0.2.1:1023", true),
            ("192.0.2.1:1024", false),
            ("224.0.0.1:5000", true),
            ("255.255.255.255:5000", true),
            ("0.0.0.0:5000", true),
            ("10.0.0.1:7007", true),
            ("10.0.0.2:7007", false),
            ("127.0.0.1:7008", true),
            ("192.0.2.9:7008", true),
            ("192.0.2.1:7008", false),
        ] {
            let asked = Some("192.0.2.9".parse().unwrap());
            assert_eq!(own.could_loop(sender.parse().unwrap(), asked, false), loops, "{sender}");
        }
        assert!(!own.could_loop("192.0.2.1:53".parse().unwrap(), None, true));
        assert!(own.could_loop("192.0.2.1:0".parse().unwrap(), None, true));
        assert!(own.is_own_unix("/run/echo") && !own.is_own_unix("/run/other"));
    }
}
