//! The local disk. Every name is resolved by the kernel beneath an open directory (`openat2(2)`).
//!
//! A change of names acts on the last part within its opened directory, never on a path as a whole, so that
//! nothing can be swapped on the way.

mod group;
mod list;
mod names;
mod recount;
mod upload;

pub(super) use names::is_reserved;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, fstat, mkdirat, openat2,
    renameat, statat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::{Capabilities, Entries, Entry, Folder, HomePath, How, Kind, Reader, StorageError, Upload};
use crate::config::Durability;
use group::DirectorySyncs;

/// Permission bits of new files and directories: the gateway's user, and its group to read.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// How often a name is tried again that is being moved while the kernel resolves it (EAGAIN of `openat2(2)`).
const TRIES: usize = 32;

/// What the folders on one disk have in common.
#[derive(Debug)]
pub struct Disk {
    durability: AtomicU8,
    syncs: DirectorySyncs,
}

impl Disk {
    /// With so much durability.
    pub fn new(durability: Durability) -> Arc<Self> {
        Arc::new(Disk { durability: AtomicU8::new(durability as u8), syncs: DirectorySyncs::default() })
    }

    /// Takes effect for uploads that end from now on.
    pub fn set_durability(&self, durability: Durability) {
        self.durability.store(durability as u8, Relaxed);
    }

    fn is_at_least(&self, durability: Durability) -> bool {
        self.durability.load(Relaxed) >= durability as u8
    }

    /// Makes names in a directory last, where that is asked for.
    fn settle(&self, directory: &OwnedFd) -> Result<(), StorageError> {
        if !self.is_at_least(Durability::Acked) {
            return Ok(());
        }
        // A descriptor that only names it cannot be synced.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = openat2(directory, ".", flags, Mode::empty(), ResolveFlags::BENEATH)?;
        Ok(self.syncs.sync(&open)?)
    }
}

/// A directory on the local disk with everything beneath it.
#[derive(Debug)]
pub struct DiskFolder {
    root: OwnedFd,
    disk: Arc<Disk>,
}

impl DiskFolder {
    /// A directory that is there.
    ///
    /// # Errors
    /// Those of opening it; a kernel or sandbox without `openat2(2)` is [`StorageError::Unsupported`].
    pub fn open(path: &Path, disk: Arc<Disk>) -> Result<Self, StorageError> {
        let root = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        match openat2(&root, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH) {
            Ok(_) => Ok(DiskFolder { root, disk }),
            Err(Errno::NOSYS | Errno::PERM) => Err(StorageError::Unsupported),
            Err(error) => Err(error.into()),
        }
    }

    /// A directory right beneath this one, made if it is not there. A link is not followed.
    ///
    /// # Errors
    /// [`StorageError::NotAFolder`] where something else has the name…
    pub fn subfolder(&self, name: &str) -> Result<Self, StorageError> {
        match mkdirat(&self.root, name, Mode::from(FOLDER_MODE)) {
            Ok(()) => self.disk.settle(&self.root)?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(DiskFolder {
            root: openat2(&self.root, name, flags, Mode::empty(), resolve)?,
            disk: self.disk.clone(),
        })
    }

    /// Moves a directory right beneath this one into another, which is made; one that is not there is no error.
    ///
    /// # Errors
    /// What the system says.
    pub fn move_aside(&self, name: &str, into: &str, to: &str) -> Result<(), StorageError> {
        let into = self.subfolder(into)?;
        match renameat(&self.root, name, &into.root, to) {
            Ok(()) => self.disk.settle(&into.root).and_then(|()| self.disk.settle(&self.root)),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens beneath the root, whatever the name.
    fn open_beneath(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, StorageError> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..TRIES {
            match openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
        Err(StorageError::Busy)
    }

    /// The opened directory that a name is in, and the last part. The home itself is in none.
    fn place<'a>(&self, path: &'a HomePath) -> Result<(OwnedFd, &'a OsStr), StorageError> {
        let name = path.name().ok_or(StorageError::Denied)?;
        let parent = self.open_beneath(path.parent().relative(), OFlags::PATH | OFlags::DIRECTORY)?;
        Ok((parent, name))
    }

    /// What a name is on the disk: itself, or the partial that is listed under it.
    fn real_name(&self, parent: &OwnedFd, name: &OsStr) -> Result<(OsString, Stat), StorageError> {
        if let Some(stat) = look(parent, name)? {
            return Ok((name.into(), stat));
        }
        let partial = names::of_shown(name).and_then(names::partial);
        let partial = partial.ok_or(StorageError::NotFound)?;
        let stat = look(parent, &partial)?.ok_or(StorageError::NotFound)?;
        Ok((partial, stat))
    }

    /// The partial of a name.
    fn partial(&self, parent: &OwnedFd, name: &OsStr) -> Result<Option<(OsString, Stat)>, StorageError> {
        let Some(partial) = names::partial(name) else { return Ok(None) };
        Ok(look(parent, &partial)?.filter(is_regular).map(|stat| (partial, stat)))
    }

    /// What a link leads to, if that is inside.
    fn follow(&self, path: &Path, link: Stat) -> Stat {
        if FileType::from_raw_mode(link.st_mode) != FileType::Symlink {
            return link;
        }
        let target = self.open_beneath(path, OFlags::PATH);
        target.ok().and_then(|target| fstat(target).ok()).unwrap_or(link)
    }
}

/// What is in a directory under a name, without following a link.
fn look(directory: impl AsFd, name: &OsStr) -> Result<Option<Stat>, StorageError> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// The bytes that count.
fn counted(stat: &Stat) -> u64 {
    if is_regular(stat) { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 }
}

#[allow(clippy::useless_conversion, reason = "the type of st_nlink is the architecture's")]
fn entry(name: OsString, stat: &Stat, partial: bool) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if partial => Kind::Partial,
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        _ => Kind::Other,
    };
    Entry {
        name,
        kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: time(stat),
        mode: stat.st_mode & 0o7777,
        links: u64::from(stat.st_nlink),
        unique: (stat.st_dev, stat.st_ino),
    }
}

#[allow(clippy::useless_conversion, reason = "the type of st_mtime_nsec is the architecture's")]
fn time(stat: &Stat) -> SystemTime {
    let nanoseconds = Duration::from_nanos(u64::from(stat.st_mtime_nsec));
    let seconds = Duration::from_secs(stat.st_mtime.unsigned_abs());
    let whole = if stat.st_mtime < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    whole.and_then(|whole| whole.checked_add(nanoseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}

impl Folder for DiskFolder {
    fn capabilities(&self) -> Capabilities {
        let durable = self.disk.is_at_least(Durability::Acked);
        Capabilities { append: true, rename: true, mtime: true, durable }
    }

    fn find(&self, path: &HomePath) -> Result<Entry, StorageError> {
        let Some(name) = path.name() else { return Ok(entry("/".into(), &fstat(&self.root)?, false)) };
        let (parent, _) = self.place(path)?;
        if let Some(stat) = look(&parent, name)? {
            return Ok(entry(name.into(), &self.follow(path.relative(), stat), false));
        }
        if let Some((_, stat)) = self.partial(&parent, name)? {
            return Ok(entry(name.into(), &stat, true));
        }
        let (_, stat) = self.real_name(&parent, name)?;
        Ok(entry(name.into(), &stat, true))
    }

    fn open_read(&self, path: &HomePath, offset: u64) -> Result<Reader, StorageError> {
        // Without O_NONBLOCK the open of a FIFO waits for its other end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match self.open_beneath(path.relative(), flags) {
            Err(StorageError::NotFound) => {
                let (parent, name) = self.place(path)?;
                if self.partial(&parent, name)?.is_some() {
                    return Err(StorageError::Incomplete);
                }
                let (partial, _) = self.real_name(&parent, name)?;
                let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                openat2(&parent, &partial, flags, Mode::empty(), ResolveFlags::BENEATH)?
            }
            other => other?,
        };
        let stat = fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(StorageError::IsAFolder),
            _ => return Err(StorageError::NotAFile),
        }
        let size = counted(&stat);
        if offset > size {
            return Err(StorageError::Offset);
        }
        let mut file = File::from(file);
        file.seek(SeekFrom::Start(offset))?;
        Ok(Reader { file, size, modified: time(&stat) })
    }

    fn open_write(&self, path: &HomePath, how: How) -> Result<Box<dyn Upload>, StorageError> {
        Ok(Box::new(upload::DiskUpload::open(self, path, how)?))
    }

    fn list(&self, path: &HomePath) -> Result<Box<dyn Entries>, StorageError> {
        list::list(self, path)
    }

    fn make_folder(&self, path: &HomePath) -> Result<(), StorageError> {
        if path.is_root() {
            return Err(StorageError::Exists);
        }
        let (parent, name) = self.place(path)?;
        mkdirat(&parent, name, Mode::from(FOLDER_MODE))?;
        // An upload into it survives only if it does.
        self.disk.settle(&parent)
    }

    fn remove_folder(&self, path: &HomePath) -> Result<(), StorageError> {
        let (parent, name) = self.place(path)?;
        Ok(unlinkat(&parent, name, AtFlags::REMOVEDIR)?)
    }

    fn remove(&self, path: &HomePath) -> Result<u64, StorageError> {
        let (parent, name) = self.place(path)?;
        let (name, stat) = self.real_name(&parent, name)?;
        if is_folder(&stat) {
            return Err(StorageError::IsAFolder);
        }
        unlinkat(&parent, &name, AtFlags::empty())?;
        Ok(counted(&stat))
    }

    fn rename(&self, from: &HomePath, to: &HomePath) -> Result<u64, StorageError> {
        let (from_parent, from_name) = self.place(from)?;
        let (to_parent, to_name) = self.place(to)?;
        let (from_name, moved) = self.real_name(&from_parent, from_name)?;
        let replaced = look(&to_parent, to_name)?;
        // Two names of one file: `renameat(2)` then does nothing, and nothing is freed.
        if replaced.is_some_and(|old| (old.st_dev, old.st_ino) == (moved.st_dev, moved.st_ino)) {
            return Ok(0);
        }
        renameat(&from_parent, &from_name, &to_parent, to_name)?;
        let freed = replaced.as_ref().map_or(0, counted);
        // What cannot be made to last is in place all the same, and counted so.
        if let Err(error) = self.disk.settle(&to_parent).and_then(|()| self.disk.settle(&from_parent)) {
            tracing::error!(target: "polygate::storage", %error, "a renamed file may not survive a power cut");
        }
        Ok(freed)
    }

    fn set_modified(&self, path: &HomePath, to: SystemTime) -> Result<(), StorageError> {
        let (parent, name) = self.place(path)?;
        let since = to.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| StorageError::Unsupported)?;
        let seconds = i64::try_from(since.as_secs()).map_err(|_| StorageError::Unsupported)?;
        let time = Timespec { tv_sec: seconds, tv_nsec: since.subsec_nanos().into() };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn set_mode(&self, path: &HomePath, mode: u32) -> Result<(), StorageError> {
        let file = self.open_beneath(path.relative(), OFlags::PATH | OFlags::NOFOLLOW)?;
        let stat = fstat(&file)?;
        let needed = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => 0o600,
            FileType::Directory => 0o700,
            _ => return Err(StorageError::NotAFile),
        };
        // A descriptor that only names a file is changed by its own name, which leads to that very inode.
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(fs::set_permissions(own, Permissions::from_mode(mode & 0o777 | needed))?)
    }

    fn recount(&self) -> Result<u64, StorageError> {
        recount::recount(self)
    }
}
