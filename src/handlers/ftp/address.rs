//! Where data goes: the arguments of PORT, EPRT and EPSV, and the replies to PASV and EPSV (RFC 959, RFC 2428).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Ports below are never connected to (RFC 2577, 3).
const LOWEST_PORT: u16 = 1024;

/// Where a client wants to be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port(pub(super) SocketAddr);

impl Port {
    /// `h1,h2,h3,h4,p1,p2`. None is a 501.
    pub(super) fn parse_port(argument: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(argument).ok()?;
        let mut numbers = [0; 6];
        let mut parts = text.split(',');
        for number in &mut numbers {
            *number = digits(parts.next()?)?;
        }
        let [a, b, c, d, high, low] = numbers;
        let ip = Ipv4Addr::new(a, b, c, d).into();
        parts.next().is_none().then(|| Port(SocketAddr::new(ip, u16::from_be_bytes([high, low]))))
    }

    /// `|1|132.235.1.2|6275|`, `|2|1080::8:800:200C:417A|5282|`, with any delimiter.
    ///
    /// # Errors
    /// The code of the reply: 522 for a family that is not known, else 501.
    pub(super) fn parse_eprt(argument: &[u8]) -> Result<Self, u16> {
        let text = std::str::from_utf8(argument).map_err(|_| 501_u16)?;
        let delimiter = text.chars().next().filter(char::is_ascii_graphic).ok_or(501_u16)?;
        let parts: Vec<_> = text.splitn(6, delimiter).collect();
        let [_, family, ip, port, ""] = parts[..] else { return Err(501) };
        let ip: IpAddr = match family {
            "1" => ip.parse::<Ipv4Addr>().map_err(|_| 501_u16)?.into(),
            "2" => ip.parse::<Ipv6Addr>().map_err(|_| 501_u16)?.into(),
            _ => return Err(522),
        };
        Ok(Port(SocketAddr::new(ip, digits(port).ok_or(501_u16)?)))
    }

    /// Whether it is the control connection's peer itself, and no port of the system's: data is sent nowhere else.
    pub(super) fn is_allowed(self, peer: IpAddr) -> bool {
        self.0.ip().to_canonical() == peer.to_canonical() && self.0.port() >= LOWEST_PORT
    }
}

/// The argument of EPSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extended {
    /// Whatever the control connection is.
    Same,
    /// IPv4 (1) or IPv6 (2).
    Family(u8),
    /// From now on nothing but EPSV.
    All,
}

impl Extended {
    /// None is a 522 for a number and a 501 for anything else.
    ///
    /// # Errors
    /// The code of the reply.
    pub(super) fn parse(argument: &[u8]) -> Result<Self, u16> {
        match argument.trim_ascii() {
            b"" => Ok(Extended::Same),
            b"1" => Ok(Extended::Family(1)),
            b"2" => Ok(Extended::Family(2)),
            all if all.eq_ignore_ascii_case(b"ALL") => Ok(Extended::All),
            number if number.iter().all(u8::is_ascii_digit) => Err(522),
            _ => Err(501),
        }
    }
}

/// Digits alone, where `parse` would take a sign.
fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The text of the 227 reply: clients look for the six numbers.
pub(super) fn pasv_reply(ip: Ipv4Addr, port: u16) -> String {
    let ([a, b, c, d], [high, low]) = (ip.octets(), port.to_be_bytes());
    format!("Entering Passive Mode ({a},{b},{c},{d},{high},{low}).")
}

/// The text of the 229 reply.
pub(super) fn epsv_reply(port: u16) -> String {
    format!("Entering Extended Passive Mode (|||{port}|)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_six_numbers() {
        let found = Port::parse_port(b"127,0,0,1,4,1").unwrap();
        assert_eq!(found.0.to_string(), "127.0.0.1:1025");
        for wrong in [
            &b""[..],
            b"1,2,3,4,5",
            b"1,2,3,4,5,6,7",
            b"256,0,0,1,4,1",
            b"+1,0,0,1,4,1",
            b"1,,0,1,4,1",
            b"\xff",
        ] {
            assert_eq!(Port::parse_port(wrong), None);
        }
    }

    #[test]
    fn eprt_knows_both_families() {
        assert_eq!(Port::parse_eprt(b"|1|132.235.1.2|6275|").unwrap().0.to_string(), "132.235.1.2:6275");
        assert_eq!(Port::parse_eprt(b"!2!::1!5282!").unwrap().0.to_string(), "[::1]:5282");
        assert_eq!(Port::parse_eprt(b"|3|x|1|"), Err(522));
        for wrong in [
            &b""[..],
            b"|1|1.2.3.4|6275",
            b"|1|::1|6275|",
            b"|2|1.2.3.4|1|",
            b"|1|1.2.3.4|65536|",
            b"|1|1.2.3.4||",
            b"|1|1.2.3.4|1|x",
        ] {
            assert_eq!(Port::parse_eprt(wrong), Err(501), "{wrong:?}");
        }
    }

    #[test]
    fn data_goes_to_the_peer_only_and_to_no_low_port() {
        let peer = "::ffff:10.0.0.1".parse().unwrap();
        let to = |text: &str| Port(text.parse().unwrap()).is_allowed(peer);
        assert!(to("10.0.0.1:1024"));
        assert!(!to("10.0.0.1:1023") && !to("10.0.0.2:2000") && !to("[::1]:2000"));
    }

    #[test]
    fn epsv_may_say_a_family_or_all() {
        assert_eq!(Extended::parse(b""), Ok(Extended::Same));
        assert_eq!(Extended::parse(b"2"), Ok(Extended::Family(2)));
        assert_eq!(Extended::parse(b"all"), Ok(Extended::All));
        assert_eq!((Extended::parse(b"3"), Extended::parse(b"x")), (Err(522), Err(501)));
    }

    #[test]
    fn replies_have_the_port_where_clients_look() {
        assert_eq!(pasv_reply(Ipv4Addr::LOCALHOST, 1025), "Entering Passive Mode (127,0,0,1,4,1).");
        assert_eq!(epsv_reply(1025), "Entering Extended Passive Mode (|||1025|)");
    }
}
