//! A handler of connections: it numbers what a client says, and says it again.
//!
//! `cargo run --example stream_handler`, then `polygate connect ENDPOINT` with the endpoint that it prints.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::io;

use polygate::config::Transports;
use polygate::gateway::Gateway;
use polygate::handler::{BuildError, Conn, Context, Handler, StreamHandler};
use polygate::handlers;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What may stand in its `[handlers.NAME]` table; `polygate check` and editors know it by this.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// The number of the first message.
    first: u64,
}

struct Numbered(Options);

impl Handler for Numbered {
    const NAME: &'static str = "numbered";
    const TRANSPORTS: Transports = Transports::STREAMS;
    type Options = Options;

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        Ok(Numbered(options))
    }
}

impl StreamHandler for Numbered {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        let mut number = self.0.first;
        while let Some(chunk) = conn.read_chunk(1024).await? {
            conn.write_pair(format!("{number}: ").as_bytes(), &chunk).await?;
            number += 1;
        }
        Ok(())
    }
}

const CONFIG: &str = r#"
admin.bind = "off"
listeners.numbers = { bind = "tcp://127.0.0.1:0", handler = "from-one", limits = { max_connections = 100 } }
handlers.from-one = { type = "numbered", first = 1 }
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gateway = Gateway::from_text(CONFIG).handlers(handlers::builtin().stream::<Numbered>()).start()?;
    println!("{}", gateway.supervisor().listeners()[0].endpoints[0].address);
    // Until somebody closes standard input.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
