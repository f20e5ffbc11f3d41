//! What the supervisor lets others see: the running configuration, the listeners, the result of a reload.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Supervisor;
use crate::config::{
    self, Catalog, Config, Diagnostic, Listener, LoadError, Loaded, Origin, Plan, ReadFile, Transport,
    Validity,
};
use crate::console::Consoles;
use crate::net::AdminSocket;
use crate::net::tls::Acceptor;
use crate::stats::Stage;
use crate::upstream::Upstreams;

impl Supervisor {
    /// The conversations of its operators.
    pub fn consoles(&self) -> &Arc<Consoles> {
        &self.inner.consoles
    }

    /// Where connections are carried to.
    pub fn upstreams(&self) -> &Arc<Upstreams> {
        &self.inner.upstreams
    }
}

/// The configuration that runs.
#[derive(Debug, Clone)]
pub struct Running {
    /// The effective configuration. What waits for a restart has its old value.
    pub config: Arc<Config>,
    /// Counts the configurations taken over; the first is 1.
    pub generation: u64,
    /// When it was taken over.
    pub applied_at: SystemTime,
    /// The warnings that it came with.
    pub warnings: Vec<Diagnostic>,
    /// The files that it was read from.
    pub files: Arc<[ReadFile]>,
    /// `limits.max_connections`, or less where the file descriptors do not suffice.
    pub max_connections: usize,
}

impl Supervisor {
    /// The sockets of the admin API; changes when a reload changes `admin.bind`.
    pub fn admin_sockets(&self) -> tokio::sync::watch::Receiver<Vec<AdminSocket>> {
        self.inner.admin.subscribe()
    }

    /// What TLS of the admin API is begun with, of the configuration that runs; none where it has none.
    pub fn admin_tls(&self) -> tokio::sync::watch::Receiver<Option<Acceptor>> {
        self.inner.admin_tls.subscribe()
    }
}

/// Whether a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does.
    Running,
    /// It keeps its ports and does not accept.
    Paused,
    /// It finishes what is there.
    Draining,
    /// It has had its `accept_total`; its ports are closed.
    Stopped,
}

/// One listener as it is now.
#[derive(Debug, Clone)]
pub struct ListenerView {
    /// Its part of the effective configuration.
    pub config: Listener,
    /// Whether it accepts.
    pub state: State,
    /// What is bound, in the order of the configuration.
    pub endpoints: Vec<EndpointView>,
    /// The generation that it was last changed by.
    pub generation: u64,
    /// From when to when its certificate is valid; none where it has none.
    pub certificate: Option<Validity>,
}

/// One bound socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointView {
    /// As the configuration writes it.
    pub bind: String,
    /// What is bound in fact, for example `tcp://127.0.0.1:41235`.
    pub address: String,
    /// Its transport.
    pub transport: Transport,
    /// The socket's inode, by which the kernel's own statistics name it.
    #[serde(skip)]
    pub inode: u64,
}

/// What a reload did, or a dry run would do.
#[derive(Debug, Clone)]
pub struct Report {
    /// The generation that runs now.
    pub generation: u64,
    /// Whether nothing was changed because only a rehearsal was asked for.
    pub dry_run: bool,
    /// How long it took.
    pub duration: Duration,
    /// The difference.
    pub plan: Plan,
    /// The new configuration's warnings.
    pub warnings: Vec<Diagnostic>,
}

/// Why a configuration was not taken over. What ran before runs on, unchanged.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file could not be read, is not TOML or is wrong.
    #[error("{0}")]
    Load(LoadError),
    /// A handler could not be built.
    #[error("listener {listener}: cannot build handler {handler}: {reason}")]
    Build {
        /// The listener.
        listener: String,
        /// The handler's name.
        handler: String,
        /// What went wrong.
        reason: String,
    },
    /// An endpoint could not be bound.
    #[error("listener {listener}: cannot bind {endpoint}: {source}")]
    Bind {
        /// The listener, or `admin`.
        listener: String,
        /// The endpoint.
        endpoint: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The gateway is going down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
}

impl ReloadError {
    /// Where it failed, for the metrics.
    pub fn stage(&self) -> Stage {
        match self {
            ReloadError::Load(LoadError::Unreadable(..)) => Stage::Read,
            ReloadError::Load(LoadError::Syntax(..)) => Stage::Parse,
            ReloadError::Load(LoadError::Invalid(..)) => Stage::Validate,
            ReloadError::Build { .. } => Stage::Build,
            ReloadError::Bind { .. } | ReloadError::ShuttingDown => Stage::Bind,
        }
    }
}

/// The text of a configuration and where it came from: how a gateway finds its configuration again.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file, read at each reload.
    File(PathBuf),
    /// A text that never changes, for programs that embed a gateway.
    Text(String),
}

impl Source {
    /// Reads the configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load(&self, catalog: &dyn Catalog) -> Result<Loaded, ReloadError> {
        let loaded = match self {
            Source::File(path) => config::load_file(path, catalog),
            Source::Text(text) => config::load_text(text, &self.origin(), catalog),
        };
        loaded.map_err(ReloadError::Load)
    }

    /// What relative paths are relative to.
    pub(super) fn origin(&self) -> Origin {
        let mut origin = Origin::here();
        if let Source::File(path) = self
            && let Some(folder) = path.parent()
        {
            origin.folder = origin.working_directory.join(folder);
        }
        origin
    }
}
