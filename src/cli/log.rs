//! The log: one line an event on standard error, as text for people or as JSON.
//!
//! The layer is our own because both formats must be safe to read: whatever came from the wire is
//! escaped, so that no peer can forge a line or move the cursor, and JSON is flat. It also counts the
//! events. Level and format follow the running configuration. Lines are written by a thread of their own:
//! whoever does not read standard error loses lines, which are counted, and stops nothing.

mod line;

use std::io::{self, IsTerminal as _, Write as _};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use polygate::config::{self, LogFormat};
use polygate::stats::{LogLevel, Stats};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::terminal;
use line::Line;

/// Lines that wait for the thread that writes them.
const QUEUE: usize = 8_192;

/// The log of this process. Dropping it writes what still waits.
#[derive(Debug)]
pub(crate) struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    lines: Arc<Lines>,
    _thread: WorkerGuard,
}

/// What writes the lines.
#[derive(Debug)]
struct Lines {
    json: AtomicBool,
    color: bool,
    terminal: bool,
    out: NonBlocking,
    dropped: ErrorCounter,
    counts: Mutex<Counts>,
}

/// Where events are counted. Those before the gateway has started wait here.
#[derive(Debug, Default)]
struct Counts {
    stats: Option<Arc<Stats>>,
    early: Vec<LogLevel>,
}

/// The layer that makes the lines.
struct Writer(Arc<Lines>);

// === impl Log ===

impl Log {
    /// Starts to log as configured; panics are logged too from now on.
    pub(crate) fn start(log: &config::Log) -> Log {
        let (lines, thread) = Lines::new(io::stderr(), io::stderr().is_terminal());
        let lines = Arc::new(lines);
        let (filter, handle) = reload::Layer::new(filter(log));
        let log = {
            lines.set_format(log.format);
            Log { filter: handle, lines: lines.clone(), _thread: thread }
        };
        // Fails only where a log has been started before, and then that one stays.
        let _ = tracing_subscriber::registry().with(filter).with(Writer(lines)).try_init();
        std::panic::set_hook(Box::new(log_panic));
        log
    }

    /// Follows a new configuration.
    pub(crate) fn apply(&self, log: &config::Log) {
        self.lines.set_format(log.format);
        if let Err(error) = self.filter.reload(filter(log)) {
            tracing::error!(target: "polygate::log", %error, "cannot change the level");
        }
    }

    /// Counts events here from now on, and those of before.
    pub(crate) fn count_in(&self, stats: &Arc<Stats>) {
        let mut counts = self.lines.counts();
        for level in std::mem::take(&mut counts.early) {
            stats.control().log_event(level);
        }
        counts.stats = Some(stats.clone());
    }

    /// Whether people read it: text on a terminal.
    pub(crate) fn is_for_people(&self) -> bool {
        self.lines.terminal && !self.lines.json.load(Relaxed)
    }
}

/// The filter. The configuration has been checked, so the default is for programming errors only.
fn filter(log: &config::Log) -> EnvFilter {
    EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"))
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("a panic without a message");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(target: "polygate::panic", location, "{message}");
}

// === impl Lines ===

impl Lines {
    fn new(out: impl io::Write + Send + 'static, terminal: bool) -> (Self, WorkerGuard) {
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE);
        let (out, thread) = builder.thread_name("polygate-log").finish(out);
        let lines = Lines {
            json: AtomicBool::new(false),
            color: terminal::color_on_stderr(),
            terminal,
            dropped: out.error_counter(),
            out,
            counts: Mutex::default(),
        };
        (lines, thread)
    }

    fn set_format(&self, format: LogFormat) {
        let json = match format {
            LogFormat::Auto => !self.terminal,
            LogFormat::Text => false,
            LogFormat::Json => true,
        };
        self.json.store(json, Relaxed);
    }

    fn count(&self, level: LogLevel) {
        let mut counts = self.counts();
        match &counts.stats {
            Some(stats) => {
                stats.control().log_event(level);
                stats.control().set_events_dropped(self.dropped.dropped_lines() as u64);
            }
            None => counts.early.push(level),
        }
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Writer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let lines = &self.0;
        lines.count(level(*event.metadata().level()));
        let line = Line::of(event, jiff::Timestamp::now());
        let text = match lines.json.load(Relaxed) {
            true => line.json(),
            false => line.text(lines.color),
        };
        // One call a line, so that lines do not mix; a closed standard error is no reason to end.
        let _ = lines.out.clone().write_all(text.as_bytes());
    }
}

fn level(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_before_the_start_count_too() {
        let (lines, thread) = Lines::new(io::sink(), false);
        lines.count(LogLevel::Warn);
        lines.count(LogLevel::Error);
        let (_, filter) = reload::Layer::new(EnvFilter::new("info"));
        let log = Log { filter, lines: Arc::new(lines), _thread: thread };
        let stats = Arc::new(Stats::new());
        log.count_in(&stats);
        log.lines.count(LogLevel::Warn);
        assert_eq!(stats.control().log_events(LogLevel::Warn), 2);
        assert_eq!(stats.control().log_events(LogLevel::Error), 1);
    }

    #[test]
    fn auto_is_json_unless_people_read_it() {
        for (terminal, format, json) in [
            (true, LogFormat::Auto, false),
            (false, LogFormat::Auto, true),
            (true, LogFormat::Json, true),
            (false, LogFormat::Text, false),
        ] {
            let (lines, _thread) = Lines::new(io::sink(), terminal);
            lines.set_format(format);
            assert_eq!(lines.json.load(Relaxed), json, "{format:?}");
        }
    }
}
