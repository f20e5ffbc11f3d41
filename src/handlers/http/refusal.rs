//! Why a request is refused: the status, and a sentence for whoever looks at the answer.

/// A refused request. The connection is closed after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// What is wrong.
    pub why: &'static str,
}

const fn refuse(status: u16, why: &'static str) -> Refusal {
    Refusal { status, why }
}

#[expect(missing_docs, reason = "each says it itself")]
impl Refusal {
    pub const BARE_LF: Self = refuse(400, "a line ends with LF alone");
    pub const NO_REQUEST_LINE: Self = refuse(400, "empty lines instead of a request line");
    pub const CONTROL_IN_LINE: Self = refuse(400, "a control character in the request line");
    pub const BAD_LINE: Self = refuse(400, "the request line is not method, target and version");
    pub const BAD_METHOD: Self = refuse(400, "the method is not a token");
    pub const METHOD_TOO_LONG: Self = refuse(501, "no such method");
    pub const BAD_TARGET: Self = refuse(400, "the target does not fit the method");
    pub const FRAGMENT: Self = refuse(400, "a fragment in the target");
    pub const BAD_VERSION: Self = refuse(400, "the version is malformed");
    pub const OTHER_VERSION: Self = refuse(505, "HTTP/1.1 and HTTP/2 are spoken here");
    pub const LINE_TOO_LONG: Self = refuse(414, "the request line is longer than 8 KiB");
    pub const HEAD_TOO_LARGE: Self = refuse(431, "the head is larger than 16 KiB");
    pub const TOO_MANY_FIELDS: Self = refuse(431, "more than 100 header fields");
    pub const BAD_FIELD: Self = refuse(400, "a header field is malformed");
    pub const NO_HOST: Self = refuse(400, "no Host");
    pub const TWO_HOSTS: Self = refuse(400, "more than one Host");
    pub const BAD_HOST: Self = refuse(400, "the Host is malformed");
    pub const BAD_LENGTH: Self = refuse(400, "the Content-Length is malformed");
    pub const TWO_LENGTHS: Self = refuse(400, "two Content-Lengths that differ");
    pub const BAD_ENCODING: Self = refuse(400, "a Transfer-Encoding other than chunked");
    pub const OLD_ENCODING: Self = refuse(400, "a Transfer-Encoding in HTTP/1.0");
    pub const LENGTH_AND_ENCODING: Self = refuse(400, "both Content-Length and Transfer-Encoding");
    pub const EXPECTATION: Self = refuse(417, "an expectation other than 100-continue");
    pub const BODY_TOO_LARGE: Self = refuse(413, "the body is larger than 1 MiB");
    pub const BAD_CHUNK: Self = refuse(400, "a chunk is malformed");
    pub const EXTENSIONS: Self = refuse(400, "more than 4 KiB of chunk extensions");
    pub const BAD_TRAILER: Self = refuse(400, "a trailer field is malformed");
    pub const TRAILERS: Self = refuse(431, "more than 8 KiB of trailer fields");
    pub const CUT_OFF: Self = refuse(400, "the connection ended within the request");
    pub const TIMEOUT: Self = refuse(408, "the request was not complete in time");
}

/// The reason phrase of the statuses that are registered (RFC 9110, 15 and the registry); empty for others, as
/// RFC 9112, 4 allows.
pub(super) fn phrase(status: u16) -> &'static str {
    hyper::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("")
}
