//! Accounts as operators see them: over the admin API and on the command line.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{ECHO, Ended, Folder, Gateway, end};
use crate::client::Stream;
use crate::harness::eventually;

const DROP: &str = "
accounts = { quota = '1KiB' }
[listeners.drop]
bind = 'tcp://127.0.0.1:0'
handler = 'json-ftp'
";

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn login(gateway: &Gateway, name: &str, password: &str, answer: &str) -> Stream {
    let mut client = gateway.connect("drop");
    client.hear("欢迎使用... ");
    client.ask(json!({ "cmd": "check_user", "username": name, "password": password }).to_string(), answer);
    client
}

/// A command that is given a line on standard input.
fn given(gateway: &Gateway, line: &str, arguments: &[&str]) -> Ended {
    let mut command = gateway.cli_command(arguments);
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(line.as_bytes()).unwrap();
    drop(writer);
    command.stdin(Stdio::from(reader));
    end(command)
}

#[test]
fn an_account_lives_over_the_api() {
    let gateway = Gateway::start(DROP);
    let new = json!({ "name": "ann", "password": "sesame", "quota_bytes": 5 }).to_string();
    let made = gateway.ask("POST", "/api/v1/accounts", &[JSON], &new);
    assert_eq!((made.status, made.header("location")), (201, Some("/api/v1/accounts/ann")));
    let account = made.json();
    let created = account["created_at"].as_str().unwrap();
    assert!(created.ends_with('Z'), "{created}");
    let expected = json!({
        "name": "ann", "quota_bytes": 5, "bandwidth_bytes_per_second": null, "used_bytes": 0, "read_only": false, "disabled": false, "home": "ann",
        "created_at": created, "last_login_at": null,
    });
    assert_eq!(account, expected);
    assert_eq!(gateway.json("/api/v1/accounts/ann"), expected);
    assert_eq!(
        gateway.json("/api/v1/accounts"),
        json!({ "items": [expected], "next_cursor": null, "total": 1 })
    );
    gateway.ask("POST", "/api/v1/accounts", &[JSON], &new).is_problem(409);

    // What is changed holds for those who are logged in.
    let mut client = login(&gateway, "ann", "sesame", "登陆成功");
    assert!(gateway.json("/api/v1/accounts/ann")["last_login_at"].is_string());
    let put = r#"{"cmd":"put","filename":"a","filesize":9}"#;
    client.ask(put, "Invalid command...");
    let patch = |changes: Value| gateway.ask("PATCH", "/api/v1/accounts/ann", &[JSON], &changes.to_string());
    assert_eq!(patch(json!({ "quota_bytes": null, "read_only": true })).json()["quota_bytes"], 1024);
    client.ask(put, "Invalid command...");
    assert_eq!(patch(json!({ "read_only": false })).status, 200);
    client.ask(format!("{put}123456789{put}"), "Start9");
    assert_eq!(gateway.json("/api/v1/accounts/ann")["used_bytes"], 9);
    assert_eq!(patch(json!({ "password": "open", "disabled": true })).json()["disabled"], true);
    client.ask(r#"{"cmd":"ls"}"#, "Invalid command...");
    login(&gateway, "ann", "open", "密码错误");
    assert_eq!(patch(json!({ "disabled": false })).status, 200);
    login(&gateway, "ann", "open", "登陆成功");
    login(&gateway, "ann", "sesame", "密码错误");

    assert_eq!(gateway.ask("DELETE", "/api/v1/accounts/ann", &[], "").status, 204);
    gateway.ask("DELETE", "/api/v1/accounts/ann", &[], "").is_problem(404);
    gateway.get("/api/v1/accounts/ann").is_problem(404);
    login(&gateway, "ann", "open", "用户名不存在");
    let files = gateway.folder().path().join("var/files");
    assert!(!files.join("ann").exists());
    let aside = std::fs::read_dir(files.join(".removed")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_to_string(aside.join("a")).unwrap(), "123456789");
    let audit = gateway.logged("the removal", |line| line["action"] == "remove account");
    assert_eq!((&audit["account"], &audit["done"]), (&"ann".into(), &true.into()));
    assert!(!gateway.stderr().contains("sesame"), "a password is in the log");
}

#[test]
fn what_is_no_account_is_refused() {
    let gateway = Gateway::start(DROP);
    for (body, status) in [
        (r#"{"name":"../x","password":"p"}"#, 422),
        (r#"{"name":"x","password":""}"#, 422),
        (r#"{"name":"x"}"#, 422),
        (r#"{"name":"x","password":"p","quota":1}"#, 422),
        (r#"{"name":"x","password":"p","quota_bytes":-1}"#, 422),
        ("{", 422),
        // Fields in a row, without their names.
        (r#"["zoe","sesame"]"#, 422),
    ] {
        gateway.ask("POST", "/api/v1/accounts", &[JSON], body).is_problem(status);
    }
    gateway.ask("POST", "/api/v1/accounts", &[("Content-Type", "text/plain")], "{}").is_problem(415);
    for query in ["limit=0", "limit=1001", "sort=size", "name=x"] {
        gateway.get(&format!("/api/v1/accounts?{query}")).is_problem(400);
    }
    gateway.ask("PATCH", "/api/v1/accounts/x", &[JSON], "{}").is_problem(404);
    let none = Gateway::start(ECHO);
    none.get("/api/v1/accounts").is_problem(409);
    assert!(!none.folder().path().join("var/accounts.db").exists());
}

#[test]
fn accounts_are_kept_on_the_command_line() {
    let gateway = Gateway::start(DROP);
    let said = |ended: Ended| {
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.stdout);
        ended.stdout
    };
    let made = given(&gateway, "sesame\n", &["accounts", "add", "ann", "--quota", "2KiB"]);
    assert_eq!(said(made), "account ann is made\n");
    assert_eq!(given(&gateway, "sesame\n", &["accounts", "add", "ann"]).code, 1);
    assert_eq!(given(&gateway, "\n", &["accounts", "add", "bob"]).code, 1);
    assert_eq!(given(&gateway, "x\n", &["accounts", "add", "b/b"]).code, 1);
    assert_eq!(gateway.cli(&["accounts", "add", "bob", "--quota", "0B"]).code, 64);
    said(given(&gateway, "x", &["accounts", "add", "bob", "--read-only"]));
    let table = said(gateway.cli(&["accounts", "list"]));
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("read-only"), "{table}");
    let list: Value = serde_json::from_str(&said(gateway.cli(&["accounts", "list", "-ojson"]))).unwrap();
    assert_eq!((&list["total"], &list["items"][0]["quota_bytes"]), (&2.into(), &2048.into()));
    said(gateway.cli(&["accounts", "quota", "ann", "default"]));
    assert!(said(gateway.cli(&["accounts", "show", "ann"])).contains("bandwidth   the handler's\n"));
    for (given, shown) in [("10MiB", "10MiB/s"), ("off", "no limit"), ("default", "the handler's")] {
        said(gateway.cli(&["accounts", "bandwidth", "ann", given]));
        let text = said(gateway.cli(&["accounts", "show", "ann"]));
        assert!(text.contains(&format!("bandwidth   {shown}\n")), "{text}");
    }
    said(gateway.cli(&["accounts", "disable", "ann"]));
    let shown = said(gateway.cli(&["accounts", "show", "ann"]));
    assert!(shown.contains("disabled") && shown.contains("last login  never"), "{shown}");
    said(gateway.cli(&["accounts", "enable", "ann"]));
    assert_eq!(
        said(given(&gateway, "open\r\n", &["accounts", "passwd", "ann"])),
        "account ann has a new password\n"
    );
    login(&gateway, "ann", "open", "登陆成功");
    assert_eq!(said(gateway.cli(&["accounts", "remove", "ann"])), "account ann is removed\n");
    assert_eq!(gateway.cli(&["accounts", "remove", "ann"]).code, 1);
    assert_eq!(gateway.cli(&["accounts", "show", "ann"]).code, 1);
}

#[test]
fn two_gateways_do_not_share_a_database() {
    let gateway = Gateway::start(DROP);
    let state = gateway.folder().path().join("var");
    let second = Folder::new();
    second.write("polygate.toml", &format!("state_dir = {state:?}\nadmin.bind = 'off'\n{DROP}"));
    let ended = second.run(&["run", "polygate.toml"]);
    assert_eq!(ended.code, 78);
    assert!(ended.stderr.contains("another polygate uses this database"), "{}", ended.stderr);
}

/// However often the program is killed: no file is torn, no old version lost, and the account is the sum of
/// what is there. `ci/slow/kill9.sh` does it 200 times.
#[test]
fn a_killed_program_leaves_whole_files_and_an_exact_account() {
    let mut gateway = Gateway::start(&DROP.replace("1KiB", "64MiB"));
    said_ok(given(&gateway, "p\n", &["accounts", "add", "ann"]));
    for round in 0..3_usize {
        let mut client = login(&gateway, "ann", "p", "登陆成功");
        for n in 0..round + 1 {
            let name = format!("{round}-{n}");
            let content = vec![b'a' + u8::try_from(n).unwrap(); 100_000];
            client.say(format!(r#"{{"cmd":"put","filename":"{name}","filesize":{}}}"#, content.len()));
            client.hear("Start");
            client.say(&content);
        }
        // One more, of which only a part arrives.
        client.ask(r#"{"cmd":"put","filename":"last","filesize":100000}"#, resumed(round));
        client.say(vec![b'z'; 10_000]);
        let files = gateway.folder().path().join("var/files/ann");
        let wanted = 100_000 * total(round) + 10_000 * (round as u64 + 1);
        eventually("all of it is on the disk", || sum(&files) == wanted);
        gateway = gateway.again();
        let account = gateway.json("/api/v1/accounts/ann");
        assert_eq!(account["used_bytes"], wanted, "{account}");
        for entry in std::fs::read_dir(&files).unwrap() {
            let path = entry.unwrap().path();
            let content = std::fs::read(&path).unwrap();
            let is_partial = path.to_string_lossy().ends_with(".partial");
            assert!(content.len() == 100_000 || is_partial, "{path:?} is torn: {}", content.len());
            assert!(content.iter().all(|byte| *byte == content[0]), "{path:?} is mixed");
        }
    }
}

fn said_ok(ended: Ended) {
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

/// What the gateway says that it has of the file that was cut each round.
fn resumed(round: usize) -> String {
    if round == 0 { "Start".into() } else { (10_000 * round).to_string() }
}

/// How many whole files there are after a round.
fn total(round: usize) -> u64 {
    (1..=round as u64 + 1).sum()
}

fn sum(folder: &std::path::Path) -> u64 {
    std::fs::read_dir(folder).unwrap().filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}
