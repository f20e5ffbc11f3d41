//! How the admin API treats requests that are not as they should be, and who else is connected.

use std::collections::BTreeSet;

use super::http::{connect, exchange};
use super::{ECHO, Gateway, ask};

#[test]
fn web_pages_are_kept_out() {
    let gateway =
        Gateway::start(&format!("admin.bind = 'tcp://127.0.0.1:0'\nadmin.hosts = ['gate']\n{ECHO}"));
    let own = gateway.admin();
    let place = own.strip_prefix("http://").unwrap();
    let get = |path: &str, headers: &[(&str, &str)]| gateway.ask("GET", path, headers, "");
    let info = "/api/v1/info";
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:9900"] {
        get(info, &[("Host", host)]).is_problem(403);
        get("/nowhere", &[("Host", host)]).is_problem(403);
        for open in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(get(open, &[("Host", host)]).status, 200, "{open}");
        }
    }
    for host in ["localhost", "LOCALHOST:9900", place, "[::1]:1", "gate", "gate:80"] {
        assert_eq!(get(info, &[("Host", host)]).status, 200, "{host}");
    }
    for origin in ["http://evil.example", "null", "http://localhost:1"] {
        get(info, &[("Origin", origin)]).is_problem(403);
        gateway.ask("POST", "/api/v1/config/reload", &[("Origin", origin)], "").is_problem(403);
    }
    assert_eq!(get(info, &[("Host", place), ("Origin", &own)]).status, 200);
    for site in ["cross-site", "same-site"] {
        get(info, &[("Sec-Fetch-Site", site)]).is_problem(403);
        gateway.ask("POST", "/api/v1/config/reload", &[("Sec-Fetch-Site", site)], "").is_problem(403);
    }
    for site in ["same-origin", "none"] {
        assert_eq!(get(info, &[("Sec-Fetch-Site", site)]).status, 200, "{site}");
    }
    exchange(&own, "GET /api/v1/info HTTP/1.1\r\nConnection: close\r\n\r\n").is_problem(400);
    assert_eq!(gateway.json(info)["generation"], 1, "no reload came through");
}

#[test]
fn what_is_not_there_is_a_problem_too() {
    let gateway = Gateway::start(ECHO);
    for path in [
        "/index.html",
        "/api",
        "/api/v1",
        "/api/v1/nothing",
        "/livez/x",
        "/api/v2/info",
        "//livez",
        "/api/v1/listeners/",
    ] {
        gateway.get(path).is_problem(404);
    }
    let cases = [
        ("DELETE", "/api/v1/info", "GET,HEAD"),
        ("GET", "/api/v1/config/reload", "POST"),
        ("POST", "/api/v1/connections/1", "GET,HEAD,DELETE"),
        ("PUT", "/livez", "GET,HEAD"),
        ("BREW", "/api/v1/listeners", "GET,HEAD"),
    ];
    for (method, path, allowed) in cases {
        let answer = gateway.ask(method, path, &[], "");
        answer.is_problem(405);
        let sorted = |list: &str| list.split(',').map(|m| m.trim().to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(answer.header("allow").map(sorted), Some(sorted(allowed)), "{method} {path}");
    }
}

#[test]
fn a_body_over_a_mebibyte_is_refused_before_it_is_sent() {
    let gateway = Gateway::start(ECHO);
    let head = "POST /api/v1/config/validate HTTP/1.1\r\nHost: localhost\r\nContent-Length: ";
    exchange(&gateway.admin(), &format!("{head}1048577\r\n\r\n")).is_problem(413);
    // A mebibyte of comment is a valid configuration.
    let body = "#".repeat(1024 * 1024);
    let answer = gateway.ask("POST", "/api/v1/config/validate", &[], &body);
    assert_eq!((answer.status, &answer.json()["valid"]), (200, &true.into()));
}

#[test]
fn half_a_request_ends_with_the_clients_end() {
    let gateway = Gateway::start(ECHO);
    for half in [
        "",
        "GET",
        "GET /livez HTTP/1.1\r\nHost: loc",
        "POST /api/v1/config/validate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nab",
    ] {
        let mut stream = connect(&gateway.admin());
        stream.say(half);
        stream.finish();
        stream.is_gone();
    }
    for garbage in ["\0\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\0\r\n\r\n"] {
        let mut stream = connect(&gateway.admin());
        stream.say(garbage);
        stream.is_gone();
    }
    assert_eq!(gateway.get("/livez").status, 200);
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let gateway = Gateway::start(ECHO);
    let get = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let last = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut stream = connect(&gateway.admin());
    stream.say(format!("{get}{get}{last}"));
    let answers = String::from_utf8(stream.rest()).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answers}");
    assert_eq!(answers.matches("\r\n\r\nok\n").count(), 3, "{answers}");
}

#[test]
fn idle_connections_keep_nobody_from_being_answered() {
    let gateway = Gateway::start(ECHO);
    let idle: Vec<_> = (0..40).map(|_| connect(&gateway.admin())).collect();
    let half: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = connect(&gateway.admin());
            stream.say("GET /livez HTTP/1.1\r\n");
            stream
        })
        .collect();
    let started = std::time::Instant::now();
    assert_eq!(gateway.get("/livez").status, 200);
    assert_eq!(gateway.json("/api/v1/info")["generation"], 1);
    assert!(started.elapsed() < std::time::Duration::from_secs(8), "it waited for their deadline");
    drop((idle, half));
}

#[test]
fn a_unix_socket_answers_like_a_port() {
    let gateway = Gateway::start(&format!("admin.bind = 'unix://admin.sock'\n{ECHO}"));
    let url = gateway.admin();
    assert!(url.starts_with("unix:///"), "{url}");
    assert_eq!(ask(&url, "GET", "/api/v1/info", &[], "").json()["generation"], 1);
    ask(&url, "GET", "/api/v1/info", &[("Host", "evil.example")], "").is_problem(403);
    assert_eq!(gateway.cli(&["reload"]).code, 0);
    let audit = gateway.logged("audit", |line| line["target"] == "polygate::audit");
    assert!(audit["client"].as_str().unwrap().starts_with("uid="), "{audit}");
}
