//! `runner`: runs commands of a list for clients and sends what they print, with its length before.
//!
//! A request is a name, `Ready|N` says how much there is, `Start` asks for it. Whatever keeps a command from
//! printing something is told in the same way: its output is `cmd error` then.

mod options;
mod request;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;

pub use options::Options;
use request::{Found, Input};

use crate::config::{Findings, Timeout, Timeouts, Transports};
use crate::handler::{BuildError, Conn, Context, Counter, Handler, StreamHandler};
use crate::process::{Counts, FAILURES, Given, Names, Program, Start, output};
use crate::stats::{CloseReason, Phase, ProcessFailure};

/// What a command has printed that could not be run, or printed nothing.
const ERROR: &[u8] = b"cmd error";

/// What asks for the output.
const START: &[u8] = b"Start";

/// How much is read at once.
const CHUNK: usize = 4 * 1024;

/// How much may have come in advance while a command runs.
const AHEAD: usize = 8 * 1024;

const NAMES: Names = Names {
    handler: &[("handler", &["runner"])],
    failures: &[("handler", &["runner"]), ("reason", FAILURES)],
};

/// The `runner` handler.
#[derive(Debug)]
pub struct Runner {
    options: Options,
    places: Arc<Semaphore>,
}

impl Handler for Runner {
    const NAME: &'static str = "runner";
    const TRANSPORTS: Transports = Transports::STREAMS;
    const COUNTERS: &'static [Counter] = &NAMES.counters();
    type Options = Options;

    fn check(options: &Options, _: Transports) -> Findings {
        options::check(options)
    }

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        let places = usize::try_from(options.max_children).unwrap_or(Semaphore::MAX_PERMITS);
        Ok(Runner { places: Arc::new(Semaphore::new(places)), options })
    }

    fn default_timeouts() -> Timeouts {
        Timeouts { request: Timeout::after_secs(10), ..Timeouts::RAW }
    }
}

impl StreamHandler for Runner {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        let counts = Counts::of(&conn.meter().site().ledger, NAMES);
        let mut visit = Visit { runner: self, counts, input: Input::default() };
        let mut next = visit.request(conn, Waits::Idle).await?;
        while let Some(request) = next {
            let began = Instant::now();
            conn.enter(Phase::Work);
            let Some(output) = visit.answer(conn, &request).await? else { return Ok(()) };
            conn.meter().site().ledger.observe_units(1, began.elapsed());
            conn.write_all(format!("Ready|{}", output.len()).as_bytes()).await?;
            // The output is held until the client asks for it, so the clock of a request runs.
            next = visit.request(conn, Waits::Start).await?;
            if next.as_deref() == Some(START) {
                conn.write_all(&output).await?;
                drop(output);
                next = visit.request(conn, Waits::Idle).await?;
            }
        }
        Ok(())
    }
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    Idle,
    Start,
}

/// One connection.
struct Visit<'a> {
    runner: &'a Runner,
    counts: Counts,
    input: Input,
}

impl Visit<'_> {
    /// The next request; none at the end.
    async fn request(&mut self, conn: &mut Conn, waits: Waits) -> io::Result<Option<Vec<u8>>> {
        conn.enter(if waits == Waits::Start { Phase::Request } else { Phase::Open });
        let gap = self.runner.options.gap.get();
        loop {
            match self.input.line() {
                Found::Request(request) => return Ok(Some(request)),
                Found::TooLong => {
                    conn.ends_because(CloseReason::TooLarge);
                    return Ok(None);
                }
                Found::Part => {}
            }
            if !self.input.is_empty() && conn.meter().phase().0 != Phase::Request {
                conn.enter(Phase::Request);
            }
            let due = self.input.due(gap).map(tokio::time::Instant::from_std);
            let draining = conn.draining();
            tokio::select! {
                biased;
                chunk = conn.read_chunk(CHUNK) => match chunk? {
                    Some(chunk) => self.input.push(&chunk, Instant::now()),
                    // What was said before the end is a request, too: its answer may still be heard.
                    None => return Ok(self.input.all()),
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                    if let Some(request) = self.input.all() {
                        return Ok(Some(request));
                    }
                }
                () = draining, if waits == Waits::Idle && self.input.is_empty() => return Ok(None),
            }
        }
    }

    /// What a request's command prints; none if the client has gone meanwhile.
    async fn answer(&mut self, conn: &mut Conn, request: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some((program, args)) = self.find(request) else {
            tracing::debug!(target: "polygate::process", conn = conn.id().0, listener = conn.listener(), "not a command");
            return Ok(Some(ERROR.to_vec()));
        };
        let meter = conn.meter().clone();
        let (runner, counts) = (self.runner, self.counts.clone());
        let run = runner.run(program, args, &counts, &meter);
        tokio::pin!(run);
        loop {
            let room = self.input.len() < AHEAD;
            tokio::select! {
                biased;
                output = &mut run => return Ok(Some(output)),
                chunk = conn.read_chunk(CHUNK), if room => match chunk? {
                    Some(chunk) => self.input.push(&chunk, Instant::now()),
                    // Who has asked for the output already may have closed one way only.
                    None if self.input.is_empty() => return Ok(None),
                    None => return Ok(Some(run.await)),
                },
            }
        }
    }

    /// The command that a request names, and its further arguments.
    fn find(&self, request: &[u8]) -> Option<(Program, Vec<String>)> {
        let mut words = std::str::from_utf8(request).ok()?.split_whitespace();
        let command = self.runner.options.commands.get(words.next()?)?;
        let args: Vec<String> = words.map(str::to_owned).collect();
        if args.iter().any(|arg| arg.contains('\0')) || !(command.args || args.is_empty()) {
            return None;
        }
        Some((Program { argv: command.argv.clone(), ..Program::default() }, args))
    }
}

impl Runner {
    /// Waits for a place and runs; whatever fails is an output as well.
    async fn run(
        &self,
        program: Program,
        args: Vec<String>,
        counts: &Counts,
        meter: &crate::stats::Meter,
    ) -> Vec<u8> {
        let time = self.options.timeout.get();
        let name = program.argv.first().map_or("", String::as_str).to_owned();
        let listener = meter.site().ledger.listener();
        let Ok(Ok(place)) = tokio::time::timeout(time, self.places.clone().acquire_owned()).await else {
            counts.fail(ProcessFailure::Limit);
            tracing::warn!(target: "polygate::process", conn = meter.id().0, %listener, program = name, "max_children run already");
            return ERROR.to_vec();
        };
        let start = Start {
            stdin: Given::Null,
            stdout: Given::Pipe,
            grace: None,
            counts: counts.clone(),
            place: Some(place),
        };
        let process = match program.start(&args, &[], start, meter).await {
            Ok(process) => process,
            Err(error) => {
                counts.fail(ProcessFailure::Spawn);
                tracing::warn!(target: "polygate::process", conn = meter.id().0, %listener, program = name, %error, "cannot start");
                return ERROR.to_vec();
            }
        };
        let limit = usize::try_from(self.options.max_output.bytes()).unwrap_or(usize::MAX);
        match output(process, limit, time, counts).await {
            Ok(printed) if !printed.is_empty() => printed,
            Ok(_) => ERROR.to_vec(),
            Err(error) => {
                tracing::warn!(target: "polygate::process", conn = meter.id().0, %listener, program = name, %error, "failed");
                ERROR.to_vec()
            }
        }
    }
}
