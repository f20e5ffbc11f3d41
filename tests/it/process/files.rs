//! `put`, `get` and `ls` against both servers of files, whole and cut.

use std::fs;
use std::io::Write as _;

use serde_json::Value;

use super::{Ended, Gateway, end};

const LISTENERS: &str = "
[accounts]
registration = true
[listeners.ftp]
bind = 'tcp://127.0.0.1:0'
handler = 'files'
[handlers.files]
type = 'ftp'
anonymous = { root = 'pub' }
[listeners.drop]
bind = 'tcp://127.0.0.1:0'
handler = 'json-ftp'
";

/// A gateway with the account `ann`.
fn gateway() -> Gateway {
    let gateway = Gateway::start(LISTENERS);
    let mut client = gateway.connect("drop");
    client.hear("欢迎使用... ");
    client.ask(r#"{"cmd":"register","username":"ann","password":"sesame"}"#, "注册成功");
    gateway
}

/// The URL of a name, per listener.
fn url(gateway: &Gateway, listener: &str, name: &str) -> String {
    let at = gateway.address(listener);
    let scheme = if listener == "ftp" { "ftp" } else { "json-ftp" };
    format!("{scheme}://ann@{}/{name}", at.strip_prefix("tcp://").unwrap())
}

/// Runs a command with the password in the environment.
#[track_caller]
fn run(gateway: &Gateway, arguments: &[&str]) -> Ended {
    let mut command = gateway.folder().command(arguments);
    command.env("POLYGATE_PASSWORD", "sesame");
    end(command)
}

#[track_caller]
fn done(ended: &Ended, part: &str) {
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.stdout);
    assert!(ended.stdout.contains(part), "{ended:?}");
}

#[track_caller]
fn failed(ended: &Ended, code: i32, part: &str) {
    assert!(ended.code == code && ended.stderr.contains(part), "{ended:?}");
}

fn stored(gateway: &Gateway, name: &str) -> Vec<u8> {
    fs::read(gateway.folder().path().join("var/files/ann").join(name)).unwrap_or_default()
}

/// Something that no two places are equal in.
fn content() -> String {
    (0..40_000).map(|number| format!("{number:08}\n")).collect()
}

#[test]
fn what_is_put_by_one_way_is_listed_and_fetched_by_the_other() {
    let gateway = gateway();
    let text = content();
    gateway.folder().write("a.txt", &text);
    for (listener, other) in [("ftp", "drop"), ("drop", "ftp")] {
        let name = format!("{listener}.txt");
        done(&run(&gateway, &["put", "a.txt", &url(&gateway, listener, &name)]), "a.txt: 352KiB in ");
        assert!(stored(&gateway, &name) == text.as_bytes());
        let back = format!("{listener}.back");
        done(&run(&gateway, &["get", &url(&gateway, other, &name), &back]), ".back: 352KiB in ");
        assert_eq!(fs::read_to_string(gateway.folder().path().join(back)).unwrap(), text);
        let ended = run(&gateway, &["get", &url(&gateway, other, &name), "-"]);
        assert!(ended.code == 0 && ended.stdout == text);
    }
    for listener in ["ftp", "drop"] {
        let ended = run(&gateway, &["ls", &url(&gateway, listener, ""), "-ojson"]);
        let list: Value = serde_json::from_str(&ended.stdout).unwrap();
        let names = list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap());
        assert_eq!(names.collect::<Vec<_>>(), ["drop.txt", "ftp.txt"]);
        assert_eq!(list["items"][0]["size_bytes"], 360_000);
        assert!(list["items"][0]["modified"].as_str().unwrap().ends_with('Z'), "{list}");
        let ended = run(&gateway, &["ls", &url(&gateway, listener, "ftp.txt")]);
        done(&ended, "ftp.txt");
        assert!(ended.stdout.contains("352KiB") && !ended.stdout.contains("drop.txt"), "{ended:?}");
    }
}

#[test]
fn a_folder_takes_the_name_and_an_empty_file_is_one() {
    let gateway = gateway();
    gateway.folder().write("empty", "");
    for listener in ["ftp", "drop"] {
        done(&run(&gateway, &["put", "empty", &url(&gateway, listener, "")]), "empty: 0B in ");
        done(&run(&gateway, &["get", &url(&gateway, listener, "empty"), "back"]), "back: 0B in ");
        fs::remove_file(gateway.folder().path().join("var/files/ann/empty")).unwrap();
    }
}

#[test]
fn a_put_that_was_cut_goes_on() {
    let gateway = gateway();
    let text = content();
    gateway.folder().write("a.txt", &text);
    for listener in ["ftp", "drop"] {
        // What an attempt leaves that is cut by its connection's end.
        let mut client = gateway.connect("drop");
        client.hear("欢迎使用... ");
        client.ask(r#"{"cmd":"check_user","username":"ann","password":"sesame"}"#, "登陆成功");
        let put = format!(r#"{{"cmd":"put","filename":"{listener}","filesize":360000}}"#);
        client.ask(put, "Start");
        client.write_all(&text.as_bytes()[..100_000]).unwrap();
        drop(client);
        crate::harness::eventually("what came is kept", || {
            let ended = run(&gateway, &["ls", &url(&gateway, "drop", ""), "-ojson"]);
            ended.stdout.contains(&format!("\"{listener}.partial\"")) && ended.stdout.contains("100000")
        });
        if listener == "drop" {
            let ended = run(&gateway, &["put", "a.txt", &url(&gateway, listener, listener)]);
            failed(&ended, 1, "holds 100000 of 360000 bytes of drop already: --continue goes on");
        }
        let ended = run(&gateway, &["put", "-c", "a.txt", &url(&gateway, listener, listener)]);
        done(&ended, "a.txt: 254KiB behind the first 98KiB in ");
        assert!(stored(&gateway, listener) == text.as_bytes());
        let ended = run(&gateway, &["put", "-c", "a.txt", &url(&gateway, listener, listener)]);
        done(&ended, "a.txt: complete already, 352KiB");
    }
}

#[test]
fn a_get_that_was_cut_goes_on() {
    let gateway = gateway();
    let text = content();
    gateway.folder().write("a.txt", &text);
    done(&run(&gateway, &["put", "a.txt", &url(&gateway, "ftp", "a.txt")]), "352KiB");
    for listener in ["ftp", "drop"] {
        gateway.folder().write("a.txt", &text[..100_000]);
        let from = url(&gateway, listener, "a.txt");
        done(&run(&gateway, &["get", "-c", &from]), "a.txt: 254KiB behind the first 98KiB in ");
        assert_eq!(fs::read_to_string(gateway.folder().path().join("a.txt")).unwrap(), text);
        done(&run(&gateway, &["get", "--continue", &from]), "complete already, 352KiB");
        gateway.folder().write("a.txt", &format!("{text}more"));
        let ended = run(&gateway, &["get", "-c", &from]);
        assert!(ended.code == 1, "{ended:?}");
        // Without it, it is fetched anew.
        done(&run(&gateway, &["get", &from]), "a.txt: 352KiB in ");
        assert_eq!(fs::read_to_string(gateway.folder().path().join("a.txt")).unwrap(), text);
    }
}

#[test]
fn guests_need_no_password_and_may_not_put() {
    let gateway = gateway();
    gateway.folder().write("a.txt", "a");
    let at = url(&gateway, "ftp", "").replace("ann@", "");
    let get = gateway.folder().run(&["get", &format!("{at}README"), "-"]);
    assert_eq!((get.code, get.stderr.as_str()), (0, ""));
    assert!(get.stdout.starts_with("This folder is served by polygate"), "{get:?}");
    failed(&gateway.folder().run(&["put", "a.txt", &at]), 1, "refuses STOR a.txt: 550");
}

#[test]
fn what_goes_wrong_says_where_and_has_its_code() {
    let gateway = gateway();
    gateway.folder().write("a.txt", "a");
    gateway.folder().write("secret", "wrong\n");
    for listener in ["ftp", "drop"] {
        let here = url(&gateway, listener, "none");
        failed(&run(&gateway, &["get", &here]), 1, "none");
        assert!(!gateway.folder().path().join("none").exists(), "nothing is made where nothing came");
        let ended = run(&gateway, &["ls", &here, "--password-file", "secret"]);
        failed(&ended, 77, "refuses the login of ann");
        assert!(!ended.stderr.contains("wrong\n") || listener == "drop", "{ended:?}");
        failed(&run(&gateway, &["put", "nothing", &here]), 1, "nothing: No such file");
        failed(&run(&gateway, &["put", ".", &here]), 1, ". is no file");
        failed(&run(&gateway, &["get", &url(&gateway, listener, "")]), 64, "names a folder");
    }
    let ended = gateway.folder().run(&["ls", &url(&gateway, "drop", "")]);
    failed(&ended, 1, "cannot read the password: it is empty");
    failed(
        &run(&gateway, &["ls", "json-ftp://ann@127.0.0.1:1/"]),
        69,
        "cannot connect to json-ftp://127.0.0.1:1",
    );
    failed(&run(&gateway, &["ls", "ftp://ann:sesame@127.0.0.1/"]), 64, "a password in a URL");
    // Two who do not speak the other's language.
    let at = gateway.address("drop").replace("tcp://", "ftp://ann@");
    failed(&run(&gateway, &["ls", &at, "--timeout=100ms"]), 1, "broke: no answer in time");
    let at = gateway.address("ftp").replace("tcp://", "json-ftp://ann@");
    failed(&run(&gateway, &["ls", &at]), 1, "does not speak json-ftp: it said \"220 ");
}
