//! The admin API as any HTTP client sees it: what runs, what listens, who is connected.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{ECHO, FILE, Gateway, UPPER};
use crate::client::Stream;
use crate::harness::eventually;

/// Two listeners, one of them on two transports and with options.
pub(super) const TWO: &str = "
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

/// The keys of an object, in their order.
#[track_caller]
pub(super) fn keys(value: &Value) -> Vec<&str> {
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
        (&audit["action"], &audit["path"], &audit["who"], &audit["done"]),
        (&"kill_connection".into(), &path.clone().into(), &"local".into(), &true.into())
    );
    assert!(audit["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{audit}");
}

#[test]
fn every_documented_route_is_in_the_openapi_document_and_answers() {
    let out = "[listeners.out]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'out'\n[handlers.out]\ntype = 'forward'\nupstream = 'echo'\n[upstreams.echo]\nto = ['tcp://127.0.0.1:9']\n";
    let drop = "[listeners.drop]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'json-ftp'\n";
    let gateway = Gateway::start(&format!("{ECHO}{drop}{out}"));
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
        if route == "GET /api/v1/events" {
            // It does not end; the tests of steering follow it.
            continue;
        }
        let path = path
            .replace("{name}", "echo")
            .replace("{id}", "4711")
            .replace("{file}", "app.js")
            .replace("{endpoint}", "tcp%3A%2F%2F127.0.0.1%3A9");
        let answer = gateway.ask(method, &path, &[], "");
        let expected: &[u16] = match method {
            _ if path.ends_with("4711") || path.ends_with("4711/ws") => &[404],
            // It may name nothing, or not end.
            "DELETE" if path == "/api/v1/connections" => &[400],
            "POST" if path.ends_with("/drain") => &[202],
            // Without a body.
            "PATCH" | "PUT" => &[415],
            "POST" if path == "/api/v1/shutdown" => &[415],
            "POST" if path == "/api/v1/accounts" || path.ends_with("/reply") => &[415],
            // The name is a listener's, not an account's.
            _ if path == "/api/v1/accounts/echo" => &[404],
            _ => &[200],
        };
        assert!(expected.contains(&answer.status), "{route}: {} {}", answer.status, answer.body);
        // The page's own files are asked for again, the rest is never kept.
        let kept = if path == "/" || path.starts_with("/page/") { "no-cache" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), Some(kept), "{route}");
    }
}
