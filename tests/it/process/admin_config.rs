//! The configuration by the admin API: shown, validated and reloaded.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::admin::{TWO, keys};
use super::{ECHO, FILE, Gateway, UPPER, ask};
use crate::client::Stream;
use crate::harness::eventually;

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
        audit.filter(|line| line["action"] == "reload_config" && line["done"] == true).count() == 3
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
