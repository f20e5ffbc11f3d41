//! Requests out of a connection's bytes, however these are cut. No socket, no clock: what goes in is bytes,
//! what comes out is [`Step`]s.

use super::body::Body;
use super::head::{self, Head, Look, MAX_HEAD, Method, Progress};
use super::refusal::Refusal;

/// The first bytes of an HTTP/2 connection (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A request that is complete, body included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Whether the request is HTTP/1.0.
    pub is_old: bool,
    /// Whether the connection may stay.
    pub keeps: bool,
}

/// What comes next on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All bytes are taken; more must come.
    More,
    /// The peer waits for `100 Continue`.
    Expects,
    /// A request.
    Request(Request),
    /// The peer speaks HTTP/2; [`PREFACE`] is taken.
    Http2,
    /// A request of that method, if it got so far, that is refused; whatever follows is ignored.
    Refused(Refusal, Method),
}

/// Reads requests.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// The part of a head that has come; empty between requests.
    held: Vec<u8>,
    progress: Progress,
}

#[derive(Debug)]
enum State {
    /// Nothing has come; it may be HTTP/2.
    Start,
    Head,
    Body(Request, Body),
    Ended,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// At the beginning of a connection.
    pub fn new() -> Self {
        Reader { state: State::Start, held: Vec::new(), progress: Progress::default() }
    }

    /// Whether part of a request has come.
    pub fn has_begun(&self) -> bool {
        !self.held.is_empty() || self.is_in_body()
    }

    /// Whether a request's head has come and its body is being read.
    pub fn is_in_body(&self) -> bool {
        matches!(self.state, State::Body(..))
    }

    /// Takes bytes off the input until something has come of them.
    #[inline]
    pub fn next(&mut self, input: &mut &[u8]) -> Step {
        match &mut self.state {
            State::Head => self.head(input),
            State::Start => self.start(input),
            State::Body(request, body) => match body.drop_from(input) {
                Ok(false) => Step::More,
                Ok(true) => {
                    let request = *request;
                    self.request(request)
                }
                Err(refusal) => {
                    let method = request.method;
                    self.refuse(refusal, method)
                }
            },
            State::Ended => {
                *input = &[];
                Step::More
            }
        }
    }

    /// Compares with the preface as long as it fits.
    fn start(&mut self, input: &mut &[u8]) -> Step {
        let expected = &PREFACE[self.held.len()..];
        let same = expected.iter().zip(*input).take_while(|(a, b)| a == b).count();
        if same == expected.len() {
            *input = &input[same..];
            self.held = Vec::new();
            self.state = State::Ended;
            return Step::Http2;
        }
        if same == input.len() {
            self.held.extend_from_slice(input);
            *input = &[];
            return Step::More;
        }
        self.state = State::Head;
        self.head(input)
    }

    fn head(&mut self, input: &mut &[u8]) -> Step {
        if self.held.is_empty() {
            if input.is_empty() {
                return Step::More;
            }
            let mut progress = Progress::default();
            return match head::look(input, &mut progress) {
                Look::Partial => {
                    // Exactly as much as there is: a slow peer holds what it has sent, not a buffer.
                    self.held.extend_from_slice(input);
                    self.progress = progress;
                    *input = &[];
                    Step::More
                }
                Look::Whole(head, end) => {
                    *input = &input[end..];
                    self.whole(head, input)
                }
                Look::Refused(refusal) => self.refuse(refusal, Method::Other),
            };
        }
        let before = self.held.len();
        let room = MAX_HEAD.saturating_sub(before).min(input.len());
        self.held.extend_from_slice(&input[..room]);
        match head::look(&self.held, &mut self.progress) {
            Look::Partial => {
                *input = &input[room..];
                Step::More
            }
            Look::Whole(head, end) => {
                // It was not whole before, so its end is in what has just come.
                *input = &input[end.saturating_sub(before)..];
                self.let_go();
                self.whole(head, input)
            }
            Look::Refused(refusal) => self.refuse(refusal, Method::Other),
        }
    }

    /// A head is there; its body may be.
    fn whole(&mut self, head: Head, input: &mut &[u8]) -> Step {
        let Head { method, is_old, keeps, framing, expects } = head;
        let request = Request { method, is_old, keeps };
        let mut body = match Body::of(framing) {
            Ok(Body::Length(0)) => return self.request(request),
            Ok(body) => body,
            Err(refusal) => return self.refuse(refusal, method),
        };
        if expects && !matches!(method, Method::Get | Method::Head) {
            // The answer is known; whether the body then comes, the peer alone knows (RFC 9110, 10.1.1).
            return self.request(Request { keeps: false, ..request });
        }
        // Nobody waits who has sent part of the body.
        let waits = expects && input.is_empty();
        match body.drop_from(input) {
            Ok(true) => self.request(request),
            Ok(false) => {
                self.state = State::Body(request, body);
                if waits { Step::Expects } else { Step::More }
            }
            Err(refusal) => self.refuse(refusal, method),
        }
    }

    fn request(&mut self, request: Request) -> Step {
        self.state = if request.keeps { State::Head } else { State::Ended };
        Step::Request(request)
    }

    fn refuse(&mut self, refusal: Refusal, method: Method) -> Step {
        self.let_go();
        self.state = State::Ended;
        Step::Refused(refusal, method)
    }

    fn let_go(&mut self) {
        self.held = Vec::new();
        self.progress = Progress::default();
    }
}
