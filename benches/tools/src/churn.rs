//! Connections that are reset at once, and more connections than there is room for.

use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::SockRef;
use std::io::Write;

use crate::args::{Args, Failure};
use crate::idle::exchange;
use crate::process::cpu_ns;

/// Connects and resets, every second time with bytes under way; then the server must still answer.
pub fn churn(args: &Args) -> Result<(), Failure> {
    let to: SocketAddr = args.get("to")?;
    let count: usize = args.or("connections", 50_000)?;
    let begun = Instant::now();
    for number in 0..count {
        let mut stream = TcpStream::connect(to).map_err(|error| format!("connection {number}: {error}"))?;
        if number % 2 == 1 {
            stream.write_all(b"never read to the end")?;
        }
        // The close that follows sends RST (socket(7), SO_LINGER).
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let answered = answers_within(to, Duration::from_secs(10))?;
    println!("resets={count} seconds={seconds:.1} answers_after_ms={}", answered.as_millis());
    Ok(())
}

/// Holds more connections than the server has room for, looks at what it burns meanwhile, leaves, and looks
/// how soon a newcomer is served.
pub fn crowd(args: &Args) -> Result<(), Failure> {
    let to: SocketAddr = args.get("to")?;
    let (count, pid): (usize, u32) = (args.or("connections", 400)?, args.get("pid")?);
    let seconds: f64 = args.or("seconds", 5.0)?;
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
        stream.write_all(b"hello")?;
        all.push(stream);
    }
    sleep(Duration::from_millis(500));
    let served = all.iter().filter(|stream| has_an_answer(stream)).count();
    let (begun, burnt) = (Instant::now(), cpu_ns(pid)?);
    sleep(Duration::from_secs_f64(seconds));
    let cpu = (cpu_ns(pid)? - burnt) as f64 / begun.elapsed().as_nanos() as f64 * 100.0;
    drop(all);
    let recovered = answers_within(to, Duration::from_secs(10))?;
    println!(
        "connections={count} served={served} cpu_percent={cpu:.2} recovered_after_ms={}",
        recovered.as_millis()
    );
    Ok(())
}

fn has_an_answer(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).is_ok() && stream.peek(&mut [0; 8]).is_ok_and(|n| n > 0)
}

/// How long it takes until a new connection is answered.
fn answers_within(to: SocketAddr, patience: Duration) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect_timeout(&to, patience)?;
    stream.set_read_timeout(Some(patience))?;
    exchange(&mut stream, 7).map_err(|error| format!("no answer within {patience:?}: {error}"))?;
    Ok(begun.elapsed())
}
