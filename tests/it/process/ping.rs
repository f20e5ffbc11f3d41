//! `ping`: round trips through an echo, counted and summed up.

use std::net::UdpSocket;

use rustix::process::Signal;
use serde_json::Value;

use super::{Ended, Folder, Gateway, Running, code};
use crate::harness::eventually;

const LISTENERS: &str = "
[listeners.echo]
bind = ['tcp://127.0.0.1:0', 'udp://127.0.0.1:0', 'unix://echo.sock', 'unixgram://echo.dgram']
handler = 'echo'
[listeners.greeter]
bind = 'tcp://127.0.0.1:0'
handler = 'greeter'
[handlers.greeter]
type = 'echo'
greeting = 'hello...'
prefix = 'response:'
[listeners.discard]
bind = ['tcp://127.0.0.1:0', 'udp://127.0.0.1:0']
handler = 'discard'
";

#[track_caller]
fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn every_transport_gives_back_what_was_sent() {
    let gateway = Gateway::start(LISTENERS);
    let greeter = gateway.address("greeter");
    for address in gateway.addresses("echo").into_iter().chain([greeter.clone()]) {
        // A prefix comes before each chunk, so that what is in several does not come back in one piece.
        for size in ["24", if address == greeter { "4000" } else { "30000" }] {
            let line = ["ping", &address, "--count=5", "--interval=1ms", "--size", size, "-ojson"];
            let ended = gateway.cli(&line);
            assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{address}");
            let summary = json(&ended);
            assert_eq!(summary["endpoint"], address.as_str());
            assert_eq!((&summary["sent"], &summary["received"]), (&5.into(), &5.into()), "{summary}");
            assert_eq!(summary["loss_ratio"], 0.0);
            let at = |name: &str| summary["round_trip_seconds"][name].as_f64().unwrap();
            let times = ["min", "p50", "p90", "p99", "max"].map(at);
            assert!(times.is_sorted() && times[0] > 0.0 && at("mean") <= times[4], "{summary}");
        }
    }
}

#[test]
fn what_does_not_come_back_is_lost_and_nothing_at_all_a_failure() {
    let gateway = Gateway::start(LISTENERS);
    for address in gateway.addresses("discard") {
        let line = ["ping", &address, "--count=2", "--interval=1ms", "--timeout=20ms"];
        let ended = gateway.cli(&line);
        let said = format!("polygate: nothing came back from {address}\n");
        assert_eq!((ended.code, ended.stderr), (1, said));
        let row = ended.stdout.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(row, [&address, "2", "0", "100.0%", "-", "-", "-", "-", "-", "-"]);
    }
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let line = ["ping", &format!("udp://{free}"), "--count=2", "--interval=1ms", "-ojson"];
    let ended = Folder::new().run(&line);
    assert_eq!((ended.code, &json(&ended)["sent"]), (1, &2.into()));
    let ended = Folder::new().run(&["ping", "unix://none.sock"]);
    assert_eq!(ended.code, 69, "{ended:?}");
}

#[test]
fn an_interrupt_prints_what_there_is() {
    let gateway = Gateway::start(LISTENERS);
    let address = gateway.address("echo");
    let mut ping = Running::start(gateway.cli_command(&["ping", &address, "--interval=1h", "-ojson"]));
    // The second one is waited for then.
    eventually("the first is answered", || {
        let listener = gateway.json("/api/v1/listeners/echo");
        listener["sent_bytes"].as_u64().unwrap() >= 64
    });
    ping.signal(Signal::INT);
    let status = ping.ended();
    assert_eq!(code(status), 0);
    let summary: Value = serde_json::from_str(&ping.out.text()).unwrap();
    assert_eq!(summary["sent"], 1, "{summary}");
}
