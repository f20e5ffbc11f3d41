//! The commands that read and steer: what they print for people and for programs.

use serde_json::Value;

use super::{ECHO, Ended, FILE, Folder, Gateway, UPPER, end};

#[track_caller]
fn printed(ended: Ended) -> String {
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.stdout);
    ended.stdout
}

const BROKEN: &str = "\
[listeners.echo]
bind = 'tcp://127.0.0.1:7007'
handler = 'ecko'
[handlers.spare]
type = 'echo'
";

#[test]
fn check_shows_every_finding_at_its_place() {
    let folder = Folder::new();
    folder.write("broken.toml", BROKEN);
    let ended = folder.run(&["check", "broken.toml"]);
    let expected = "\
error: there is no handler `ecko`
 --> broken.toml:3:11
  |
3 | handler = 'ecko'
  |           ^^^^^^
  |
  = help: did you mean `echo`?
";
    assert!(ended.stdout.starts_with(expected), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("broken.toml: 1 error, 1 warning\n"), "{}", ended.stdout);
    assert_eq!((ended.code, ended.stderr.as_str()), (78, ""));
    assert_eq!(folder.run(&["check", "--config", "broken.toml"]).stdout, ended.stdout);
}

#[test]
fn check_prints_the_diagnostics_as_json() {
    let folder = Folder::new();
    folder.write("broken.toml", BROKEN);
    let ended = folder.run(&["check", "broken.toml", "--format", "json"]);
    assert_eq!(ended.code, 78);
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    let expected = serde_json::json!({
        "severity": "error", "file": "broken.toml", "pointer": "/listeners/echo/handler", "line": 3, "column": 11,
        "message": "there is no handler `ecko`", "help": "did you mean `echo`?",
    });
    assert_eq!(found["valid"], false);
    assert_eq!(found["diagnostics"][0], expected);
    assert_eq!(found["diagnostics"][1]["severity"], "warning");
    assert_eq!(found["diagnostics"].as_array().unwrap().len(), 2);
    folder.write("good.toml", ECHO);
    let good: Value =
        serde_json::from_str(&printed(folder.run(&["check", "good.toml", "--format=json"]))).unwrap();
    assert_eq!(good, serde_json::json!({ "valid": true, "diagnostics": [] }));
}

#[test]
fn the_effective_configuration_is_a_configuration_with_the_same_effect() {
    let folder = Folder::new();
    for text in
        [ECHO, include_str!("../../../config/polygate.toml"), include_str!("../../../config/reference.toml")]
    {
        folder.write("a.toml", text);
        let shown = printed(folder.run(&["config", "show", "--config", "a.toml"]));
        // What is secret is not shown: whoever takes the output for a file puts it in again.
        let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert!(!shown.contains(hash), "{shown}");
        folder.write("b.toml", &shown.replace("\"hidden\"", &format!("\"{hash}\"")));
        assert!(printed(folder.run(&["check", "b.toml"])).contains("b.toml: ok"));
        assert_eq!(printed(folder.run(&["config", "show", "--config", "b.toml"])), shown);
        let json = |file| printed(folder.run(&["config", "show", "-ojson", "--config", file]));
        assert_eq!(json("a.toml"), json("b.toml"));
        assert!(serde_json::from_str::<Value>(&json("a.toml")).unwrap()["listeners"].is_object());
    }
}

#[test]
fn the_example_and_the_shipped_file_are_valid() {
    let folder = Folder::new();
    folder.write("example.toml", &printed(folder.run(&["config", "example"])));
    assert!(printed(folder.run(&["check", "example.toml"])).contains(": ok ("));
}

/// The JSON without what passes while it is asked for.
fn still(text: &str) -> Value {
    fn still(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for passing in ["age_seconds", "idle_seconds", "duration_seconds"] {
                    map.remove(passing);
                }
                map.values_mut().for_each(still);
            }
            Value::Array(list) => list.iter_mut().for_each(still),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(text).unwrap();
    still(&mut value);
    value
}

#[test]
fn json_is_the_answer_of_the_api() {
    let gateway = Gateway::start(ECHO);
    let mut conn = gateway.connect("echo");
    conn.ask("hello", "hello");
    gateway.has_sent("echo", 5);
    let json = |arguments: &[&str]| printed(gateway.cli(arguments));
    assert_eq!(json(&["listeners", "-o", "json"]).trim_end(), gateway.get("/api/v1/listeners").body);
    let connections = still(&json(&["connections", "--output=json"]));
    assert_eq!(connections, still(&gateway.get("/api/v1/connections?sort=id").body));
    assert_eq!(connections["total"], 1);
    let effective = json(&["config", "show", "--running", "-ojson"]);
    assert_eq!(effective.trim_end(), gateway.get("/api/v1/config").body);
    let toml = gateway.ask("GET", "/api/v1/config", &[("Accept", "application/toml")], "").body;
    assert_eq!(json(&["config", "show", "--running"]), toml);
    gateway.write(UPPER);
    let dry = still(&json(&["reload", "--dry-run", "-ojson"]));
    assert_eq!(dry, still(&gateway.ask("POST", "/api/v1/config/reload?dry_run=true", &[], "").body));
    assert_eq!(dry["plan"]["changed"][0]["name"], "echo");
    assert_eq!(still(&json(&["reload", "-ojson"]))["generation"], 2);
}

#[test]
fn tables_are_for_people() {
    let gateway = Gateway::start(
        "[listeners.echo]\nbind = ['tcp://127.0.0.1:0', 'udp://127.0.0.1:0']\nhandler = 'greeter'\n\
         [listeners.idle]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'upper'\n[handlers.greeter]\ntype = 'echo'\n",
    );
    let mut conn = gateway.connect("echo");
    conn.ask("hello", "hello");
    gateway.has_sent("echo", 5);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let table = printed(gateway.cli(&["listeners"]));
    let lines: Vec<_> = table.lines().map(words).collect();
    let addresses = gateway.addresses("echo");
    assert_eq!(lines[1][..2], ["echo", "running"]);
    assert_eq!(lines[1][2..4], ["greeter", "(echo)"]);
    assert_eq!(lines[1][4..], ["1", "1", "0", "0", "5B", "5B", &addresses[0]]);
    assert_eq!(lines[2], [addresses[1].clone()]);
    assert_eq!(lines[3][..4], ["idle", "running", "upper", "0"]);
    assert_eq!(lines.len(), 4, "{table}");

    let table = printed(gateway.cli(&["connections"]));
    let lines: Vec<_> = table.lines().map(words).collect();
    assert_eq!(lines[0][..3], ["ID", "LISTENER", "TRANSPORT"]);
    assert_eq!(lines[1][1..4], ["echo", "tcp", "echo"]);
    assert_eq!(lines[1][5], "open");
    assert_eq!(lines.len(), 2, "{table}");
    for filter in
        [["--listener", "idle"], ["--transport", "unix"], ["--min-age", "1h"], ["--peer", "10.0.0.0/8"]]
    {
        let table = printed(gateway.cli(&[&["connections"], &filter[..]].concat()));
        assert_eq!(table.lines().count(), 1, "{filter:?}: {table}");
    }
    assert_eq!(
        printed(gateway.cli(&["kill", &lines[1][0]])),
        format!("connection {} is closed\n", lines[1][0])
    );
    conn.is_gone();

    gateway.write(UPPER);
    let report = printed(gateway.cli(&["reload", "--dry-run"]));
    assert!(report.contains("removed:         idle\n"), "{report}");
    assert!(report.ends_with("a reload would work; generation 1 still runs\n"), "{report}");
    assert!(printed(gateway.cli(&["reload"])).ends_with("generation 2 runs\n"));
    assert!(printed(gateway.cli(&["reload"])).ends_with("nothing to do; generation 2 runs on\n"));
}

#[test]
fn a_list_is_as_long_as_was_asked_for() {
    let gateway = Gateway::start(ECHO);
    let conns: Vec<_> = (0..5)
        .map(|_| {
            let mut conn = gateway.connect("echo");
            conn.ask("x", "x");
            conn
        })
        .collect();
    let table = printed(gateway.cli(&["connections", "--limit", "2"]));
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.ends_with("2 of 5; more with --limit\n"), "{table}");
    assert_eq!(printed(gateway.cli(&["connections"])).lines().count(), 1 + conns.len());
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let gateway = Gateway::start(ECHO);
    let commands: [&[&str]; 7] = [
        &["connections"],
        &["listeners", "-ojson"],
        &["config", "schema"],
        &["config", "example"],
        &["check", FILE],
        &["healthcheck"],
        &["--help"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = gateway.cli_command(arguments);
        command.stdout(writer);
        let ended = end(command);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn a_gateway_whose_output_nobody_reads_runs() {
    let folder = Folder::new();
    folder.write(FILE, "admin.bind = 'unix://admin.sock'");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = folder.command(&["run", FILE]);
    command.stdout(writer);
    let gateway = super::Running::start(command);
    let socket = folder.path().join("var/admin.sock");
    let url = format!("unix://{}", socket.display());
    crate::harness::eventually("it is ready", || {
        assert!(!gateway.err.text().contains("panicked"));
        socket.exists() && folder.run(&["healthcheck", "--admin", &url]).code == 0
    });
}

#[test]
fn an_option_wins_over_the_variable() {
    let gateway = Gateway::start(ECHO);
    let mut command = gateway.folder().command(&["healthcheck", "--admin", &gateway.admin()]);
    command.env("POLYGATE_ADMIN", "http://127.0.0.1:1");
    assert_eq!(end(command).code, 0);
    let mut command = gateway.folder().command(&["listeners"]);
    command.env("POLYGATE_ADMIN", "nonsense");
    let ended = end(command);
    assert_eq!(ended.code, 64);
    assert!(ended.stderr.contains("$POLYGATE_ADMIN"), "{ended:?}");
}
