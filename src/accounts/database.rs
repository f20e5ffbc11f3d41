//! Where accounts are kept: behind a small trait, in SQLite.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Row, params};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Account, AccountError, Changes};

/// The version of the tables.
const VERSION: i64 = 2;

/// How much older than now the last login must be to be written again.
const LOGIN_PRECISION: Duration = Duration::from_secs(60);

/// Where accounts are kept. Every call blocks and, but for [`Database::logged_in`], is on the disk when it
/// returns.
pub(super) trait Database: Send + fmt::Debug {
    /// An account and the hash of its password.
    fn find(&mut self, name: &str) -> Result<Option<(Account, String)>, AccountError>;

    /// A new account with the hash of its password.
    fn insert(&mut self, account: &Account, hash: &str) -> Result<(), AccountError>;

    /// Changes an account; a password is given as its hash.
    fn update(&mut self, name: &str, changes: &Changes) -> Result<Account, AccountError>;

    /// Removes an account.
    fn remove(&mut self, name: &str) -> Result<(), AccountError>;

    /// Notes a login; may be lost in a power cut.
    fn logged_in(&mut self, account: &Account, at: SystemTime) -> Result<(), AccountError>;

    /// At most so many accounts whose names come after `after`, by name.
    fn list(&mut self, after: &str, at_most: usize) -> Result<Vec<Account>, AccountError>;

    /// How many there are.
    fn count(&mut self) -> Result<u64, AccountError>;
}

/// A SQLite file.
#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
    /// Held as long as the file is in use: two gateways would count the same quotas each for itself.
    _lock: File,
}

impl Sqlite {
    /// Opens the file; makes it, and the folder that it is in, where there is none.
    pub(super) fn open(path: &Path) -> Result<Self, AccountError> {
        let wrong =
            |what: &dyn fmt::Display| AccountError::Unavailable(format!("{}: {what}", path.display()));
        if let Some(folder) = path.parent() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o750).create(folder);
            made.map_err(|error| wrong(&error))?;
        }
        let lock = lock(path).map_err(|error| wrong(&error))?;
        // Hashes are in it: nobody else may read it. SQLite gives its other files the same mode.
        let private = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        private.map_err(|error| wrong(&error))?;
        let connection = Connection::open(path).map_err(|error| wrong(&error))?;
        prepare(&connection).map_err(|error| wrong(&error))?;
        Ok(Sqlite { connection, _lock: lock })
    }
}

fn lock(path: &Path) -> Result<File, String> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&beside);
    let file = file.map_err(|error| error.to_string())?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err("another polygate uses this database".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn prepare(connection: &Connection) -> Result<(), String> {
    let text = |error: rusqlite::Error| error.to_string();
    connection.busy_timeout(Duration::from_secs(5)).map_err(text)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(text)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(text)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(text)?;
    match version {
        VERSION => Ok(()),
        0 => connection.execute_batch(TABLES).map_err(text),
        1 => connection.execute_batch(TO_VERSION_2).map_err(text),
        newer => Err(format!("it has version {newer}, this polygate reads version {VERSION}")),
    }
}

const TABLES: &str = "
    BEGIN;
    CREATE TABLE accounts (
        name TEXT PRIMARY KEY NOT NULL,
        password TEXT NOT NULL,
        quota_bytes INTEGER,
        bandwidth_bytes_per_second INTEGER,
        read_only INTEGER NOT NULL,
        disabled INTEGER NOT NULL,
        home TEXT NOT NULL UNIQUE,
        created_at INTEGER NOT NULL,
        last_login_at INTEGER
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 2;
    COMMIT;
";

/// Version 1 had no bandwidth.
const TO_VERSION_2: &str = "
    BEGIN;
    ALTER TABLE accounts ADD COLUMN bandwidth_bytes_per_second INTEGER;
    PRAGMA user_version = 2;
    COMMIT;
";

const COLUMNS: &str =
    "name, quota_bytes, read_only, disabled, home, created_at, last_login_at, bandwidth_bytes_per_second";

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let quota: Option<i64> = row.get(1)?;
    let last: Option<i64> = row.get(6)?;
    let bandwidth: Option<i64> = row.get(7)?;
    let unsigned = |bytes| u64::try_from(bytes).unwrap_or(0);
    Ok(Account {
        name: row.get(0)?,
        quota: quota.map(unsigned),
        bandwidth: bandwidth.map(unsigned),
        read_only: row.get(2)?,
        disabled: row.get(3)?,
        home: row.get(4)?,
        created_at: instant(row.get(5)?),
        last_login_at: last.map(instant),
    })
}

/// Whole seconds since the epoch, as the tables have them.
fn seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn instant(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// SQLite's integers are signed.
fn bytes(quota: Option<u64>) -> Option<i64> {
    quota.map(|quota| i64::try_from(quota).unwrap_or(i64::MAX))
}

impl From<rusqlite::Error> for AccountError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => AccountError::Exists,
            _ => AccountError::Unavailable(error.to_string()),
        }
    }
}

impl Database for Sqlite {
    fn find(&mut self, name: &str) -> Result<Option<(Account, String)>, AccountError> {
        let query = format!("SELECT {COLUMNS}, password FROM accounts WHERE name = ?1");
        let mut query = self.connection.prepare_cached(&query)?;
        Ok(query.query_row([name], |row| Ok((account(row)?, row.get(8)?))).optional()?)
    }

    fn insert(&mut self, account: &Account, hash: &str) -> Result<(), AccountError> {
        self.connection.execute(
            "INSERT INTO accounts
             (name, password, quota_bytes, read_only, disabled, home, created_at, bandwidth_bytes_per_second)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                account.name,
                hash,
                bytes(account.quota),
                account.read_only,
                account.disabled,
                account.home,
                seconds(account.created_at),
                bytes(account.bandwidth)
            ],
        )?;
        Ok(())
    }

    fn update(&mut self, name: &str, changes: &Changes) -> Result<Account, AccountError> {
        let transaction = self.connection.transaction()?;
        let set = |column: &str, value: &dyn rusqlite::ToSql| {
            transaction
                .execute(&format!("UPDATE accounts SET {column} = ?1 WHERE name = ?2"), params![value, name])
        };
        if let Some(hash) = &changes.password {
            set("password", hash)?;
        }
        if let Some(quota) = changes.quota {
            set("quota_bytes", &bytes(quota))?;
        }
        if let Some(bandwidth) = changes.bandwidth {
            set("bandwidth_bytes_per_second", &bytes(bandwidth))?;
        }
        if let Some(read_only) = changes.read_only {
            set("read_only", &read_only)?;
        }
        if let Some(disabled) = changes.disabled {
            set("disabled", &disabled)?;
        }
        let query = format!("SELECT {COLUMNS} FROM accounts WHERE name = ?1");
        let found = transaction.query_row(&query, [name], account).optional()?;
        let found = found.ok_or(AccountError::NotFound)?;
        transaction.commit()?;
        Ok(found)
    }

    fn remove(&mut self, name: &str) -> Result<(), AccountError> {
        match self.connection.execute("DELETE FROM accounts WHERE name = ?1", [name])? {
            0 => Err(AccountError::NotFound),
            _ => Ok(()),
        }
    }

    fn logged_in(&mut self, account: &Account, at: SystemTime) -> Result<(), AccountError> {
        let recent = |last: SystemTime| at.duration_since(last).is_ok_and(|age| age < LOGIN_PRECISION);
        if account.last_login_at.is_some_and(recent) {
            return Ok(());
        }
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        let query = "UPDATE accounts SET last_login_at = ?1 WHERE name = ?2";
        let done = self.connection.execute(query, params![seconds(at), account.name]);
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        done?;
        Ok(())
    }

    fn list(&mut self, after: &str, at_most: usize) -> Result<Vec<Account>, AccountError> {
        let query = format!("SELECT {COLUMNS} FROM accounts WHERE name > ?1 ORDER BY name LIMIT ?2");
        let mut query = self.connection.prepare_cached(&query)?;
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        let found = query.query_map(params![after, at_most], account)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    fn count(&mut self) -> Result<u64, AccountError> {
        let count: i64 = self.connection.query_row("SELECT count(*) FROM accounts", [], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(name: &str) -> Account {
        Account {
            name: name.into(),
            quota: Some(u64::MAX),
            bandwidth: None,
            read_only: true,
            disabled: false,
            home: name.into(),
            created_at: instant(1_000_000_000),
            last_login_at: None,
        }
    }

    #[test]
    fn accounts_outlive_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/accounts.db");
        let mut database = Sqlite::open(&path).unwrap();
        database.insert(&example("ann"), "hash").unwrap();
        database.insert(&example("bob"), "hash").unwrap();
        assert!(matches!(database.insert(&example("ann"), "x"), Err(AccountError::Exists)));
        let changes = Changes {
            password: Some("other".into()),
            quota: Some(Some(7)),
            bandwidth: Some(Some(9)),
            read_only: Some(false),
            disabled: Some(true),
        };
        database.update("ann", &changes).unwrap();
        assert!(matches!(database.update("eve", &changes), Err(AccountError::NotFound)));
        database.remove("bob").unwrap();
        assert!(matches!(database.remove("bob"), Err(AccountError::NotFound)));
        let again = Sqlite::open(&path).unwrap_err().to_string();
        assert!(again.ends_with("another polygate uses this database"), "{again}");
        drop(database);

        let mut database = Sqlite::open(&path).unwrap();
        let (mut ann, hash) = database.find("ann").unwrap().unwrap();
        assert_eq!((ann.quota, ann.read_only, ann.disabled, hash.as_str()), (Some(7), false, true, "other"));
        assert_eq!((ann.bandwidth, ann.created_at), (Some(9), instant(1_000_000_000)));
        database.logged_in(&ann, instant(2_000_000_000)).unwrap();
        ann.last_login_at = Some(instant(2_000_000_000));
        database.logged_in(&ann, instant(2_000_000_059)).unwrap();
        assert_eq!(database.list("", 9).unwrap(), [ann]);
        assert!(database.list("ann", 9).unwrap().is_empty());
        assert_eq!(database.count().unwrap(), 1);
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_of_an_earlier_version_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts.db");
        let old = TABLES.replace("        bandwidth_bytes_per_second INTEGER,\n", "").replace("= 2", "= 1");
        let insert = "INSERT INTO accounts VALUES ('ann', 'hash', 7, 0, 0, 'ann', 1, NULL);";
        Connection::open(&path).unwrap().execute_batch(&format!("{old}{insert}")).unwrap();
        for _ in 0..2 {
            let (ann, _) = Sqlite::open(&path).unwrap().find("ann").unwrap().unwrap();
            assert_eq!((ann.quota, ann.bandwidth), (Some(7), None));
        }
    }

    #[test]
    fn a_file_of_a_later_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 9).unwrap();
        let error = Sqlite::open(&path).unwrap_err().to_string();
        assert!(error.contains("version 9"), "{error}");
        fs::write(&path, "not a database, but long enough to be looked at as one").unwrap();
        assert!(Sqlite::open(&path).is_err());
    }
}
