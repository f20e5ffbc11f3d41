//! polygate: a configurable multi-protocol network gateway, as a library with a thin binary.
//!
//! In reading order, from the ground up; imports go down only (ARCHITECTURE.md has the floors):
//!
//! - [`config`]: from text to a checked configuration, and the plan that leads from one to the next;
//! - [`stats`]: what happened, counted once, and the snapshot that all views render;
//! - [`net`]: sockets: bound, accepted, read and written;
//! - [`accounts`] and [`storage`]: who may log in, and their files;
//! - [`upstream`]: where connections are carried to;
//! - [`console`]: conversations that operators follow and answer;
//! - [`process`]: programs that are run for connections;
//! - [`handler`]: what a handler is;
//! - [`handlers`]: the built-in ones, and their table;
//! - [`listener`]: loops that turn sockets into connections and packets, under limits;
//! - [`supervisor`]: makes a plan true, or changes nothing;
//! - [`admin`] and [`metrics`]: two views of one snapshot;
//! - [`gateway`]: all of it in a program of one's own.
//!
//! ```
//! use polygate::gateway::Gateway;
//!
//! let gateway = Gateway::from_text(
//!     r#"
//!     admin.bind = "off"
//!     listeners.echo = { bind = "tcp://127.0.0.1:0", handler = "echo" }
//!     "#,
//! )
//! .start()?;
//! let listeners = gateway.supervisor().listeners();
//! assert!(listeners[0].endpoints[0].address.starts_with("tcp://127.0.0.1:"));
//! # Ok::<(), polygate::supervisor::ReloadError>(())
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!("polygate runs on Linux (5.6 or later): its sockets, locks and statistics are Linux's");

pub mod accounts;
pub mod admin;
pub mod config;
pub mod console;
pub mod gateway;
pub mod handler;
pub mod handlers;
pub mod listener;
pub mod metrics;
pub mod net;
pub mod process;
pub mod stats;
pub mod storage;
pub mod supervisor;
pub mod upstream;
pub mod version;
