//! `reload.watch`: a change of the files is taken over by itself, however it is made, and nothing that is half
//! done ever is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use polygate::gateway::Gateway;
use polygate::handlers::builtin;
use polygate::stats::Trigger;

use crate::client::Stream;
use crate::harness::{Gate, eventually};

/// An echo, or an upper, that watches its file.
fn text(handler: &str, more: &str) -> String {
    format!(
        "reload = {{ watch = true, watch_interval = '50ms' }}\n[listeners.a]\nbind = 'tcp://127.0.0.1:0'\nhandler = '{handler}'\n{more}"
    )
}

/// The whole file as [`Gate`] writes it.
fn complete(gate: &Gate, text: &str) -> String {
    format!("state_dir = {:?}\nadmin.bind = \"off\"\n{text}", gate.folder())
}

fn answers(gate: &Gate, expected: &str) -> bool {
    gate.connect("a").try_ask("hello").is_ok_and(|answer| answer == expected.as_bytes())
}

#[track_caller]
fn becomes(gate: &Gate, expected: &str) {
    eventually(&format!("it answers {expected}"), || answers(gate, expected));
}

fn failures(gate: &Gate) -> u64 {
    let snapshot = gate.stats().snapshot();
    snapshot
        .control
        .reload_failures
        .iter()
        .filter(|(trigger, ..)| *trigger == Trigger::Watch)
        .map(|(.., n)| n)
        .sum()
}

#[test]
fn a_file_may_be_written_in_place_or_replaced_as_editors_do() {
    let gate = Gate::start(&text("echo", ""));
    let mut open = gate.connect("a");
    open.ask("hello", "hello");
    fs::write(gate.file(), complete(&gate, &text("upper", ""))).unwrap();
    becomes(&gate, "HELLO");

    let new = gate.folder().join(".polygate.toml.swp");
    fs::write(&new, complete(&gate, &text("echo", ""))).unwrap();
    fs::rename(&new, gate.file()).unwrap();
    becomes(&gate, "hello");

    // And so again, now that the file is another one.
    fs::write(gate.file(), complete(&gate, &text("upper", ""))).unwrap();
    becomes(&gate, "HELLO");
    open.ask("hello", "hello");
    assert_eq!(failures(&gate), 0);
}

#[test]
fn a_file_that_is_gone_or_empty_changes_nothing() {
    let gate = Gate::start(&text("echo", ""));
    fs::write(gate.file(), "").unwrap();
    crate::harness::during(std::time::Duration::from_millis(400), || assert!(answers(&gate, "hello")));
    fs::remove_file(gate.file()).unwrap();
    crate::harness::during(std::time::Duration::from_millis(400), || assert!(answers(&gate, "hello")));
    assert_eq!(failures(&gate), 0, "it was not even tried");
    fs::write(gate.file(), complete(&gate, &text("upper", ""))).unwrap();
    becomes(&gate, "HELLO");
}

#[test]
fn a_broken_file_is_tried_once_and_repaired_by_the_next_change() {
    let gate = Gate::start(&text("echo", ""));
    fs::write(gate.file(), complete(&gate, &text("ecko", ""))).unwrap();
    eventually("it was tried", || failures(&gate) == 1);
    crate::harness::during(std::time::Duration::from_millis(400), || assert_eq!(failures(&gate), 1));
    assert!(answers(&gate, "hello"));
    fs::write(gate.file(), complete(&gate, &text("upper", ""))).unwrap();
    becomes(&gate, "HELLO");
}

#[test]
fn a_folder_that_is_swapped_as_a_configmap_is_shows_its_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |version: &str, handler: &str| {
        fs::create_dir(folder.path().join(version)).unwrap();
        let text = format!("state_dir = {:?}\nadmin.bind = 'off'\n{}", folder.path(), text(handler, ""));
        fs::write(folder.path().join(version).join("polygate.toml"), text).unwrap();
    };
    write("..1", "echo");
    symlink("..1", folder.path().join("..data")).unwrap();
    symlink("..data/polygate.toml", folder.path().join("polygate.toml")).unwrap();
    let gateway =
        Gateway::from_file(folder.path().join("polygate.toml")).handlers(builtin()).start().unwrap();
    let address = gateway.supervisor().listeners()[0].endpoints[0].address.clone();
    Stream::to(&address).ask("hello", "hello");

    // As the kubelet does it: a new folder, a new link beside the old one, and one rename.
    write("..2", "upper");
    symlink("..2", folder.path().join("..data_tmp")).unwrap();
    fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).unwrap();
    fs::remove_dir_all(folder.path().join("..1")).unwrap();
    eventually("it answers in upper case", || {
        Stream::to(&address).try_ask("hello").is_ok_and(|answer| answer == b"HELLO")
    });
}

#[test]
fn a_file_that_the_configuration_names_is_watched_as_well() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("prefix"), "one:\n").unwrap();
    let prefix = "[handlers.said]\ntype = 'echo'\nprefix = '${file:prefix}'\n";
    let gate = Gate::start_in(folder, builtin(), &text("said", prefix)).unwrap();
    becomes(&gate, "one:hello");
    fs::write(gate.folder().join("prefix"), "two:\n").unwrap();
    becomes(&gate, "two:hello");
}

#[test]
fn the_watch_itself_can_be_turned_on_and_off_by_a_reload() {
    let gate = Gate::start("[listeners.a]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n");
    gate.reload(&text("echo", ""));
    fs::write(gate.file(), complete(&gate, &text("upper", ""))).unwrap();
    becomes(&gate, "HELLO");
    gate.reload(&text("upper", "").replace("watch = true", "watch = false"));
    fs::write(gate.file(), complete(&gate, &text("echo", ""))).unwrap();
    crate::harness::during(std::time::Duration::from_millis(400), || assert!(answers(&gate, "HELLO")));
    assert!(Path::new(&gate.file()).exists());
}
