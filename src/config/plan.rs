//! The difference between the running configuration and a new one.

use serde::Serialize;

/// What a reload would change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// Listeners that are new.
    pub added: Vec<String>,
    /// Listeners that go.
    pub removed: Vec<String>,
    /// Listeners that stay, with something else about them.
    pub changed: Vec<Changed>,
    /// Listeners that stay untouched.
    pub unchanged: Vec<String>,
    /// Keys outside the listeners that change, for example `log.level`.
    pub settings: Vec<String>,
    /// Keys that keep their old value until a restart.
    pub restart_required: Vec<String>,
}

/// A listener that stays, and what about it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// Keys, for example `options.prefix`.
    pub what: Vec<String>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
            && self.settings.is_empty()
            && self.restart_required.is_empty()
    }
}

/// The difference.
pub fn plan(_old: &super::Config, _new: &super::Config) -> Plan {
    Plan::default()
}
