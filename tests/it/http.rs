//! The `http` handler as its clients see it: the answer, its clocks, its drain, HTTP/2, and what is counted.

use std::time::Duration;

use polygate::stats::CloseReason;

use crate::client::Stream;
use crate::harness::{Gate, during, eventually};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn web(more: &str) -> String {
    format!("[listeners.web]\nbind = ['tcp://127.0.0.1:0', 'unix://web.sock']\nhandler = 'web'\n{more}\n")
}

/// The answer to one request, as text, on a connection that closes after it.
#[track_caller]
fn ask(address: &str, request: &str) -> String {
    let mut stream = Stream::to(address);
    stream.say(request);
    String::from_utf8(stream.rest()).unwrap()
}

#[test]
fn every_path_gets_the_configured_answer_on_tcp_and_unix() {
    let text = web(
        "[handlers.web]\ntype = 'http'\nstatus = 418\nbody = 'short and stout'\ncontent_type = 'text/html'\nheaders = { X-Tea = 'green' }",
    );
    let gate = Gate::start(&text);
    for address in gate.addresses("web") {
        for path in ["/", "/any?x=y"] {
            let answer =
                ask(&address, &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 418 I'm a teapot\r\nServer: polygate\r\nDate: "), "{head}");
            for line in ["Content-Type: text/html", "X-Tea: green", "Connection: close", "Content-Length: 15"]
            {
                assert!(head.lines().any(|got| got == line), "no {line} in {head}");
            }
            assert_eq!(body, "short and stout");
        }
    }
}

#[test]
fn a_long_body_and_a_delay_keep_the_order() {
    let long = "x".repeat(100_000);
    let text = web(&format!("[handlers.web]\ntype = 'http'\nbody = '{long}'\ndelay = '20ms'"));
    let gate = Gate::start(&text);
    let mut stream = gate.connect("web");
    stream.say(format!(
        "{GET}HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ));
    let all = String::from_utf8(stream.rest()).unwrap();
    assert_eq!(all.matches("HTTP/1.1 200 OK\r\n").count(), 3);
    assert_eq!(all.matches(&long).count(), 2);
    assert!(all.ends_with(&long));
}

#[test]
fn clocks_close_who_is_silent_who_drips_and_who_idles() {
    let text = web(
        "timeouts = { first_byte = '300ms', request = '300ms', idle = '300ms' }\n[handlers.web]\ntype = 'http'",
    );
    let gate = Gate::start(&text);
    // Silent: closed without a word.
    assert_eq!(ask(&gate.address("web"), ""), "");
    eventually("counted", || gate.closed("web", CloseReason::FirstByte) == 1);
    // Half a head and no more: the client is told.
    let answer = ask(&gate.address("web"), "GET / HT");
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    // Half a head, dripped: the clock is hard.
    let mut stream = gate.connect("web");
    stream.say("GET / HTTP/1.1\r\nX: ");
    during(Duration::from_millis(700), || {
        let _ = std::io::Write::write_all(&mut stream, b"x");
    });
    stream.finish();
    let answer = String::from_utf8(stream.rest()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    let answer = ask(&gate.address("web"), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    assert!(
        answer.starts_with("HTTP/1.1 408 Request Timeout\r\n") && answer.contains("Connection: close"),
        "{answer}"
    );
    eventually("counted", || gate.closed("web", CloseReason::Request) == 3);
    // Idle between requests.
    let answer = ask(&gate.address("web"), GET);
    assert!(answer.ends_with("Hello, World\n"));
    eventually("counted", || gate.closed("web", CloseReason::Idle) == 1);
}

#[test]
fn a_drain_answers_what_comes_and_says_that_it_was_the_last() {
    let gate = Gate::start(&web("[handlers.web]\ntype = 'http'\ndelay = '300ms'"));
    let (mut idle, mut busy) = (gate.connect("web"), gate.connect("web"));
    idle.say(GET);
    assert!(idle.recv().contains("200 OK"));
    busy.say(GET);
    eventually("the request is under way", || {
        let snapshot = gate.stats().snapshot();
        let ledgers = snapshot.of_listener("web").flat_map(|ledger| &ledger.counters);
        let in_flight = ledgers.filter(|c| c.counter.name == "polygate_http_requests_in_flight");
        in_flight.flat_map(|c| &c.cells).map(|(_, cell)| cell.count()).sum::<u64>() == 1
    });
    let drained = gate.shutdown();
    assert_eq!(drained.killed, 0);
    let answer = String::from_utf8(busy.rest()).unwrap();
    assert!(answer.contains("Connection: close\r\n") && answer.ends_with("Hello, World\n"), "{answer}");
    assert_eq!(idle.rest(), b"");
}

#[test]
fn a_drain_answers_all_that_was_pipelined_and_the_last_says_that_it_is() {
    let gate = Gate::start(&web("[handlers.web]\ntype = 'http'\ndelay = '200ms'"));
    let mut stream = gate.connect("web");
    stream.say(GET);
    assert!(stream.recv().contains("200 OK"));
    stream.say(GET.repeat(5));
    eventually("they have come", || gate.stats().conns()[0].received_bytes == 6 * GET.len() as u64);
    assert_eq!(gate.shutdown().killed, 0);
    let all = String::from_utf8(stream.rest()).unwrap();
    assert_eq!(all.matches("HTTP/1.1 200 OK\r\n").count(), 5, "{all}");
    let last = all.rfind("HTTP/1.1 200 OK").unwrap();
    assert_eq!(all.find("Connection: close").map(|at| at > last), Some(true), "{all}");
}

#[test]
fn a_request_that_its_client_cuts_off_is_told_so() {
    let gate = Gate::start(&web("[handlers.web]\ntype = 'http'"));
    let mut stream = gate.connect("web");
    stream.say("GET / HTTP/1.1\r\nHos");
    stream.finish();
    let answer = String::from_utf8(stream.rest()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("within the request\n"), "{answer}");
}

#[test]
fn a_refusal_arrives_although_the_client_sends_on() {
    let gate = Gate::start(&web("[handlers.web]\ntype = 'http'"));
    for address in gate.addresses("web") {
        let mut stream = Stream::to(&address);
        stream.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n");
        // All of it, before it looks at the answer.
        for _ in 0..90 {
            stream.say(vec![b'x'; 100_000]);
        }
        stream.finish();
        let answer = String::from_utf8(stream.rest()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    eventually("counted", || gate.closed("web", CloseReason::TooLarge) == 2);
}

#[test]
fn over_the_limit_the_answer_is_503() {
    let limit = "limits = { max_connections = 1, overload = 'refuse' }\n[handlers.web]\ntype = 'http'";
    let gate = Gate::start(&web(limit));
    let mut first = gate.connect("web");
    first.say(GET);
    assert!(first.recv().contains("200 OK"));
    let answer = ask(&gate.address("web"), "");
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(
        answer.contains("\r\nRetry-After: 1\r\n") && answer.contains("\r\nConnection: close\r\n"),
        "{answer}"
    );
}

/// The requests counted, as `METHOD CODE N`, without those that are known and 0.
fn counted(gate: &Gate) -> Vec<String> {
    let snapshot = gate.stats().snapshot();
    let mut all = std::collections::BTreeMap::new();
    for counter in snapshot.of_listener("web").flat_map(|ledger| &ledger.counters) {
        if counter.counter.name == "polygate_http_requests_total" {
            for (labels, n) in
                counter.cells.iter().map(|(labels, cell)| (labels, cell.count())).filter(|(_, n)| *n > 0)
            {
                *all.entry(format!("{} {}", labels[0], labels[1])).or_insert(0) += n;
            }
        }
    }
    all.into_iter().map(|(labels, n)| format!("{labels} {n}")).collect()
}

#[test]
fn requests_are_counted_by_method_and_code() {
    let gate = Gate::start(&web("[handlers.web]\ntype = 'http'"));
    let mut stream = gate.connect("web");
    stream.say(format!("{GET}{GET}BREW / HTTP/1.1\r\nHost: a\r\n\r\nDELETE / HTTP/1.1\r\nHost: a\r\n\r\n\0"));
    stream.rest();
    assert_eq!(counted(&gate), ["DELETE 405 1", "GET 200 2", "OTHER 400 1", "OTHER 405 1"]);
    let work: u64 = gate.stats().snapshot().of_listener("web").map(|ledger| ledger.work.count()).sum();
    assert_eq!(work, 5);
}

// === HTTP/2 ===

mod http2 {
    use http_body_util::{BodyExt as _, Full};
    use hyper::body::Bytes;
    use hyper::client::conn::http2::{SendRequest, handshake};
    use hyper::{Request, Response, StatusCode};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    use super::*;

    /// Does something with an HTTP/2 connection, within the deadline.
    fn with<F: Future>(gate: &Gate, act: impl FnOnce(SendRequest<Full<Bytes>>) -> F) -> F::Output {
        let address = gate.address("web");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream =
                tokio::net::TcpStream::connect(address.strip_prefix("tcp://").unwrap()).await.unwrap();
            let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            tokio::time::timeout(crate::harness::DEADLINE, act(send)).await.expect("not in time")
        })
    }

    fn request(method: &str, body: usize) -> Request<Full<Bytes>> {
        let body = Full::new(Bytes::from(vec![b'x'; body]));
        Request::builder().method(method).uri("http://a/").body(body).unwrap()
    }

    async fn text(response: Response<hyper::body::Incoming>) -> (StatusCode, String) {
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn is_spoken_by_prior_knowledge_with_the_same_answers() {
        let gate = Gate::start(&web("[handlers.web]\ntype = 'http'\nheaders = { X-Tea = 'green' }"));
        with(&gate, async |mut send: SendRequest<_>| {
            let response = send.send_request(request("GET", 0)).await.unwrap();
            assert_eq!(response.headers()["x-tea"], "green");
            assert_eq!(response.headers()["server"], "polygate");
            assert_eq!(text(response).await, (StatusCode::OK, "Hello, World\n".into()));
            let response = send.send_request(request("POST", 10)).await.unwrap();
            assert_eq!(response.headers()["allow"], "GET, HEAD");
            assert_eq!(text(response).await.0, StatusCode::METHOD_NOT_ALLOWED);
            let response = send.send_request(request("GET", (1 << 20) + 1)).await.unwrap();
            assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
            let protocol = &gate.stats().conns()[0].details[0];
            assert_eq!(protocol, &("protocol", "h2".to_owned()));
        });
        assert_eq!(counted(&gate), ["GET 200 1", "OTHER 413 1", "POST 405 1"]);
    }

    #[test]
    fn a_drain_lets_streams_finish() {
        let gate = Gate::start(&web("[handlers.web]\ntype = 'http'\ndelay = '300ms'"));
        let drained = std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                with(&gate, async |mut send: SendRequest<_>| {
                    text(send.send_request(request("GET", 0)).await.unwrap()).await
                })
            });
            eventually("it is under way", || gate.active("web") == 1);
            let drained = gate.shutdown();
            assert_eq!(client.join().unwrap().1, "Hello, World\n");
            drained
        });
        assert_eq!(drained.killed, 0);
    }

    #[test]
    fn a_preface_that_never_ends_is_out_of_time() {
        let gate = Gate::start(&web("timeouts.request = '300ms'\n[handlers.web]\ntype = 'http'"));
        let answer = ask(&gate.address("web"), "PRI * HTTP/2.0\r\n\r\nSM");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        let answer = ask(&gate.address("web"), "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        // The whole preface and then silence: GOAWAY, by the same clock.
        let mut stream = gate.connect("web");
        stream.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        assert!(stream.rest().len() > 9);
        eventually("counted", || gate.closed("web", CloseReason::Request) == 2);
    }
}
