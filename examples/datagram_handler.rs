//! A handler of datagrams: it gives back the first bytes of each.
//!
//! `cargo run --example datagram_handler`, then `polygate connect ENDPOINT` with the endpoint that it prints.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::io;

use polygate::config::Transports;
use polygate::gateway::Gateway;
use polygate::handler::{Answer, BuildError, Context, DatagramHandler, Handler, Packet};
use polygate::handlers;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What may stand in its `[handlers.NAME]` table.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// How many bytes come back.
    bytes: usize,
}

struct Head(Options);

impl Handler for Head {
    const NAME: &'static str = "head";
    const TRANSPORTS: Transports = Transports::DATAGRAMS;
    type Options = Options;

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        match options.bytes {
            0 => Err(BuildError::new("`bytes` must be at least 1")),
            _ => Ok(Head(options)),
        }
    }
}

impl DatagramHandler for Head {
    fn answer(&self, packet: &mut Packet<'_>) -> Answer {
        packet.keep(0..self.0.bytes);
        Answer::Reply
    }
}

const CONFIG: &str = r#"
admin.bind = "off"
listeners.heads = { bind = "udp://127.0.0.1:0", handler = "head-4" }
handlers.head-4 = { type = "head", bytes = 4 }
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gateway = Gateway::from_text(CONFIG).handlers(handlers::builtin().datagram::<Head>()).start()?;
    println!("{}", gateway.supervisor().listeners()[0].endpoints[0].address);
    // Until somebody closes standard input.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
