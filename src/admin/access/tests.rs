//! Tokens and roles, over every route of the document.

use axum::http::HeaderValue;

use super::super::documented;
use super::*;
use crate::config::{Open, Token};

fn token(name: &str, role: Role) -> Token {
    Token { name: name.into(), role, sha256: TokenHash::of(name.as_bytes()), file: None }
}

fn admin() -> Admin {
    let tokens = Role::ALL.map(|role| token(role.as_str(), role)).to_vec();
    Admin { tokens, open: vec![Open::Livez], ..Admin::default() }
}

fn access() -> Access {
    let document = documented().into_openapi();
    Access::new(Box::new(|| Arc::new(Config::empty())), Arc::default(), Routes::of(&document))
}

fn with(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
}

/// What a bearer is answered: 200 stands for being let in.
fn ask(access: &Access, admin: &Admin, path: &str, method: &str, headers: &HeaderMap) -> u16 {
    let method = method.parse().unwrap();
    match access.authorise(admin, (Some(path), &method), headers, &Peer::Unnamed) {
        Ok(_) => 200,
        Err(Error::Unauthorized(_)) => 401,
        Err(Error::Forbidden(_)) => 403,
        Err(Error::MethodNotAllowed(methods)) => {
            assert_eq!(methods, "GET,HEAD,POST");
            405
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_method_that_no_route_names_is_for_nobody() {
    let (access, admin) = (access(), admin());
    assert_eq!(ask(&access, &admin, "/api/v1/accounts", "PUT", &with("Bearer admin")), 405);
    assert_eq!(ask(&access, &admin, "/api/v1/accounts", "PUT", &HeaderMap::new()), 401);
}

#[test]
fn every_route_of_the_document_has_a_role_and_goes_by_it() {
    let document = serde_json::to_value(documented().into_openapi()).unwrap();
    let (access, admin) = (access(), admin());
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            let at = format!("{method} {path}");
            let route = access.routes.get(Some(path), &method.parse().unwrap());
            let route = route.unwrap_or_else(|| panic!("{at} names no role"));
            let reads = method == "GET" || path.ends_with("/validate");
            assert_eq!(route.role == Role::Read, reads, "{at}: what reads needs `read`, what changes more");
            for role in Role::ALL {
                let expected = if role >= route.role { 200 } else { 403 };
                let bearer = with(&format!("Bearer {}", role.as_str()));
                let expected = if path == "/livez" { 200 } else { expected };
                assert_eq!(ask(&access, &admin, path, &method, &bearer), expected, "{at} as {role:?}");
            }
            let nobody = if path == "/livez" { 200 } else { 401 };
            assert_eq!(ask(&access, &admin, path, &method, &HeaderMap::new()), nobody, "{at} without one");
            assert_eq!(
                ask(&access, &admin, path, &method, &with("Bearer wrong")),
                nobody,
                "{at} with a wrong one"
            );
            assert_eq!(
                ask(&access, &Admin::default(), path, &method, &HeaderMap::new()),
                200,
                "{at} locally"
            );
            seen += 1;
        }
    }
    assert!(seen >= 14, "{seen} routes");
}

#[test]
fn a_token_is_taken_from_one_well_formed_header_only() {
    let (access, admin) = (access(), admin());
    let info = |headers: &HeaderMap| ask(&access, &admin, "/api/v1/info", "GET", headers);
    for good in ["Bearer read", "bearer read", "BEARER  read"] {
        assert_eq!(info(&with(good)), 200, "{good}");
    }
    for bad in ["read", "Bearer", "Bearer ", "Basic read", "Bearer read,read", "Bearer Read"] {
        assert_eq!(info(&with(bad)), 401, "{bad}");
    }
    let mut twice = with("Bearer read");
    twice.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer read"));
    assert_eq!(info(&twice), 401);
    assert_eq!(access.stats.snapshot().control.admin_auth_failures, 7);
}

#[test]
fn what_is_not_there_asks_for_a_token_all_the_same() {
    let (access, admin) = (access(), admin());
    let nowhere = |headers: &HeaderMap| {
        access.authorise(&admin, (None, &Method::GET), headers, &Peer::Unnamed).map(|who| who.to_string())
    };
    assert!(nowhere(&HeaderMap::new()).is_err());
    assert_eq!(nowhere(&with("Bearer read")).unwrap(), "read");
    assert_eq!(ask(&access, &admin, "/a/route/without/role", "GET", &with("Bearer admin")), 403);
}

#[test]
fn ten_wrong_tokens_shut_an_address_or_a_user_out() {
    let inet = |at: &str| Peer::Inet(at.parse().unwrap());
    let user = |uid, pid| Peer::Unix { uid, pid };
    for (guesses, again, other) in [
        (inet("192.0.2.1:1"), inet("192.0.2.1:2"), inet("192.0.2.2:1")),
        // On a Unix socket, whatever process of that user it is.
        (user(1000, 1), user(1000, 2), user(1001, 1)),
    ] {
        let (access, admin) = (access(), admin());
        let ask =
            |peer: &Peer, value: &str| access.authorise(&admin, (None, &Method::GET), &with(value), peer);
        for _ in 0..10 {
            assert!(matches!(ask(&guesses, "Bearer wrong"), Err(Error::Unauthorized(_))));
        }
        // The right one as well: else the limit would not limit guessing.
        for value in ["Bearer wrong", "Bearer admin"] {
            assert!(matches!(ask(&again, value), Err(Error::TooManyRequests(1..=60))), "{again} {value}");
        }
        assert_eq!(ask(&other, "Bearer admin").unwrap(), Who::Token("admin".into()));
    }
}
