//! A whole gateway in a program: build it, start it, reload it, shut it down.

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::handler::Registry;
use crate::listener::clocks;
use crate::net::Inherited;
pub use crate::supervisor::Drained;
use crate::supervisor::{ReloadError, Shutdown, Source, Supervisor, watch};
use crate::{admin, handlers};

/// How long the data plane's runtime may take to end.
const RUNTIME_WAIT: Duration = Duration::from_secs(1);

/// A running gateway. Dropping it ends it at once; [`Gateway::shutdown`] is the kind way.
#[derive(Debug)]
pub struct Gateway {
    supervisor: Supervisor,
    end: CancellationToken,
    control: Option<thread::JoinHandle<()>>,
}

/// Makes a [`Gateway`].
#[derive(Debug)]
pub struct Builder {
    source: Source,
    handlers: Registry,
    inherited: Inherited,
}

impl Gateway {
    /// A gateway on a configuration file, which reloads read again.
    pub fn from_file(path: impl Into<PathBuf>) -> Builder {
        Builder::new(Source::File(path.into()))
    }

    /// A gateway on a configuration text.
    pub fn from_text(text: impl Into<String>) -> Builder {
        Builder::new(Source::Text(text.into()))
    }

    /// The control plane.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Waits until every listener has had its `accept_total` and the last conn is gone.
    pub async fn stopped(&self) {
        self.supervisor.stopped().await;
    }

    /// Says 503 on `/readyz` for `shutdown.delay`, stops accepting, lets conns finish for
    /// `shutdown.grace`, then kills what is left. One that is under way goes on.
    pub async fn shutdown(&self) -> Drained {
        self.supervisor.shut_down(Shutdown::Graceful);
        self.supervisor.ended().await
    }

    /// Ends without waiting for anybody: conns are killed. Hurries a shutdown that is under way.
    pub async fn shutdown_now(&self) -> Drained {
        self.supervisor.shut_down(Shutdown::Now);
        self.supervisor.ended().await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(control) = self.control.take() {
            // The thread ends both runtimes; a panic in there has been reported already.
            let _ = control.join();
        }
    }
}

impl Builder {
    fn new(source: Source) -> Self {
        Builder { source, handlers: handlers::builtin(), inherited: Inherited::default() }
    }

    /// The handler types that the configuration may name: usually [`handlers::builtin`] and some more.
    #[must_use]
    pub fn handlers(mut self, handlers: Registry) -> Self {
        self.handlers = handlers;
        self
    }

    /// Sockets passed on by the parent process, for `fd+…` endpoints.
    #[must_use]
    pub fn inherited(mut self, inherited: Inherited) -> Self {
        self.inherited = inherited;
        self
    }

    /// Binds everything, starts the data plane and the admin API. On return the gateway is ready.
    ///
    /// # Errors
    /// What is wrong with the configuration, or what cannot be built or bound.
    pub fn start(self) -> Result<Gateway, ReloadError> {
        let (tell, told) = mpsc::channel();
        let end = CancellationToken::new();
        let ended = end.clone();
        let control = thread::Builder::new()
            .name("polygate-control".into())
            .spawn(move || control_thread(self, &ended, &tell))
            .map_err(|error| internal(&error))?;
        match told.recv() {
            Ok(Ok(supervisor)) => Ok(Gateway { supervisor, end, control: Some(control) }),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(internal(&error)),
        }
    }
}

fn internal(error: &dyn std::fmt::Display) -> ReloadError {
    let all = || "all".to_string();
    ReloadError::Build { listener: all(), handler: all(), reason: error.to_string() }
}

/// The thread of the control plane: it owns the data plane's runtime, and runs supervisor, clocks and admin
/// API on one of its own, so that they answer whatever the data plane does.
fn control_thread(
    builder: Builder,
    end: &CancellationToken,
    tell: &mpsc::Sender<Result<Supervisor, ReloadError>>,
) {
    let runtimes = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let control = match runtimes {
        Ok(runtime) => runtime,
        Err(error) => return drop(tell.send(Err(internal(&error)))),
    };
    let data = control.block_on(async {
        let (data, supervisor) = match begin(builder).await {
            Ok(begun) => begun,
            Err(error) => {
                drop(tell.send(Err(error)));
                return None;
            }
        };
        let clocked = supervisor.clone();
        let shortest = move || {
            let running = clocked.running();
            running.config.listeners.iter().map(|listener| clocks::pause_for(&listener.timeouts)).min()
        };
        tokio::spawn(clocks::run(supervisor.stats().clone(), shortest));
        tokio::spawn(watch::run(supervisor.clone()));
        let admin = tokio::spawn(admin::serve(supervisor.clone(), end.clone()));
        drop(tell.send(Ok(supervisor.clone())));
        end.cancelled().await;
        // Who follows what happens hears the end.
        supervisor.stats().events().close();
        let _ = admin.await;
        supervisor.close().await;
        Some(data)
    });
    if let Some(data) = data {
        // Conns that are left are dropped with their runtime, and so settled.
        data.shutdown_timeout(RUNTIME_WAIT);
    }
}

async fn begin(builder: Builder) -> Result<(tokio::runtime::Runtime, Supervisor), ReloadError> {
    let Builder { source, handlers, inherited } = builder;
    let loaded = source.load(&handlers)?;
    let data = data_runtime(&loaded.config).map_err(|error| internal(&error))?;
    let supervisor = Supervisor::new(source, handlers, inherited, data.handle().clone());
    match supervisor.start(loaded).await {
        Ok(_) => Ok((data, supervisor)),
        Err(error) => {
            data.shutdown_background();
            Err(error)
        }
    }
}

fn data_runtime(config: &Config) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if config.runtime.workers > 0 {
        builder.worker_threads(config.runtime.workers);
    }
    builder.thread_name("polygate-data").enable_all().build()
}
