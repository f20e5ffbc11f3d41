//! `polygate connect`: a client for lines, as the tutorials' programs and nc are. What is typed goes out, what
//! comes is printed as it comes.

mod input;
mod show;

use std::io::{self, ErrorKind, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::Instant;

use super::dial::{Datagrams, Duplex, LARGEST_DATAGRAM, Line, Target, block_on, period, plain, seconds};
use super::exit::{Exit, Failure};
use super::terminal::{self, escape};
use input::Input;
use show::{Expected, Printer};

/// Whom to talk to, and what to say.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT, unix://PATH or unixgram://PATH (@NAME is an abstract name)
    endpoint: Target,
    /// Send this line instead of standard input (repeatable; each waits for the --expect before it)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    send: Vec<String>,
    /// Wait for this in what comes, and end when all of them were seen, in this order (repeatable)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = expected)]
    expect: Vec<String>,
    /// How long connecting, each --expect, and the answer to datagrams may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = period)]
    timeout: Duration,
    /// What ends each line that goes out [default: lf for streams, none for datagrams]
    #[arg(long, value_enum, value_name = "END")]
    line_end: Option<LineEnd>,
}

/// What is put behind a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LineEnd {
    /// A line feed
    Lf,
    /// Carriage return and line feed, as FTP and HTTP have it
    Crlf,
    /// Nothing: one line is one message
    None,
}

fn expected(text: &str) -> Result<String, String> {
    match text {
        "" => Err("expected some text to wait for".into()),
        text => Ok(text.to_owned()),
    }
}

pub(crate) fn run(options: &Options, ca: Option<&Path>) -> Result<(), Failure> {
    block_on(talk(options, ca))
}

async fn talk(options: &Options, ca: Option<&Path>) -> Result<(), Failure> {
    let target = &options.endpoint;
    let line = target.dial(options.timeout, ca).await?;
    if options.send.is_empty() && io::stdin().is_terminal() {
        terminal::complain(&format!("connected to {target}; end with Ctrl-D\n"));
    }
    let end = match options.line_end {
        Some(end) => end,
        None if target.is_stream() => LineEnd::Lf,
        None => LineEnd::None,
    };
    let input = match options.send.as_slice() {
        [] => Input::standard(end.bytes()).map_err(|error| Failure::new(Exit::Failure, plain(&error)))?,
        lines => Input::lines(lines, end.bytes()),
    };
    let mut talk = Talk {
        target,
        timeout: options.timeout,
        script: (!options.send.is_empty()).then_some(options.send.len()),
        sent: 0,
        expected: Expected::new(&options.expect),
        printer: Printer::new(target.is_stream()),
        deadline: Instant::now() + options.timeout,
    };
    match line {
        Line::Stream(stream) => {
            let (reader, writer) = tokio::io::split(stream);
            talk.stream(input, reader, writer).await
        }
        Line::Datagrams(socket) => talk.datagrams(input, &socket).await,
    }
}

/// A conversation.
struct Talk<'a> {
    target: &'a Target,
    timeout: Duration,
    /// How many lines `--send` gave; none where they come from standard input.
    script: Option<usize>,
    /// Lines that went out.
    sent: usize,
    expected: Expected,
    printer: Printer,
    /// Until when the next `--expect` must be seen.
    deadline: Instant,
}

// === impl Talk ===

impl Talk<'_> {
    async fn stream(
        &mut self,
        mut input: Input,
        mut reader: ReadHalf<Box<dyn Duplex>>,
        mut writer: WriteHalf<Box<dyn Duplex>>,
    ) -> Result<(), Failure> {
        let mut buffer = vec![0; 16 * 1024];
        // What still has to go out: a peer that does not read must not keep us from reading.
        let mut waiting: Vec<u8> = Vec::new();
        let mut open = true;
        loop {
            let may_send = open && waiting.is_empty() && self.may_send();
            tokio::select! {
                read = reader.read(&mut buffer) => match read {
                    Ok(0) => return self.ended(),
                    Ok(count) => {
                        if self.heard(&buffer[..count])? {
                            return Ok(());
                        }
                    }
                    Err(error) => return Err(self.broken(&error)),
                },
                line = input.next(), if may_send => match line {
                    Some(line) => {
                        self.sent += 1;
                        self.deadline = Instant::now() + self.timeout;
                        waiting = line;
                    }
                    None => {
                        open = false;
                        // A peer that has gone already shows in what is read.
                        let _ = writer.shutdown().await;
                    }
                },
                written = writer.write(&waiting), if !waiting.is_empty() => match written {
                    Ok(count) => drop(waiting.drain(..count)),
                    // What it said before it went is still to be read.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                        waiting.clear();
                        open = false;
                    }
                    Err(error) => return Err(self.broken(&error)),
                },
                () = tokio::time::sleep_until(self.deadline), if self.expected.next().is_some() => {
                    return Err(self.missing());
                }
            }
        }
    }

    /// Datagrams have no end: they are over when each has been answered, or nothing more comes in time.
    async fn datagrams(&mut self, mut input: Input, socket: &Datagrams) -> Result<(), Failure> {
        let mut buffer = vec![0; 64 * 1024];
        let mut open = true;
        let mut answers = 0;
        loop {
            let may_send = open && self.may_send();
            let waits = !open || self.expected.next().is_some();
            tokio::select! {
                received = socket.receive(&mut buffer) => {
                    let count = received.map_err(|error| self.target.unreachable(&error))?;
                    answers += 1;
                    if self.heard(&buffer[..count])? {
                        return Ok(());
                    }
                }
                line = input.next(), if may_send => match line {
                    Some(line) => {
                        self.sent += 1;
                        self.deadline = Instant::now() + self.timeout;
                        self.send(socket, &line).await?;
                    }
                    None => {
                        open = false;
                        self.deadline = Instant::now() + self.timeout;
                    }
                },
                () = tokio::time::sleep_until(self.deadline), if waits => {
                    if self.expected.next().is_some() {
                        return Err(self.missing());
                    }
                    return self.unanswered(answers);
                }
            }
            if !open && answers >= self.sent && self.expected.next().is_none() {
                return self.printer.end();
            }
        }
    }

    async fn send(&self, socket: &Datagrams, line: &[u8]) -> Result<(), Failure> {
        if line.len() > LARGEST_DATAGRAM {
            let message = format!("a datagram holds at most {LARGEST_DATAGRAM} bytes, not {}", line.len());
            return Err(Failure::new(Exit::Failure, message));
        }
        socket.send(line).await.map_err(|error| self.target.unreachable(&error))
    }

    /// Each `--send` waits for the `--expect` that stands before it. What is typed waits for nothing, nor does the
    /// end: some servers answer then only.
    fn may_send(&self) -> bool {
        match self.script {
            Some(all) if self.sent < all => {
                self.expected.seen() >= self.sent || self.expected.next().is_none()
            }
            _ => true,
        }
    }

    /// Prints what came. True when that was all that was waited for.
    fn heard(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        self.printer.print(bytes)?;
        let waiting = self.expected.next().is_some();
        if self.expected.look(bytes) {
            self.deadline = Instant::now() + self.timeout;
        }
        let all_sent = self.script.is_none_or(|all| self.sent == all);
        let done = waiting && self.expected.next().is_none() && all_sent;
        if done {
            self.printer.end()?;
        }
        Ok(done)
    }

    /// The peer has said all that it says.
    fn ended(&mut self) -> Result<(), Failure> {
        self.printer.end()?;
        match self.expected.next() {
            None => Ok(()),
            Some(text) => Err(Failure::new(
                Exit::Failure,
                format!("{} closed the connection before it said \"{}\"", self.target, escape(text)),
            )),
        }
    }

    fn broken(&mut self, error: &io::Error) -> Failure {
        // What was printed stands; that it could not be ended says the failure below better.
        let _ = self.printer.end();
        let wanted = match self.expected.next() {
            Some(text) => format!(" before it said \"{}\"", escape(text)),
            None => String::new(),
        };
        Failure::new(
            Exit::Failure,
            format!("the connection to {} broke{wanted}: {}", self.target, plain(error)),
        )
    }

    fn missing(&mut self) -> Failure {
        let _ = self.printer.end();
        let text = self.expected.next().unwrap_or_default();
        let (text, timeout) = (escape(text), seconds(self.timeout));
        Failure::new(Exit::Failure, format!("\"{text}\" did not come within {timeout} from {}", self.target))
    }

    fn unanswered(&mut self, answers: usize) -> Result<(), Failure> {
        self.printer.end()?;
        match answers {
            0 if self.sent > 0 => {
                let message = format!("no answer from {} within {}", self.target, seconds(self.timeout));
                Err(Failure::new(Exit::Failure, message))
            }
            _ => Ok(()),
        }
    }
}

impl LineEnd {
    fn bytes(self) -> &'static [u8] {
        match self {
            LineEnd::Lf => b"\n",
            LineEnd::Crlf => b"\r\n",
            LineEnd::None => b"",
        }
    }
}
