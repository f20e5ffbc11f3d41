//! The head of an HTTP/1.1 request, read strictly (RFC 9112): what two readers could understand differently is
//! refused, since that is how requests are smuggled.

use super::refusal::Refusal;
use super::target::{check_target, is_authority};

/// The longest request line (RFC 9112, 3: at least 8000 octets should be supported); longer ones get 414.
pub const MAX_LINE: usize = 8 * 1024;

/// The longest head, request line included; longer ones get 431.
pub const MAX_HEAD: usize = 16 * 1024;

/// The most header fields; more get 431.
pub const MAX_FIELDS: usize = 100;

/// The longest method; longer ones are none that anybody implements, and get 501 (RFC 9112, 3).
const MAX_METHOD: usize = 32;

/// Empty lines that are ignored before a request line (RFC 9112, 2.2: at least one).
const MAX_EMPTY_LINES: usize = 1;

/// Header fields for which room is made at first; few requests have more.
const USUAL_FIELDS: usize = 24;

/// A request's method, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH (RFC 5789)
    Patch,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// CONNECT
    Connect,
    /// TRACE
    Trace,
    /// Any other.
    Other,
}

impl Method {
    /// The names of all, in order, as labels of metrics.
    pub const NAMES: &'static [&'static str] =
        &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "OTHER"];

    const ALL: [Method; 10] = [
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Patch,
        Method::Delete,
        Method::Options,
        Method::Connect,
        Method::Trace,
        Method::Other,
    ];

    /// The method of that name; names are case-sensitive (RFC 9110, 9.1).
    pub fn of(name: &[u8]) -> Self {
        let position = Self::NAMES.iter().position(|known| known.as_bytes() == name);
        position.map_or(Method::Other, |at| Self::ALL[at])
    }
}

/// How long the body is (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes; none without either field.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What the engine must know of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The method.
    pub(super) method: Method,
    /// Whether the request is HTTP/1.0.
    pub(super) is_old: bool,
    /// Whether the peer lets the connection stay.
    pub(super) keeps: bool,
    /// The body's length.
    pub(super) framing: Framing,
    /// Whether the peer waits for `100 Continue` before it sends the body.
    pub(super) expects: bool,
}

/// How far the bytes of a head have been looked at. Each byte is looked at once, however the head is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Everything before is whole lines.
    lines: u32,
    /// Everything before has been looked at.
    scanned: u32,
    /// Where the request line begins, behind empty lines.
    start: u32,
    /// Where the fields begin, once the request line is there.
    fields: u32,
    count: u8,
}

/// What a look at the bytes of a head gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It does not end here.
    Partial,
    /// It ends there.
    Whole(Head, usize),
    /// It is refused.
    Refused(Refusal),
}

/// Looks at a head that may be cut off; `bytes` begins where it began last time, and has grown.
pub(super) fn look(bytes: &[u8], progress: &mut Progress) -> Look {
    // What lies behind the limit does not matter, however much has come at once.
    let bytes = &bytes[..bytes.len().min(MAX_HEAD)];
    match scan(bytes, progress) {
        Ok(Some(end)) => match read(&bytes[..end], progress) {
            Ok(head) => Look::Whole(head, end),
            Err(refusal) => Look::Refused(refusal),
        },
        Ok(None) if bytes.len() == MAX_HEAD => Look::Refused(Refusal::HEAD_TOO_LARGE),
        Ok(None) => Look::Partial,
        Err(refusal) => Look::Refused(refusal),
    }
}

/// Goes through the lines, and gives the end of the empty one after the fields.
fn scan(bytes: &[u8], progress: &mut Progress) -> Result<Option<usize>, Refusal> {
    loop {
        let from = progress.scanned as usize;
        let Some(length) = bytes[from..].iter().position(|byte| *byte == b'\n') else {
            if progress.fields == 0 {
                // A CR at the very end may be the line's.
                let line = &bytes[progress.start as usize..];
                check_line_so_far(line.strip_suffix(b"\r").unwrap_or(line))?;
            }
            progress.scanned = small(bytes.len());
            return Ok(None);
        };
        let end = from + length;
        let line = &bytes[progress.lines as usize..end];
        let Some(line) = line.strip_suffix(b"\r") else {
            if progress.fields == 0 {
                check_line_so_far(line)?;
            }
            return Err(Refusal::BARE_LF);
        };
        progress.scanned = small(end + 1);
        progress.lines = progress.scanned;
        match (progress.fields == 0, line.is_empty()) {
            (true, true) => {
                progress.start = progress.scanned;
                progress.count += 1;
                if usize::from(progress.count) > MAX_EMPTY_LINES {
                    return Err(Refusal::NO_REQUEST_LINE);
                }
            }
            (true, false) => {
                check_line_so_far(line)?;
                check_request_line(line)?;
                progress.fields = progress.scanned;
                progress.count = 0;
            }
            (false, true) => return Ok(Some(end + 1)),
            (false, false) => {
                progress.count += 1;
                if usize::from(progress.count) > MAX_FIELDS {
                    return Err(Refusal::TOO_MANY_FIELDS);
                }
            }
        }
    }
}

/// Positions in a head fit: it is never longer than [`MAX_HEAD`].
fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Looks at a request line that need not be whole: something else than HTTP is told at once, a TLS handshake
/// say, and does not wait for a line end that never comes.
fn check_line_so_far(line: &[u8]) -> Result<(), Refusal> {
    let within = &line[..line.len().min(MAX_LINE)];
    if within.iter().any(|byte| byte.is_ascii_control()) {
        return Err(Refusal::CONTROL_IN_LINE);
    }
    if line.len() > MAX_LINE { Err(Refusal::LINE_TOO_LONG) } else { Ok(()) }
}

/// Splits a request line: method, target, version. One space between them, no other.
fn split_line(line: &[u8]) -> Result<[&[u8]; 3], Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(method), Some(target), Some(version), None) => Ok([method, target, version]),
        _ => Err(Refusal::BAD_LINE),
    }
}

fn check_request_line(line: &[u8]) -> Result<(), Refusal> {
    let [method, target, version] = split_line(line)?;
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(Refusal::BAD_METHOD);
    }
    if method.len() > MAX_METHOD {
        return Err(Refusal::METHOD_TOO_LONG);
    }
    check_target(Method::of(method), target)?;
    // RFC 9112, 2.3: case-sensitive, one digit each.
    let [b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', b'0'..=b'9'] = version else {
        return Err(Refusal::BAD_VERSION);
    };
    if *major == b'1' { Ok(()) } else { Err(Refusal::OTHER_VERSION) }
}

/// RFC 9110, 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.')
        || matches!(byte, b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Reads a head that is whole.
fn read(head: &[u8], progress: &Progress) -> Result<Head, Refusal> {
    let line = &head[progress.start as usize..progress.fields as usize - 2];
    let fields = &head[progress.fields as usize..];
    if usize::from(progress.count) <= USUAL_FIELDS {
        read_with::<USUAL_FIELDS>(line, fields)
    } else {
        read_with::<MAX_FIELDS>(line, fields)
    }
}

fn read_with<const N: usize>(line: &[u8], fields: &[u8]) -> Result<Head, Refusal> {
    let mut room = [httparse::EMPTY_HEADER; N];
    let parsed = match httparse::parse_headers(fields, &mut room) {
        Ok(httparse::Status::Complete((end, parsed))) if end == fields.len() => parsed,
        Ok(_) => return Err(Refusal::BAD_FIELD),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TOO_MANY_FIELDS),
        Err(_) => return Err(Refusal::BAD_FIELD),
    };
    let mut seen = Seen::default();
    for field in parsed {
        seen.take(field.name.as_bytes(), field.value)?;
    }
    let [method, _, version] = split_line(line)?;
    seen.head(Method::of(method), version.ends_with(b".0"))
}

/// What the fields say that matter to the engine.
#[derive(Default)]
struct Seen {
    host: bool,
    length: Option<u64>,
    encoding: bool,
    close: bool,
    keep_alive: bool,
    expects: bool,
    expects_else: bool,
}

impl Seen {
    #[inline]
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if std::mem::replace(&mut self.host, true) {
                    return Err(Refusal::TWO_HOSTS);
                }
                if !is_authority(value) {
                    return Err(Refusal::BAD_HOST);
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                // RFC 9110, 10.1.1: case-insensitive.
                let known = value.eq_ignore_ascii_case(b"100-continue");
                self.expects |= known;
                self.expects_else |= !known;
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = decimal(value).ok_or(Refusal::BAD_LENGTH)?;
                if self.length.replace(length).is_some_and(|before| before != length) {
                    return Err(Refusal::TWO_LENGTHS);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let is_second = std::mem::replace(&mut self.encoding, true);
                if is_second || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::BAD_ENCODING);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn head(self, method: Method, is_old: bool) -> Result<Head, Refusal> {
        if self.encoding && is_old {
            return Err(Refusal::OLD_ENCODING);
        }
        if self.encoding && self.length.is_some() {
            return Err(Refusal::LENGTH_AND_ENCODING);
        }
        if !self.host && !is_old {
            return Err(Refusal::NO_HOST);
        }
        // RFC 9110, 10.1.1: a server ignores the expectation of an HTTP/1.0 request.
        if self.expects_else && !is_old {
            return Err(Refusal::EXPECTATION);
        }
        let framing = match self.length {
            _ if self.encoding => Framing::Chunked,
            length => Framing::Length(length.unwrap_or(0)),
        };
        let keeps = !self.close && (!is_old || self.keep_alive);
        Ok(Head { method, is_old, keeps, framing, expects: self.expects && !is_old })
    }
}

/// RFC 9110, 8.6: `1*DIGIT`. A length that no number holds is as good as the largest.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
    })
}
