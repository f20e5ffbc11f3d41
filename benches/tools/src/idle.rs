//! Connections that do nothing, and what each costs the process that holds them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use crate::args::{Args, Failure};
use crate::http::is_whole;
use crate::process::pss_kib;

/// How long things may settle before memory is looked at.
const SETTLE: Duration = Duration::from_secs(2);

pub fn run(args: &Args) -> Result<(), Failure> {
    let to: SocketAddr = args.get("to")?;
    let (count, pid): (usize, u32) = (args.or("connections", 10_000)?, args.get("pid")?);
    let exchange = match args.or("protocol", "echo".to_owned())?.as_str() {
        "echo" => exchange,
        "http" => ask,
        _ => return Err("protocol is echo or http".into()),
    };
    let before = pss_kib(pid)?;
    let mut all = Vec::with_capacity(count);
    for number in 0..count {
        let mut stream = TcpStream::connect(to).map_err(|error| format!("connection {number}: {error}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        exchange(&mut stream, number).map_err(|error| format!("connection {number}: {error}"))?;
        all.push(stream);
    }
    sleep(SETTLE);
    let with = pss_kib(pid)?;
    // None of them was dropped to save memory.
    exchange(&mut all[0], 1)?;
    exchange(&mut all[count - 1], 2)?;
    drop(all);
    sleep(SETTLE);
    let after = pss_kib(pid)?;
    let each = (with as f64 - before as f64) / count as f64;
    println!("connections={count} before_kib={before} with_kib={with} after_kib={after} each_kib={each:.2}");
    Ok(())
}

/// One request, and its answer.
fn ask(stream: &mut TcpStream, _: usize) -> Result<(), Failure> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    while !is_whole(&answer)? {
        match stream.read(&mut buffer)? {
            0 => return Err("the server closed a connection".into()),
            n => answer.extend_from_slice(&buffer[..n]),
        }
    }
    Ok(())
}

/// One question of 64 bytes, and the same as the answer.
pub fn exchange(stream: &mut TcpStream, number: usize) -> Result<(), Failure> {
    let mut question = [0; 64];
    question[..8].copy_from_slice(&(number as u64).to_le_bytes());
    stream.write_all(&question)?;
    let mut answer = [0; 64];
    stream.read_exact(&mut answer)?;
    if answer == question { Ok(()) } else { Err("an answer is not what was sent".into()) }
}
