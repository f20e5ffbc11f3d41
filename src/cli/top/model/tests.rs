//! Keys and what they do, without a terminal or a gateway.

use super::*;
use crate::cli::top::snapshot::Rate;

fn conn(id: u64, listener: &str, peer: &str, received: f64) -> Connection {
    let rate = Rate { received, ..Rate::default() };
    Connection {
        id,
        listener: listener.into(),
        peer: peer.into(),
        age_seconds: id as f64,
        rate,
        ..Connection::default()
    }
}

fn model() -> Model {
    let listener = |name: &str| Listener {
        name: name.into(),
        state: "running".into(),
        connections_active: 2,
        ..Listener::default()
    };
    let snapshot = Snapshot {
        listeners: vec![listener("echo"), listener("upper")],
        connections: vec![
            conn(1, "echo", "10.0.0.1:5", 5.0),
            conn(2, "upper", "10.0.0.2:5", 9.0),
            conn(3, "echo", "uid=0,pid=7", 0.0),
        ],
        total: 3,
        ..Snapshot::default()
    };
    Model::new("http://h:1".into(), snapshot)
}

fn press(model: &mut Model, keys: &str) -> Option<Action> {
    keys.chars().map(|key| model.key(KeyCode::Char(key).into())).last().flatten()
}

fn ids(model: &Model) -> Vec<u64> {
    model.connections().iter().map(|conn| conn.id).collect()
}

#[test]
fn a_kill_is_asked_for_and_then_done() {
    let mut model = model();
    model.key(KeyCode::Tab.into());
    model.key(KeyCode::Down.into());
    assert_eq!(press(&mut model, "k"), None);
    assert!(
        matches!(&model.mode, Mode::Confirm(question, _) if question == "kill connection 1 of 10.0.0.1:5 (echo)?")
    );
    // What comes meanwhile does not change whom it is about.
    model.take(Snapshot { connections: vec![conn(9, "echo", "x", 1.0)], ..Snapshot::default() });
    assert_eq!(press(&mut model, "y"), Some(Action::Ask(Request::Kill(1))));
    assert_eq!(press(&mut model, "kn"), None);
    assert_eq!((model.mode.clone(), model.message.as_deref()), (Mode::Look, Some("nothing is done")));
}

#[test]
fn listeners_are_steered() {
    let mut model = model();
    model.key(KeyCode::Down.into());
    assert_eq!(press(&mut model, "p"), Some(Action::Ask(Request::Pause("upper".into()))));
    assert_eq!(press(&mut model, "r"), Some(Action::Ask(Request::Resume("upper".into()))));
    assert_eq!(press(&mut model, "d"), None);
    assert_eq!(press(&mut model, "y"), Some(Action::Ask(Request::Drain("upper".into()))));
    assert_eq!(press(&mut model, "ky"), Some(Action::Ask(Request::KillAll("upper".into()))));
    model.key(KeyCode::Tab.into());
    assert_eq!(press(&mut model, "p"), None, "not there");
    assert!(model.message.is_some());
}

#[test]
fn a_filter_is_typed_kept_and_taken_back() {
    let mut model = model();
    press(&mut model, "2/ECHOq");
    model.key(KeyCode::Backspace.into());
    model.key(KeyCode::Enter.into());
    assert_eq!((model.filter.as_str(), ids(&model)), ("ECHO", vec![1, 3]));
    press(&mut model, "/-none");
    assert_eq!((ids(&model).len(), model.selected()), (0, None));
    press(&mut model, "k");
    model.key(KeyCode::Esc.into());
    assert_eq!(ids(&model).len(), 3);
    assert_eq!(press(&mut model, "q"), Some(Action::Quit));
}

#[test]
fn connections_are_sorted_and_the_chosen_one_stays_chosen() {
    let mut model = model();
    press(&mut model, "2");
    assert_eq!(ids(&model), [2, 1, 3], "by rate");
    model.key(KeyCode::End.into());
    assert_eq!(model.selected(), Some(2));
    press(&mut model, "S");
    assert_eq!((ids(&model), model.selected()), (vec![3, 1, 2], Some(0)));
    press(&mut model, "Sss");
    assert_eq!((model.sort, ids(&model)), (Sort::Age, vec![3, 2, 1]));
    press(&mut model, "sssss");
    assert_eq!(model.sort, Sort::Rate, "all the way round");
    model.snapshot.connections.clear();
    assert_eq!(model.selected(), None);
    model.key(KeyCode::Down.into());
    press(&mut model, "k");
    assert_eq!(model.message.as_deref(), Some("there is nothing to kill"));
}

#[test]
fn enter_leads_to_the_connections_of_a_listener() {
    let mut model = model();
    model.key(KeyCode::Enter.into());
    assert_eq!((model.tab, ids(&model)), (Tab::Connections, vec![1, 3]));
}

#[test]
fn a_gateway_that_comes_back_takes_the_banner_away() {
    let mut model = model();
    model.lose("gone".into());
    assert_eq!((model.gone.as_deref(), ids(&model).len()), (Some("gone"), 3), "what was known stays");
    model.take(Snapshot::default());
    assert_eq!(model.gone, None);
    assert_eq!(model.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Action::Quit));
    press(&mut model, "?");
    assert_eq!(model.mode, Mode::Help);
    assert_eq!(press(&mut model, "q"), None, "any key leaves the help");
}
