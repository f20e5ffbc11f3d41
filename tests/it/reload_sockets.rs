//! Endpoints that overlap the ones that they replace, and many reloads under load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::client::{Datagrams, Stream};
use crate::harness::{Gate, eventually, free_port};

#[test]
fn all_addresses_and_loopback_of_one_port_are_swapped_by_one_reload() {
    let port = free_port();
    let text = |host: &str, handler: &str| {
        let bind = format!("['tcp://{host}:{port}', 'udp://{host}:{port}']");
        format!("[listeners.l]\nbind = {bind}\nhandler = '{handler}'")
    };
    let gate = Gate::start(&text("127.0.0.1", "echo"));
    let mut open = Stream::to(&format!("tcp://127.0.0.1:{port}"));
    open.ask("hi", "hi");
    for (host, handler, answer) in
        [("0.0.0.0", "upper", "HI"), ("127.0.0.1", "echo", "hi"), ("0.0.0.0", "echo", "hi")]
    {
        gate.reload(&text(host, handler));
        assert_eq!(gate.address("l"), format!("tcp://{host}:{port}"));
        // The old sockets are closed behind the reload's back, after what is queued there is answered.
        eventually("the new sockets answer", || {
            let tcp =
                Stream::try_to(&format!("tcp://127.0.0.1:{port}")).and_then(|stream| stream.try_ask("hi"));
            let udp = Datagrams::to(&format!("udp://127.0.0.1:{port}")).try_ask("hi");
            [tcp, udp].into_iter().all(|heard| heard.is_ok_and(|heard| heard == answer.as_bytes()))
        });
        eventually("other addresses are served or not", || {
            Stream::try_to(&format!("tcp://127.0.0.2:{port}")).is_ok() == (host == "0.0.0.0")
        });
    }
    open.ask("still here", "still here");
}

#[test]
fn after_such_a_swap_nobody_else_may_take_the_port() {
    let port = free_port();
    let text = |host: &str| format!("[listeners.l]\nbind = 'udp://{host}:{port}'\nhandler = 'echo'");
    let gate = Gate::start(&text("127.0.0.1"));
    gate.reload(&text("0.0.0.0"));
    let thief = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    thief.set_reuse_port(true).unwrap();
    let at = std::net::SocketAddr::from(([0, 0, 0, 0], port));
    assert!(thief.bind(&at.into()).is_err());
}

#[test]
fn a_swap_that_fails_leaves_the_old_socket_as_it_was() {
    let port = free_port();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = |host: &str| {
        format!("[listeners.l]\nbind = ['udp://{host}:{port}', 'tcp://{host}:{port}']\nhandler = 'echo'\n")
    };
    let gate = Gate::start(&text("127.0.0.1"));
    let other = format!("[listeners.m]\nbind = 'tcp://{}'\nhandler = 'echo'", taken.local_addr().unwrap());
    gate.try_reload(&(text("0.0.0.0") + &other)).unwrap_err();
    Datagrams::to(&format!("udp://127.0.0.1:{port}")).ask("hi", "hi");
    Stream::to(&format!("tcp://127.0.0.1:{port}")).ask("hi", "hi");
    drop(taken);
    gate.reload(&text("0.0.0.0"));
    Stream::to(&format!("tcp://127.0.0.3:{port}")).ask("hi", "hi");
}

#[test]
fn a_port_that_the_kernel_chose_may_be_written_down() {
    let text = |port: u16, handler: &str| {
        format!("[listeners.l]\nbind = 'tcp://127.0.0.1:{port}'\nhandler = '{handler}'")
    };
    let gate = Gate::start(&text(0, "echo"));
    let address = gate.address("l");
    let port = address.rsplit(':').next().unwrap().parse().unwrap();
    let mut open = Stream::to(&address);
    open.ask("hi", "hi");
    gate.reload(&text(port, "upper"));
    assert_eq!(gate.address("l"), address);
    Stream::to(&address).ask("hi", "HI");
    open.ask("still here", "still here");
}

#[test]
fn a_stream_and_a_datagram_socket_change_places_at_one_path() {
    let text = |kind: &str| format!("[listeners.l]\nbind = '{kind}://l.sock'\nhandler = 'echo'\n");
    let gate = Gate::start(&text("unix"));
    let mut open = Stream::to(&gate.address("l"));
    open.ask("hi", "hi");
    gate.reload(&text("unixgram"));
    Datagrams::to(&gate.address("l")).ask("hi", "hi");
    open.ask("still here", "still here");

    // One that fails, and a rehearsal, leave the node where it was.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = format!("[listeners.m]\nbind = 'tcp://{}'\nhandler = 'echo'", taken.local_addr().unwrap());
    gate.try_reload(&(text("unix") + &other)).unwrap_err();
    Datagrams::to(&gate.address("l")).ask("hi", "hi");

    gate.reload(&text("unix"));
    Stream::to(&gate.address("l")).ask("hi", "hi");
    assert!(!gate.folder().join("l.sock.leaving").exists());
}

#[test]
fn what_left_is_closed_when_the_reload_answers() {
    let text = |more: &str| format!("[listeners.l]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n{more}");
    let gate = Gate::start(&text("[listeners.m]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'"));
    let left = gate.address("m");
    gate.reload(&text(""));
    assert!(Stream::try_to(&left).is_err());
}

/// The two configurations of the storm: the names, the handler's options and what is beside it all change.
fn storm(prefix: &str, port: u16) -> String {
    format!(
        r#"
        [listeners.{prefix}]
        bind = ["tcp://127.0.0.1:{port}", "udp://127.0.0.1:{port}", "unixgram://l.dgram", "unix://l.sock"]
        handler = "h"
        [listeners.beside-{prefix}]
        bind = ["tcp://127.0.0.1:0", "unix://{prefix}.sock"]
        handler = "upper"
        [handlers.h]
        type = "echo"
        prefix = "{prefix}:"
        "#
    )
}

#[test]
fn thirty_reloads_under_load_lose_nothing() {
    let port = free_port();
    let gate = Gate::start(&storm("a", port));
    let tcp = format!("tcp://127.0.0.1:{port}");
    let unix = gate.addresses("a").pop().unwrap();
    let datagrams = [format!("udp://127.0.0.1:{port}"), gate.addresses("a")[2].clone()];
    let (done, rounds) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 6]);
    let either = |heard: &str| assert!(heard == "a:hi" || heard == "b:hi", "{heard}");
    std::thread::scope(|scope| {
        let rounds = &rounds;
        let run = |worker: usize, mut round: Box<dyn FnMut() + Send>| {
            let done = &done;
            scope.spawn(move || {
                while !done.load(Relaxed) {
                    round();
                    rounds[worker].fetch_add(1, Relaxed);
                }
            });
        };
        for (worker, address) in [&tcp, &unix].into_iter().enumerate() {
            // A conn that stays has the handler that it started with.
            let mut stays = Stream::to(address);
            run(worker, Box::new(move || stays.ask("hi", "a:hi")));
            let address = address.clone();
            run(
                worker + 2,
                Box::new(move || {
                    let mut stream = Stream::to(&address);
                    stream.say("hi");
                    either(&stream.recv());
                }),
            );
        }
        for (worker, address) in datagrams.iter().enumerate() {
            let client = Datagrams::to(address);
            run(
                worker + 4,
                Box::new(move || {
                    client.send("hi");
                    either(&String::from_utf8(client.recv()).unwrap());
                }),
            );
        }
        for reload in 0..30 {
            let seen = rounds.each_ref().map(|n| n.load(Relaxed));
            eventually("every client has had an answer since", || {
                done.load(Relaxed) || rounds.iter().zip(seen).all(|(now, then)| now.load(Relaxed) > then)
            });
            gate.reload(&storm(if reload % 2 == 0 { "b" } else { "a" }, port));
        }
        done.store(true, Relaxed);
    });
    assert_eq!(gate.supervisor().running().generation, 31);
}
