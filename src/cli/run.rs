//! `polygate run`: the gateway itself, from the first log line to the exit code.
//!
//! Standard output says what is bound and then `ready`; the log is on standard error. Signals are
//! taken before anything is bound, so that none of them ever finds the default action. The gateway
//! runs on threads of its own; what is here only starts it, listens to signals and ends it.

use std::fmt::Write as _;
use std::path::Path;

use polygate::config::{self, load_file};
use polygate::gateway::Gateway;
use polygate::handlers::builtin;
use polygate::net::Inherited;
use polygate::process;
use polygate::stats::Trigger;
use polygate::supervisor::{ReloadError, Shutdown, Supervisor};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::{Exit, Failure};
use super::log::Log;
use super::{findings, notify, terminal};

/// The signals that mean something to the gateway.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What the operator asks for by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    /// Drain and end.
    Stop(&'static str),
    /// Read the configuration again.
    Reload,
}

/// Why the gateway ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The first signal to do so.
    Signal,
    /// The admin API, or no listener is left.
    Other,
}

/// Runs the gateway until it is told to stop.
pub(crate) fn run(path: &Path, inherited: Inherited) -> Result<Exit, Failure> {
    raise_file_descriptors();
    let loaded = load_file(path, &builtin())?;
    let log = Log::start(&loaded.config.log);
    let runtime = control_runtime()?;
    let exit = runtime.block_on(async {
        adopt_orphans();
        let mut signals = Signals::take().map_err(|error| cannot("take signals", &error))?;
        let start = start(path, inherited);
        let gateway = tokio::select! {
            gateway = start => gateway?,
            // Nothing is served yet, so nothing is drained.
            () = signals.stop() => return Ok(Exit::Ok),
        };
        log.count_in(gateway.supervisor().stats());
        let warnings = &gateway.supervisor().running().warnings;
        if log.is_for_people() {
            terminal::complain(&findings::show(warnings, &loaded.text, terminal::color_on_stderr()));
        }
        for warning in warnings {
            tracing::warn!(target: "polygate::config", "{}", findings::line(warning));
        }
        announce(gateway.supervisor());
        notify::ready(&gateway.supervisor().running());
        let why = serve(&gateway, &mut signals, &log).await;
        let exit = stop(gateway.supervisor(), &mut signals, why).await;
        // Its runtimes may only be dropped where blocking is allowed.
        tokio::task::spawn_blocking(|| drop(gateway));
        Ok(exit)
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    exit
}

/// What programs that run for connections leave behind comes here, to be found and reaped: also as PID 1.
fn adopt_orphans() {
    if let Err(error) = process::adopt() {
        tracing::warn!(target: "polygate::process", %error, "cannot adopt orphans");
    }
    tokio::spawn(async {
        if let Err(error) = process::reap().await {
            tracing::error!(target: "polygate::process", %error, "cannot reap orphans");
        }
    });
}

/// Binds everything. Names may take their time to resolve, so it is done beside the signals.
async fn start(path: &Path, inherited: Inherited) -> Result<Gateway, Failure> {
    let builder = Gateway::from_file(path).inherited(inherited);
    match tokio::task::spawn_blocking(|| builder.start()).await {
        Ok(gateway) => Ok(gateway?),
        Err(panic) => Err(Failure::new(Exit::Failure, panic.to_string())),
    }
}

/// Says on standard output what is bound. Nobody has to read it.
fn announce(supervisor: &Supervisor) {
    let mut text = String::new();
    for listener in supervisor.listeners() {
        for endpoint in &listener.endpoints {
            let _ = writeln!(text, "listening {} {}", listener.config.name, endpoint.address);
        }
    }
    for socket in supervisor.admin_sockets().borrow().iter() {
        let kind = if socket.metrics_only { "metrics" } else { "admin" };
        let _ = writeln!(text, "{kind} {}", socket.url);
    }
    text.push_str("ready\n");
    if let Err(failure) = terminal::print(&text) {
        tracing::warn!(target: "polygate::run", "{}", failure.message);
    }
}

/// Follows signals and configurations until it is time to stop.
async fn serve(gateway: &Gateway, signals: &mut Signals, log: &Log) -> Why {
    let supervisor = gateway.supervisor();
    let mut running = supervisor.subscribe();
    let stopped = gateway.stopped();
    tokio::pin!(stopped);
    let watchdog = notify::watchdog(supervisor);
    tokio::pin!(watchdog);
    let asked = supervisor.shutdown_asked();
    tokio::pin!(asked);
    let mut level = supervisor.follow_log_level();
    loop {
        tokio::select! {
            () = &mut watchdog => {}
            request = signals.next() => match request {
                Request::Reload => drop(tokio::spawn(reload(supervisor.clone()))),
                Request::Stop(signal) => {
                    tracing::info!(target: "polygate::run", signal, "draining");
                    supervisor.shut_down(Shutdown::Graceful);
                    return Why::Signal;
                }
            },
            how = &mut asked => {
                tracing::info!(target: "polygate::run", ?how, "draining, as the admin API was asked to");
                return Why::Other;
            }
            Ok(()) = level.changed() => {
                let _ = level.borrow_and_update();
                log.apply(&of_now(&supervisor.running().config.log, supervisor));
            }
            Ok(()) = running.changed() => {
                let config = running.borrow_and_update().config.clone();
                log.apply(&of_now(&config.log, supervisor));
                notify::changed(&supervisor.running());
            }
            () = &mut stopped => {
                tracing::info!(target: "polygate::run", "every listener has stopped");
                supervisor.shut_down(Shutdown::Graceful);
                return Why::Other;
            }
        }
    }
}

/// The log as it is wanted for now, over what is configured.
fn of_now(configured: &config::Log, supervisor: &Supervisor) -> config::Log {
    match supervisor.log_level() {
        Some((level, _)) => config::Log { level, ..configured.clone() },
        None => configured.clone(),
    }
}

/// Reloads on a signal; the supervisor logs whatever comes of it.
async fn reload(supervisor: Supervisor) {
    notify::reloading();
    supervisor.reload_soon(Trigger::Signal).await;
    notify::ready(&supervisor.running());
}

/// Waits for the end; a second signal ends that at once.
async fn stop(supervisor: &Supervisor, signals: &mut Signals, why: Why) -> Exit {
    notify::stopping();
    let drained = supervisor.ended();
    tokio::pin!(drained);
    let mut is_first = why != Why::Signal;
    loop {
        tokio::select! {
            drained = &mut drained => {
                let (finished, killed) = (drained.finished, drained.killed);
                tracing::info!(target: "polygate::run", finished, killed, "stopped");
                return Exit::Ok;
            }
            request = signals.next() => match request {
                Request::Stop(signal) if std::mem::take(&mut is_first) => {
                    tracing::info!(target: "polygate::run", signal, "draining already");
                    supervisor.shut_down(Shutdown::Graceful);
                }
                Request::Stop(signal) => {
                    tracing::warn!(target: "polygate::run", signal, "stopped before everything was drained");
                    return Exit::Failure;
                }
                Request::Reload => tracing::warn!(target: "polygate::run", "no reload: {}", ReloadError::ShuttingDown),
            },
        }
    }
}

/// A thread for what is spawned beside the one that waits for signals.
fn control_runtime() -> Result<Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).thread_name("polygate-control").enable_all().build();
    runtime.map_err(|error| cannot("start the control threads", &error))
}

fn cannot(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failure, format!("cannot {what}: {error}"))
}

/// Takes as many file descriptors as the system grants; the limits of the configuration are fitted to
/// them later.
fn raise_file_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Where this is refused the old limit stays, and the fitting sees that one.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// How many file descriptors a gateway that is started here would have.
pub(crate) fn file_descriptors() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

// === impl Signals ===

impl Signals {
    fn take() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one that ends the gateway.
    async fn stop(&mut self) {
        while !matches!(self.next().await, Request::Stop(_)) {}
    }

    async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Request::Stop("SIGINT"),
            _ = self.hangup.recv() => Request::Reload,
        }
    }
}
