//! What a request asks for, and of whom: the forms of a target, and the `Host`.

use super::head::Method;
use super::refusal::Refusal;

/// RFC 9112, 3.2: the form of the target that the method asks for.
pub(super) fn check_target(method: Method, target: &[u8]) -> Result<(), Refusal> {
    if target.is_empty() || !target.iter().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::BAD_TARGET);
    }
    if target.contains(&b'#') {
        return Err(Refusal::FRAGMENT);
    }
    let is_right = match (method, target) {
        (Method::Connect, _) => is_authority(target) && target.contains(&b':'),
        (Method::Options, b"*") => true,
        (_, [b'/', ..]) => true,
        _ => is_absolute(target),
    };
    if is_right { Ok(()) } else { Err(Refusal::BAD_TARGET) }
}

/// `http://authority…` (RFC 9112, 3.2.2), with a host (RFC 9110, 4.2.1).
fn is_absolute(target: &[u8]) -> bool {
    let Some(at) = target.iter().position(|byte| *byte == b':') else { return false };
    let (scheme, rest) = target.split_at(at);
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return false;
    }
    let Some(rest) = rest.strip_prefix(b"://") else { return false };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    end > 0 && rest[0] != b':' && is_authority(&rest[..end])
}

/// `host [":" port]` (RFC 3986, 3.2), without user information (RFC 9110, 4.2.4). The host may be empty.
pub(super) fn is_authority(text: &[u8]) -> bool {
    let (host, port) = if text.starts_with(b"[") {
        let Some(end) = text.iter().position(|byte| *byte == b']') else { return false };
        let address = &text[1..end];
        let is_address =
            std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
        if !is_address {
            return false;
        }
        (&[][..], &text[end + 1..])
    } else {
        text.split_at(text.iter().position(|byte| *byte == b':').unwrap_or(text.len()))
    };
    let is_name = host.iter().all(|byte| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&')
            || matches!(byte, b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
    });
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_name && is_port
}
