//! `polygate ping`: how long an echo takes, over any transport, and how much of it is lost.

mod summary;

use std::io::{self, ErrorKind, IsTerminal as _};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::dial::{Datagrams, Duplex, LARGEST_DATAGRAM, Line, Target, block_on, period, plain, seconds};
use super::exit::{Exit, Failure};
use super::{Format, Output, terminal};
use summary::{Summary, time};

/// What tells one ping from another: its number, and a draw for those of other processes.
const SMALLEST: i64 = 24;

/// Whom to ping, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// An `echo` (or `upper`) listener: tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT, unix://PATH or unixgram://PATH
    endpoint: Target,
    /// How many
    #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// From one to the next; an answer that takes longer makes the next wait
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = period)]
    interval: Duration,
    /// Bytes in each
    #[arg(short, long, value_name = "BYTES", default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(SMALLEST..=LARGEST_DATAGRAM as i64))]
    size: u32,
    /// How long connecting, and each answer, may take
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = period)]
    timeout: Duration,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(options: &Options, ca: Option<&Path>) -> Result<(), Failure> {
    block_on(ping(options, ca))
}

async fn ping(options: &Options, ca: Option<&Path>) -> Result<(), Failure> {
    let mut line = options.endpoint.dial(options.timeout, ca).await?.into();
    let mut summary = Summary::default();
    let failed = |error: io::Error| Failure::new(Exit::Failure, plain(&error));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let outcome = tokio::select! {
        outcome = pings(options, &mut line, &mut summary) => outcome,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    let endpoint = options.endpoint.to_string();
    match options.output.output {
        Format::Json => terminal::print(&format!("{}\n", summary.json(&endpoint, options.size)))?,
        Format::Table => {
            terminal::print(&summary.table(&endpoint).render(terminal::color_on_stdout()))?;
        }
    }
    outcome?;
    match summary.received() {
        0 => Err(Failure::new(Exit::Failure, format!("nothing came back from {endpoint}"))),
        _ => Ok(()),
    }
}

async fn pings(options: &Options, line: &mut Echo, summary: &mut Summary) -> Result<(), Failure> {
    let follows = options.output.output == Format::Table && io::stdout().is_terminal();
    let draw = fastrand::u64(..);
    let mut ticks = tokio::time::interval(options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1..=options.count {
        ticks.tick().await;
        let payload = payload(number, draw, options.size as usize);
        let begin = Instant::now();
        let answer = tokio::time::timeout(options.timeout, line.exchange(&payload)).await;
        let said = match answer {
            Ok(Ok(())) => {
                let took = begin.elapsed();
                summary.answered(took);
                format!("{number}: {}", time(took.as_secs_f64()))
            }
            // Nobody holds the port: the next one may find somebody.
            Ok(Err(error)) if line.is_lossy() && error.kind() == ErrorKind::ConnectionRefused => {
                summary.lost();
                format!("{number}: {}", plain(&error))
            }
            Ok(Err(error)) => {
                summary.lost();
                let (endpoint, error) = (&options.endpoint, plain(&error));
                return Err(Failure::new(Exit::Failure, format!("{endpoint} at ping {number}: {error}")));
            }
            Err(_) => {
                summary.lost();
                format!("{number}: no answer within {}", seconds(options.timeout))
            }
        };
        if follows {
            terminal::print(&format!("{said}\n"))?;
        }
    }
    Ok(())
}

/// Digits and capitals, which an `upper` gives back as they are.
fn payload(number: u32, draw: u64, size: usize) -> Vec<u8> {
    let mut payload = format!("{number:08X}{draw:016X}").into_bytes();
    payload.resize(size, b'0');
    payload
}

/// A line that what is sent comes back on.
enum Echo {
    Stream {
        reader: ReadHalf<Box<dyn Duplex>>,
        writer: WriteHalf<Box<dyn Duplex>>,
        /// What came and was not looked for yet.
        heard: Vec<u8>,
    },
    Datagrams {
        socket: Datagrams,
        buffer: Vec<u8>,
    },
}

impl From<Line> for Echo {
    fn from(line: Line) -> Self {
        match line {
            Line::Stream(stream) => {
                let (reader, writer) = tokio::io::split(stream);
                Echo::Stream { reader, writer, heard: Vec::new() }
            }
            Line::Datagrams(socket) => Echo::Datagrams { socket, buffer: vec![0; 64 * 1024] },
        }
    }
}

impl Echo {
    fn is_lossy(&self) -> bool {
        matches!(self, Echo::Datagrams { .. })
    }

    /// Sends it, and waits until it comes back. What else comes (a greeting, a prefix, an answer that is late)
    /// is passed over.
    async fn exchange(&mut self, payload: &[u8]) -> io::Result<()> {
        match self {
            Echo::Stream { reader, writer, heard } => {
                // Both at once: an echo of much gives back the first before it has read the last.
                let answer = find(reader, heard, payload);
                tokio::try_join!(writer.write_all(payload), answer).map(drop)
            }
            Echo::Datagrams { socket, buffer } => {
                socket.send(payload).await?;
                loop {
                    let count = socket.receive(buffer).await?;
                    if position(&buffer[..count], payload).is_some() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

async fn find(reader: &mut ReadHalf<Box<dyn Duplex>>, heard: &mut Vec<u8>, payload: &[u8]) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        if let Some(at) = position(heard, payload) {
            heard.drain(..at + payload.len());
            return Ok(());
        }
        let surplus = heard.len().saturating_sub(payload.len() - 1);
        heard.drain(..surplus);
        match reader.read(&mut buffer).await? {
            0 => return Err(io::Error::other("it closed the connection")),
            count => heard.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Where the payload is in what came: its head tells it from all others, so that the rest need not be compared at
/// every place.
fn position(heard: &[u8], payload: &[u8]) -> Option<usize> {
    let head = &payload[..SMALLEST as usize];
    let at = heard.windows(head.len()).position(|window| window == head)?;
    heard[at..].starts_with(payload).then_some(at)
}
