//! The file drop of the socket course: its clients' words on the wire, byte for byte.

use std::io::Read;

use crate::client::Stream;
use crate::harness::{Gate, eventually};

const WELCOME: &str = "欢迎使用... ";
const INVALID: &str = "Invalid command...";

const OPEN: &str = "
[accounts]
registration = true
quota = '1KiB'
[listeners.drop]
bind = 'tcp://127.0.0.1:0'
handler = 'json-ftp'
";

fn register(name: &str) -> String {
    format!(r#"{{"cmd":"register","username":"{name}","password":"密码 {name}"}}"#)
}

fn check_user(name: &str) -> String {
    format!(r#"{{"cmd":"check_user","username":"{name}","password":"密码 {name}"}}"#)
}

fn put(file: &str, size: usize) -> String {
    format!(r#"{{"cmd": "put", "filename": "{file}", "filesize": {size}, "file_owner": "ann"}}"#)
}

/// Connected and logged in, where that account is there already.
fn logged_in(gate: &Gate, name: &str) -> Stream {
    let mut client = gate.connect("drop");
    client.hear(WELCOME);
    client.ask(check_user(name), "登陆成功");
    client
}

/// A gateway with the account `ann`, and her connection.
fn with_ann(text: &str) -> (Gate, Stream) {
    let gate = Gate::start(text);
    let mut client = gate.connect("drop");
    client.hear(WELCOME);
    client.ask(register("ann"), "注册成功");
    client.ask(check_user("ann"), "登陆成功");
    (gate, client)
}

fn stored(gate: &Gate, file: &str) -> String {
    std::fs::read_to_string(gate.folder().join("files/ann").join(file)).unwrap_or_default()
}

#[test]
fn people_register_and_log_in() {
    let gate = Gate::start(OPEN);
    let mut client = gate.connect("drop");
    client.hear(WELCOME);
    client.ask(check_user("ann"), "用户名不存在");
    client.ask(register("ann"), "注册成功");
    client.ask(register("ann"), "用户名已存在");
    client.ask(register("../ann"), "注册失败");
    client.ask(r#"{"cmd":"register","username":"bob","password":""}"#, "注册失败");
    client.ask(r#"{"cmd":"register","username":"bob"}"#, INVALID);
    // To register is not to log in.
    client.ask(r#"{"cmd":"ls"}"#, INVALID);
    client.ask(r#"{"cmd":"check_user","username":"ann","password":"x"}"#, "密码错误");
    client.ask(check_user("ann"), "登陆成功");
    client.ask(r#"{"cmd":"ls"}"#, "[]\n");
    // Who fails to log in again is not logged in any more.
    client.ask(check_user("eve"), "用户名不存在");
    client.ask(r#"{"cmd":"ls"}"#, INVALID);
    client.ask(r#"{"cmd":"dance"}{}{"cmd":7}"#, INVALID.repeat(3));
}

#[test]
fn names_can_be_hidden_and_registration_is_off_by_default() {
    let text = OPEN.replace("handler = 'json-ftp'", "handler = 'quiet'");
    let text = format!("{text}[handlers.quiet]\ntype = 'json-ftp'\nhide_users = true\n");
    let (gate, mut client) = with_ann(&text);
    client.ask(register("ann"), "注册失败");
    client.ask(check_user("eve"), "密码错误");
    gate.reload(&text.replace("registration = true", ""));
    client.ask(register("bob"), "注册失败");
    client.ask(check_user("bob"), "密码错误");
    client.ask(check_user("ann"), "登陆成功");
}

#[test]
fn commands_may_be_cut_and_joined_anywhere() {
    let (gate, mut client) = with_ann(OPEN);
    let both = format!("{}{}12345", check_user("ann"), put("a", 5));
    client.ask(&both, "登陆成功Start");
    for cut in 1..both.len() {
        let name = format!("f{cut}");
        let both = format!(" \r\n{}{}1", check_user("ann"), put(&name, 1));
        client.say(&both.as_bytes()[..cut]);
        client.say(&both.as_bytes()[cut..]);
        client.hear("登陆成功Start");
        client.ask(put(&name, 1), "1");
    }
    assert_eq!(stored(&gate, "a"), "12345");
}

#[test]
fn a_file_is_there_when_its_last_byte_has_come() {
    let (gate, mut client) = with_ann(OPEN);
    client.ask(put("字.txt", 10), "Start");
    client.say("hello");
    client.say("world");
    // Nothing is answered; the next command is the next thing that is heard.
    client.ask(put("字.txt", 10), "10");
    assert_eq!(stored(&gate, "字.txt"), "helloworld");
    client.ask(put("empty", 0), "Start");
    client.ask(put("empty", 0), "0");
    // Another size under that name cannot be: the client would send all the same.
    client.ask(put("字.txt", 11), INVALID);
    client.is_ended();
    assert_eq!(stored(&gate, "字.txt"), "helloworld");
}

#[test]
fn what_was_cut_goes_on_where_it_ended() {
    let (gate, mut client) = with_ann(OPEN);
    client.ask(put("a", 12), "Start");
    client.say("one two ");
    drop(client);
    let mut client = logged_in(&gate, "ann");
    eventually("the partial is kept", || {
        client.say(r#"{"cmd":"ls"}"#);
        client.recv().contains(r#""name":"a.partial","size":8"#)
    });
    client.ask(put("a", 12), "8");
    client.say("four");
    client.ask(put("a", 12), "12");
    assert_eq!(stored(&gate, "a"), "one two four");
    client.ask(r#"{"cmd":"quota"}"#, "{\"used_bytes\":12,\"quota_bytes\":1024}\n");
    // A partial that is longer than the file is another one's.
    client.ask(put("b", 12), "Start");
    client.say("one two ");
    drop(client);
    let mut client = logged_in(&gate, "ann");
    eventually("the partial is kept", || {
        client.say(r#"{"cmd":"ls"}"#);
        client.recv().contains("b.partial")
    });
    client.ask(put("b", 3), "Start");
    client.say("new");
    client.ask(put("b", 3), "3");
    assert_eq!(stored(&gate, "b"), "new");
    assert_eq!(std::fs::read_dir(gate.folder().join("files/ann")).unwrap().count(), 2);
}

#[test]
fn a_kill_leaves_a_partial_too() {
    let (gate, mut client) = with_ann(OPEN);
    client.ask(put("a", 12), "Start");
    client.say("one two ");
    let folder = gate.folder().join("files/ann");
    let size = || -> u64 {
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    eventually("the bytes are on the disk", || size() == 8);
    let id = gate.stats().conns()[0].id;
    gate.supervisor().kill(id);
    client.is_gone();
    let mut client = logged_in(&gate, "ann");
    eventually("the partial is kept", || {
        client.say(r#"{"cmd":"ls"}"#);
        client.recv().contains("a.partial")
    });
    client.ask(put("a", 12), "8");
}

#[test]
fn what_cannot_be_put_is_refused_and_no_byte_is_written() {
    let (gate, mut client) = with_ann(OPEN);
    client.ask(register("bob"), "注册成功");
    let mut stranger = gate.connect("drop");
    stranger.hear(WELCOME);
    stranger.ask(put("a", 1), INVALID);
    let mut bob = logged_in(&gate, "bob");
    bob.ask(put("a", 1), INVALID);
    bob.ask(r#"{"cmd":"put","filename":"a","filesize":1}"#, "Start");
    bob.say("b");
    for name in ["", ".", "..", "../bob/a", "/etc/passwd", "d/a", ".polygate-~a.partial", r"a\u0000b"] {
        client.ask(put(name, 1), INVALID);
    }
    for size in ["-1", "1.5", "null", "\"1\""] {
        client.ask(format!(r#"{{"cmd":"put","filename":"a","filesize":{size}}}"#), INVALID);
    }
    // Over the quota, alone or together with what is there.
    client.ask(put("a", 1025), INVALID);
    client.ask(put("a", 1000), "Start");
    client.say("x".repeat(1000));
    client.ask(put("b", 25), INVALID);
    client.ask(put("b", 24), "Start");
    client.say("x".repeat(24));
    client.ask(r#"{"cmd":"quota"}"#, "{\"used_bytes\":1024,\"quota_bytes\":1024}\n");
    assert_eq!(std::fs::read_dir(gate.folder().join("files/ann")).unwrap().count(), 2);
}

#[test]
fn files_are_listed_and_fetched() {
    let (gate, mut client) = with_ann(OPEN);
    client.ask(put("a", 5), "Start");
    client.say("01234");
    client.say(r#"{"cmd":"ls"}"#);
    let list: serde_json::Value = serde_json::from_str(&client.recv()).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["size"]), (&"a".into(), &5.into()));
    assert_eq!(list[0]["modified"].as_str().unwrap().len(), "2026-11-21T05:09:26Z".len());
    client.ask(r#"{"cmd":"get","filename":"a"}"#, "5");
    client.ask("Start", "01234");
    client.ask(r#"{"cmd":"get","filename":"a","offset":3}"#, "5");
    client.say("Sta");
    client.ask("rt", "34");
    client.ask(r#"{"cmd":"get","filename":"a","offset":5}"#, "5");
    client.ask(r#"Start{"cmd":"quota"}"#, "{\"used_bytes\":5,\"quota_bytes\":1024}\n");
    client.ask(r#"{"cmd":"get","filename":"a","offset":6}"#, INVALID);
    client.ask(r#"{"cmd":"get","filename":"b"}"#, INVALID);
    // Another command instead of Start: the file is not wanted any more. Anything else ends it.
    client.ask(r#"{"cmd":"get","filename":"a"}"#, "5");
    client.ask(put("a", 5), "5");
    client.ask(r#"{"cmd":"get","filename":"a"}"#, "5");
    client.ask("Stop", INVALID);
    client.is_ended();
    drop(gate);
}

#[test]
fn what_is_no_json_ends_the_conversation() {
    let gate = Gate::start(OPEN);
    let long = format!(r#"{{"cmd":"{}"#, "x".repeat(8 * 1024));
    for broken in ["x", "[1]", "{]", r#"{"cmd":x}"#, "\"put\"", "{\"cmd\":\"\u{1}\"}", &long] {
        let mut client = gate.connect("drop");
        client.hear(WELCOME);
        client.ask(broken, INVALID);
        client.is_ended();
    }
    let mut client = gate.connect("drop");
    client.hear(WELCOME);
    client.say(b"{\"cmd\":\"\xff\"}");
    client.hear(INVALID);
    client.is_ended();
}

#[test]
fn who_does_not_log_in_is_sent_away() {
    let gate = Gate::start(&format!("{OPEN}timeouts.request = '300ms'\n"));
    let mut client = gate.connect("drop");
    client.hear(WELCOME);
    // A command that is not complete does not help.
    client.say("{");
    client.is_gone();
    assert_eq!(gate.closed("drop", polygate::stats::CloseReason::Request), 1);
}

#[test]
fn a_shutdown_waits_for_an_upload_and_not_for_the_idle() {
    let (gate, mut idle) = with_ann(OPEN);
    let mut busy = logged_in(&gate, "ann");
    busy.ask(put("a", 4), "Start");
    busy.say("01");
    let end = std::thread::scope(|scope| {
        let end = scope.spawn(|| gate.shutdown());
        idle.is_ended();
        busy.say("23");
        busy.is_ended();
        end.join().unwrap()
    });
    assert_eq!((end.finished, end.killed), (2, 0));
    let mut content = String::new();
    let mut file = std::fs::File::open(gate.folder().join("files/ann/a")).unwrap();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "0123");
}
