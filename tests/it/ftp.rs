//! `ftp`: sessions, logins, names, and what goes wrong on the control connection.

use std::io::Write;

use polygate::stats::CloseReason;

use crate::client::Stream;
use crate::ftp_client::{Ftp, configuration, counted, gate};
use crate::harness::{Gate, eventually};

#[test]
fn somebody_registers_logs_in_and_leaves() {
    let gate = gate("");
    let mut ftp = Ftp::to(&gate);
    ftp.asks("PWD", "530");
    ftp.asks("PASS x", "503");
    ftp.asks("SITE REGISTER ann geheim", "200");
    ftp.asks("SITE REGISTER ann other", "553");
    ftp.asks("USER ann", "331");
    ftp.asks("PASS geheim", "230");
    assert_eq!(ftp.asks("PWD", "257"), "257 \"/\" is the working directory.");
    assert_eq!(counted(&gate, "polygate_ftp_sessions_authenticated", &[]), 1);
    ftp.asks("QUIT", "221");
    ftp.is_ended();
    eventually("nobody is logged in", || counted(&gate, "polygate_ftp_sessions_authenticated", &[]) == 0);
    assert_eq!(counted(&gate, "polygate_ftp_logins_total", &["password"]), 1);
}

#[test]
fn an_unknown_name_and_a_wrong_password_are_told_alike() {
    let gate = gate("");
    Ftp::ann(&gate);
    let mut ftp = Ftp::to(&gate);
    let mut replies = Vec::new();
    for (name, password) in [("ann", "wrong"), ("nobody", "geheim"), ("../ann", "geheim")] {
        replies.push((ftp.ask(&format!("USER {name}")), ftp.ask(&format!("PASS {password}"))));
    }
    assert!(replies.iter().all(|pair| *pair == replies[0]) && replies[0].1.starts_with("530"), "{replies:?}");
    assert_eq!(counted(&gate, "polygate_ftp_login_failures_total", &["credentials"]), 3);
    ftp.asks("LIST", "530");
}

#[test]
fn after_five_failed_logins_the_session_ends() {
    let gate = gate("");
    let mut ftp = Ftp::to(&gate);
    for expected in ["530", "530", "530", "530", "421"] {
        ftp.asks("USER ann", "331");
        ftp.asks("PASS wrong", expected);
    }
    ftp.is_ended();
}

#[test]
fn an_account_has_no_more_sessions_than_allowed() {
    let gate = gate("max_sessions_per_account = 1");
    let mut first = Ftp::ann(&gate);
    let mut second = Ftp::to(&gate);
    second.asks("USER ann", "331");
    second.asks("PASS geheim", "530");
    first.asks("REIN", "220");
    second.asks("USER ann", "331");
    second.asks("PASS geheim", "230");
    assert_eq!(counted(&gate, "polygate_ftp_login_failures_total", &["limit"]), 1);
}

#[test]
fn guests_read_and_change_nothing() {
    let gate = gate("");
    let mut ftp = Ftp::to(&gate);
    ftp.asks("USER anonymous", "331");
    ftp.asks("PASS me@example.org", "230");
    assert!(ftp.text("RETR README").contains("polygate"));
    for line in ["DELE README", "MKD d", "RNFR README", "SITE UTIME 20200101000000 README"] {
        let reply = ftp.ask(line);
        assert!(reply.starts_with("550") || line.starts_with("RNFR"), "{line}: {reply}");
    }
    let _ = ftp.data();
    ftp.asks("STOR x", "550");
    assert_eq!(std::fs::read_dir(gate.folder().join("pub")).unwrap().count(), 1);
}

#[test]
fn directories_are_made_walked_and_removed() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    assert_eq!(ftp.asks("MKD a \"b\"", "257"), "257 \"/a \"\"b\"\"\" is made.");
    ftp.asks("XCWD a \"b\"", "250");
    ftp.asks("MKD c", "257");
    ftp.asks("CWD c/../c", "250");
    assert_eq!(ftp.asks("XPWD", "257"), "257 \"/a \"\"b\"\"/c\" is the working directory.");
    ftp.asks("CDUP", "250");
    ftp.asks("CWD ../../../..", "250");
    ftp.asks("RMD a \"b\"", "550");
    ftp.asks("RMD a \"b\"/c", "250");
    ftp.asks("RMD /a \"b\"", "250");
    ftp.asks("CWD a \"b\"", "550");
}

#[test]
fn names_lead_nowhere_outside() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    std::fs::write(gate.folder().join("secret"), "x").unwrap();
    let home = gate.folder().join("files/ann");
    std::os::unix::fs::symlink(gate.folder(), home.join("out")).unwrap();
    std::os::unix::fs::symlink("../../secret", home.join("way")).unwrap();
    let _ = ftp.data();
    for line in
        ["RETR out/secret", "RETR way", "RETR ../../secret", "CWD out", "SIZE /etc/passwd", "MLST out/secret"]
    {
        ftp.asks(line, "550");
    }
    ftp.asks("STOR out/x", "550");
    assert!(!gate.folder().join("x").exists());
}

#[test]
fn what_is_no_command_is_answered_and_the_session_goes_on() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    for (line, code) in [
        ("", "500"),
        ("NOPE", "500"),
        ("NOOP x", "501"),
        ("RETR", "501"),
        ("TYPE E", "504"),
        ("TYPE X", "501"),
        ("MODE B", "504"),
        ("MODE S", "200"),
        ("STRU R", "504"),
        ("STRU F", "200"),
        ("REST x", "501"),
        ("ALLO x", "501"),
        ("RNTO x", "503"),
        ("MFMT 2020 x", "501"),
        ("SITE NOPE", "504"),
        ("OPTS NOPE", "501"),
        ("OPTS UTF8 ON", "200"),
        ("OPTS HASH SHA-999", "504"),
        ("RETR x", "550"),
        ("LIST", "425"),
        ("ABOR", "226"),
        ("ACCT x", "202"),
        ("SITE CHMOD 600 x", "502"),
        ("PORT 127,0,0,1,200,200", "502"),
        ("NOOP", "200"),
    ] {
        ftp.asks(line, code);
    }
    assert_eq!(counted(&gate, "polygate_ftp_commands_total", &["UNKNOWN"]), 2);
}

#[test]
fn long_lines_are_skipped_and_the_third_in_a_row_ends_it() {
    let gate = gate("");
    let mut ftp = Ftp::to(&gate);
    let long = "x".repeat(5000);
    for _ in 0..2 {
        ftp.asks(&long, "500");
        ftp.asks(&long, "500");
        ftp.asks("NOOP", "200");
    }
    ftp.asks(&long, "500");
    ftp.asks(&long, "500");
    ftp.asks(&long, "500");
    ftp.is_ended();
    eventually("it is closed", || gate.closed("ftp", CloseReason::TooLarge) == 1);
}

#[test]
fn replies_keep_the_order_of_commands_that_come_together() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    ftp.put("STOR f", "0123456789");
    let lines = ["PWD", "SIZE f", "NOOP", "NOPE", "CWD nowhere", "SYST", "MDTM f", "QUIT"];
    for line in lines.iter().cycle().take(7 * 20) {
        if *line != "QUIT" {
            ftp.say(line);
        }
    }
    ftp.say("QUIT");
    let expected = ["257", "213 10", "200", "500", "550", "215", "213 20"];
    let asked = lines.iter().cycle().take(7 * 20).filter(|line| **line != "QUIT");
    for line in asked {
        let at = lines.iter().position(|known| known == line).unwrap();
        ftp.hears(expected[at]);
    }
    ftp.hears("221");
    ftp.is_ended();
}

#[test]
fn a_login_has_its_time_and_a_command_too() {
    let text = configuration("").replace(
        "handler = 'files'\n",
        "handler = 'files'\ntimeouts = { request = '300ms', idle = '600ms' }\n",
    );
    let gate = Gate::start(&text);
    let mut slow = Ftp::to(&gate);
    slow.asks("USER ann", "331");
    slow.hears("421");
    slow.is_ended();
    let mut ftp = Ftp::ann(&gate);
    ftp.stream().say("NO");
    ftp.hears("421");
    let mut idle = Ftp::ann(&gate);
    assert!(idle.hears("421").contains("too long"));
    eventually("both reasons are counted", || {
        gate.closed("ftp", CloseReason::Request) == 2 && gate.closed("ftp", CloseReason::Idle) == 1
    });
}

#[test]
fn one_too_many_hears_why() {
    let text = configuration("").replace(
        "handler = 'files'\n",
        "handler = 'files'\nlimits = { max_connections = 1, overload = 'refuse' }\n",
    );
    let gate = Gate::start(&text);
    let _first = Ftp::to(&gate);
    let mut second = gate.connect("ftp");
    assert_eq!(second.rest(), b"421 Too many connections; come back later.\r\n");
}

#[test]
fn telnet_on_the_control_connection_is_passed_over() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    ftp.stream().say(b"\xff\xf4\xff\xf2NOOP\r\n");
    ftp.hears("200");
    ftp.stream().say(b"\xff\xfd\x01PWD\n");
    ftp.hears("257");
}

#[test]
fn a_name_of_any_bytes_survives() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    let name = b"gr\xfcn \xffx";
    let mut data = ftp.data();
    ftp.say([b"STOR ", &name[..]].concat());
    ftp.hears("150");
    data.write_all(b"x").unwrap();
    drop(data);
    ftp.hears("226");
    assert_eq!(ftp.get("NLST"), [&name[..], b"\r\n"].concat());
    ftp.say([b"DELE ", &name[..]].concat());
    ftp.hears("250");
}

#[test]
fn facts_sizes_times_and_hashes_are_told() {
    let gate = gate("site_chmod = true");
    let mut ftp = Ftp::ann(&gate);
    ftp.put("STOR f", "abc");
    assert_eq!(ftp.asks("SIZE f", "213"), "213 3");
    assert_eq!(ftp.asks("MFMT 20200229123456 f", "213"), "213 Modify=20200229123456; f");
    assert_eq!(ftp.asks("MDTM f", "213"), "213 20200229123456");
    ftp.asks("OPTS MLST size;modify;nope;", "200");
    assert_eq!(ftp.asks("MLST f", "250").lines().nth(1), Some(" size=3;modify=20200229123456; /f"));
    assert!(ftp.asks("FEAT", "211").contains(" MLST type;size*;modify*;perm;unique;"));
    ftp.asks("OPTS MLST type;size;", "200");
    assert_eq!(ftp.text("MLSD"), "type=file;size=3; f\r\n");
    assert!(ftp.asks("HASH f", "213").starts_with("213 SHA-256 0-3 ba7816bf8f01cfea"));
    ftp.asks("OPTS HASH crc32", "200");
    ftp.asks("RANG 1 1", "350");
    assert_eq!(ftp.asks("HASH f", "213"), "213 CRC32 1-2 71beeff9 f");
    assert_eq!(ftp.asks("HASH f", "213"), "213 CRC32 0-3 352441c2 f");
    ftp.asks("SITE CHMOD 600 f", "250");
    assert!(
        ftp.text("LIST -la f")
            .starts_with("-rw-------    1 ftp      ftp                 3 Feb 29  2020 f\r\n")
    );
    assert_eq!(ftp.asks("AVBL", "213"), format!("213 {}", 64 * 1024 - 3));
    assert!(ftp.asks("STAT f", "213").contains(" f\n213 End"));
    ftp.asks("TYPE A", "200");
    ftp.asks("SIZE f", "550");
}

#[test]
fn whoever_is_asked_to_finish_hears_so() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    let hears = std::thread::spawn(move || {
        ftp.hears("421");
        ftp.is_ended();
    });
    let drained = gate.shutdown();
    hears.join().unwrap();
    assert_eq!((drained.finished, drained.killed), (1, 0));
}

#[test]
fn the_connection_list_knows_who_does_what() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    ftp.asks("MKD d", "257");
    ftp.asks("CWD d", "250");
    let conns = gate.stats().conns();
    let of = |key: &str| conns[0].details.iter().find(|(k, _)| *k == key).map(|(_, value)| value.clone());
    assert_eq!(
        (of("user"), of("directory"), of("command")),
        (Some("ann".into()), Some("/d".into()), Some("CWD d".into()))
    );
    ftp.asks("USER ann", "331");
    ftp.asks("PASS geheim", "230");
    let conns = gate.stats().conns();
    assert!(!format!("{conns:?}").contains("geheim"), "no password is shown");
}

#[test]
fn http_sent_to_it_is_no_command() {
    let gate = gate("");
    let mut stream: Stream = gate.connect("ftp");
    stream.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.finish();
    let heard = String::from_utf8(stream.rest()).unwrap();
    assert_eq!(heard.lines().map(|line| &line[..3]).collect::<Vec<_>>(), ["220", "500", "500", "500"]);
}
