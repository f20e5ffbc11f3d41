//! A request's head, strictly (RFC 9112, sections 2 to 6; RFC 9110). Pure: bytes in, a head or a fault out.
//!
//! httparse reads the header fields; what it lets pass that two servers in a row could read differently (bare
//! LF, several lengths, a coding that we do not know) is refused here.

use httparse::{EMPTY_HEADER, Status};

/// The longest head, in bytes.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// The longest request line, in bytes. RFC 9112, 3 recommends to take 8,000 at least.
const MAX_LINE: usize = 8 * 1024;

/// The most header fields.
const MAX_FIELDS: usize = 100;

/// Why a request is refused. The connection is closed after each of them: what follows may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// 400
    BadRequest,
    /// 408: not complete in time.
    Timeout,
    /// 413
    ContentTooLarge,
    /// 414
    UriTooLong,
    /// 417: an expectation that we do not know (RFC 9110, 10.1.1).
    ExpectationFailed,
    /// 431
    FieldsTooLarge,
    /// 505
    VersionNotSupported,
}

impl Fault {
    /// The status code.
    pub(super) const fn code(self) -> u16 {
        match self {
            Fault::BadRequest => 400,
            Fault::Timeout => 408,
            Fault::ContentTooLarge => 413,
            Fault::UriTooLong => 414,
            Fault::ExpectationFailed => 417,
            Fault::FieldsTooLarge => 431,
            Fault::VersionNotSupported => 505,
        }
    }
}

/// How the end of a request's body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes; 0 without a body.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What matters of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The method's place in [`METHODS`].
    pub(super) method: usize,
    /// Whether the client speaks HTTP/1.0.
    pub(super) is_old: bool,
    /// Whether the connection may go on after the answer.
    pub(super) keep_alive: bool,
    /// The body.
    pub(super) framing: Framing,
    /// Whether the client waits for `100 Continue`.
    pub(super) expects_continue: bool,
}

/// The methods that are told apart in the metrics; any other is the last (RFC 9110, 9; RFC 5789).
pub(super) const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "OTHER"];

pub(super) const GET: usize = 0;
pub(super) const HEAD: usize = 1;
/// The first method that is not served.
pub(super) const POST: usize = 2;
const OPTIONS: usize = 6;
const CONNECT: usize = 7;
const OTHER: usize = METHODS.len() - 1;

/// Reads one head from the front: it and how many bytes it takes, or none if it is not complete yet.
pub(super) fn parse(input: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    // One empty line before a request line is forgiven (RFC 9112, 2.2).
    let skipped = match input {
        [b'\r', b'\n', ..] => 2,
        [b'\r'] => return Ok(None),
        _ => 0,
    };
    let head = &input[skipped..];
    let Some(length) = end_of_head(head)? else {
        return too_long_already(head).map_or(Ok(None), Err);
    };
    if length > MAX_HEAD {
        return Err(too_long_already(&head[..length]).unwrap_or(Fault::FieldsTooLarge));
    }
    let head = &head[..length];
    let line_end = head.iter().position(|byte| *byte == b'\r').unwrap_or(head.len());
    if line_end > MAX_LINE {
        return Err(Fault::UriTooLong);
    }
    let line = request_line(&head[..line_end])?;
    let parsed = fields(line, &head[line_end + 2..])?;
    Ok(Some((parsed, skipped + length)))
}

/// Where the head ends, its empty line included. Every line ends with CRLF: a bare CR or LF could be read as
/// an end by one server and not by the next (RFC 9112, 2.2).
fn end_of_head(head: &[u8]) -> Result<Option<usize>, Fault> {
    let mut line_start = 0;
    for (at, byte) in head.iter().enumerate().take(MAX_HEAD + 2) {
        match byte {
            b'\n' if at > 0 && head[at - 1] == b'\r' => {
                if at - line_start == 1 && line_start > 0 {
                    return Ok(Some(at + 1));
                }
                if at - line_start == 1 {
                    // A second empty line before the request line.
                    return Err(Fault::BadRequest);
                }
                line_start = at + 1;
            }
            b'\n' | 0 => return Err(Fault::BadRequest),
            b'\r' if head.get(at + 1).is_some_and(|next| *next != b'\n') => return Err(Fault::BadRequest),
            _ => {}
        }
    }
    Ok(None)
}

/// The fault of a head that is too long, complete or not.
fn too_long_already(head: &[u8]) -> Option<Fault> {
    let has_line = head.iter().take(MAX_LINE + 1).any(|byte| *byte == b'\r');
    if !has_line && head.len() > MAX_LINE {
        return Some(Fault::UriTooLong);
    }
    (head.len() > MAX_HEAD).then_some(Fault::FieldsTooLarge)
}

/// What a request line says.
struct Line {
    method: usize,
    is_old: bool,
}

/// `method SP request-target SP HTTP-version` (RFC 9112, 3), with exactly one space each.
fn request_line(line: &[u8]) -> Result<Line, Fault> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Fault::BadRequest);
    };
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(Fault::BadRequest);
    }
    let method = METHODS[..OTHER].iter().position(|known| known.as_bytes() == method).unwrap_or(OTHER);
    let is_old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        // A higher minor version is answered as the highest that we have (RFC 9110, 6.2).
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => false,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Fault::VersionNotSupported);
        }
        _ => return Err(Fault::BadRequest),
    };
    if is_target(target, method) { Ok(Line { method, is_old }) } else { Err(Fault::BadRequest) }
}

/// The four forms of a target (RFC 9112, 3.2). A fragment is never sent (RFC 9110, 7.1).
fn is_target(target: &[u8], method: usize) -> bool {
    if target.is_empty() || !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return false;
    }
    match (method, target) {
        (CONNECT, _) => is_host(target, true),
        (OPTIONS, b"*") => true,
        (_, [b'/', ..]) => true,
        _ => {
            let lower = target[..target.len().min(8)].to_ascii_lowercase();
            let rest = match (lower.strip_prefix(b"http://"), lower.strip_prefix(b"https://")) {
                (Some(_), _) => &target[7..],
                (_, Some(_)) => &target[8..],
                _ => return false,
            };
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            is_host(&rest[..end], false)
        }
    }
}

/// The header fields that frame the message or steer the connection.
#[derive(Default)]
struct Fields {
    host: Option<bool>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects: Option<bool>,
}

fn fields(line: Line, text: &[u8]) -> Result<Head, Fault> {
    let mut headers = [EMPTY_HEADER; MAX_FIELDS];
    let parsed = match httparse::parse_headers(text, &mut headers) {
        Ok(Status::Complete((_, parsed))) => parsed,
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::FieldsTooLarge),
        Ok(Status::Partial) | Err(_) => return Err(Fault::BadRequest),
    };
    let mut seen = Fields::default();
    for header in parsed {
        seen.note(header.name, header.value)?;
    }
    // One Host in HTTP/1.1, at most one in HTTP/1.0 (RFC 9112, 3.2).
    match seen.host {
        Some(true) => {}
        None if line.is_old => {}
        _ => return Err(Fault::BadRequest),
    }
    // Both lengths at once are how requests are smuggled (RFC 9112, 6.1), and HTTP/1.0 knows no coding.
    if seen.chunked && (seen.length.is_some() || line.is_old) {
        return Err(Fault::BadRequest);
    }
    if seen.expects == Some(false) && !line.is_old {
        return Err(Fault::ExpectationFailed);
    }
    let framing = if seen.chunked { Framing::Chunked } else { Framing::Length(seen.length.unwrap_or(0)) };
    let has_body = framing != Framing::Length(0);
    Ok(Head {
        method: line.method,
        is_old: line.is_old,
        keep_alive: !seen.close && (!line.is_old || seen.keep_alive),
        framing,
        // An HTTP/1.0 client does not know what 100 means (RFC 9110, 10.1.1).
        expects_continue: seen.expects == Some(true) && has_body && !line.is_old,
    })
}

impl Fields {
    fn note(&mut self, name: &str, value: &[u8]) -> Result<(), Fault> {
        // The lengths tell most fields apart without comparing a letter.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => {
                let is_good = self.host.is_none() && is_host(value, false);
                self.host = Some(is_good);
                if is_good { Ok(()) } else { Err(Fault::BadRequest) }
            }
            6 if name.eq_ignore_ascii_case("expect") => {
                let is_known = value.eq_ignore_ascii_case(b"100-continue") && self.expects != Some(false);
                self.expects = Some(is_known);
                Ok(())
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
                Ok(())
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                let length = length(value).ok_or(Fault::BadRequest)?;
                if self.length.is_some_and(|before| before != length) {
                    return Err(Fault::BadRequest);
                }
                self.length = Some(length);
                Ok(())
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                // Exactly `chunked`, once: a coding below it, or one above, leaves the end to guesses.
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::BadRequest);
                }
                self.chunked = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Digits alone (RFC 9110, 8.6): no sign, no list. What does not fit 64 bits is too large for anybody.
fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0_u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// `uri-host [":" port]` (RFC 9110, 7.2). Empty is allowed in a Host field, for a target without an authority.
fn is_host(value: &[u8], needs_port: bool) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    if text.is_empty() {
        return !needs_port;
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((inside, rest)) if inside.parse::<std::net::Ipv6Addr>().is_ok() => match rest {
                "" => ("v6", None),
                _ => match rest.strip_prefix(':') {
                    Some(port) => ("v6", Some(port)),
                    None => return false,
                },
            },
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    // reg-name: unreserved, percent-encoded and sub-delims (RFC 3986, 3.2.2).
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    !host.is_empty()
        && host.bytes().all(in_name)
        && port.is_none_or(is_port)
        && (!needs_port || port.is_some_and(|port| !port.is_empty()))
}

/// `tchar` (RFC 9110, 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
