//! Nodes of Unix sockets: their mode, their folders, and what stands in their place already.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use polygate::handlers;

use crate::client::{Datagrams, Stream};
use crate::harness::Gate;

const BOTH: &str = "[listeners.l]\nbind = ['unix://l.sock', 'unixgram://l.dgram']\nhandler = 'echo'\n";

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_node_has_mode_0660_or_the_one_that_is_set_and_a_reload_changes_it() {
    let gate = Gate::start(BOTH);
    let nodes = ["l.sock", "l.dgram"].map(|name| gate.folder().join(name));
    let inodes = nodes.each_ref().map(|node| fs::metadata(node).unwrap().ino());
    for (keys, expected) in
        [("", 0o660), ("socket.unix_mode = '0600'", 0o600), ("socket.unix_mode = '0666'", 0o666), ("", 0o660)]
    {
        gate.reload(&format!("{BOTH}{keys}"));
        nodes.iter().for_each(|node| assert_eq!(mode(node), expected, "{}", node.display()));
    }
    assert_eq!(nodes.each_ref().map(|node| fs::metadata(node).unwrap().ino()), inodes, "other sockets");
    gate.connect("l").ask("hi", "hi");
    let narrow = Gate::start(&format!("{BOTH}socket.unix_mode = '0600'"));
    assert_eq!(mode(narrow.folder().join("l.sock")), 0o600);
}

#[test]
fn missing_folders_are_made_for_owner_and_group() {
    let gate = Gate::start("[listeners.l]\nbind = 'unix://run/deep/l.sock'\nhandler = 'echo'");
    assert_eq!((mode(gate.folder().join("run")), mode(gate.folder().join("run/deep"))), (0o750, 0o750));
    gate.connect("l").ask("hi", "hi");
}

#[test]
fn a_node_that_nobody_serves_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(folder.path().join("l.sock")).unwrap());
    drop(UnixDatagram::bind(folder.path().join("l.dgram")).unwrap());
    let gate = Gate::start_in(folder, handlers::builtin(), BOTH).unwrap();
    gate.connect("l").ask("hi", "hi");
    Datagrams::to(&gate.addresses("l")[1]).ask("hi", "hi");
}

/// A reload does not bind where that stands in the way, says so, and leaves it.
#[track_caller]
fn is_left_alone(name: &str, complaint: &str, make: impl FnOnce(&Path)) {
    let gate = Gate::start("");
    let node = gate.folder().join(name);
    make(&node);
    let before = fs::symlink_metadata(&node).unwrap();
    let error = gate.try_reload(BOTH).unwrap_err().to_string();
    assert!(error.contains(complaint) && error.contains(&node.display().to_string()), "{error}");
    let after = fs::symlink_metadata(&node).unwrap();
    assert_eq!((after.ino(), after.len()), (before.ino(), before.len()));
}

#[test]
fn a_node_that_somebody_serves_is_left_alone() {
    let (mut stream, mut datagram) = (None, None);
    is_left_alone("l.sock", "another process serves", |at| stream = UnixListener::bind(at).ok());
    is_left_alone("l.dgram", "another process serves", |at| datagram = UnixDatagram::bind(at).ok());
    assert!(stream.is_some() && datagram.is_some());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    is_left_alone("l.sock", "is a file, not a socket", |at| fs::write(at, "precious").unwrap());
    is_left_alone("l.dgram", "is a folder, not a socket", |at| fs::create_dir(at).unwrap());
    is_left_alone("l.sock", "is a symbolic link, not a socket", |at| {
        std::os::unix::fs::symlink("/nonexistent", at).unwrap();
    });
}

#[test]
fn exit_removes_the_nodes_and_not_what_somebody_put_in_their_place() {
    let gate = Gate::start(BOTH);
    let [stream, datagram] = ["l.sock", "l.dgram"].map(|name| gate.folder().join(name));
    fs::remove_file(&stream).unwrap();
    let others = UnixListener::bind(&stream).unwrap();
    gate.shutdown();
    assert!(!datagram.exists());
    UnixStream::connect(&stream).expect("another one's socket was removed");
    drop(others);
}

#[test]
fn a_node_is_there_for_whoever_connects_while_a_reload_keeps_it() {
    let gate = Gate::start(BOTH);
    let address = gate.address("l");
    gate.reload(&BOTH.replace("listeners.l", "listeners.renamed"));
    Stream::to(&address).ask("hi", "hi");
}
