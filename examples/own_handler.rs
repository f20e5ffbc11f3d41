//! A handler of your own beside the built-in ones, the way one subclasses `BaseRequestHandler` in Python.
//!
//! `cargo run --example own_handler`, then `printf hello | nc -N 127.0.0.1 PORT` with the port that it prints.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::io;

use polygate::config::Transports;
use polygate::gateway::Gateway;
use polygate::handler::{Answer, BuildError, Conn, Context, DatagramHandler, Handler, Packet, StreamHandler};
use polygate::handlers;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What may stand in its `[handlers.NAME]` table.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// Put behind every answer.
    suffix: String,
}

struct Reverse(Options);

impl Handler for Reverse {
    const NAME: &'static str = "reverse";
    const TRANSPORTS: Transports = Transports::ALL;
    type Options = Options;

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        Ok(Reverse(options))
    }
}

impl StreamHandler for Reverse {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        while let Some(mut chunk) = conn.read_chunk(1024).await? {
            chunk.reverse();
            conn.write_pair(&chunk, self.0.suffix.as_bytes()).await?;
        }
        Ok(())
    }
}

impl DatagramHandler for Reverse {
    fn answer(&self, packet: &mut Packet<'_>) -> Answer {
        packet.bytes_mut().reverse();
        Answer::Reply
    }
}

const CONFIG: &str = r#"
admin.bind = "off"
listeners.reverse = { bind = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"], handler = "backwards" }
handlers.backwards = { type = "reverse", suffix = "!" }
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let handlers = handlers::builtin().both::<Reverse>();
    let gateway = Gateway::from_text(CONFIG).handlers(handlers).start()?;
    for endpoint in &gateway.supervisor().listeners()[0].endpoints {
        println!("{}", endpoint.address);
    }
    // Until somebody closes standard input.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
