//! Tokens of the admin API, as its clients meet them: over HTTP and with the command line.

use std::os::unix::fs::PermissionsExt as _;

use super::{FILE, Folder, Gateway, ask};

/// A gateway with a token of each role; that of the role admin is in a file.
fn gateway() -> Gateway {
    let folder = Folder::new();
    let token = folder.write("token", "of-the-admin\n");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    // printf %s TOKEN | sha256sum
    folder.write(
        FILE,
        "[admin]
bind = 'tcp://127.0.0.1:0'
metrics_bind = 'tcp://127.0.0.1:0'
token_file = 'token'
open = ['livez']
[admin.tokens.viewer]
role = 'read'
sha256 = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'
[listeners.echo]
bind = 'tcp://127.0.0.1:0'
handler = 'echo'
",
    );
    let command = folder.command(&["run", FILE]);
    Gateway::start_as(folder, command)
}

fn status(gateway: &Gateway, method: &str, path: &str, token: Option<&str>) -> u16 {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|value| ("Authorization", value.as_str())).collect();
    gateway.ask(method, path, &headers, "").status
}

#[test]
fn a_role_lets_its_bearer_do_so_much_and_no_more() {
    let gateway = gateway();
    // sha256("test")
    let (viewer, admin) = (Some("test"), Some("of-the-admin"));
    assert_eq!(status(&gateway, "GET", "/livez", None), 200);
    assert_eq!(status(&gateway, "GET", "/api/v1/info", None), 401);
    assert_eq!(status(&gateway, "GET", "/api/v1/info", Some("wrong")), 401);
    assert_eq!(status(&gateway, "GET", "/api/v1/info", viewer), 200);
    assert_eq!(status(&gateway, "POST", "/api/v1/config/reload", viewer), 403);
    assert_eq!(status(&gateway, "POST", "/api/v1/config/reload", admin), 200);
    let refused = gateway.ask("GET", "/api/v1/info", &[], "");
    assert!(refused.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
    let audit = gateway.logged("audit", |line| line["target"] == "polygate::audit" && line["done"] == true);
    assert_eq!(audit["who"], "admin.token_file");
    assert!(!gateway.stderr().contains("of-the-admin"), "a token in the log");
    let config = gateway.ask("GET", "/api/v1/config", &[("Authorization", "Bearer test")], "");
    assert!(!config.body.contains("9f86d081"), "a hash in the effective configuration");
}

#[test]
fn whoever_guesses_is_made_to_wait() {
    let gateway = gateway();
    let tries: Vec<u16> = (0..12).map(|_| status(&gateway, "GET", "/api/v1/info", Some("guess"))).collect();
    assert_eq!((tries[0], tries[11]), (401, 429), "{tries:?}");
}

#[test]
fn metrics_bind_shows_health_and_metrics_to_anybody_and_nothing_else() {
    let gateway = gateway();
    let said = gateway.said();
    let url =
        said.iter().find_map(|line| line.strip_prefix("metrics http://")).expect("a line `metrics URL`");
    let url = format!("http://{url}");
    for (path, expected) in [("/metrics", 200), ("/livez", 200), ("/readyz", 200), ("/api/v1/info", 404)] {
        assert_eq!(ask(&url, "GET", path, &[("Host", "any.example")], "").status, expected, "{path}");
    }
}

#[test]
fn the_command_line_shows_the_token_that_it_is_given() {
    let gateway = gateway();
    assert_eq!(gateway.cli(&["listeners"]).code, 77);
    let listed = gateway.cli(&["--token-file", "token", "listeners"]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    assert!(listed.stdout.contains("echo"));
    let missing = gateway.cli(&["--token-file", "none", "listeners"]);
    assert_eq!(missing.code, 64);
    assert!(missing.stderr.contains("none"), "{}", missing.stderr);
    assert_eq!(gateway.cli(&["healthcheck"]).code, 0, "livez is open");
}
