//! The control plane: makes the plan true.

mod view;

pub use view::{EndpointView, ListenerView, ReloadError, Report, Running, Source, State};

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::{Catalog, Diagnostic, LoadError, Plan};
use crate::net::AdminSocket;
use crate::stats::{ConnId, Stats, Trigger};

/// The control plane of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<()>,
}

#[allow(clippy::todo, unused)]
impl Supervisor {
    /// Reads the configuration again and takes it over, or says why not. Reloads run one after the other.
    pub async fn reload(&self, trigger: Trigger, dry_run: bool) -> Result<Report, ReloadError> {
        todo!()
    }

    /// Checks a text as if it were the configuration's file: what a reload would do, with the warnings, or
    /// every finding. Nothing is built or bound.
    pub async fn validate(&self, text: String) -> Result<(Plan, Vec<Diagnostic>), LoadError> {
        todo!()
    }

    /// What runs.
    pub fn running(&self) -> Arc<Running> {
        todo!()
    }

    /// Where the configuration comes from.
    pub fn source(&self) -> &Source {
        todo!()
    }

    /// The listeners as they are now, in the order of the configuration.
    pub fn listeners(&self) -> Vec<ListenerView> {
        todo!()
    }

    /// The counters.
    pub fn stats(&self) -> &Arc<Stats> {
        todo!()
    }

    /// The handler types.
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        todo!()
    }

    /// Kills a conn; false where none has that number.
    pub fn kill(&self, id: ConnId) -> bool {
        todo!()
    }

    /// What `/readyz` says: each listener's name and why it is not up. Draining is one of them (`drain`).
    pub fn readiness(&self) -> Vec<(String, Result<(), String>)> {
        todo!()
    }

    /// The sockets of the admin API; changes when a reload changes `admin.bind`.
    pub fn admin_sockets(&self) -> watch::Receiver<Vec<AdminSocket>> {
        todo!()
    }

    /// The data plane's runtime, for its metrics.
    pub fn data_runtime(&self) -> &tokio::runtime::Handle {
        todo!()
    }

    /// Follows the running configuration (for example to apply `log.level`).
    pub fn subscribe(&self) -> watch::Receiver<Arc<Running>> {
        todo!()
    }
}
