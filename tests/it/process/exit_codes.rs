//! The exit codes, which scripts and supervisors depend on.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::{ECHO, Ended, FILE, Folder, Gateway, end};
use crate::client::Stream;
use crate::harness::eventually;

/// A gateway that ends well prints on standard output only, one that fails says why on standard error only.
#[track_caller]
fn ends_with(ended: &Ended, code: i32, said: &str) {
    assert_eq!(ended.code, code, "{ended:?}");
    let (speaks, silent) =
        if code == 0 { (&ended.stdout, &ended.stderr) } else { (&ended.stderr, &ended.stdout) };
    assert!(speaks.contains(said), "not {said:?}: {ended:?}");
    assert_eq!(silent, "", "{ended:?}");
}

#[test]
fn a_command_that_cannot_work_says_so_by_its_code() {
    let folder = Folder::new();
    folder.write("good.toml", ECHO);
    folder.write("broken.toml", "[listeners.a]\nbind = 'tcp://h:1'\n");
    folder.write("half.toml", "[listeners.a]\nbind = 'tcp://h:");
    let nowhere = format!("unix://{}/nobody.sock", folder.path().display());
    let nowhere = nowhere.as_str();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--help"], 0, "Usage: polygate"),
        (&["run", "--help"], 0, "Usage: polygate run"),
        (&["--version"], 0, env!("CARGO_PKG_VERSION")),
        (&["--nonsense"], 64, "--nonsense"),
        (&["nonsense"], 64, "nonsense"),
        (&["run", "a.toml", "b.toml"], 64, "b.toml"),
        (&["run", "a.toml", "--config", "b.toml"], 64, "name one"),
        (&["config"], 64, "Usage"),
        (&["listeners", "--admin", "ftp://x"], 64, "ftp://x"),
        (&["run", "missing.toml"], 78, "missing.toml"),
        (&["run", "broken.toml"], 78, "handler"),
        (&["run", "half.toml"], 78, "half.toml:2:"),
        (&["run", "."], 78, "."),
        (&["check", "missing.toml"], 78, "missing.toml"),
        (&["config", "show", "--config", "broken.toml"], 78, "handler"),
        (&["check", "good.toml"], 0, "good.toml: ok (1 listener)"),
        (&["config", "schema"], 0, "$schema"),
        (&["config", "example"], 0, "#:schema"),
        (&["listeners", "--admin", nowhere], 69, nowhere),
        (&["connections", "--admin", nowhere], 69, nowhere),
        (&["kill", "1", "--admin", nowhere], 69, nowhere),
        (&["reload", "--admin", nowhere], 69, nowhere),
        (&["config", "show", "--running", "--admin", nowhere], 69, nowhere),
        (&["healthcheck", "--admin", nowhere], 1, nowhere),
        (&["healthcheck", "--ready", "--admin", nowhere], 1, nowhere),
        (&["healthcheck", "--nonsense"], 1, "--nonsense"),
    ];
    for (arguments, code, said) in cases {
        ends_with(&folder.run(arguments), *code, said);
    }
    // The findings are what `check` is asked for.
    let broken = folder.run(&["check", "broken.toml"]);
    assert_eq!((broken.code, broken.stderr.as_str()), (78, ""));
    assert!(broken.stdout.contains("1 error"), "{broken:?}");
}

#[test]
fn no_configuration_at_all_is_78_and_names_the_places() {
    if Path::new("/etc/polygate/polygate.toml").exists() {
        return;
    }
    let ended = Folder::new().run(&[]);
    ends_with(&ended, 78, "$POLYGATE_CONFIG");
    assert!(
        ended.stderr.contains("config/polygate.toml") && ended.stderr.contains("/etc/polygate"),
        "{ended:?}"
    );
}

/// Starts a gateway with one listener on that endpoint.
#[track_caller]
fn bind(folder: &Folder, endpoint: &str) -> Ended {
    let text = format!("admin.bind = 'off'\n[listeners.a]\nbind = '{endpoint}'\nhandler = 'echo'\n");
    folder.write(FILE, &text);
    folder.run(&["run", FILE])
}

#[test]
fn what_cannot_be_bound_is_73() {
    let folder = Folder::new();
    ends_with(&bind(&folder, "tcp://192.0.2.1:0"), 73, "listener a: cannot bind tcp://192.0.2.1:0");
    ends_with(&bind(&folder, "fd+tcp://x"), 73, "no tcp socket named x was inherited");
    ends_with(&bind(&folder, "fd+unixgram://x"), 73, "no unixgram socket named x was inherited");
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let in_use = format!("tcp://{}", tcp.local_addr().unwrap());
    ends_with(&bind(&folder, &in_use), 73, &format!("cannot bind {in_use}: Address already in use"));
    let in_use = format!("udp://{}", udp.local_addr().unwrap());
    ends_with(&bind(&folder, &in_use), 73, &format!("cannot bind {in_use}: Address already in use"));
    let file = folder.write("var/taken", "precious");
    for scheme in ["unix", "unixgram"] {
        ends_with(&bind(&folder, &format!("{scheme}://taken")), 73, "is a file, not a socket");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    }
}

#[test]
fn a_unix_socket_that_somebody_serves_is_73() {
    let first = Gateway::start(
        "[listeners.a]\nbind = ['unix://a.sock', 'unixgram://a.dgram']\nhandler = 'echo'\nlimits.max_connections = 9",
    );
    for address in first.addresses("a") {
        ends_with(&bind(&Folder::new(), &address), 73, "another process serves");
    }
    Stream::to(&first.address("a")).ask("still", "still");
}

#[test]
fn the_admin_apis_port_counts_as_well() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = Folder::new();
    folder.write(FILE, &format!("admin.bind = 'tcp://{}'\n{ECHO}", held.local_addr().unwrap()));
    ends_with(&folder.run(&["run", FILE]), 73, "listener admin: cannot bind");
}

/// A program that may not do everything: root would pass every check of permissions.
fn unprivileged(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = folder.command(arguments);
    if rustix::process::geteuid().is_root() {
        const NOBODY: u32 = 65534;
        // Where the program is built, nobody may have no way to it.
        let program = reachable(folder);
        let mut other = Command::new(program);
        other.args(arguments).uid(NOBODY).gid(NOBODY);
        folder.clean(&mut other);
        command = other;
    }
    command
}

fn reachable(folder: &Folder) -> PathBuf {
    let program = folder.path().join("program");
    if !program.exists() && std::fs::hard_link(super::PROGRAM, &program).is_err() {
        std::fs::copy(super::PROGRAM, &program).unwrap();
    }
    program
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_the_system_forbids_is_77() {
    let folder = Folder::new();
    let text = |state: &str| {
        format!(
            "state_dir = '{state}'\nadmin.bind = 'off'\n[listeners.a]\nbind = 'unix://a.sock'\nhandler = 'echo'"
        )
    };
    folder.write(FILE, &text("closed"));
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    set_mode(folder.path(), 0o755);
    set_mode(&closed, 0o555);
    let ended = end(unprivileged(&folder, &["run", FILE]));
    ends_with(&ended, 77, "Permission denied");
    // A folder that it would have to make.
    folder.write(FILE, &text("closed/new"));
    ends_with(&end(unprivileged(&folder, &["run", FILE])), 77, "Permission denied");
    set_mode(&folder.path().join(FILE), 0o000);
    for command in ["run", "check"] {
        ends_with(&end(unprivileged(&folder, &[command, FILE])), 77, "Permission denied");
    }
    set_mode(&closed, 0o755);
}

#[test]
fn commands_on_a_gateway_tell_its_answer() {
    let gateway = Gateway::start(ECHO);
    ends_with(&gateway.cli(&["healthcheck"]), 0, "ok");
    ends_with(&gateway.cli(&["healthcheck", "--ready"]), 0, "ok");
    ends_with(&gateway.cli(&["kill", "4711"]), 1, "no connection has the number 4711");
    ends_with(&gateway.cli(&["connections", "--listener", "nobody"]), 0, "ID");
    gateway.write("[listeners.echo]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'ecko'\n");
    for arguments in [["reload", "-otable"], ["reload", "--dry-run"]] {
        ends_with(&gateway.cli(&arguments), 78, "polygate.toml:4:11: error: there is no handler `ecko`");
    }
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    gateway.write(&format!(
        "{ECHO}[listeners.b]\nbind = 'tcp://{}'\nhandler = 'echo'",
        held.local_addr().unwrap()
    ));
    for arguments in [["reload", "-ojson"], ["reload", "--dry-run"]] {
        ends_with(&gateway.cli(&arguments), 73, "Address already in use");
    }
    gateway.connect("echo").ask("still", "still");
}

#[test]
fn the_end_by_a_signal_is_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut gateway = Gateway::start(ECHO);
        let mut conn = gateway.connect("echo");
        conn.ask("x", "x");
        drop(conn);
        gateway.signal(signal);
        assert_eq!(gateway.ended(), 0);
    }
}

#[test]
fn a_second_signal_ends_it_at_once_with_1() {
    let mut gateway = Gateway::start(&format!("shutdown.grace = '1h'\n{ECHO}"));
    let mut conn = gateway.connect("echo");
    conn.ask("x", "x");
    gateway.signal(Signal::TERM);
    gateway.logged("it drains", |line| line["message"] == "draining");
    gateway.signal(Signal::INT);
    assert_eq!(gateway.ended(), 1);
    conn.is_gone();
    let last = gateway.log().into_iter().rfind(|line| line["target"] == "polygate::run").unwrap();
    assert_eq!(last["message"], "stopped before everything was drained");
}

#[test]
fn a_grace_that_ran_out_is_0() {
    let mut gateway = Gateway::start(&format!("shutdown.grace = '100ms'\n{ECHO}"));
    let mut conn = gateway.connect("echo");
    conn.ask("x", "x");
    assert_eq!(gateway.stop(), 0);
    conn.is_gone();
    let closed = gateway.log().into_iter().find(|line| line["message"] == "closed").unwrap();
    assert_eq!(closed["reason"], "drain");
    let stopped = gateway.log().into_iter().find(|line| line["message"] == "stopped").unwrap();
    assert_eq!((&stopped["finished"], &stopped["killed"]), (&0.into(), &1.into()));
}

#[test]
fn a_gateway_whose_listeners_have_all_had_enough_ends_with_0() {
    let text = "
        [defaults]
        limits.accept_total = 2
        [listeners.a]
        bind = ['tcp://127.0.0.1:0', 'unix://a.sock']
        handler = 'echo'
        [listeners.b]
        bind = 'udp://127.0.0.1:0'
        handler = 'echo'
    ";
    let mut gateway = Gateway::start(text);
    for address in gateway.addresses("a") {
        Stream::to(&address).ask("x", "x");
    }
    eventually("a has stopped", || gateway.json("/api/v1/listeners/a")["state"] == "stopped");
    assert!(Stream::try_to(&gateway.address("a")).is_err(), "its port is closed");
    assert_eq!(gateway.cli(&["healthcheck"]).code, 0, "and the gateway goes on");
    let datagrams = crate::client::Datagrams::to(&gateway.address("b"));
    datagrams.ask("x", "x");
    datagrams.ask("y", "y");
    assert_eq!(gateway.ended(), 0);
}
