//! What systemd hears of a gateway (`sd_notify(3)`): the test is the one who listens.

use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;

use super::{ECHO, FILE, Folder, Gateway, UPPER};
use crate::harness::DEADLINE;

/// The next message, without signs of life.
#[track_caller]
fn next(systemd: &UnixDatagram) -> Vec<String> {
    loop {
        let message = any(systemd);
        if message != ["WATCHDOG=1"] {
            return message;
        }
    }
}

#[track_caller]
fn any(systemd: &UnixDatagram) -> Vec<String> {
    let mut buffer = [0; 4096];
    let length = systemd.recv(&mut buffer).expect("a notification");
    String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned).collect()
}

fn start(watchdog: Option<&str>) -> (UnixDatagram, Gateway) {
    let folder = Folder::new();
    folder.write(FILE, &format!("admin.bind = 'tcp://127.0.0.1:0'\n{ECHO}"));
    let path = folder.path().join("notify.sock");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut command = folder.command(&["run", FILE]);
    command.env("NOTIFY_SOCKET", path).env_remove("WATCHDOG_PID");
    match watchdog {
        Some(microseconds) => command.env("WATCHDOG_USEC", microseconds),
        None => command.env_remove("WATCHDOG_USEC"),
    };
    (systemd, Gateway::start_as(folder, command))
}

#[test]
fn systemd_hears_of_start_reload_and_end() {
    let (systemd, mut gateway) = start(None);
    assert_eq!(next(&systemd), ["READY=1", "STATUS=generation 1, 1 listener"]);

    gateway.write(UPPER);
    gateway.signal(Signal::HUP);
    let reloading = next(&systemd);
    assert_eq!(reloading[0], "RELOADING=1");
    assert!(reloading[1].starts_with("MONOTONIC_USEC="), "{reloading:?}");
    // The change itself may be told before or after the end of the reload.
    let told = [next(&systemd), next(&systemd)];
    let status = "STATUS=generation 2, 1 listener".to_owned();
    assert!(told.contains(&vec!["READY=1".to_owned(), status.clone()]), "{told:?}");
    assert!(told.contains(&vec![status]), "{told:?}");

    gateway.signal(Signal::TERM);
    assert_eq!(next(&systemd), ["STOPPING=1", "STATUS=draining"]);
    assert_eq!(gateway.ended(), 0);
}

#[test]
fn a_reload_that_fails_ends_as_ready_with_what_ran_before() {
    let (systemd, gateway) = start(None);
    next(&systemd);
    gateway.write("[listeners.echo]\nbind = 1\n");
    gateway.signal(Signal::HUP);
    assert_eq!(next(&systemd)[0], "RELOADING=1");
    assert_eq!(next(&systemd), ["READY=1", "STATUS=generation 1, 1 listener"]);
}

#[test]
fn a_watchdog_hears_signs_of_life() {
    let (systemd, _gateway) = start(Some("100000"));
    let mut beats = 0;
    while beats < 3 {
        beats += usize::from(any(&systemd) == ["WATCHDOG=1"]);
    }
}
