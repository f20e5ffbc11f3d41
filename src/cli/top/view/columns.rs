//! The columns of both tables, and which of them a narrow screen leaves out.

use crate::cli::table::{bytes, duration};
use crate::cli::top::snapshot::{Connection, Listener};

/// A column of a table of `T`.
pub(in crate::cli::top) struct Column<T> {
    pub(in crate::cli::top) name: &'static str,
    /// Of a number exactly, of a word at least.
    pub(super) width: u16,
    pub(in crate::cli::top) number: bool,
    /// Where there is too little room the highest goes first.
    rank: u8,
    pub(in crate::cli::top) text: fn(&T) -> String,
}

fn word<T>(name: &'static str, width: u16, rank: u8, text: fn(&T) -> String) -> Column<T> {
    Column { name, width, number: false, rank, text }
}

fn number<T>(name: &'static str, width: u16, rank: u8, text: fn(&T) -> String) -> Column<T> {
    Column { name, width, number: true, rank, text }
}

pub(in crate::cli::top) fn listener_columns() -> Vec<Column<Listener>> {
    vec![
        word("LISTENER", 12, 0, |l| l.name.clone()),
        word("STATE", 8, 1, |l| l.state.clone()),
        number("OPEN", 6, 2, |l| l.connections_active.to_string()),
        number("ACCEPT/s", 8, 4, |l| format!("{:.1}", l.rate.accepted)),
        number("IN/s", 7, 3, |l| bytes(l.rate.received as u64)),
        number("OUT/s", 7, 3, |l| bytes(l.rate.sent as u64)),
        number("REJECTED", 8, 5, |l| l.connections_rejected_total.to_string()),
        word("HANDLER", 9, 7, |l| l.kind.clone()),
        word("ENDPOINT", 22, 6, endpoint),
    ]
}

fn endpoint(listener: &Listener) -> String {
    let first = listener.endpoints.first().map(|endpoint| endpoint.address.clone()).unwrap_or_default();
    match listener.endpoints.len() {
        0 | 1 => first,
        many => format!("{first} +{}", many - 1),
    }
}

pub(in crate::cli::top) fn connection_columns() -> Vec<Column<Connection>> {
    vec![
        number("ID", 7, 0, |c| c.id.to_string()),
        word("LISTENER", 10, 3, |c| c.listener.clone()),
        word("PEER", 16, 1, |c| c.peer.clone()),
        number("AGE", 7, 4, |c| duration(c.age_seconds)),
        number("IDLE", 7, 5, |c| duration(c.idle_seconds)),
        number("IN/s", 7, 2, |c| bytes(c.rate.received as u64)),
        number("OUT/s", 7, 2, |c| bytes(c.rate.sent as u64)),
        number("RECEIVED", 8, 6, |c| bytes(c.received_bytes)),
        number("SENT", 7, 6, |c| bytes(c.sent_bytes)),
        word("STATE", 9, 7, |c| c.state.clone()),
        word("VIA", 8, 8, |c| c.transport.clone()),
    ]
}

/// Those that a width has room for, one space between them; the first of all in any case.
pub(super) fn fit<T>(columns: &[Column<T>], width: u16) -> Vec<&Column<T>> {
    let mut shown: Vec<&Column<T>> = columns.iter().collect();
    let needed =
        |shown: &[&Column<T>]| shown.iter().map(|column| column.width + 1).sum::<u16>().saturating_sub(1);
    while shown.len() > 1 && needed(&shown) > width {
        let worst = shown.iter().map(|column| column.rank).max().unwrap_or(0);
        // Of equals the last.
        let at = shown.iter().rposition(|column| column.rank == worst).unwrap_or(0);
        shown.remove(at);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_screen_keeps_what_matters_most() {
        let names =
            |width| fit(&connection_columns(), width).iter().map(|c| c.name).collect::<Vec<_>>().join(" ");
        assert_eq!(names(200), "ID LISTENER PEER AGE IDLE IN/s OUT/s RECEIVED SENT STATE VIA");
        assert_eq!(names(80), "ID LISTENER PEER AGE IDLE IN/s OUT/s RECEIVED");
        assert_eq!(names(30), "ID PEER");
        assert_eq!(names(0), "ID");
        let names =
            |width| fit(&listener_columns(), width).iter().map(|c| c.name).collect::<Vec<_>>().join(" ");
        assert_eq!(names(80), "LISTENER STATE OPEN ACCEPT/s IN/s OUT/s REJECTED");
    }
}
