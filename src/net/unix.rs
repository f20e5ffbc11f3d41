//! Nodes of Unix sockets: made with their mode, never over somebody's file, and taken away only by whom they belong to.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

/// A node that this process bound. Dropping it removes the node, if it is still the same.
#[derive(Debug)]
pub struct UnixNode {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// The node of ours that was here before, until it is known which of the two stays.
    displaced: Option<Displaced>,
}

impl UnixNode {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes its permission bits; nothing happens when the node is no longer the one that was bound.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        if self.is_ours() {
            fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
        } else {
            Ok(())
        }
    }

    /// Says that this node stays, and not the one that it took the place of.
    pub(super) fn settle(&mut self) {
        if let Some(displaced) = self.displaced.take() {
            displaced.remove();
        }
    }

    fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == (self.device, self.inode))
    }
}

impl Drop for UnixNode {
    fn drop(&mut self) {
        // One that was displaced comes back in its place, without a moment between.
        if self.displaced.is_none() && self.is_ours() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A node of ours that was moved aside. Dropping it moves it back, over whatever is there.
#[derive(Debug)]
struct Displaced {
    home: PathBuf,
    aside: PathBuf,
}

impl Displaced {
    fn move_aside(home: &Path) -> io::Result<Self> {
        let mut name = OsString::from(home);
        name.push(".leaving");
        let aside = PathBuf::from(name);
        fs::rename(home, &aside)?;
        Ok(Displaced { home: home.to_path_buf(), aside })
    }

    fn remove(mut self) {
        let _ = fs::remove_file(&self.aside);
        self.aside = PathBuf::new();
    }
}

impl Drop for Displaced {
    fn drop(&mut self) {
        if !self.aside.as_os_str().is_empty() {
            let _ = fs::rename(&self.aside, &self.home);
        }
    }
}

/// Binds a socket to a path: makes missing folders (0750), takes away a stale node under a lock beside it,
/// and gives the new one its mode. With `displace` a socket of ours is there, which leaves: its node is moved
/// aside, and comes back unless the new one settles.
///
/// # Errors
/// `AddrInUse` if somebody serves the socket, `AlreadyExists` if the path is something other than a socket.
pub(super) fn bind_path(
    socket: &Socket,
    path: &Path,
    kind: Type,
    mode: u32,
    displace: bool,
) -> io::Result<UnixNode> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    }
    let _lock = Lock::take(path)?;
    let is_socket = || fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let displaced = if displace && is_socket() {
        Some(Displaced::move_aside(path)?)
    } else {
        remove_stale(path, kind)?;
        None
    };
    // The kernel makes the node with the socket's own mode, less the umask (unix(7), unix_bind): it is
    // never open wider than wanted, not even for a moment. What the umask took is added afterwards.
    let wanted = Mode::from_raw_mode(mode);
    fchmod(socket, wanted)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let made = fs::symlink_metadata(path)?;
    let node = UnixNode { path: path.to_path_buf(), device: made.dev(), inode: made.ino(), displaced };
    if made.permissions().mode() & 0o7777 != mode {
        node.set_mode(mode)?;
    }
    Ok(node)
}

fn remove_stale(path: &Path, kind: Type) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        let what = describe(&found);
        let message = format!("{} is {what}, not a socket; it is left alone", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    if is_served(path, kind)? {
        let message = format!("another process serves {}", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
    }
    fs::remove_file(path)
}

fn describe(found: &Metadata) -> &'static str {
    match found.file_type() {
        t if t.is_dir() => "a folder",
        t if t.is_symlink() => "a symbolic link",
        t if t.is_file() => "a file",
        _ => "a special file",
    }
}

/// Whether somebody answers there. A connect to a node without a process is refused; one of the other
/// type (EPROTOTYPE) is served, and so is one whose queue is full (EAGAIN: the probe never waits).
fn is_served(path: &Path, kind: Type) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, kind.nonblocking(), None)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // EPERM is a datagram socket that serves one peer only (connect(2)): served, too.
        Err(error) if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) => Err(error),
        _ => Ok(true),
    }
}

/// How often, and how many times, a lock is tried that another process holds: a second in all.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
const LOCK_TRIES: u32 = 100;

/// An exclusive lock on `PATH.lock`, which is gone afterwards.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(beside: &Path) -> io::Result<Self> {
        let mut name = OsString::from(beside);
        name.push(".lock");
        let path = PathBuf::from(name);
        for _ in 0..LOCK_TRIES {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
                .open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::AGAIN) => {
                    std::thread::park_timeout(LOCK_PAUSE);
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            // Whoever had the lock before has removed this file: then it locks nothing.
            let held = file.metadata()?;
            let same = |m: Metadata| (m.dev(), m.ino()) == (held.dev(), held.ino());
            if fs::symlink_metadata(&path).is_ok_and(same) {
                return Ok(Lock { path, _file: file });
            }
        }
        let message = format!("another process holds {}", path.display());
        Err(io::Error::new(io::ErrorKind::AddrInUse, message))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while still held, so that nobody locks a file that is about to go.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Socket {
        Socket::new(Domain::UNIX, Type::STREAM, None).unwrap()
    }

    #[test]
    fn a_node_has_its_mode_and_its_missing_folders_and_goes_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/s.sock");
        let socket = stream();
        let node = bind_path(&socket, &path, Type::STREAM, 0o666, false).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        assert_eq!(fs::metadata(folder.path().join("a")).unwrap().permissions().mode() & 0o777, 0o750);
        assert!(!folder.path().join("a/b/s.sock.lock").exists());
        drop(node);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_node_is_replaced_a_served_one_and_a_file_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = stream();
        let node = bind_path(&first, &path, Type::STREAM, 0o600, false).unwrap();
        first.listen(1).unwrap();
        let busy = bind_path(&stream(), &path, Type::STREAM, 0o600, false).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::AddrInUse);
        drop(node);
        fs::write(&path, "precious").unwrap();
        let error = bind_path(&stream(), &path, Type::STREAM, 0o600, false).unwrap_err();
        assert!(error.to_string().contains("is a file, not a socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_node_of_ours_that_leaves_comes_back_unless_the_new_one_settles() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let (old, new) = (stream(), stream());
        let node = bind_path(&old, &path, Type::STREAM, 0o600, false).unwrap();
        let inode = || fs::symlink_metadata(&path).unwrap().ino();
        let first = inode();
        drop(bind_path(&new, &path, Type::STREAM, 0o600, true).unwrap());
        assert_eq!(inode(), first);
        let mut settled = bind_path(&stream(), &path, Type::STREAM, 0o600, true).unwrap();
        settled.settle();
        drop(node);
        assert_ne!(inode(), first);
        drop(settled);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_node_that_somebody_else_put_there_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let node = bind_path(&stream(), &path, Type::STREAM, 0o600, false).unwrap();
        fs::remove_file(&path).unwrap();
        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(node);
        assert!(path.exists());
        drop(other);
    }
}
