//! The rules of FTP that need no socket: lines, commands, addresses, text and times.
//!
//! `lines` takes bytes apart into lines of bounded length and knows the Telnet beneath (RFC 854), `command` has the
//! table of the verbs, `address` reads and writes where data goes, `ascii` is TYPE A and `when` the time of RFC 3659.

mod address;
mod ascii;
mod command;
mod lines;
mod when;

pub use address::{Extended, Port, epsv_reply, pasv_reply};
pub use ascii::{FromWire, ToWire};
pub use command::{Argument, Command, Refused, Verb};
pub use lines::{LONGEST_AFTER_LOGIN, LONGEST_BEFORE_LOGIN, Line, Lines};
pub use when::{format_time, parse_time};
