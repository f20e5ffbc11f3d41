//! Why an operation on files failed, told apart as far as protocols answer differently.

use std::io;

use rustix::io::Errno;

/// Why an operation on files failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Nothing has the name.
    #[error("no such file or directory")]
    NotFound,
    /// Something has the name already.
    #[error("it exists already")]
    Exists,
    /// A directory was expected.
    #[error("not a directory")]
    NotAFolder,
    /// A directory was not expected.
    #[error("it is a directory")]
    IsAFolder,
    /// The directory has entries.
    #[error("the directory is not empty")]
    NotEmpty,
    /// A regular file was expected.
    #[error("not a regular file")]
    NotAFile,
    /// Only a partial has the name.
    #[error("the file is incomplete")]
    Incomplete,
    /// The system forbids it, or the name leads out of the home.
    #[error("permission denied")]
    Denied,
    /// The account may not change anything.
    #[error("the account is read-only")]
    ReadOnly,
    /// The account has been removed, or disabled.
    #[error("the account is closed")]
    Closed,
    /// A name that cannot be: a NUL, too long, or one that the gateway keeps for itself.
    #[error("the name is not allowed")]
    Name,
    /// Beyond the end of the file.
    #[error("the offset is beyond the end of the file")]
    Offset,
    /// The account's quota does not allow it.
    #[error("the quota is exceeded")]
    Quota,
    /// The disk is full, or its own quota is (ENOSPC, EDQUOT).
    #[error("no space is left on the device")]
    Full,
    /// A larger file than the system allows (EFBIG).
    #[error("the file is too large")]
    TooLarge,
    /// The disk cannot be written (EROFS).
    #[error("the file system is read-only")]
    ReadOnlyDisk,
    /// Somebody else uses it, or too much is under way: later it may work.
    #[error("busy")]
    Busy,
    /// The place does not do that.
    #[error("not supported")]
    Unsupported,
    /// Anything else: EIO and the like.
    #[error("input/output error: {0}")]
    Io(io::Error),
}

impl StorageError {
    /// Whether the disk is at fault, not the request: worth a line in the log.
    pub fn is_the_disk(&self) -> bool {
        matches!(self, StorageError::Full | StorageError::ReadOnlyDisk | StorageError::Io(_))
    }
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None => StorageError::Io(error),
        }
    }
}

impl From<Errno> for StorageError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => StorageError::NotFound,
            Errno::EXIST => StorageError::Exists,
            Errno::NOTDIR => StorageError::NotAFolder,
            Errno::ISDIR => StorageError::IsAFolder,
            Errno::NOTEMPTY => StorageError::NotEmpty,
            // EXDEV and ELOOP: how `openat2(2)` refuses a name that leads out, or round in circles.
            Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::LOOP => StorageError::Denied,
            Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => StorageError::Name,
            Errno::NOSPC | Errno::DQUOT => StorageError::Full,
            Errno::FBIG => StorageError::TooLarge,
            Errno::ROFS => StorageError::ReadOnlyDisk,
            Errno::AGAIN | Errno::BUSY | Errno::TXTBSY => StorageError::Busy,
            Errno::OPNOTSUPP => StorageError::Unsupported,
            Errno::NXIO | Errno::NODEV => StorageError::NotAFile,
            other => StorageError::Io(other.into()),
        }
    }
}
