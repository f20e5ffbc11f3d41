//! How much of a quota is taken: reserved before it is written, exact when nothing is under way.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Pace, StorageError};

/// The account of one home, shared by everyone who is in it.
///
/// `used` is the sum of the sizes of its files, partials included, and of what uploads have reserved for bytes
/// that would make it more: an upload that replaces a file reserves what goes beyond that file's size. It never
/// exceeds the quota by anything written here; a quota that is lowered takes nothing away.
#[derive(Debug)]
pub struct Usage {
    used: AtomicU64,
    quota: AtomicU64,
    read_only: AtomicBool,
    closed: AtomicBool,
    /// Held while names change and `used` with them.
    order: Mutex<()>,
    counted: tokio::sync::OnceCell<()>,
    pace: Pace,
}

impl Usage {
    /// Nothing counted yet.
    pub fn new(quota: u64, read_only: bool) -> Self {
        Usage {
            used: AtomicU64::new(0),
            quota: AtomicU64::new(quota),
            read_only: AtomicBool::new(read_only),
            closed: AtomicBool::new(false),
            order: Mutex::new(()),
            counted: tokio::sync::OnceCell::new(),
            pace: Pace::default(),
        }
    }

    /// In bytes.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// In bytes.
    pub fn quota(&self) -> u64 {
        self.quota.load(Relaxed)
    }

    /// What can still be reserved, in bytes.
    pub fn free(&self) -> u64 {
        self.quota().saturating_sub(self.used())
    }

    /// Takes effect at once, for uploads under way too.
    pub fn set_quota(&self, bytes: u64) {
        self.quota.store(bytes, Relaxed);
    }

    /// Whether nothing may be changed.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Relaxed)
    }

    /// Takes effect with the next operation.
    pub fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Relaxed);
    }

    /// Whether its account has been removed or disabled: every operation fails.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Takes effect with the next operation.
    pub fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Relaxed);
    }

    /// How fast its bytes may move, for handlers that ask.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// What is needed to look at files.
    pub(super) fn may_read(&self) -> Result<(), StorageError> {
        if self.is_closed() { Err(StorageError::Closed) } else { Ok(()) }
    }

    /// What is needed to change them.
    pub(super) fn may_write(&self) -> Result<(), StorageError> {
        self.may_read()?;
        if self.is_read_only() { Err(StorageError::ReadOnly) } else { Ok(()) }
    }

    /// Held while names change.
    pub(super) fn in_order(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever comes first counts; the others wait for it.
    pub(super) fn counted(&self) -> &tokio::sync::OnceCell<()> {
        &self.counted
    }

    /// What a count found.
    pub(super) fn set_used(&self, bytes: u64) {
        self.used.store(bytes, Relaxed);
    }

    /// Takes so many bytes if the quota has them.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), StorageError> {
        let quota = self.quota();
        let more = |used: u64| used.checked_add(bytes).filter(|sum| bytes == 0 || *sum <= quota);
        match self.used.fetch_update(Relaxed, Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(StorageError::Quota),
        }
    }

    /// Counts what is there already, whatever the quota.
    pub(super) fn add(&self, bytes: u64) {
        self.used.fetch_add(bytes, Relaxed);
    }

    /// Gives so many bytes back.
    pub(super) fn release(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        // The closure always has an answer.
        let _ = self.used.fetch_update(Relaxed, Relaxed, less);
    }
}
