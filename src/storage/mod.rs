//! Files of accounts: what is complete, what is not yet, and how much of a quota is taken.
//!
//! A handler sees a [`Home`]: asynchronous, counted against a quota, safe to drop at any moment. Below it is
//! a [`Folder`], the small trait of a place where files are: the local disk now ([`disk`]), object storage to
//! come. A `Folder` may block; a `Home` calls it on a bounded pool of threads, so that a slow disk delays
//! those who wait for it and nobody else.
//!
//! **Names** are [`HomePath`]s. They are taken apart for the protocol's sake (`..` goes up, but not out), and
//! resolved by the kernel beneath the home's directory (`openat2(2)`, RESOLVE_BENEATH): whatever is renamed
//! or linked meanwhile, nothing outside is ever reached. A symbolic link that stays inside is followed in the
//! middle of a name and for reading; one that leads out is refused. Removing, renaming and replacing act on
//! the link itself.
//!
//! **Complete and partial.** An upload goes to a temporary file beside its target. [`Sink::commit`] makes it
//! the name's complete file, at once and as a whole; anything else (a cut, a kill, a crash) leaves what was
//! there before, and what arrived becomes the name's *partial*: shown as `NAME.partial`, found under
//! `NAME` by [`Home::find`] and continued by [`How::At`] and [`How::Append`] while no complete file has the
//! name. A cut overwrite drops what arrived unless it was an [`How::At`].

pub mod disk;
mod error;
mod home;
mod pace;
mod path;
mod pool;
mod sink;
mod usage;

pub use error::StorageError;
pub use home::{Home, Listing};
pub use pace::Pace;
pub use path::HomePath;
pub use pool::Pool;
pub use sink::Sink;
pub use usage::Usage;

use std::ffi::OsString;
use std::fs::File;
use std::time::SystemTime;

/// What is at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A complete file.
    File,
    /// An upload that was cut.
    Partial,
    /// A directory.
    Folder,
    /// Neither: a device, a socket, a link that leads nowhere or out. It can be removed and renamed.
    Other,
}

/// One name with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last part of the name; `NAME.partial` for a partial in a listing.
    pub name: OsString,
    /// What it is.
    pub kind: Kind,
    /// In bytes; of a directory whatever the system says.
    pub size: u64,
    /// When the content last changed.
    pub modified: SystemTime,
    /// Permission bits (`0o7777` at most).
    pub mode: u32,
    /// How many names it has.
    pub links: u64,
    /// Device and inode: what MLSx calls `unique` (RFC 3659, 7.5.2).
    pub unique: (u64, u64),
}

/// How an upload begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// From nothing. A complete file of the name is replaced at the commit.
    Create,
    /// At the end of the complete file, else of the partial, else from nothing (FTP's APPE).
    Append,
    /// At an offset of the complete file, else of the partial (FTP's REST before STOR). Beyond the end is
    /// [`StorageError::Offset`].
    At {
        /// Where the first byte goes.
        offset: u64,
        /// What becomes of what is behind the last byte written: kept, or cut off.
        keep_tail: bool,
    },
}

/// What a place can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// [`How::Append`] and [`How::At`] on complete files.
    pub append: bool,
    /// [`Home::rename`].
    pub rename: bool,
    /// [`Home::set_modified`] and [`Home::set_mode`].
    pub mtime: bool,
    /// Whether a commit that returned survives a power cut.
    pub durable: bool,
}

/// A file open for reading.
#[derive(Debug)]
pub struct Reader {
    /// At the offset that was asked for. A real file, so that `sendfile(2)` is possible.
    pub file: File,
    /// In bytes, from the beginning, as it was opened. The content never changes: uploads replace the file.
    pub size: u64,
    /// When it last changed.
    pub modified: SystemTime,
}

/// A place where the files of one account are. Every call may block. What a call returns as freed or replaced
/// is in bytes of regular files, the unit of quotas.
pub trait Folder: Send + Sync + std::fmt::Debug + 'static {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// What is at a name: the complete file or directory, else the partial.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] and what the system says, here and below.
    fn find(&self, path: &HomePath) -> Result<Entry, StorageError>;

    /// Opens a complete file, or a partial by its own name (`NAME.partial`).
    ///
    /// # Errors
    /// [`StorageError::Offset`] beyond the end.
    fn open_read(&self, path: &HomePath, offset: u64) -> Result<Reader, StorageError>;

    /// Begins an upload. Names may change, so the caller sees to it that nobody else changes any meanwhile.
    ///
    /// # Errors
    /// As [`Folder::open_read`]; [`StorageError::IsAFolder`].
    fn open_write(&self, path: &HomePath, how: How) -> Result<Box<dyn Upload>, StorageError>;

    /// The entries of a directory in whatever order, without `.` and `..`, one at a time; a file is listed
    /// as itself.
    ///
    /// # Errors
    /// Those of opening it.
    fn list(&self, path: &HomePath) -> Result<Box<dyn Entries>, StorageError>;

    /// Makes a directory.
    ///
    /// # Errors
    /// [`StorageError::Exists`].
    fn make_folder(&self, path: &HomePath) -> Result<(), StorageError>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`StorageError::NotEmpty`], [`StorageError::NotAFolder`].
    fn remove_folder(&self, path: &HomePath) -> Result<(), StorageError>;

    /// Removes a file, or a partial by its own name. Returns the bytes freed.
    ///
    /// # Errors
    /// [`StorageError::IsAFolder`].
    fn remove(&self, path: &HomePath) -> Result<u64, StorageError>;

    /// Renames a file, directory, or partial by its own name; a file that has the new name is replaced.
    /// Returns the bytes freed.
    ///
    /// # Errors
    /// Those of `renameat(2)`.
    fn rename(&self, from: &HomePath, to: &HomePath) -> Result<u64, StorageError>;

    /// Sets when a file last changed.
    ///
    /// # Errors
    /// What the system says.
    fn set_modified(&self, path: &HomePath, to: SystemTime) -> Result<(), StorageError>;

    /// Sets the permission bits. The owner always keeps what the gateway needs.
    ///
    /// # Errors
    /// What the system says.
    fn set_mode(&self, path: &HomePath, mode: u32) -> Result<(), StorageError>;

    /// The bytes of all regular files, partials included. Only called while nothing else is under way: what
    /// a crash left half done is put in order on the way.
    ///
    /// # Errors
    /// What the system says.
    fn recount(&self) -> Result<u64, StorageError>;
}

/// The entries of a directory, one at a time.
pub trait Entries: Send {
    /// The next one; none at the end.
    ///
    /// # Errors
    /// What the system says.
    fn next(&mut self) -> Result<Option<Entry>, StorageError>;
}

/// An upload under way. Every call may block. Dropping it leaves what arrived to [`Folder::recount`].
pub trait Upload: Send {
    /// How large the file is by now.
    fn size(&self) -> u64;

    /// The size of the partial that it continues, which [`Upload::size`] includes. It is in the account already.
    fn continued(&self) -> u64;

    /// Copies what it begins with. Called once, when [`Upload::size`] has been reserved.
    ///
    /// # Errors
    /// What the system says; then it can only be discarded.
    fn prepare(&mut self) -> Result<(), StorageError>;

    /// The size of the complete file that a commit would replace now.
    ///
    /// # Errors
    /// [`StorageError::IsAFolder`] where a directory has the name.
    fn replaces(&self) -> Result<u64, StorageError>;

    /// How large the file is once so many bytes more are written.
    fn size_after(&self, more: u64) -> u64;

    /// Writes all of it. After an error [`Upload::size`] says what has been written.
    ///
    /// # Errors
    /// [`StorageError::Full`] and the like.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError>;

    /// Brings the content to the disk, as far as the durability asks.
    ///
    /// # Errors
    /// A failed `fsync(2)`: the content is lost.
    fn sync(&mut self) -> Result<(), StorageError>;

    /// Makes it the name's complete file. Returns the bytes freed: of the file replaced, and of the name's
    /// partial if there was one.
    ///
    /// # Errors
    /// What the system says; then nothing has changed.
    fn publish(&mut self) -> Result<u64, StorageError>;

    /// After [`Upload::publish`]: makes the new name last, as far as the durability asks.
    ///
    /// # Errors
    /// A failed `fsync(2)`: the file is in place, but may not survive a power cut.
    fn settle(&mut self) -> Result<(), StorageError>;

    /// Whether what arrived is to become the partial if the upload ends here.
    fn is_worth_keeping(&self) -> bool;

    /// Makes what arrived the name's partial. Returns the bytes freed, of an older one.
    ///
    /// # Errors
    /// What the system says.
    fn keep(&mut self) -> Result<u64, StorageError>;

    /// Removes what arrived.
    ///
    /// # Errors
    /// What the system says.
    fn discard(&mut self) -> Result<(), StorageError>;
}

#[cfg(test)]
mod tests;
