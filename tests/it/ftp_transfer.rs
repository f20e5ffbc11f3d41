//! `ftp`: data connections and transfers, whole, cut, resumed and aborted.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::ftp_client::{Ftp, active, counted, gate, timed};
use crate::harness::{Gate, eventually};

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn on_disk(gate: &Gate, name: &str) -> Option<Vec<u8>> {
    std::fs::read(gate.folder().join("files/ann").join(name)).ok()
}

fn used(ftp: &mut Ftp) -> u64 {
    let reply = ftp.asks("SITE QUOTA", "200");
    reply.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_file_goes_up_and_comes_down_and_is_replaced_as_a_whole() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    let bytes = pattern(50_000);
    assert!(ftp.put("STOR f", &bytes).starts_with("226"));
    assert_eq!(ftp.get("RETR f"), bytes);
    assert!(ftp.put("STOR f", "short").starts_with("226"));
    assert_eq!((ftp.get("RETR f"), used(&mut ftp)), (b"short".to_vec(), 5));
    assert!(ftp.put("APPE f", "er").starts_with("226"));
    assert_eq!(ftp.text("RETR f"), "shorter");
    assert_eq!(counted(&gate, "polygate_ftp_uploaded_bytes_total", &[]), 50_007);
    assert_eq!(counted(&gate, "polygate_ftp_transfers_total", &["upload"]), 3);
    assert_eq!(counted(&gate, "polygate_ftp_transfer_duration_seconds", &["upload"]), 3);
    assert_eq!(counted(&gate, "polygate_ftp_transfers_active", &[]), 0);
}

#[test]
fn text_changes_its_line_ends_on_the_way_and_back() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    ftp.asks("TYPE A", "200");
    ftp.put("STOR t", "one\r\ntwo\r\n");
    assert_eq!(on_disk(&gate, "t").unwrap(), b"one\ntwo\n");
    assert_eq!(ftp.text("RETR t"), "one\r\ntwo\r\n");
    ftp.asks("TYPE I", "200");
    assert_eq!(ftp.text("RETR t"), "one\ntwo\n");
}

#[test]
fn rest_counts_for_the_next_transfer_alone() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    ftp.put("STOR f", "0123456789");
    ftp.asks("REST 4", "350");
    assert_eq!(ftp.text("RETR f"), "456789");
    assert_eq!(ftp.text("RETR f"), "0123456789");
    ftp.asks("REST 4", "350");
    ftp.put("STOR f", "xy");
    assert_eq!(ftp.text("RETR f"), "0123xy", "what was behind is cut off");
    let _ = ftp.data();
    ftp.asks("REST 7", "350");
    ftp.asks("RETR f", "554");
    ftp.asks("REST 7", "350");
    ftp.asks("STOR f", "554");
    ftp.asks("REST 1", "350");
    ftp.asks("APPE f", "503");
    assert_eq!(ftp.text("RETR f"), "0123xy");
}

#[test]
fn the_tail_behind_an_upload_may_be_kept() {
    let gate = gate("rest_tail = 'keep'");
    let mut ftp = Ftp::ann(&gate);
    ftp.put("STOR f", "0123456789");
    ftp.asks("REST 4", "350");
    ftp.put("STOR f", "xy");
    assert_eq!(ftp.text("RETR f"), "0123xy6789");
}

#[test]
fn an_upload_that_is_cut_is_a_partial_and_is_resumed() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    let mut data = ftp.data();
    ftp.asks("STOR f", "150");
    data.write_all(b"01234").unwrap();
    eventually("it has come", || counted(&gate, "polygate_ftp_uploaded_bytes_total", &[]) == 5);
    // The client goes away with both connections.
    drop(ftp);
    drop(data);
    let mut ftp = Ftp::ann(&gate);
    eventually("it is kept", || ftp.ask("SIZE f") == "213 5");
    assert_eq!(on_disk(&gate, "f"), None);
    let _ = ftp.data();
    ftp.asks("RETR f", "550");
    assert_eq!(ftp.text("NLST"), "f.partial\r\n");
    ftp.asks("REST 5", "350");
    assert!(ftp.put("STOR f", "56789").starts_with("226"));
    assert_eq!(
        (ftp.text("RETR f"), ftp.text("NLST"), used(&mut ftp)),
        ("0123456789".into(), "f\r\n".into(), 10)
    );
}

#[test]
fn an_overwrite_that_is_cut_leaves_the_old_file() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    ftp.put("STOR f", "old");
    let mut data = ftp.data();
    ftp.asks("STOR f", "150");
    data.write_all(b"new, but").unwrap();
    ftp.say("ABOR");
    ftp.hears("426");
    ftp.hears("226");
    assert_eq!((ftp.text("RETR f"), ftp.text("NLST"), used(&mut ftp)), ("old".into(), "f\r\n".into(), 3));
    assert_eq!(counted(&gate, "polygate_ftp_transfer_failures_total", &["upload", "client_abort"]), 1);
}

#[test]
fn less_than_allo_said_is_not_complete() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    ftp.asks("ALLO 10", "200");
    assert!(ftp.put("STOR f", "01234").starts_with("426"));
    assert_eq!(on_disk(&gate, "f"), None);
    ftp.asks("ALLO 10 R 1", "200");
    ftp.asks("REST 5", "350");
    assert!(ftp.put("STOR f", "56789").starts_with("226"));
    assert_eq!(ftp.text("RETR f"), "0123456789");
    let _ = ftp.data();
    ftp.asks("ALLO 70000", "200");
    ftp.asks("STOR g", "552");
}

#[test]
fn a_capped_account_moves_every_byte() {
    // How fast is for the bucket's own tests; here its pieces have to fit together.
    let gate = gate("bandwidth = '1MiB'");
    let mut ftp = Ftp::ann(&gate);
    let bytes = pattern(64 * 1024);
    assert!(ftp.put("STOR f", &bytes).starts_with("226"));
    assert_eq!(ftp.get("RETR f"), bytes);
    ftp.asks("TYPE A", "200");
    ftp.asks("DELE f", "250");
    assert!(ftp.put("STOR t", "a\r\nb\r\n").starts_with("226"));
    assert_eq!(ftp.text("RETR t"), "a\r\nb\r\n");
}

#[test]
fn a_transfer_that_waits_for_its_turn_is_aborted_at_once() {
    let gate = gate("bandwidth = '1B'");
    let mut ftp = Ftp::ann(&gate);
    let mut data = ftp.data();
    ftp.asks("STOR f", "150");
    data.write_all(&pattern(10_000)).unwrap();
    // The first piece has gone through, and is paid off in an hour.
    eventually("the first piece is there", || counted(&gate, "polygate_ftp_uploaded_bytes_total", &[]) > 0);
    ftp.say("ABOR");
    ftp.hears("426");
    ftp.hears("226");
}

#[test]
fn the_quota_is_met_to_the_byte() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    assert!(ftp.put("STOR f", pattern(64 * 1024 + 1)).starts_with("552"));
    assert_eq!(on_disk(&gate, "f"), None);
    ftp.ask("DELE f.partial");
    assert_eq!(used(&mut ftp), 0);
    assert!(ftp.put("STOR f", pattern(64 * 1024)).starts_with("226"));
    let _ = ftp.data();
    ftp.asks("STOR g", "552");
    assert!(ftp.put("STOR f", pattern(64 * 1024)).starts_with("226"), "what is replaced makes room");
    ftp.asks("DELE f", "250");
    assert_eq!(used(&mut ftp), 0);
}

#[test]
fn a_unique_name_is_told_and_taken() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    let mut names = Vec::new();
    for command in ["STOU", "STOU log", "STOU log"] {
        let mut data = ftp.data();
        let opening = ftp.asks(command, "150 FILE: ");
        data.write_all(b"x").unwrap();
        drop(data);
        ftp.hears("226");
        names.push(opening.strip_prefix("150 FILE: ").unwrap().to_owned());
    }
    assert_eq!(names[1], "log");
    assert!(names[2].starts_with("log.") && names[0].starts_with("upload."));
    assert!(names.iter().all(|name| on_disk(&gate, name).is_some()));
}

#[test]
fn aborting_a_download_answers_twice_and_the_session_goes_on() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    std::fs::write(gate.folder().join("files/ann/big"), pattern(30_000_000)).unwrap();
    let mut data = ftp.data();
    ftp.asks("RETR big", "150");
    data.read_exact(&mut [0; 1000]).unwrap();
    // NOOP and STAT may overtake; what else comes waits for its turn.
    ftp.asks("NOOP", "200");
    assert!(ftp.asks("STAT", "213").contains("RETR /big"));
    ftp.say("PWD");
    ftp.say("ABOR");
    ftp.hears("426");
    ftp.hears("257");
    ftp.hears("226");
    ftp.asks("NOOP", "200");
    assert_eq!(counted(&gate, "polygate_ftp_transfer_failures_total", &["download", "client_abort"]), 1);
}

#[test]
fn quit_waits_for_the_transfer() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    let mut data = ftp.data();
    ftp.asks("STOR f", "150");
    ftp.say("QUIT");
    data.write_all(b"all of it").unwrap();
    drop(data);
    ftp.hears("226");
    ftp.hears("221");
    ftp.is_ended();
    assert_eq!(on_disk(&gate, "f").unwrap(), b"all of it");
}

#[test]
fn a_client_that_takes_or_sends_nothing_is_not_waited_for() {
    let gate = gate("data_timeout = '300ms'");
    let mut ftp = Ftp::ann(&gate);
    ftp.passive();
    ftp.asks("LIST", "425");
    let data = ftp.data();
    ftp.asks("STOR f", "150");
    ftp.hears("426");
    drop(data);
    std::fs::write(gate.folder().join("files/ann/big"), pattern(30_000_000)).unwrap();
    let data = ftp.data();
    ftp.asks("RETR big", "150");
    ftp.hears("426");
    drop(data);
    assert_eq!(counted(&gate, "polygate_ftp_transfer_failures_total", &["timeout"]), 2);
    assert_eq!(counted(&gate, "polygate_ftp_data_connection_failures_total", &["epsv", "timeout"]), 1);
}

#[test]
fn a_stranger_at_the_passive_port_is_turned_away_and_the_client_is_waited_for() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    ftp.put("STOR f", "mine");
    let at = ftp.passive();
    let stranger = crate::client::Stream::from("127.0.0.2", &format!("tcp://{at}"));
    ftp.say("RETR f");
    let mut stranger = stranger;
    stranger.is_gone();
    let mut data = timed(TcpStream::connect(at).unwrap());
    ftp.hears("150");
    let mut bytes = String::new();
    data.read_to_string(&mut bytes).unwrap();
    ftp.hears("226");
    assert_eq!(bytes, "mine");
    assert_eq!(counted(&gate, "polygate_ftp_data_connection_failures_total", &["peer_mismatch"]), 1);
}

#[test]
fn passive_ports_come_from_the_range_and_one_too_many_is_refused_at_once() {
    let port = crate::harness::free_port();
    let gate = gate(&format!("passive_ports = '{port}-{port}'"));
    assert_eq!(counted(&gate, "polygate_ftp_passive_ports", &[]), 1);
    let (mut first, mut second) = (Ftp::ann(&gate), Ftp::ann(&gate));
    assert_eq!(first.passive().port(), port);
    assert_eq!(counted(&gate, "polygate_ftp_passive_ports_in_use", &[]), 1);
    second.asks("PASV", "425");
    assert_eq!(first.passive().port(), port, "who asks again gives the old one back");
    first.asks("ABOR", "226");
    let [high, low] = port.to_be_bytes();
    assert!(second.asks("PASV", "227").contains(&format!("(127,0,0,1,{high},{low})")));
}

#[test]
fn replies_to_pasv_name_the_public_host() {
    let gate = gate("public_host = { '127.0.0.0/8' = '192.0.2.7', default = 'auto' }");
    let mut ftp = Ftp::ann(&gate);
    assert!(ftp.asks("PASV", "227").contains("(192,0,2,7,"));
}

#[test]
fn epsv_all_leaves_only_epsv() {
    let gate = gate("active = true");
    let mut ftp = Ftp::ann(&gate);
    ftp.asks("EPSV 2", "522");
    ftp.asks("EPSV 1", "229");
    ftp.asks("EPSV ALL", "200");
    for line in ["PASV", "PORT 127,0,0,1,200,200", "EPRT |1|127.0.0.1|50000|"] {
        ftp.asks(line, "503");
    }
    ftp.asks("EPSV", "229");
}

#[test]
fn active_mode_connects_to_the_client_and_to_nobody_else() {
    let gate = gate("active = true");
    let mut ftp = Ftp::ann(&gate);
    ftp.put("STOR f", "mine");
    for line in
        ["PORT 127,0,0,2,200,200", "PORT 127,0,0,1,0,80", "EPRT |1|192.0.2.1|50000|", "EPRT |2|::1|50000|"]
    {
        ftp.asks(line, "504");
    }
    ftp.asks("EPRT |3|x|50000|", "522");
    ftp.asks("PORT 1,2,3", "501");
    let (listener, port) = active();
    ftp.asks(&format!("PORT {port}"), "200");
    ftp.say("RETR f");
    let (mut data, from) = listener.accept().unwrap();
    ftp.hears("150");
    let mut bytes = String::new();
    data.read_to_string(&mut bytes).unwrap();
    ftp.hears("226");
    assert_eq!((bytes.as_str(), from.ip().to_string()), ("mine", "127.0.0.1".into()));
    let SocketAddr::V4(at) = listener.local_addr().unwrap() else { panic!("IPv4") };
    drop(listener);
    ftp.asks(&format!("EPRT |1|{}|{}|", at.ip(), at.port()), "200");
    ftp.asks("RETR f", "425");
    assert_eq!(counted(&gate, "polygate_ftp_data_connection_failures_total", &["eprt", "refused"]), 1);
}

#[test]
fn listings_know_patterns_and_folders() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    ftp.asks("MKD d", "257");
    for name in ["a.txt", "b.txt", "c.bin", "d/e.txt"] {
        ftp.put(&format!("STOR {name}"), "x");
    }
    let mut sorted = |command: &str| {
        let text = ftp.text(command);
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines.join(" ")
    };
    assert_eq!(sorted("NLST"), "a.txt b.txt c.bin d");
    assert_eq!(sorted("NLST *.txt"), "a.txt b.txt");
    assert_eq!(sorted("NLST d"), "d/e.txt");
    assert_eq!(sorted("NLST d/*"), "d/e.txt");
    assert_eq!(sorted("NLST *.nope"), "");
    assert_eq!(sorted("MLSD d").rsplit(' ').next(), Some("e.txt"));
    assert!(sorted("LIST -la").contains("drwxr-x---"));
    ftp.asks("MLSD a.txt", "550");
    let _ = ftp.data();
    ftp.asks("LIST nope", "550");
}

#[test]
fn an_upload_at_an_offset_that_nobody_sends_leaves_nothing_behind() {
    let gate = gate("");
    let mut ftp = Ftp::ann(&gate);
    ftp.asks("TYPE I", "200");
    assert!(ftp.put("STOR f", "whole").starts_with("226"));
    ftp.asks("REST 2", "350");
    ftp.asks("STOR f", "425");
    eventually("only the file is left", || used(&mut ftp) == 5);
    assert_eq!((on_disk(&gate, "f"), ftp.text("NLST")), (Some(b"whole".to_vec()), "f\r\n".into()));
}
