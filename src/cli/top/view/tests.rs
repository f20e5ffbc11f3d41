//! Screens as they are drawn, of ordinary, tiny and hostile models.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyCode;

use super::*;
use crate::cli::top::snapshot::{Connection, Listener, Overview, Totals};

fn model(name: &str, peer: &str) -> Model {
    let totals = Totals {
        connections_active: 1,
        connections_accepted_total: 7,
        received_bytes: 2048,
        ..Totals::default()
    };
    let overview = Overview {
        state: "running".into(),
        ready: true,
        generation: 1,
        uptime_seconds: 185.0,
        listeners: 1,
        listeners_running: 1,
        totals,
        rates: Vec::new(),
    };
    let listener = Listener {
        name: name.into(),
        state: "running".into(),
        kind: "echo".into(),
        connections_active: 1,
        ..Listener::default()
    };
    let conn = Connection {
        id: 17,
        listener: name.into(),
        peer: peer.into(),
        state: "open".into(),
        transport: "tcp".into(),
        age_seconds: 3.2,
        received_bytes: 2048,
        ..Connection::default()
    };
    let snapshot = Snapshot {
        version: "0.1.0".into(),
        overview,
        listeners: vec![listener],
        connections: vec![conn],
        total: 1,
        ..Snapshot::default()
    };
    Model::new("http://127.0.0.1:9900".into(), snapshot)
}

/// The screen, a line a row, without what is blank at the end.
fn screen(model: &Model, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let theme = Theme { color: false };
    terminal.draw(|frame| draw(frame, model, &mut Scroll::default(), theme)).unwrap();
    let buffer = terminal.backend().buffer();
    assert!(
        buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset),
        "no colours"
    );
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

#[test]
fn listeners_are_on_the_first_screen() {
    let expected = [
        "polygate running  up 3m 05s  version 0.1.0  generation 1  http://127.0.0.1:9900",
        "connections 1 open, 7 accepted (0.0/s), 0 turned away  datagrams 0 (0.0/s)",
        "bytes 2.0KiB received (0B/s), 0B sent (0B/s)  listeners 1 of 1 accept",
        " Listeners 1   Connections 1",
        "LISTENER           STATE          OPEN ACCEPT/s    IN/s   OUT/s REJECTED",
        "echo               running           1      0.0      0B      0B        0",
        "",
        "",
        "",
        "? help  q quit  Tab  / filter  k kill  p pause  r resume  d drain",
    ];
    let shown = screen(&model("echo", "10.0.0.1:5"), 80, 10);
    let words = |lines: &[String]| {
        lines.iter().map(|l| l.split_whitespace().map(str::to_owned).collect()).collect::<Vec<Vec<_>>>()
    };
    assert_eq!(words(&shown), words(&expected.map(str::to_owned)), "{shown:#?}");
}

#[test]
fn connections_are_on_the_second() {
    let mut model = model("echo", "10.0.0.1:5");
    model.key(KeyCode::Tab.into());
    let shown = screen(&model, 120, 12);
    assert!(shown[3].starts_with(" Listeners 1   Connections 1   by rate"), "{shown:#?}");
    let row: Vec<&str> = shown[5].split_whitespace().collect();
    assert_eq!(row, ["17", "echo", "10.0.0.1:5", "3.2s", "0.0s", "0B", "0B", "2.0KiB", "0B", "open", "tcp"]);
    model.key(KeyCode::Char('k').into());
    assert_eq!(screen(&model, 120, 12)[11], "kill connection 17 of 10.0.0.1:5 (echo)? y/n");
    model.key(KeyCode::Char('n').into());
    model.key(KeyCode::Char('/').into());
    model.key(KeyCode::Char('x').into());
    assert_eq!(screen(&model, 120, 12)[11], "/x_");
}

#[test]
fn a_gateway_that_has_gone_leaves_a_banner_above_what_was_known() {
    let mut model = model("echo", "10.0.0.1:5");
    model.lose("the gateway has gone: no\u{1b}[2J".into());
    let shown = screen(&model, 80, 12);
    assert_eq!(shown[3], "the gateway has gone: no\\u{1b}[2J");
    assert!(shown[6].starts_with("echo"), "{shown:#?}");
}

#[test]
fn what_others_have_named_neither_acts_nor_spoils_the_columns() {
    for name in ["a\u{1b}[2Jb\nc", "宽宽宽宽宽宽宽宽宽宽宽宽", "e\u{301}\u{200d}\u{202e}x", "🦀🦀🦀", ""]
    {
        let mut model = model(name, &format!("{name}:1"));
        for tab in [Tab::Listeners, Tab::Connections] {
            model.tab = tab;
            let shown = screen(&model, 80, 12);
            assert!(!shown.concat().contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown:?}");
            assert!(shown[5].contains("0B"), "{shown:#?}");
        }
    }
}

#[test]
fn every_size_can_be_drawn() {
    let mut model = model("echo", "10.0.0.1:5");
    for (width, height) in [(1, 1), (2, 3), (20, 5), (7, 40), (300, 2), (300, 100)] {
        for key in ['1', '2', '?', '/', 'k', 'n'] {
            model.key(KeyCode::Char(key).into());
            screen(&model, width, height);
        }
    }
    model.mode = Mode::Look;
    model.filter.clear();
    model.tab = Tab::Connections;
    let shown = screen(&model, 20, 5);
    assert!(shown[0].starts_with("polygate running"), "{shown:#?}");
    assert!(shown[3].trim_start().starts_with("17"), "{shown:#?}");
}

#[test]
fn help_lies_above_it() {
    let mut model = model("echo", "10.0.0.1:5");
    model.key(KeyCode::Char('?').into());
    assert!(screen(&model, 80, 24).iter().any(|line| line.contains("pause, resume, drain")));
}
