//! The admin API through TLS: served, trusted by the command line, renewed by a reload.

use std::io::{Read, Write};

use super::{FILE, Folder, Gateway};
use crate::tls_client::{Certificates, connect};

#[test]
fn the_admin_api_speaks_tls_and_the_command_line_trusts_its_certificate() {
    let made = Certificates::new();
    let folder = Folder::new();
    let text = format!(
        "[admin]\nbind = 'tcp://127.0.0.1:0'\nmetrics_bind = 'tcp://127.0.0.1:0'\n{}\n\
         [listeners.echo]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n",
        made.table("")
    );
    folder.write(FILE, &text);
    let command = folder.command(&["run", FILE]);
    let gateway = Gateway::start_as(folder, command);
    let out = gateway.said().join("\n");
    let url = out.lines().find_map(|line| line.strip_prefix("admin ")).unwrap().to_owned();
    assert!(url.starts_with("https://127.0.0.1:"), "{out}");
    assert!(out.contains("metrics http://127.0.0.1:"), "{out}");
    let mut stream = connect(&url, &made.client(None, &[])).unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");
    let port = url.rsplit(':').next().unwrap();
    let name = format!("https://localhost:{port}");
    let ca = made.path("cert.pem");
    let trusted = gateway.folder().run(&["--admin", &name, "--ca", ca.to_str().unwrap(), "listeners"]);
    assert_eq!(trusted.code, 0, "{trusted:?}");
    let stranger = Certificates::new();
    let other = stranger.path("cert.pem");
    let refused = gateway.folder().run(&["--admin", &name, "--ca", other.to_str().unwrap(), "listeners"]);
    assert_eq!(refused.code, 69, "{refused:?}");
    made.renew();
    let ca = made.path("cert.pem");
    gateway.signal(rustix::process::Signal::HUP);
    gateway.logged("the new certificate", |line| {
        line["message"].as_str().is_some_and(|text| text.starts_with("reloaded"))
    });
    let renewed = gateway.folder().run(&["--admin", &name, "--ca", ca.to_str().unwrap(), "listeners"]);
    assert_eq!(renewed.code, 0, "{renewed:?}");
}
