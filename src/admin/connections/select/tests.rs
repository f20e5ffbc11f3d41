//! Filters, orders and cursors over made-up connections.

use std::time::{Duration, SystemTime};

use super::*;
use crate::stats::ConnId;

fn view(id: u64, listener: &str, peer: &str, received_bytes: u64) -> ConnView {
    ConnView {
        id: ConnId(id),
        listener: listener.into(),
        transport: if peer.starts_with("uid") { Transport::Unix } else { Transport::Tcp },
        handler: "echo",
        peer: peer.into(),
        local: "127.0.0.1:7007".into(),
        started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + id),
        age_seconds: 100.0 - id as f64,
        idle_seconds: 0.5,
        received_bytes,
        sent_bytes: 0,
        generation: 1,
        state: "open",
        details: vec![("user", "anna".into())],
    }
}

fn views() -> Vec<ConnView> {
    vec![
        view(1, "echo", "127.0.0.1:40001", 30),
        view(2, "echo", "10.0.0.7:40002", 10),
        view(3, "ftp", "[2001:db8::1]:40003", 20),
        view(4, "echo", "uid=1000,pid=77", 20),
        view(5, "ftp", "10.0.0.71:40005", 0),
    ]
}

fn select(query: &str) -> Result<Select, Error> {
    let uri = format!("/?{query}").parse().unwrap();
    match axum::extract::Query::try_from_uri(&uri) {
        Ok(axum::extract::Query(select)) => Ok(select),
        Err(rejection) => Err(Error::BadRequest(rejection.body_text())),
    }
}

fn run(views: Vec<ConnView>, query: &str) -> Result<List<Connection>, Error> {
    select(query)?.page(views)
}

fn ids(list: &List<Connection>) -> Vec<u64> {
    list.items.iter().map(|connection| connection.id.0).collect()
}

#[track_caller]
fn check(query: &str, expected: &[u64]) {
    let list = run(views(), query).unwrap();
    assert_eq!(ids(&list), expected, "{query}");
    assert_eq!(list.total, expected.len(), "{query}");
    assert_eq!(list.next_cursor, None, "{query}");
}

#[track_caller]
fn refuse(query: &str, expected: &str) {
    let error = run(views(), query).err().unwrap_or_else(|| panic!("{query} was taken"));
    assert!(error.to_string().contains(expected), "{query}: {error}");
}

#[test]
fn filters_narrow_the_list() {
    check("", &[1, 2, 3, 4, 5]);
    check("listener=ftp", &[3, 5]);
    check("listener=nobody", &[]);
    check("transport=unix", &[4]);
    check("peer=10.0.0.7", &[2]);
    check("peer=10.0.0.7:40002", &[2]);
    check("peer=10.0.0.0/8", &[2, 5]);
    check("peer=2001:db8::1", &[3]);
    check("peer=uid=1000", &[4]);
    check("peer=uid%3D1000,pid%3D77", &[4]);
    check("peer=uid=100", &[]);
    check("min_age_seconds=97.5", &[1, 2]);
    check("listener=echo&transport=tcp&peer=10.0.0.0/8", &[2]);
}

#[test]
fn lists_are_sorted_by_a_field_either_way() {
    check("sort=-id", &[5, 4, 3, 2, 1]);
    check("sort=age_seconds", &[5, 4, 3, 2, 1]);
    check("sort=-age_seconds", &[1, 2, 3, 4, 5]);
    check("sort=received_bytes", &[5, 2, 3, 4, 1]);
    check("sort=-received_bytes", &[1, 4, 3, 2, 5]);
    check("sort=idle_seconds", &[1, 2, 3, 4, 5]);
}

#[test]
fn a_query_that_does_not_fit_is_refused() {
    refuse("listner=echo", "listner");
    refuse("transport=tls", "tcp, udp, unix or unixgram");
    refuse("sort=peer", "sort is id, age_seconds");
    refuse("limit=0", "from 1 to");
    refuse("limit=1001", "from 1 to");
    refuse("limit=many", "limit");
    refuse("min_age_seconds=-1", "min_age_seconds");
    refuse("min_age_seconds=NaN", "min_age_seconds");
    refuse("cursor=1", "cursor");
    refuse("sort=-id&cursor=id.0.3", "cursor");
}

#[test]
fn cursors_lead_through_the_whole_list_in_every_order() {
    for sort in
        ["id", "-id", "age_seconds", "-age_seconds", "received_bytes", "-received_bytes", "sent_bytes"]
    {
        let whole = ids(&run(views(), &format!("sort={sort}")).unwrap());
        let (mut seen, mut query) = (Vec::new(), format!("sort={sort}&limit=2"));
        loop {
            let part = run(views(), &query).unwrap();
            assert_eq!(part.total, 5);
            seen.extend(ids(&part));
            let Some(cursor) = part.next_cursor else { break };
            query = format!("sort={sort}&limit=2&cursor={cursor}");
        }
        assert_eq!(seen, whole, "{sort}");
    }
}

#[test]
fn what_comes_and_goes_does_not_shift_the_next_part() {
    let first = run(views(), "limit=2").unwrap();
    let mut later = views();
    later.drain(..2);
    later.push(view(6, "echo", "127.0.0.1:40006", 0));
    let second = run(later, &format!("limit=2&cursor={}", first.next_cursor.unwrap())).unwrap();
    assert_eq!(ids(&second), [3, 4]);
}

#[test]
fn a_connection_is_rendered_with_the_contract_s_names() {
    let body = serde_json::to_value(Connection::from(view(7, "echo", "127.0.0.1:1", 3))).unwrap();
    let expected = serde_json::json!({
        "id": 7, "kind": "conn", "listener": "echo", "transport": "tcp", "handler": "echo",
        "peer": "127.0.0.1:1", "local": "127.0.0.1:7007", "started_at": "1970-01-01T00:16:47.000Z",
        "age_seconds": 93.0, "idle_seconds": 0.5, "received_bytes": 3, "sent_bytes": 0, "generation": 1,
        "state": "open", "details": { "user": "anna" },
    });
    assert_eq!(body, expected);
}
