//! The metrics: what was sent is what they say, and they are those of the page.

use std::collections::BTreeMap;

use super::scrape::Scrape;
use super::{Gateway, ask};
use crate::client::{Datagrams, Stream};
use crate::harness::eventually;

const ALL_TRANSPORTS: &str = "
    [listeners.all]
    bind = ['tcp://127.0.0.1:0', 'unix://all.sock', 'udp://127.0.0.1:0', 'unixgram://all.dgram']
    handler = 'answer'
    [handlers.answer]
    type = 'echo'
    prefix = '>>'
    [listeners.closed]
    bind = 'tcp://127.0.0.1:0'
    handler = 'echo'
    deny = ['127.0.0.0/8']
";

#[test]
fn the_series_agree_with_what_was_sent() {
    let gateway = Gateway::start(ALL_TRANSPORTS);
    let addresses = gateway.addresses("all");
    let mut open = Vec::new();
    // 3 connections a transport with 5 bytes each, of which one stays open.
    for address in &addresses[..2] {
        for number in 0..3 {
            let mut conn = Stream::to(address);
            conn.ask("hello", ">>hello");
            if number == 0 {
                open.push(conn);
            } else {
                conn.finish();
                conn.is_ended();
            }
        }
    }
    for address in &addresses[2..] {
        let datagrams = Datagrams::to(address);
        for text in ["", "a", "abc", "abcd"] {
            datagrams.ask(text, format!(">>{text}"));
        }
    }
    for _ in 0..4 {
        Stream::to(&gateway.address("closed")).is_gone();
    }
    // 6 times `>>hello` on connections, and on both datagram endpoints 8 bytes with 4 prefixes.
    gateway.has_sent("all", 6 * 7 + 2 * 16);
    eventually("everything is settled", || {
        let scrape = Scrape::of(&gateway);
        scrape.sum("polygate_connections_active", &[]) == Some(2.0)
            && scrape.sum("polygate_connections_rejected_total", &[]) == Some(4.0)
            && scrape.sum("polygate_datagrams_sent_total", &[]) == Some(8.0)
    });

    let scrape = Scrape::of(&gateway);
    let of = |name: &str, transport: &str| {
        scrape.sum(&format!("polygate_{name}"), &[("listener", "all"), ("transport", transport)])
    };
    for transport in ["tcp", "unix"] {
        assert_eq!(of("connections_accepted_total", transport), Some(3.0), "{transport}");
        assert_eq!(of("connections_active", transport), Some(1.0), "{transport}");
        assert_eq!(of("connections_closed_total", transport), Some(2.0), "{transport}");
        assert_eq!(of("connections_rejected_total", transport), Some(0.0), "{transport}");
        assert_eq!(of("connection_duration_seconds_count", transport), Some(2.0), "{transport}");
        assert_eq!(of("received_bytes_total", transport), Some(15.0), "{transport}");
        assert_eq!(of("sent_bytes_total", transport), Some(21.0), "{transport}");
        assert_eq!(of("listener_up", transport), Some(1.0), "{transport}");
        assert_eq!(of("datagrams_received_total", transport), None, "{transport}");
        let by_client = [("listener", "all"), ("transport", transport), ("reason", "client")];
        assert_eq!(scrape.sum("polygate_connections_closed_total", &by_client), Some(2.0), "{transport}");
    }
    for transport in ["udp", "unixgram"] {
        assert_eq!(of("datagrams_received_total", transport), Some(4.0), "{transport}");
        assert_eq!(of("datagrams_sent_total", transport), Some(4.0), "{transport}");
        assert_eq!(of("datagrams_dropped_total", transport), Some(0.0), "{transport}");
        assert_eq!(of("datagrams_truncated_total", transport), Some(0.0), "{transport}");
        assert_eq!(of("datagram_batch_size_sum", transport), Some(4.0), "{transport}");
        assert_eq!(of("received_bytes_total", transport), Some(8.0), "{transport}");
        assert_eq!(of("sent_bytes_total", transport), Some(16.0), "{transport}");
        assert_eq!(of("connections_accepted_total", transport), None, "{transport}");
    }
    let by_acl = [("listener", "closed"), ("reason", "acl")];
    assert_eq!(scrape.sum("polygate_connections_rejected_total", &by_acl), Some(4.0));

    let listeners = scrape.values_of("polygate_connections_accepted_total", "listener");
    assert_eq!(listeners.into_iter().collect::<Vec<_>>(), ["all", "closed"]);
    for listener in ["all", "closed"] {
        let sum = |name: &str| {
            scrape.sum(&format!("polygate_connections_{name}"), &[("listener", listener)]).unwrap()
        };
        assert_eq!(
            sum("accepted_total"),
            sum("rejected_total") + sum("active") + sum("closed_total"),
            "{listener}"
        );
        // The API shows the same numbers.
        let view = gateway.json(&format!("/api/v1/listeners/{listener}"));
        for name in ["connections_accepted_total", "connections_closed_total", "connections_rejected_total"] {
            let value = scrape.sum(&format!("polygate_{name}"), &[("listener", listener)]);
            assert_eq!(view[name].as_f64(), value, "{listener} {name}");
        }
        for name in ["received_bytes", "sent_bytes"] {
            let value = scrape.sum(&format!("polygate_{name}_total"), &[("listener", listener)]);
            assert_eq!(view[name].as_f64(), value, "{listener} {name}");
        }
    }
}

/// A listener for every handler that counts something of its own.
const OTHER_HANDLERS: &str = "
[listeners.http]
bind = 'tcp://127.0.0.1:0'
handler = 'http'
[listeners.ftp]
bind = 'tcp://127.0.0.1:0'
handler = 'ftp'
[listeners.exec]
bind = 'tcp://127.0.0.1:0'
handler = 'cat'
[handlers.cat]
type = 'exec'
argv = ['/bin/cat']
[listeners.runner]
bind = 'tcp://127.0.0.1:0'
handler = 'runner'
[listeners.forward]
bind = 'tcp://127.0.0.1:0'
handler = 'out'
[handlers.out]
type = 'forward'
upstream = 'back'
[upstreams.back]
to = ['tcp://127.0.0.1:9']
";

/// The names and types in the tables of the page.
fn documented() -> BTreeMap<String, String> {
    let page = include_str!("../../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
    });
    rows.collect()
}

#[test]
fn the_metrics_are_those_of_the_page_and_no_others() {
    let documented = documented();
    assert!(documented.len() > 30, "the page was read: {documented:?}");
    let made = crate::tls_client::Certificates::new();
    let secure =
        format!("[listeners.secure]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n{}\n", made.table(""));
    let gateway = Gateway::start(&format!("{ALL_TRANSPORTS}\n{OTHER_HANDLERS}\n{secure}"));
    // Requests count when they have been answered.
    gateway.get("/metrics");
    let scrape = Scrape::of(&gateway);
    // Some sandboxes do not let a process ask for the queues; the log says so.
    let unavailable = |name: &str| {
        name.starts_with("polygate_accept_queue_") && gateway.stderr().contains("no accept queues")
    };
    for (name, kind) in &documented {
        assert!(
            // A page says of a histogram which buckets it has.
            scrape.families.get(name).map(String::as_str) == kind.split(' ').next() || unavailable(name),
            "{name} is documented as a {kind}, and the scrape has {:?}",
            scrape.families.get(name)
        );
    }
    for name in scrape.families.keys() {
        assert!(name.starts_with("polygate_") || name.starts_with("process_"), "{name}");
        assert!(documented.contains_key(name), "{name} is not documented");
    }
}

#[test]
fn the_content_type_is_what_prometheus_expects() {
    let gateway = Gateway::start(super::ECHO);
    let answer = ask(&gateway.admin(), "GET", "/metrics", &[("Host", "prometheus.example")], "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(answer.body.ends_with('\n'));
}
