//! What is put around the routes, tried with routes made for it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::routing::get;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::body::{MAX_BYTES, TomlText};
use super::extract::{Path, Query};
use super::wire::Finding;
use super::*;
use crate::config::Config;
use crate::stats::Stats;

fn routes() -> Router {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Flag {
        flag: Option<bool>,
    }
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/number/{id}", get(|Path(id): Path<u64>| async move { id.to_string() }))
        .route("/flag", get(|Query(Flag { flag }): Query<Flag>| async move { format!("{flag:?}") }))
        .route("/text", axum::routing::post(|TomlText(text): TomlText| async move { text }))
        .route(
            "/wrong",
            get(|| async {
                problem::Error::Unprocessable("no".into(), vec![Finding::of_listener("a", "b")])
            }),
        )
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        )
}

struct Answer {
    status: u16,
    response: axum::http::response::Parts,
    body: String,
}

async fn ask(stats: &Arc<Stats>, request: Request<Body>) -> Answer {
    let mut config = Config::empty();
    config.admin.hosts = vec!["polygate".into()];
    let config = Arc::new(config);
    let access = Arc::new(Access::new(Box::new(move || config.clone()), stats.clone(), Routes::default()));
    let response: Response<Body> = dress(routes(), &access).oneshot(request).await.unwrap();
    let (response, body) = response.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
    Answer { status: response.status.as_u16(), response, body }
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost")
}

#[track_caller]
fn is_problem(answer: &Answer, status: u16, detail: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.response.headers["content-type"], "application/problem+json");
    assert_eq!(answer.response.headers["cache-control"], "no-store");
    assert_eq!(answer.response.headers["x-content-type-options"], "nosniff");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["type"], "about:blank");
    assert_eq!(body["status"], status);
    assert_eq!(body["title"], StatusCode::from_u16(status).unwrap().canonical_reason().unwrap());
    assert!(body["detail"].as_str().unwrap().contains(detail), "{body}");
    body
}

async fn get_problem(path: &str, status: u16, detail: &str) -> Value {
    let answer = ask(&Arc::default(), request("GET", path).body(Body::empty()).unwrap()).await;
    is_problem(&answer, status, detail)
}

#[tokio::test]
async fn every_error_is_a_problem() {
    get_problem("/nowhere", 404, "nothing is at /nowhere").await;
    get_problem("/number/x", 400, "x").await;
    get_problem("/flag?flag=maybe", 400, "flag").await;
    get_problem("/flag?flaf=true", 400, "flaf").await;
    let body = get_problem("/wrong", 422, "no").await;
    assert_eq!(body["errors"][0]["pointer"], "/listeners/a");
    let body = get_problem("/panic", 500, "fault").await;
    assert_eq!(body.get("errors"), None);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let answer = ask(&Arc::default(), request("DELETE", "/flag").body(Body::empty()).unwrap()).await;
    is_problem(&answer, 405, "Allow");
    assert_eq!(answer.response.headers["allow"], "GET,HEAD");
}

#[tokio::test]
async fn bodies_are_limited_in_length_and_kind() {
    let stats = Arc::default();
    let post = |kind: Option<&str>, body: Vec<u8>| {
        let request = request("POST", "/text");
        let request = match kind {
            Some(kind) => request.header("content-type", kind),
            None => request,
        };
        request.body(Body::from(body)).unwrap()
    };
    for kind in [None, Some("application/toml"), Some("Text/Plain; charset=utf-8")] {
        let answer = ask(&stats, post(kind, b"a = 1".to_vec())).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "a = 1"), "{kind:?}");
    }
    let answer = ask(&stats, post(Some("application/x-www-form-urlencoded"), b"a = 1".to_vec())).await;
    assert_eq!(answer.status, 200);
    is_problem(&ask(&stats, post(Some("application/json"), b"{}".to_vec())).await, 415, "application/json");
    is_problem(&ask(&stats, post(None, vec![0xff])).await, 400, "UTF-8");
    assert_eq!(ask(&stats, post(None, vec![b'a'; MAX_BYTES])).await.status, 200);
    is_problem(&ask(&stats, post(None, vec![b'a'; MAX_BYTES + 1])).await, 413, "1048576");
    let announced =
        request("POST", "/text").header("content-length", "99999999").body(Body::empty()).unwrap();
    is_problem(&ask(&stats, announced).await, 413, "1048576");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_runs_out_of_time() {
    let drops = futures_of_drops();
    let answer = ask(&Arc::default(), request("POST", "/text").body(drops).unwrap()).await;
    is_problem(&answer, 408, "30 s");
    assert_eq!(answer.response.headers["connection"], "close");
}

/// A body that gives a byte a second and never ends.
fn futures_of_drops() -> Body {
    let (mut sender, body) = http_body_util::channel::Channel::<axum::body::Bytes>::new(1);
    tokio::spawn(async move {
        while sender.send_data(axum::body::Bytes::from_static(b"#")).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    });
    Body::new(body)
}

#[tokio::test]
async fn guards_stand_before_every_path_but_three() {
    let stats = Arc::default();
    let from =
        |path: &str| Request::builder().uri(path).header("host", "evil.example").body(Body::empty()).unwrap();
    is_problem(&ask(&stats, from("/flag")).await, 403, "evil.example");
    is_problem(&ask(&stats, from("/nowhere")).await, 403, "evil.example");
    assert_eq!(ask(&stats, from("/livez")).await.status, 200);
    let ours = Request::builder().uri("/flag").header("host", "polygate:9900").body(Body::empty()).unwrap();
    assert_eq!(ask(&stats, ours).await.status, 200);
    let post = request("POST", "/text").header("origin", "http://evil.example").body(Body::empty()).unwrap();
    is_problem(&ask(&stats, post).await, 403, "Origin");
}

#[tokio::test]
async fn requests_are_counted_by_route_method_and_code() {
    let stats: Arc<Stats> = Arc::default();
    for (method, path) in [
        ("GET", "/number/7"),
        ("GET", "/number/8"),
        ("HEAD", "/number/8"),
        ("BREW", "/number/7"),
        ("GET", "/x"),
        ("GET", "/panic"),
    ] {
        ask(&stats, request(method, path).body(Body::empty()).unwrap()).await;
    }
    let snapshot = stats.snapshot();
    let counted: Vec<_> = snapshot
        .control
        .admin_requests
        .iter()
        .map(|(request, n)| (request.route.as_str(), request.method, request.code, *n))
        .collect();
    let expected = [
        ("/number/{id}", "GET", 200, 2),
        ("/number/{id}", "HEAD", 200, 1),
        ("/number/{id}", "OTHER", 405, 1),
        ("/panic", "GET", 500, 1),
        ("unmatched", "GET", 404, 1),
    ];
    assert_eq!(counted, expected);
    assert_eq!(snapshot.control.admin_durations.len(), 5);
}
