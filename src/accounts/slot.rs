//! One store a gateway: opened by the first handler that asks, shared by all, closed with the last.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{AccountError, Accounts};
use crate::config;

/// Where the gateway's store is, while a handler has it.
#[derive(Debug, Default)]
pub struct Slot(Mutex<Weak<Accounts>>);

impl Slot {
    fn locked(&self) -> MutexGuard<'_, Weak<Accounts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store, if a handler uses it.
    pub fn current(&self) -> Option<Arc<Accounts>> {
        self.locked().upgrade()
    }
}

/// How a handler that is being made gets the store.
#[derive(Debug, Clone)]
pub struct Access {
    slot: Arc<Slot>,
    settings: config::Accounts,
}

impl Access {
    /// Through the gateway's slot, with the settings of the configuration that is being prepared.
    pub fn new(slot: Arc<Slot>, settings: config::Accounts) -> Self {
        Access { slot, settings }
    }

    /// The gateway's store; opened if this is the first who asks. Blocks.
    ///
    /// # Errors
    /// What the system or the database says.
    pub fn open(&self) -> Result<Arc<Accounts>, AccountError> {
        let mut slot = self.slot.locked();
        if let Some(accounts) = slot.upgrade() {
            return Ok(accounts);
        }
        let accounts = Arc::new(Accounts::open(&self.settings)?);
        *slot = Arc::downgrade(&accounts);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(Accounts::count_all(slot.clone()));
        }
        Ok(accounts)
    }
}
