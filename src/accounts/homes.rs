//! The homes of accounts: a directory each, right below the root, and one count of what is in it.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{Account, AccountError, apply, quota_of};
use crate::config::Durability;
use crate::storage::disk::{Disk, DiskFolder};
use crate::storage::{Home, Pool, Usage};

/// How many operations on files are under way at once, over all accounts.
const AT_ONCE: usize = 64;

/// Where the homes of removed accounts go: no account can have that name.
const REMOVED: &str = ".removed";

/// The homes of all accounts.
#[derive(Debug)]
pub(super) struct Homes {
    disk: Arc<Disk>,
    root: Arc<DiskFolder>,
    pool: Pool,
    /// By account; never more than there are accounts.
    open: Mutex<HashMap<String, Open>>,
}

/// A home that somebody has asked for, with the quota that the account has of its own.
#[derive(Debug, Clone)]
struct Open {
    home: Home,
    usage: Arc<Usage>,
    quota: Option<u64>,
}

impl Homes {
    /// Below that directory, which is made where it is missing.
    pub(super) fn open(root: &Path, durability: Durability) -> Result<Self, AccountError> {
        let wrong =
            |what: &dyn std::fmt::Display| AccountError::Unavailable(format!("{}: {what}", root.display()));
        let made = DirBuilder::new().recursive(true).mode(0o750).create(root);
        made.map_err(|error| wrong(&error))?;
        let disk = Disk::new(durability);
        let root = DiskFolder::open(root, disk.clone()).map_err(|error| wrong(&error))?;
        Ok(Homes { disk, root: Arc::new(root), pool: Pool::new(AT_ONCE), open: Mutex::default() })
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The home of an account.
    pub(super) async fn of(&self, account: &Account, default_quota: u64) -> Result<Home, AccountError> {
        if let Some(open) = self.locked().get(&account.name) {
            return Ok(open.home.clone());
        }
        let (root, name) = (self.root.clone(), account.home.clone());
        let folder = self.pool.run(move || root.subfolder(&name)).await;
        let folder = folder
            .map_err(|error| AccountError::Unavailable(format!("the home of {}: {error}", account.name)))?;
        let usage = Arc::new(Usage::new(quota_of(account, default_quota), account.read_only));
        apply(&usage, account, default_quota);
        let home = Home::new(Arc::new(folder), usage.clone(), self.pool.clone());
        // Of two who ask at once the first one's is everybody's: there is one count a home.
        let mut open = self.locked();
        let entry = open.entry(account.name.clone());
        Ok(entry.or_insert(Open { home, usage, quota: account.quota }).home.clone())
    }

    /// Takes over what has changed of an account.
    pub(super) fn update(&self, account: &Account, default_quota: u64) {
        if let Some(open) = self.locked().get_mut(&account.name) {
            open.quota = account.quota;
            apply(&open.usage, account, default_quota);
        }
    }

    /// Takes over what a reload has changed.
    pub(super) fn configure(&self, durability: Durability, default_quota: u64) {
        self.disk.set_durability(durability);
        for open in self.locked().values().filter(|open| open.quota.is_none()) {
            open.usage.set_quota(default_quota);
        }
    }

    /// Closes the home to everybody who is in it and moves it away.
    pub(super) async fn remove(&self, account: &Account) -> Result<(), AccountError> {
        if let Some(open) = self.locked().remove(&account.name) {
            open.usage.set_closed(true);
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let to = format!("{}.{}", account.name, since.as_millis());
        let (root, home) = (self.root.clone(), account.home.clone());
        let moved = self.pool.run(move || root.move_aside(&home, REMOVED, &to)).await;
        moved.map_err(|error| AccountError::Unavailable(format!("the home of {}: {error}", account.name)))
    }
}
