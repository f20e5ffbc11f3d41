//! The admin API as any HTTP client sees it.

use std::collections::BTreeSet;
use std::net::TcpListener;

use serde_json::{Value, json};

use super::http::{connect, exchange};
use super::{ECHO, FILE, Gateway, UPPER, ask};
use crate::client::Stream;
use crate::harness::eventually;

const TWO: &str = "
[listeners.echo]
bind = ['tcp://127.0.0.1:0', 'unix://echo.sock']
handler = 'greeter'
timeouts = { idle = '90s', lifetime = 'off' }
[listeners.loud]
bind = 'tcp://127.0.0.1:0'
handler = 'upper'
[handlers.greeter]
type = 'echo'
greeting = 'hi '
";

#[track_caller]
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

#[test]
fn info_says_what_runs() {
    let gateway = Gateway::start(ECHO);
    let info = gateway.json("/api/v1/info");
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["pid"], gateway.pid());
    assert_eq!(info["generation"], 1);
    assert_eq!(info["config_path"], FILE);
    assert_eq!(info["admin"], json!([gateway.admin()]));
    assert_eq!(info["warnings"], json!([]));
    assert!(info["open_fds"].as_u64().unwrap() > 5, "{info}");
    assert!(info["limits"]["max_fds"].as_u64() >= info["open_fds"].as_u64(), "{info}");
    for time in ["started_at", "config_applied_at"] {
        let text = info[time].as_str().unwrap();
        assert!(text.len() == "2026-11-21T05:09:26.809Z".len() && text.ends_with('Z'), "{text}");
    }
    let hash = info["config_hash"].as_str().unwrap();
    assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    gateway.write(UPPER);
    assert_eq!(gateway.ask("POST", "/api/v1/config/reload", &[], "").status, 200);
    let later = gateway.json("/api/v1/info");
    assert_eq!(later["generation"], 2);
    assert_eq!(later["started_at"], info["started_at"]);
    assert_ne!(later["config_hash"], info["config_hash"]);
}

#[test]
fn listeners_are_listed_and_looked_at_by_name() {
    let gateway = Gateway::start(TWO);
    let list = gateway.json("/api/v1/listeners");
    assert_eq!(keys(&list), ["items", "next_cursor", "total"]);
    assert_eq!((&list["total"], &list["next_cursor"]), (&2.into(), &Value::Null));
    assert_eq!((&list["items"][0]["name"], &list["items"][1]["name"]), (&"echo".into(), &"loud".into()));
    let echo = gateway.json("/api/v1/listeners/echo");
    assert_eq!(echo, list["items"][0]);
    assert_eq!(
        (&echo["state"], &echo["handler"], &echo["type"]),
        (&"running".into(), &"greeter".into(), &"echo".into())
    );
    assert_eq!(echo["options"], json!({ "greeting": "hi ", "prefix": "", "chunk": "16KiB" }));
    let addresses = gateway.addresses("echo");
    assert_eq!(
        echo["endpoints"][0],
        json!({ "bind": "tcp://127.0.0.1:0", "address": addresses[0], "transport": "tcp" })
    );
    assert_eq!(
        (&echo["endpoints"][1]["address"], &echo["endpoints"][1]["transport"]),
        (&json!(addresses[1]), &"unix".into())
    );
    assert_eq!(echo["timeouts"]["idle_seconds"], 90.0);
    assert_eq!(echo["timeouts"]["lifetime_seconds"], Value::Null);
    gateway.get("/api/v1/listeners/nobody").is_problem(404);
}

/// A connection that has said something, and its number.
fn talk(gateway: &Gateway, address: &str, bytes: usize) -> (Stream, u64) {
    let list = |gateway: &Gateway| -> BTreeSet<u64> {
        let list = gateway.json("/api/v1/connections?limit=1000");
        list["items"].as_array().unwrap().iter().map(|conn| conn["id"].as_u64().unwrap()).collect()
    };
    let before = list(gateway);
    let mut stream = Stream::to(address);
    stream.hear("hi ");
    let text = "x".repeat(bytes);
    stream.ask(&text, &text);
    let new: Vec<u64> = list(gateway).difference(&before).copied().collect();
    assert_eq!(new.len(), 1, "{new:?}");
    // What was heard may not have been counted yet.
    let all = bytes as u64 + 3;
    let path = format!("/api/v1/connections/{}", new[0]);
    eventually("what was sent is counted", || gateway.json(&path)["sent_bytes"] == all);
    (stream, new[0])
}

#[test]
fn connections_are_listed_filtered_and_in_order() {
    let gateway = Gateway::start(TWO);
    let addresses = gateway.addresses("echo");
    let (tcp, small) = talk(&gateway, &addresses[0], 3);
    let (_other, large) = talk(&gateway, &addresses[0], 300);
    let (_unix, unix) = talk(&gateway, &addresses[1], 30);
    let listed = |query: &str| {
        let list = gateway.json(&format!("/api/v1/connections{query}"));
        let items = list["items"].as_array().unwrap();
        items.iter().map(|conn| conn["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(listed(""), [small, large, unix]);
    assert_eq!(listed("?sort=-received_bytes"), [large, unix, small]);
    assert_eq!(listed("?sort=sent_bytes"), [small, unix, large]);
    assert_eq!(listed("?listener=echo&transport=unix"), [unix]);
    assert_eq!(listed("?transport=tcp"), [small, large]);
    assert!(listed("?listener=loud").is_empty());
    assert!(listed("?min_age_seconds=3600").is_empty());
    assert_eq!(listed("?peer=127.0.0.1"), [small, large]);
    assert_eq!(listed("?peer=127.0.0.0/8&sort=-id"), [large, small]);
    assert!(listed("?peer=10.0.0.1").is_empty());
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(listed(&format!("?peer=uid%3D{uid}")), [unix]);
    let Stream::Tcp(socket) = &tcp else { panic!("no TCP") };
    let peer = socket.local_addr().unwrap();
    assert_eq!(listed(&format!("?peer={peer}")), [small]);

    // In parts.
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let part = gateway.json(&format!("/api/v1/connections?sort=-received_bytes&limit=1{cursor}"));
        assert_eq!(part["total"], 3);
        seen.extend(part["items"].as_array().unwrap().iter().map(|conn| conn["id"].as_u64().unwrap()));
        match part["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, [large, unix, small]);

    let conn = gateway.json(&format!("/api/v1/connections/{small}"));
    assert_eq!(
        keys(&conn),
        [
            "id",
            "kind",
            "listener",
            "transport",
            "handler",
            "peer",
            "local",
            "started_at",
            "age_seconds",
            "idle_seconds",
            "received_bytes",
            "sent_bytes",
            "generation",
            "state",
            "details",
        ]
    );
    assert_eq!(
        (&conn["kind"], &conn["state"], &conn["handler"]),
        (&"conn".into(), &"open".into(), &"echo".into())
    );
    assert_eq!((&conn["peer"], &conn["generation"]), (&json!(peer.to_string()), &1.into()));
    assert_eq!((&conn["received_bytes"], &conn["sent_bytes"]), (&3.into(), &6.into()));
    for bad in [
        "?lisener=echo",
        "?sort=size",
        "?limit=0",
        "?limit=1001",
        "?transport=sctp",
        "?cursor=x",
        "?min_age_seconds=-1",
        "?min_age_seconds=1m",
    ] {
        gateway.get(&format!("/api/v1/connections{bad}")).is_problem(400);
    }
}

#[test]
fn a_connection_is_killed_once() {
    let gateway = Gateway::start(TWO);
    let (mut stream, id) = talk(&gateway, &gateway.address("echo"), 1);
    let (mut other, _) = talk(&gateway, &gateway.address("echo"), 1);
    let path = format!("/api/v1/connections/{id}");
    let killed = gateway.ask("DELETE", &path, &[], "");
    assert_eq!((killed.status, killed.body.as_str()), (204, ""));
    stream.is_gone();
    eventually("it is gone", || gateway.get(&path).status == 404);
    gateway.get(&path).is_problem(404);
    gateway.ask("DELETE", &path, &[], "").is_problem(404);
    gateway.get("/api/v1/connections/x").is_problem(400);
    other.ask("still", "still");
    let closed = gateway.logged("closed", |line| line["message"] == "closed");
    assert_eq!((&closed["conn"], &closed["reason"]), (&id.into(), &"admin".into()));
    let audit = gateway.logged("audit", |line| line["target"] == "polygate::audit");
    assert_eq!(
        (&audit["action"], &audit["conn"], &audit["done"]),
        (&"kill".into(), &id.into(), &true.into())
    );
    assert!(audit["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{audit}");
}

#[test]
fn the_configuration_is_shown_as_json_and_toml_each_with_its_tag() {
    let gateway = Gateway::start(TWO);
    let get = |headers: &[(&str, &str)]| gateway.ask("GET", "/api/v1/config", headers, "");
    let json = get(&[]);
    assert_eq!((json.status, json.header("content-type")), (200, Some("application/json")));
    assert_eq!(json.json()["listeners"]["echo"]["timeouts"]["idle"], "1m 30s");
    let toml = get(&[("Accept", "application/toml")]);
    assert_eq!((toml.status, toml.header("content-type")), (200, Some("application/toml")));
    let parsed: toml::Table = toml.body.parse().unwrap();
    assert_eq!(parsed["listeners"]["loud"]["handler"].as_str(), Some("upper"));
    let (json_tag, toml_tag) = (json.header("etag").unwrap(), toml.header("etag").unwrap());
    assert_ne!(json_tag, toml_tag);
    let known = get(&[("If-None-Match", json_tag)]);
    assert_eq!((known.status, known.body.as_str(), known.header("etag")), (304, "", Some(json_tag)));
    assert_eq!(get(&[("If-None-Match", toml_tag), ("Accept", "application/toml")]).status, 304);
    assert_eq!(get(&[("If-None-Match", toml_tag)]).status, 200);

    // What it shows loads again, with nothing to do.
    gateway.folder().write("shown.toml", &toml.body);
    let checked = gateway.cli(&["check", "shown.toml"]);
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    gateway.folder().write(FILE, &toml.body);
    let reloaded = gateway.ask("POST", "/api/v1/config/reload", &[], "");
    assert_eq!((reloaded.status, &reloaded.json()["generation"]), (200, &1.into()));
    gateway.write(ECHO);
    assert_eq!(gateway.ask("POST", "/api/v1/config/reload", &[], "").status, 200);
    assert_eq!(get(&[("If-None-Match", json_tag)]).status, 200, "it has changed");
}

#[test]
fn a_text_is_validated_without_any_effect() {
    let gateway = Gateway::start(TWO);
    let validate = |kind: &str, text: &str| {
        gateway.ask("POST", "/api/v1/config/validate", &[("Content-Type", kind)], text)
    };
    let valid = validate("application/toml", &format!("admin.bind = 'tcp://127.0.0.1:0'\n{ECHO}"));
    assert_eq!(valid.status, 200);
    let verdict = valid.json();
    assert_eq!(keys(&verdict), ["valid", "diagnostics", "plan"]);
    assert_eq!((&verdict["valid"], &verdict["diagnostics"]), (&true.into(), &json!([])));
    assert_eq!(verdict["plan"]["removed"], json!(["loud"]));
    assert_eq!(verdict["plan"]["changed"][0]["name"], "echo");

    let invalid = validate("text/plain", "[listeners.a]\nbind = 'tcp://h'\nhandler = 'ecko'\n").json();
    assert_eq!((&invalid["valid"], &invalid["plan"]), (&false.into(), &Value::Null));
    let found = invalid["diagnostics"].as_array().unwrap();
    assert_eq!(found.len(), 2, "{invalid}");
    assert_eq!(keys(&found[1]), ["severity", "file", "pointer", "line", "column", "message", "help"]);
    assert_eq!(
        (&found[0]["line"], &found[0]["column"], &found[0]["pointer"]),
        (&2.into(), &8.into(), &"/listeners/a/bind".into())
    );
    assert_eq!(
        (&found[1]["line"], &found[1]["column"], &found[1]["pointer"]),
        (&3.into(), &11.into(), &"/listeners/a/handler".into())
    );
    assert_eq!(
        (&found[1]["message"], &found[1]["help"]),
        (&"there is no handler `ecko`".into(), &"did you mean `echo`?".into())
    );

    let syntax = validate("application/toml", "a = [").json();
    assert_eq!((&syntax["valid"], &syntax["diagnostics"][0]["line"]), (&false.into(), &1.into()));
    validate("application/json", "{}").is_problem(415);
    assert_eq!(gateway.json("/api/v1/info")["generation"], 1);
}

#[test]
fn a_reload_does_all_of_it_and_a_dry_run_nothing() {
    let gateway = Gateway::start(ECHO);
    gateway.write(&format!("{UPPER}[listeners.new]\nbind = 'unix://new.sock'\nhandler = 'echo'"));
    let reload = |query: &str| gateway.ask("POST", &format!("/api/v1/config/reload{query}"), &[], "");
    let socket = gateway.folder().path().join("var/new.sock");

    let dry = reload("?dry_run=true");
    assert_eq!(dry.status, 200);
    let report = dry.json();
    assert_eq!(keys(&report), ["generation", "dry_run", "duration_seconds", "plan", "warnings"]);
    assert_eq!((&report["generation"], &report["dry_run"]), (&1.into(), &true.into()));
    assert_eq!(
        keys(&report["plan"]),
        ["added", "removed", "changed", "unchanged", "settings", "restart_required"]
    );
    gateway.connect("echo").ask("hi", "hi");
    assert!(!socket.exists(), "what was bound is undone");

    let done = reload("").json();
    assert_eq!((&done["generation"], &done["dry_run"]), (&2.into(), &false.into()));
    assert_eq!(done["plan"]["added"], json!(["new"]));
    assert_eq!(done["plan"]["changed"], json!([{ "name": "echo", "what": ["handler"] }]));
    gateway.connect("echo").ask("hi", "HI");
    Stream::to(&format!("unix://{}", socket.display())).ask("hi", "hi");
    assert_eq!(reload("").json()["generation"], 2, "nothing to do");
    reload("?dryrun=true").is_problem(400);
    assert_eq!(gateway.json("/api/v1/info")["generation"], 2);
    eventually("each of them is in the audit log", || {
        let audit = gateway.log().into_iter().filter(|line| line["target"] == "polygate::audit");
        audit.filter(|line| line["action"] == "reload").count() == 3
    });
}

#[test]
fn a_reload_that_fails_changes_nothing_and_says_where() {
    let gateway = Gateway::start(ECHO);
    let reload = |query: &str| gateway.ask("POST", &format!("/api/v1/config/reload{query}"), &[], "");
    for query in ["", "?dry_run=true"] {
        gateway.write("[listeners.echo]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'ecko'\n");
        let invalid = reload(query).is_problem(422);
        let finding = &invalid["errors"][0];
        assert_eq!(
            (&finding["file"], &finding["line"], &finding["column"]),
            (&FILE.into(), &4.into(), &11.into())
        );
        assert_eq!(
            (&finding["pointer"], &finding["severity"]),
            (&"/listeners/echo/handler".into(), &"error".into())
        );

        gateway.write("[listeners.echo");
        assert_eq!(reload(query).is_problem(422)["errors"][0]["line"], 2);

        std::fs::remove_file(gateway.folder().path().join(FILE)).unwrap();
        assert_eq!(reload(query).is_problem(422)["errors"][0]["file"], FILE);

        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = format!("tcp://{}", held.local_addr().unwrap());
        gateway.write(&format!("{UPPER}[listeners.b]\nbind = '{taken}'\nhandler = 'echo'"));
        let conflict = reload(query).is_problem(409);
        assert!(conflict["detail"].as_str().unwrap().contains(&taken), "{conflict}");

        assert_eq!(gateway.json("/api/v1/info")["generation"], 1);
        gateway.connect("echo").ask("hi", "hi");
    }
}

#[test]
fn the_schema_is_the_one_that_is_shipped() {
    let gateway = Gateway::start(ECHO);
    let answer = gateway.get("/api/v1/config/schema");
    assert_eq!(answer.header("content-type"), Some("application/schema+json"));
    assert!(answer.body == include_str!("../../../config/polygate.schema.json"), "another than in config/");
    assert!(answer.body == gateway.cli(&["config", "schema"]).stdout, "another than the command prints");
}

#[test]
fn every_documented_route_is_in_the_openapi_document_and_answers() {
    let gateway = Gateway::start(ECHO);
    let document = gateway.json("/api/v1/openapi.json");
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        routes.extend(
            item.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())),
        );
    }
    let page = include_str!("../../../docs/admin-api.md");
    let headings = page.lines().filter_map(|line| line.strip_prefix("### "));
    let described: BTreeSet<String> = headings
        .flat_map(|heading| heading.split(", "))
        .map(|route| route.trim_matches('`').to_owned())
        .collect();
    assert!(described.len() >= 14, "{described:?}");
    assert_eq!(routes, described);
    for route in &routes {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace("{name}", "echo").replace("{id}", "4711");
        let answer = gateway.ask(method, &path, &[], "");
        let expected: &[u16] = if path.ends_with("4711") { &[404] } else { &[200] };
        assert!(expected.contains(&answer.status), "{route}: {} {}", answer.status, answer.body);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{route}");
    }
}

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
        "/",
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

#[test]
fn a_reload_moves_the_api_itself() {
    let gateway = Gateway::start(ECHO);
    let old = gateway.admin();
    gateway.write(&format!("admin.bind = 'unix://moved.sock'\n{ECHO}"));
    assert_eq!(
        gateway.ask("POST", "/api/v1/config/reload", &[], "").status,
        200,
        "the answer comes on the old way"
    );
    let new = format!("unix://{}/var/moved.sock", gateway.folder().path().display());
    eventually("the new one answers", || gateway.folder().run(&["healthcheck", "--admin", &new]).code == 0);
    eventually("the old one is closed", || Stream::try_to(&old.replacen("http", "tcp", 1)).is_err());
    assert_eq!(ask(&new, "GET", "/api/v1/info", &[], "").json()["admin"], json!([new]));
}
