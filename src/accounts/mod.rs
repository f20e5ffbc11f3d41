//! Accounts: who may log in, and where the files are. One store a gateway, shared by `ftp` and `json-ftp`.
//!
//! A handler asks its [`Context`](crate::handler::Context) for the store when it is made, and gets a [`Login`]
//! for a name and a password: the name and its [`Home`]. Everything that a reload or an operator changes later
//! (quota, read-only, disabled, removed) takes effect for those who are logged in, too.

mod account;
mod database;
mod homes;
mod password;
mod slot;
mod slow;

pub use account::{Account, AccountError, Changes, is_name, is_password};
pub use slot::{Access, Slot};

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use crate::config;
use crate::net::PeerKey;
use crate::stats::Peer;
use crate::storage::{Home, Usage};
use database::{Database, Sqlite};
use homes::Homes;
use password::Passwords;
use slow::Slowdown;

/// The accounts of one gateway.
pub struct Accounts {
    database: Arc<Mutex<Box<dyn Database>>>,
    /// The database is used by one at a time.
    queries: crate::storage::Pool,
    passwords: Passwords,
    slow: Slowdown,
    homes: Homes,
    registration: AtomicBool,
    /// What an account has that has no quota of its own.
    quota: AtomicU64,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub struct Login {
    /// The account's name.
    pub name: Arc<str>,
    /// Its files.
    pub home: Home,
}

/// Why somebody is not let in. To the client the first two look alike, unless its protocol tells them apart.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// There is no such account.
    #[error("no such account")]
    UnknownName,
    /// It has another password.
    #[error("wrong password")]
    WrongPassword,
    /// The password is right, and the account disabled.
    #[error("the account is disabled")]
    Disabled,
    /// Too many attempts of this address wait already; nobody has looked at this one.
    #[error("too many failed logins")]
    TooMany,
    /// The database or the disk does not work.
    #[error("{0}")]
    Unavailable(String),
}

impl Accounts {
    /// Opens the database and the root, and makes them where they are missing. Takes as long as hashing a
    /// password, and blocks.
    ///
    /// # Errors
    /// What the system or the database says.
    pub fn open(settings: &config::Accounts) -> Result<Self, AccountError> {
        let database: Box<dyn Database> = Box::new(Sqlite::open(&settings.database)?);
        let homes = Homes::open(&settings.root, settings.durability)?;
        Ok(Accounts {
            database: Arc::new(Mutex::new(database)),
            queries: crate::storage::Pool::new(1),
            passwords: Passwords::new().map_err(AccountError::Unavailable)?,
            slow: Slowdown::default(),
            homes,
            registration: settings.registration.into(),
            quota: settings.quota.bytes().into(),
        })
    }

    /// Takes over what a reload may change.
    pub fn configure(&self, settings: &config::Accounts) {
        self.registration.store(settings.registration, Relaxed);
        self.quota.store(settings.quota.bytes(), Relaxed);
        self.homes.configure(settings.durability, settings.quota.bytes());
    }

    /// Lets somebody in, or says why not. After failures of its address or name it first waits. An unknown name
    /// takes as long as a wrong password.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn login(&self, name: &str, password: &str, peer: &Peer) -> Result<Login, LoginError> {
        let peer = PeerKey::of(peer);
        let name = if is_name(name) { name } else { "" };
        let wait = self.slow.wait(peer, name, Instant::now()).ok_or(LoginError::TooMany)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let unavailable = |error: AccountError| LoginError::Unavailable(error.to_string());
        let wanted = name.to_owned();
        let found = self.query(move |database| database.find(&wanted)).await.map_err(unavailable)?;
        let (account, hash) = found.unzip();
        let is_right = is_password(password) && self.passwords.verify(password.to_owned(), hash).await;
        let Some(account) = account.filter(|_| is_right) else {
            self.slow.failed(peer, name, Instant::now());
            let known = self.exists(name).await.map_err(unavailable)?;
            return Err(if known { LoginError::WrongPassword } else { LoginError::UnknownName });
        };
        self.slow.succeeded(name);
        if account.disabled {
            return Err(LoginError::Disabled);
        }
        let home = self.home(&account).await.map_err(unavailable)?;
        let name = account.name.as_str().into();
        let noted = self.query(move |database| database.logged_in(&account, SystemTime::now())).await;
        noted.map_err(unavailable)?;
        Ok(Login { name, home })
    }

    /// Makes an account for somebody who asks for it, where that is allowed.
    ///
    /// # Errors
    /// [`AccountError::RegistrationOff`], [`AccountError::Exists`] and those of the rules.
    pub async fn register(&self, name: &str, password: &str) -> Result<(), AccountError> {
        if !self.registration.load(Relaxed) {
            return Err(AccountError::RegistrationOff);
        }
        self.create(name, password, &Changes::default()).await.map(|_| ())
    }

    /// Makes an account; of `changes` the password is not looked at.
    ///
    /// # Errors
    /// [`AccountError::Exists`] and those of the rules.
    pub async fn create(
        &self,
        name: &str,
        password: &str,
        changes: &Changes,
    ) -> Result<Account, AccountError> {
        if !is_name(name) {
            return Err(AccountError::Name);
        }
        if !is_password(password) {
            return Err(AccountError::Password);
        }
        if !changes.fits() {
            return Err(AccountError::TooLarge);
        }
        if self.exists(name).await? {
            return Err(AccountError::Exists);
        }
        let hash = self.passwords.hash(password.to_owned()).await.map_err(AccountError::Unavailable)?;
        let account = Account {
            name: name.into(),
            quota: changes.quota.flatten(),
            bandwidth: changes.bandwidth.flatten(),
            read_only: changes.read_only.unwrap_or(false),
            disabled: changes.disabled.unwrap_or(false),
            home: name.into(),
            created_at: whole_seconds(SystemTime::now()),
            last_login_at: None,
        };
        let new = account.clone();
        self.query(move |database| database.insert(&new, &hash)).await?;
        self.home(&account).await?;
        Ok(account)
    }

    /// Changes an account; it takes effect for those who are logged in, too.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] and those of the rules.
    pub async fn change(&self, name: &str, mut changes: Changes) -> Result<Account, AccountError> {
        if !changes.fits() {
            return Err(AccountError::TooLarge);
        }
        if let Some(password) = changes.password.take() {
            if !is_password(&password) {
                return Err(AccountError::Password);
            }
            changes.password = Some(self.passwords.hash(password).await.map_err(AccountError::Unavailable)?);
        }
        let wanted = name.to_owned();
        let account = self.query(move |database| database.update(&wanted, &changes)).await?;
        self.homes.update(&account, self.default_quota());
        Ok(account)
    }

    /// Removes an account. Its files are moved to `.removed/` below the root, so that whoever gets the name
    /// next does not get them, and nothing is lost.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn remove(&self, name: &str) -> Result<(), AccountError> {
        let account = self.find(name).await?;
        // First the files: were there a crash in between, the account would have none, not its successor theirs.
        self.homes.remove(&account).await?;
        self.query(move |database| database.remove(&account.name)).await
    }

    /// An account.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn find(&self, name: &str) -> Result<Account, AccountError> {
        let wanted = name.to_owned();
        let found = self.query(move |database| database.find(&wanted)).await?;
        found.map(|(account, _)| account).ok_or(AccountError::NotFound)
    }

    /// At most so many accounts whose names come after `after`, by name.
    ///
    /// # Errors
    /// [`AccountError::Unavailable`].
    pub async fn list(&self, after: &str, at_most: usize) -> Result<Vec<Account>, AccountError> {
        let after = after.to_owned();
        self.query(move |database| database.list(&after, at_most)).await
    }

    /// How many there are.
    ///
    /// # Errors
    /// [`AccountError::Unavailable`].
    pub async fn count(&self) -> Result<u64, AccountError> {
        self.query(|database| database.count()).await
    }

    /// The files of an account.
    ///
    /// # Errors
    /// [`AccountError::Unavailable`].
    pub async fn home(&self, account: &Account) -> Result<Home, AccountError> {
        self.homes.of(account, self.default_quota()).await
    }

    /// The quota of accounts that have none of their own, in bytes.
    pub fn default_quota(&self) -> u64 {
        self.quota.load(Relaxed)
    }

    /// Counts every home, so that nobody has to wait for it later. Goes on as long as somebody holds the store.
    pub async fn count_all(weak: std::sync::Weak<Self>) {
        let mut after = String::new();
        while let Some(accounts) = weak.upgrade() {
            let Ok(Some(account)) = accounts.list(&after, 1).await.map(|mut found| found.pop()) else {
                return;
            };
            let counted = match accounts.home(&account).await {
                Ok(home) => home.counted().await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = counted {
                tracing::warn!(target: "polygate::accounts", account = %account.name, %error, "cannot count the files");
            }
            after = account.name;
        }
    }

    async fn exists(&self, name: &str) -> Result<bool, AccountError> {
        let name = name.to_owned();
        self.query(move |database| database.find(&name).map(|found| found.is_some())).await
    }

    async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Database) -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, AccountError> {
        let database = self.database.clone();
        let query = move || work(&mut **database.lock().unwrap_or_else(PoisonError::into_inner));
        self.queries.run(query).await
    }
}

/// As the database keeps it.
fn whole_seconds(at: SystemTime) -> SystemTime {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(since.as_secs())
}

/// The quota that an account has.
fn quota_of(account: &Account, default: u64) -> u64 {
    account.quota.unwrap_or(default)
}

/// Brings a home's account up to date.
fn apply(usage: &Usage, account: &Account, default: u64) {
    usage.set_quota(quota_of(account, default));
    usage.pace().set_own(account.bandwidth);
    usage.set_read_only(account.read_only);
    usage.set_closed(account.disabled);
}

#[cfg(test)]
mod tests;
