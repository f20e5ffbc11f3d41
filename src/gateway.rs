//! A whole gateway in a program: build it, start it, reload it, shut it down.

use std::path::PathBuf;

use crate::supervisor::{ReloadError, Source, Supervisor};

/// A running gateway. Dropping it ends it at once; [`Gateway::shutdown`] is the kind way.
pub struct Gateway {
    supervisor: Supervisor,
}

/// What became of the conns at a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Finished by themselves.
    pub finished: u64,
    /// Killed when the grace ran out.
    pub killed: u64,
}

/// Makes a [`Gateway`].
#[derive(Debug)]
pub struct Builder {
    source: Source,
}

#[allow(clippy::todo, unused)]
impl Gateway {
    /// A gateway on a configuration file, which reloads read again.
    pub fn from_file(path: impl Into<PathBuf>) -> Builder {
        Builder { source: Source::File(path.into()) }
    }

    /// A gateway on a configuration text.
    pub fn from_text(text: impl Into<String>) -> Builder {
        Builder { source: Source::Text(text.into()) }
    }

    /// The control plane.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Waits until every listener has had its `accept_total` and the last conn is gone.
    pub async fn stopped(&self) {
        todo!()
    }

    /// Says 503 on `/readyz` for `shutdown.delay`, stops accepting, lets conns finish for
    /// `shutdown.grace`, then kills what is left.
    pub async fn shutdown(&self) -> Drained {
        todo!()
    }
}

#[allow(clippy::todo, unused)]
impl Builder {
    /// Binds everything, starts the data plane and the admin API. On return the gateway is ready.
    pub fn start(self) -> Result<Gateway, ReloadError> {
        todo!()
    }
}
