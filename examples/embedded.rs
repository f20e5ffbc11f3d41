//! A gateway inside a program of one's own: start, ask where it listens, talk to it, reload, shut down.
//!
//! `cargo run --example embedded`

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use polygate::gateway::Gateway;
use polygate::stats::Trigger;

const ECHO: &str = r#"
admin.bind = "off"
listeners.lines = { bind = "tcp://127.0.0.1:0", handler = "echo" }
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("polygate.toml");
    fs::write(&file, ECHO)?;

    // Ready on return, or an error that says what is wrong with the file, or cannot be bound.
    let gateway = Gateway::from_file(&file).start()?;
    let address = gateway.supervisor().listeners()[0].endpoints[0].address.clone();
    println!("echo: {}", ask(&address, "hello")?);

    // The file is read again: all of it is taken over, or nothing. The socket stays.
    fs::write(&file, ECHO.replace("\"echo\"", "\"upper\""))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(gateway.supervisor().reload(Trigger::Api, false))?;
    println!("changed: {}", report.plan.changed[0].what.join(", "));
    println!("upper: {}", ask(&address, "hello")?);

    // A mistake changes nothing.
    fs::write(&file, ECHO.replace("\"echo\"", "\"ecko\""))?;
    let error = runtime.block_on(gateway.supervisor().reload(Trigger::Api, false));
    println!("refused: {}", error.is_err());
    println!("upper: {}", ask(&address, "still")?);

    // Lets connections finish, at most for `shutdown.grace`. Dropping the gateway would end it at once.
    let drained = runtime.block_on(gateway.shutdown());
    println!("killed: {}", drained.killed);
    println!("listens: {}", ask(&address, "anybody?").is_ok());
    Ok(())
}

fn ask(address: &str, question: &str) -> Result<String, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address.trim_start_matches("tcp://"))?;
    stream.write_all(question.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
