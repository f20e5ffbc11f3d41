//! Reloads that fail, and rehearsals: everything is as before.

use std::net::{TcpListener, UdpSocket};

use polygate::config::Transports;
use polygate::handler::{BuildError, Conn, Context, Handler, StreamHandler};
use polygate::handlers;
use polygate::stats::{Stage, Trigger};

use crate::harness::{Gate, free_port};

const GOOD: &str = "[listeners.l]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n";

/// A listener on a fixed port.
fn listener(name: &str, transport: &str, port: u16) -> String {
    format!("[listeners.{name}]\nbind = '{transport}://127.0.0.1:{port}'\nhandler = 'echo'\n")
}

/// A reload that fails at that stage leaves everything as it was, and the next good one is taken.
#[track_caller]
fn fails(stage: Stage, named: &str, make: impl FnOnce(&Gate)) {
    let gate = Gate::start_with(handlers::builtin().stream::<Broken>(), GOOD);
    let address = gate.address("l");
    let mut open = gate.connect("l");
    open.ask("hi", "hi");
    make(&gate);
    let error = gate.reload_file(false).unwrap_err();
    assert_eq!(error.stage(), stage, "{error}");
    assert!(error.to_string().contains(named), "{error}");
    assert_eq!(gate.supervisor().running().generation, 1);
    let control = gate.stats().snapshot().control;
    assert!(!control.last_reload.successful);
    assert_eq!(gate.stats().control().reload_failures(Trigger::Api, stage), 1);
    open.ask("still here", "still here");
    assert_eq!(gate.address("l"), address);
    gate.connect("l").ask("hi", "hi");
    assert_eq!(gate.supervisor().listeners().len(), 1);
    gate.reload(GOOD);
    assert!(gate.stats().snapshot().control.last_reload.successful);
    assert_eq!(gate.stats().control().reloads(Trigger::Api), 2);
}

fn write(text: &str) -> impl FnOnce(&Gate) {
    let text = text.to_string();
    move |gate| std::fs::write(gate.file(), text).unwrap()
}

#[test]
fn a_file_that_is_gone_changes_nothing() {
    fails(Stage::Read, "polygate.toml", |gate| std::fs::remove_file(gate.file()).unwrap());
}

#[test]
fn a_file_that_is_not_toml_changes_nothing() {
    fails(Stage::Parse, "", write("[listeners.l\n"));
}

#[test]
fn a_wrong_configuration_changes_nothing() {
    fails(Stage::Validate, "", write("[listeners.l]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'ecko'\n"));
}

#[test]
fn a_handler_that_cannot_be_built_changes_nothing() {
    let text =
        format!("admin.bind = 'off'\n{GOOD}[listeners.b]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'broken'");
    fails(Stage::Build, "listener b: cannot build handler broken: as the test asked", write(&text));
}

#[test]
fn a_port_in_use_changes_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = format!("admin.bind = 'off'\n{GOOD}{}", listener("b", "tcp", port));
    fails(Stage::Bind, &format!("listener b: cannot bind tcp://127.0.0.1:{port}"), write(&text));
}

#[test]
fn a_listener_that_cannot_bind_keeps_all_the_new_ones_from_it() {
    let ports = [free_port(), free_port(), free_port()];
    let gate = Gate::start(GOOD);
    let taken = UdpSocket::bind(("127.0.0.1", ports[1])).unwrap();
    let text = [
        GOOD.replace("echo", "upper"),
        listener("a", "tcp", ports[0]),
        "[listeners.u]\nbind = ['unix://u.sock', 'unixgram://u.dgram']\nhandler = 'echo'\n".into(),
        listener("b", "udp", ports[1]),
        listener("c", "tcp", ports[2]),
    ]
    .concat();
    gate.try_reload(&text).unwrap_err();
    TcpListener::bind(("127.0.0.1", ports[0])).expect("listener a was bound");
    assert!(!gate.folder().join("u.sock").exists());
    assert!(!gate.folder().join("u.dgram").exists());
    gate.connect("l").ask("hi", "hi");
    drop(taken);
    gate.reload(&text);
    gate.connect("l").ask("hi", "HI");
    ["a", "u", "c"].iter().for_each(|name| gate.connect(name).ask("hi", "hi"));
    gate.datagrams("b").ask("hi", "hi");
}

#[test]
fn a_rehearsal_changes_nothing_and_holds_nothing() {
    let port = free_port();
    let gate = Gate::start(GOOD);
    let unix = "[listeners.u]\nbind = 'unix://u.sock'\nhandler = 'echo'\n";
    let text = GOOD.replace("echo", "upper") + &listener("a", "tcp", port) + unix;
    let report = gate.dry_run(&text).unwrap();
    assert!(report.dry_run);
    assert_eq!(report.plan.added, ["a", "u"]);
    assert_eq!(report.plan.changed[0].name, "l");
    gate.connect("l").ask("hi", "hi");
    assert_eq!(gate.supervisor().running().generation, 1);
    assert_eq!(gate.supervisor().listeners().len(), 1);
    assert_eq!(gate.stats().control().reloads(Trigger::Api), 0, "a rehearsal is no reload");
    assert!(!gate.folder().join("u.sock").exists());
    // It says what a reload would run into.
    let taken = TcpListener::bind(("127.0.0.1", port)).expect("the port is still held");
    assert_eq!(gate.dry_run(&text).unwrap_err().stage(), Stage::Bind);
    assert!(gate.stats().snapshot().control.last_reload.successful);
    drop(taken);
    gate.reload(&text);
    gate.connect("l").ask("hi", "HI");
}

#[test]
fn a_gateway_that_cannot_bind_does_not_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = listener("b", "tcp", taken.local_addr().unwrap().port());
    let folder = tempfile::tempdir().unwrap();
    let error = Gate::start_in(folder, handlers::builtin(), &text).err().expect("it has started");
    assert_eq!(error.stage(), Stage::Bind);
}

/// Cannot be built.
struct Broken;

#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoOptions {}

impl Handler for Broken {
    const NAME: &'static str = "broken";
    const TRANSPORTS: Transports = Transports::STREAMS;
    type Options = NoOptions;

    fn new(_: NoOptions, _: &Context) -> Result<Self, BuildError> {
        Err(BuildError::new("as the test asked"))
    }
}

impl StreamHandler for Broken {
    async fn serve(&self, _: &mut Conn) -> std::io::Result<()> {
        Ok(())
    }
}
