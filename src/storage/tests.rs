//! Tests of a home on the local disk: what is complete, what is a partial, and that the account is exact.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFolder};
use super::*;
use crate::config::Durability;

/// A home in a temporary folder.
struct Fixture {
    home: Home,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new(quota: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        let home = open(&folder.path().join("home"), quota);
        Fixture { home, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// As after a crash: nothing is known of what was under way.
    fn restart(&mut self) {
        self.home = open(&self.path(), self.home.usage().quota());
    }

    async fn put(&self, name: &str, content: &str) -> Result<(), StorageError> {
        let mut sink = self.home.open_write(&at(name), How::Create, None).await?;
        match sink.write(content.to_owned()).await.1 {
            Ok(()) => sink.commit().await,
            Err(error) => {
                sink.keep().await.unwrap();
                Err(error)
            }
        }
    }

    /// An upload that is cut after so much.
    async fn cut(&self, name: &str, how: How, content: &str) {
        let mut sink = self.home.open_write(&at(name), how, None).await.unwrap();
        sink.write(content.to_owned()).await.1.unwrap();
        sink.keep().await.unwrap();
    }

    async fn get(&self, name: &str) -> Result<String, StorageError> {
        let mut content = String::new();
        self.home.open_read(&at(name), 0).await?.file.read_to_string(&mut content).unwrap();
        Ok(content)
    }

    async fn names(&self, folder: &str) -> Vec<(String, Kind, u64)> {
        let mut listing = self.home.list(&at(folder)).await.unwrap();
        let mut names = Vec::new();
        while let Some(batch) = listing.next().await.unwrap() {
            names.extend(batch.into_iter().map(|e| (e.name.into_string().unwrap(), e.kind, e.size)));
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names
    }

    /// The account is the sum of what is there.
    #[track_caller]
    fn exact(&self) {
        assert_eq!(self.home.usage().used(), sum(&self.path()));
    }
}

fn open(path: &Path, quota: u64) -> Home {
    let folder = DiskFolder::open(path, Disk::new(Durability::Acked)).unwrap();
    Home::new(Arc::new(folder), Arc::new(Usage::new(quota, false)), Pool::new(64))
}

fn at(name: &str) -> HomePath {
    HomePath::ROOT.join(name).unwrap()
}

/// The sizes of all regular files below a folder.
fn sum(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let meta = entry.path().symlink_metadata().unwrap();
            if meta.is_dir() { sum(&entry.path()) } else { u64::from(meta.is_file()) * meta.len() }
        })
        .sum()
}

const AT: fn(u64) -> How = |offset| How::At { offset, keep_tail: false };

#[tokio::test]
async fn an_upload_is_there_as_a_whole_or_not_at_all() {
    let files = Fixture::new(1000);
    let mut sink = files.home.open_write(&at("a"), How::Create, None).await.unwrap();
    sink.write("half").await.1.unwrap();
    assert!(matches!(files.home.find(&at("a")).await, Err(StorageError::NotFound)));
    assert!(files.names("/").await.is_empty());
    sink.write(" and half").await.1.unwrap();
    assert_eq!((sink.size(), files.home.usage().used()), (13, 13));
    sink.commit().await.unwrap();
    assert_eq!(files.get("a").await.unwrap(), "half and half");
    files.put("a", "new").await.unwrap();
    assert_eq!(files.get("a").await.unwrap(), "new");
    assert_eq!(files.names("/").await, [("a".into(), Kind::File, 3)]);
    files.exact();
}

#[tokio::test]
async fn a_cut_upload_is_a_partial_that_goes_on() {
    let files = Fixture::new(1000);
    files.cut("a", How::Create, "one ").await;
    assert_eq!(files.names("/").await, [("a.partial".into(), Kind::Partial, 4)]);
    assert!(matches!(files.get("a").await, Err(StorageError::Incomplete)));
    let found = files.home.find(&at("a")).await.unwrap();
    assert_eq!((found.kind, found.size), (Kind::Partial, 4));
    assert_eq!(files.get("a.partial").await.unwrap(), "one ");

    // APPE, then REST into what is there, each cut again.
    files.cut("a", How::Append, "two ").await;
    files.cut("a", AT(6), "hree").await;
    assert_eq!(files.get("a.partial").await.unwrap(), "one twhree");
    files.exact();
    let beyond = files.home.open_write(&at("a"), AT(11), None).await;
    assert!(matches!(beyond, Err(StorageError::Offset)));
    let mut sink = files.home.open_write(&at("a"), AT(4), None).await.unwrap();
    assert!(
        matches!(files.home.find(&at("a")).await, Err(StorageError::NotFound)),
        "it is that upload's now"
    );
    sink.write("two").await.1.unwrap();
    sink.commit().await.unwrap();
    assert_eq!(files.names("/").await, [("a".into(), Kind::File, 7)]);
    assert_eq!(files.get("a").await.unwrap(), "one two");
    files.exact();
}

#[tokio::test]
async fn a_cut_overwrite_keeps_the_old_file() {
    let files = Fixture::new(1000);
    files.put("a", "old content").await.unwrap();
    files.cut("a", How::Create, "new").await;
    files.cut("a", How::Append, "more").await;
    assert_eq!(files.names("/").await, [("a".into(), Kind::File, 11)]);
    files.exact();
    // One that began with an offset keeps its partial beside the file.
    files.cut("a", AT(4), "new").await;
    assert_eq!(files.get("a").await.unwrap(), "old content");
    assert_eq!(files.get("a.partial").await.unwrap(), "old new");
    files.exact();
    files.put("a", "x").await.unwrap();
    assert_eq!(files.names("/").await, [("a".into(), Kind::File, 1)]);
    files.exact();
}

#[tokio::test]
async fn offsets_into_a_complete_file_cut_its_tail_off_or_keep_it() {
    let files = Fixture::new(1000);
    for (how, expected) in [
        (AT(2), "01xx"),
        (How::At { offset: 2, keep_tail: true }, "01xx456789"),
        (How::At { offset: 9, keep_tail: true }, "012345678xx"),
        (AT(10), "0123456789xx"),
        (How::Append, "0123456789xx"),
    ] {
        files.put("a", "0123456789").await.unwrap();
        let mut sink = files.home.open_write(&at("a"), how, None).await.unwrap();
        sink.write("xx").await.1.unwrap();
        sink.commit().await.unwrap();
        assert_eq!(files.get("a").await.unwrap(), expected, "{how:?}");
        files.exact();
    }
    assert!(matches!(files.home.open_read(&at("a"), 13).await, Err(StorageError::Offset)));
}

#[tokio::test]
async fn a_file_of_a_client_that_looks_like_a_partial_is_its_own() {
    let files = Fixture::new(1000);
    files.put("a.partial", "mine").await.unwrap();
    files.cut("a", How::Create, "cut").await;
    assert_eq!(files.names("/").await, [("a.partial".into(), Kind::File, 4)]);
    assert_eq!(files.get("a.partial").await.unwrap(), "mine");
    files.home.remove(&at("a.partial")).await.unwrap();
    assert_eq!(files.names("/").await, [("a.partial".into(), Kind::Partial, 3)]);
    // A partial can be given its name by hand, or removed.
    files.home.rename(&at("a.partial"), &at("b")).await.unwrap();
    assert_eq!(files.names("/").await, [("b".into(), Kind::File, 3)]);
    files.cut("a", How::Create, "cut").await;
    files.home.remove(&at("a.partial")).await.unwrap();
    files.exact();
    for name in [".polygate-~a.partial", "x/.polygate-", ".polygate-/x"] {
        assert!(matches!(HomePath::ROOT.join(name), Err(StorageError::Name)), "{name}");
    }
}

#[tokio::test]
async fn what_a_crash_leaves_becomes_the_partial_and_is_counted() {
    let mut files = Fixture::new(1000);
    files.put("whole", "whole").await.unwrap();
    files.home.make_folder(&at("d")).await.unwrap();
    for name in ["d/new", "whole", &format!("d/{}", "n".repeat(250))] {
        let mut sink = files.home.open_write(&at(name), How::Create, None).await.unwrap();
        sink.write("arrived").await.1.unwrap();
        // Nobody is there any more to put it in order.
        std::mem::forget(sink);
    }
    files.restart();
    files.home.counted().await.unwrap();
    assert_eq!(files.names("d").await, [("new.partial".into(), Kind::Partial, 7)]);
    assert_eq!(fs::read_dir(files.path()).unwrap().count(), 2);
    assert_eq!(files.home.usage().used(), 12);
    files.exact();
    let mut sink = files.home.open_write(&at("d/new"), How::Append, None).await.unwrap();
    sink.write(" all").await.1.unwrap();
    sink.commit().await.unwrap();
    assert_eq!(files.get("d/new").await.unwrap(), "arrived all");
}

#[tokio::test]
async fn an_upload_that_is_dropped_is_cut() {
    let files = Fixture::new(1000);
    let mut sink = files.home.open_write(&at("a"), How::Create, Some(500)).await.unwrap();
    sink.write("some").await.1.unwrap();
    assert_eq!(files.home.usage().used(), 500);
    drop(sink);
    while files.names("/").await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(files.names("/").await, [("a.partial".into(), Kind::Partial, 4)]);
    let _order = files.home.usage().in_order();
    files.exact();
}

#[tokio::test]
async fn a_quota_is_met_to_the_byte_net_of_what_is_replaced() {
    let files = Fixture::new(10);
    files.put("a", "01234567").await.unwrap();
    assert!(matches!(files.put("b", "012").await, Err(StorageError::Quota)));
    files.put("b", "01").await.unwrap();
    // Nothing is left: known before anything is sent, unless a file is replaced.
    assert!(matches!(files.home.open_write(&at("c"), How::Create, None).await, Err(StorageError::Quota)));
    files.put("a", "abcdefgh").await.unwrap();
    let too_much = files.home.open_write(&at("a"), How::Create, Some(9)).await;
    assert!(matches!(too_much, Err(StorageError::Quota)));
    files.exact();
    // The file that would have been replaced goes away meanwhile, and somebody else takes the room.
    let mut sink = files.home.open_write(&at("a"), How::Create, None).await.unwrap();
    sink.write("ABCDEFGH").await.1.unwrap();
    files.home.remove(&at("a")).await.unwrap();
    files.put("d", "0123").await.unwrap();
    assert!(matches!(sink.commit().await, Err(StorageError::Quota)));
    assert_eq!(files.home.usage().used(), 6);
    files.exact();
}

#[tokio::test]
async fn removing_and_renaming_keep_the_account() {
    let files = Fixture::new(1000);
    files.put("a", "aaaa").await.unwrap();
    files.put("b", "bb").await.unwrap();
    fs::hard_link(files.path().join("a"), files.path().join("twin")).unwrap();
    files.home.make_folder(&at("d")).await.unwrap();
    files.home.rename(&at("a"), &at("a")).await.unwrap();
    files.home.rename(&at("b"), &at("d/b")).await.unwrap();
    files.home.rename(&at("d"), &at("e")).await.unwrap();
    files.put("b", "bbb").await.unwrap();
    files.home.rename(&at("b"), &at("e/b")).await.unwrap();
    assert_eq!(files.get("e/b").await.unwrap(), "bbb");
    assert_eq!(files.home.usage().used(), 7);
    assert!(matches!(files.home.remove(&at("e")).await, Err(StorageError::IsAFolder)));
    assert!(matches!(files.home.remove_folder(&at("e")).await, Err(StorageError::NotEmpty)));
    assert!(matches!(files.home.remove_folder(&at("a")).await, Err(StorageError::NotAFolder)));
    assert!(matches!(files.home.remove_folder(&at("/")).await, Err(StorageError::Denied)));
    assert!(matches!(files.home.make_folder(&at("e")).await, Err(StorageError::Exists)));
    files.home.remove(&at("e/b")).await.unwrap();
    files.home.remove_folder(&at("e")).await.unwrap();
    assert_eq!(files.home.usage().used(), 4);
}

#[tokio::test]
async fn nothing_leads_out() {
    let files = Fixture::new(1000);
    let outside = files.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let inside = files.path();
    symlink(&outside, inside.join("out")).unwrap();
    symlink("../outside/secret", inside.join("file")).unwrap();
    symlink("/proc/self/root/etc", inside.join("magic")).unwrap();
    symlink("loop", inside.join("loop")).unwrap();
    for name in ["out/secret", "file", "magic/passwd", "loop", "loop/x"] {
        let denied = |result: Result<(), StorageError>| assert!(matches!(result, Err(StorageError::Denied)));
        denied(files.home.open_read(&at(name), 0).await.map(drop));
        denied(files.home.open_write(&at(&format!("{name}/x")), How::Create, None).await.map(drop));
        denied(files.home.list(&at(&format!("{name}/x"))).await.map(drop));
        denied(files.home.remove(&at(&format!("{name}/x"))).await);
    }
    assert_eq!(files.home.find(&at("file")).await.unwrap().kind, Kind::Other);
    assert_eq!(files.names("/").await.iter().filter(|(_, kind, _)| *kind == Kind::Other).count(), 4);
    // Replacing and removing act on the link.
    files.put("file", "own").await.unwrap();
    files.home.remove(&at("out")).await.unwrap();
    files.home.set_mode(&at("magic"), 0o777).await.unwrap_err();
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    files.home.make_folder(&at("d")).await.unwrap();
    symlink("d", inside.join("in")).unwrap();
    files.put("in/a", "a").await.unwrap();
    assert_eq!(files.get("d/a").await.unwrap(), "a");
    assert_eq!(files.home.find_folder(&at("in")).await.unwrap().kind, Kind::Folder);
    files.exact();
}

#[tokio::test]
async fn times_and_modes_can_be_set_and_the_gateway_keeps_what_it_needs() {
    let files = Fixture::new(1000);
    files.put("a", "a").await.unwrap();
    let time = SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 5);
    files.home.set_modified(&at("a"), time).await.unwrap();
    files.home.set_mode(&at("a"), 0o4044).await.unwrap();
    let found = files.home.find(&at("a")).await.unwrap();
    assert_eq!((found.modified, found.mode, found.links), (time, 0o644, 1));
}

#[tokio::test]
async fn an_account_that_may_not_write_or_is_closed_cannot() {
    let files = Fixture::new(1000);
    files.put("a", "a").await.unwrap();
    let mut sink = files.home.open_write(&at("b"), How::Create, None).await.unwrap();
    files.home.usage().set_read_only(true);
    assert!(matches!(sink.write("x").await.1, Err(StorageError::ReadOnly)));
    assert!(matches!(files.home.remove(&at("a")).await, Err(StorageError::ReadOnly)));
    assert_eq!(files.get("a").await.unwrap(), "a");
    files.home.usage().set_closed(true);
    assert!(matches!(files.get("a").await, Err(StorageError::Closed)));
    sink.discard().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_a_quota_are_counted_to_the_byte() {
    const WRITERS: usize = 64;
    let files = Arc::new(Fixture::new(64 * 1024));
    for round in 0..6 {
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                let files = files.clone();
                tokio::spawn(async move {
                    // Some share a name, some are cut, some rename and remove what is there.
                    let name = format!("f{}", n % 40);
                    let size = (n * 977 + round * 131) % 4000 + 1;
                    let how = if n % 5 == 0 { How::Append } else { How::Create };
                    let Ok(mut sink) = files.home.open_write(&at(&name), how, None).await else { return };
                    for _ in 0..3 {
                        let (_, result) = sink.write(vec![b'x'; size / 3 + 1]).await;
                        assert!(files.home.usage().used() <= files.home.usage().quota());
                        if result.is_err() {
                            return drop(sink.keep().await);
                        }
                    }
                    drop(if n % 7 == 0 { sink.keep().await } else { sink.commit().await });
                    if n % 11 == 0 {
                        drop(files.home.rename(&at(&name), &at(&format!("f{}", n % 13))).await);
                        drop(files.home.remove(&at(&format!("f{}", n % 17))).await);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        assert!(sum(&files.path()) <= 64 * 1024);
        files.exact();
    }
}

#[tokio::test]
async fn a_large_directory_is_listed_in_batches() {
    let files = Fixture::new(1000);
    for n in 0..1000 {
        fs::write(files.path().join(n.to_string()), "").unwrap();
    }
    let mut listing = files.home.list(&HomePath::ROOT).await.unwrap();
    let mut seen = 0;
    while let Some(batch) = listing.next().await.unwrap() {
        assert!(batch.len() <= 256);
        seen += batch.len();
    }
    assert_eq!(seen, 1000);
    assert_eq!(files.names("7").await, [("7".into(), Kind::File, 0)]);
    assert!(matches!(files.home.list(&at("none")).await, Err(StorageError::NotFound)));
}
