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
//! # A gateway in a program of one's own
//!
//! It starts on a file or a text, says where it listens, reloads its file, and shuts down in order
//! (`examples/embedded.rs` does all of it).
//!
//! ```
//! use polygate::gateway::Gateway;
//! use polygate::stats::Trigger;
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
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let report = gateway.supervisor().reload(Trigger::Api, false).await?;
//! assert_eq!(report.plan.unchanged, ["echo"]);
//! let drained = gateway.shutdown().await;
//! assert_eq!(drained.killed, 0);
//! # Ok::<(), polygate::supervisor::ReloadError>(())
//! # })?;
//! # Ok::<(), polygate::supervisor::ReloadError>(())
//! ```
//!
//! # A handler of one's own
//!
//! What `BaseRequestHandler` is to Python's `socketserver`, [`handler::StreamHandler`] and
//! [`handler::DatagramHandler`] are here. A type implements one or both of them and is registered beside the
//! built-in ones; limits, timeouts, counting, draining and reloads are the gateway's.
//!
//! ```
//! use polygate::config::Transports;
//! use polygate::gateway::Gateway;
//! use polygate::handler::{Answer, BuildError, Conn, Context};
//! use polygate::handler::{DatagramHandler, Handler, Packet, StreamHandler};
//!
//! /// What may stand in its `[handlers.NAME]` table.
//! #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema, Default)]
//! #[serde(default, deny_unknown_fields)]
//! struct Options {
//!     /// Put before each answer.
//!     prefix: String,
//! }
//!
//! struct Parrot(Options);
//!
//! impl Handler for Parrot {
//!     const NAME: &'static str = "parrot";
//!     const TRANSPORTS: Transports = Transports::ALL;
//!     type Options = Options;
//!
//!     fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
//!         Ok(Parrot(options))
//!     }
//! }
//!
//! impl StreamHandler for Parrot {
//!     async fn serve(&self, conn: &mut Conn) -> std::io::Result<()> {
//!         while let Some(chunk) = conn.read_chunk(1024).await? {
//!             conn.write_pair(self.0.prefix.as_bytes(), &chunk).await?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! impl DatagramHandler for Parrot {
//!     fn answer(&self, packet: &mut Packet<'_>) -> Answer {
//!         packet.prepend(self.0.prefix.as_bytes())
//!     }
//! }
//!
//! let gateway = Gateway::from_text(
//!     r#"
//!     admin.bind = "off"
//!     listeners.birds = { bind = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"], handler = "polly" }
//!     handlers.polly = { type = "parrot", prefix = "Polly says " }
//!     "#,
//! )
//! .handlers(polygate::handlers::builtin().both::<Parrot>())
//! .start()?;
//! assert_eq!(gateway.supervisor().listeners()[0].endpoints.len(), 2);
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
