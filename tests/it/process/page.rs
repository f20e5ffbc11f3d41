//! The admin page as files: what it comes with, and that all it asks for is there. `ci/page.sh` plays it in a browser.

use std::collections::BTreeSet;

use super::{ECHO, Gateway};

/// The part of a file between each pair of marks.
fn between<'a>(text: &'a str, open: &str, close: char) -> Vec<&'a str> {
    text.split(open).skip(1).filter_map(|rest| rest.split(close).next()).collect()
}

#[test]
fn the_page_loads_only_its_own_files_and_each_is_there() {
    let gateway = Gateway::start(ECHO);
    let (mut seen, mut open) = (BTreeSet::new(), vec![String::from("/")]);
    while let Some(path) = open.pop() {
        let answer = gateway.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        let kind = answer.header("content-type").unwrap().to_owned();
        let expected = match path.rsplit_once('.') {
            None => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            Some(_) => "text/javascript; charset=utf-8",
        };
        assert_eq!(kind, expected, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        let tag = answer.header("etag").unwrap().to_owned();
        let again = gateway.ask("GET", &path, &[("If-None-Match", &tag)], "");
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        assert_eq!(gateway.ask("GET", &path, &[("If-None-Match", "\"other\"")], "").status, 200);
        let head = gateway.ask("HEAD", &path, &[], "");
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");

        for remote in ["http://", "https://", "//cdn", "innerHTML", "insertAdjacentHTML", "eval(", "style=\""]
        {
            let own = answer.body.replace("http://www.w3.org/2000/svg", "");
            assert!(!own.contains(remote), "{path} has {remote}");
        }
        seen.insert(path.clone());
        let mut more: Vec<String> = Vec::new();
        more.extend(between(&answer.body, "=\"page/", '"').iter().map(|name| format!("/page/{name}")));
        more.extend(between(&answer.body, "from \"./", '"').iter().map(|name| format!("/page/{name}")));
        open.extend(more.into_iter().filter(|path| !seen.contains(path)));
    }
    assert!(seen.len() >= 14, "{seen:?}");
    gateway.ask("GET", "/page/nothing.js", &[], "").is_problem(404);
    gateway.ask("GET", "/page/..%2Fpage.rs", &[], "").is_problem(404);
}

#[test]
fn whatever_the_page_asks_of_the_api_is_in_its_document() {
    let gateway = Gateway::start(ECHO);
    let document = gateway.json("/api/v1/openapi.json");
    let known: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    let mut asked = BTreeSet::new();
    for name in [
        "accounts",
        "app",
        "config",
        "connections",
        "consoles",
        "events",
        "listeners",
        "live",
        "overview",
        "upstreams",
    ] {
        let text = gateway.get(&format!("/page/{name}.js")).body;
        asked.extend(between(&text, "\"api/v1/", '"').iter().map(|path| format!("/api/v1/{path}")));
        asked.extend(between(&text, "`api/v1/", '`').iter().map(|path| format!("/api/v1/{path}")));
        for list in between(&text, "at([\"api\", \"v1\", ", ']') {
            // What is not a literal stands for a part of the path that is named.
            let parts = list
                .split(", ")
                .map(|part| part.strip_prefix('"').map_or("{}", |rest| rest.trim_end_matches('"')));
            asked.insert(format!("/api/v1/{}", parts.collect::<Vec<_>>().join("/")));
        }
    }
    assert!(asked.len() >= 15, "{asked:?}");
    let shape = |path: &str| {
        let parts = path.split('?').next().unwrap_or_default().split('/');
        parts.map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
    };
    let shapes: BTreeSet<String> = known.iter().map(|path| shape(path)).collect();
    for path in &asked {
        // `verb` stands for pause, resume and drain.
        let path = shape(path).replace("/listeners/{}/{}", "/listeners/{}/pause");
        assert!(shapes.contains(&path), "{path} is not in the document");
    }
}

#[test]
fn with_tokens_the_page_is_open_only_where_the_configuration_says_so() {
    let text = |open: &str| {
        format!(
            "[admin]\nbind = 'tcp://127.0.0.1:0'\nopen = [{open}]\n[admin.tokens.ops]\nsha256 = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'\nrole = 'read'\n{ECHO}"
        )
    };
    let gateway = Gateway::start(&text("'page'"));
    assert_eq!((gateway.get("/").status, gateway.get("/page/app.js").status), (200, 200));
    assert_eq!(gateway.get("/api/v1/info").status, 401);
    let gateway = Gateway::start(&text(""));
    assert_eq!((gateway.get("/").status, gateway.get("/page/app.js").status), (401, 401));
    let token = [("Authorization", "Bearer test")];
    assert_eq!(gateway.ask("GET", "/", &token, "").status, 200);
    // A page elsewhere may not frame, fetch or post to it.
    assert_eq!(gateway.ask("GET", "/", &[token[0], ("Sec-Fetch-Site", "cross-site")], "").status, 403);
}
