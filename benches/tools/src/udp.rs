//! The closed loop over UDP: each socket keeps a window of datagrams under way. An answer is checked against
//! its number; one that does not come within a second is lost, and ends the run.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::args::{Args, Failure};
use crate::process::Window;

/// Fills in what a client with that number sends as its `number`th.
pub fn stamp(buffer: &mut [u8], client: usize, number: u64) {
    let words = [number, client as u64];
    for (i, byte) in buffer.iter_mut().enumerate() {
        *byte = words[(i / 8) % 2].to_le_bytes()[i % 8];
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let to: SocketAddr = args.get("to")?;
    let (count, window_size): (usize, u64) = (args.or("sockets", 8)?, args.or("window", 16)?);
    let mut buffer = vec![0; args.or("size", 64)?];
    let mut answer = vec![0; 64 * 1024];
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    // Of each socket: the datagrams sent, and those answered. One server loop keeps their order.
    let mut sockets = Vec::with_capacity(count);
    for id in 0..count {
        let socket = UdpSocket::bind((if to.is_ipv4() { "127.0.0.1" } else { "::1" }, 0))?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        epoll::add(&epoll, &socket, EventData::new_u64(id as u64), EventFlags::IN)?;
        for number in 0..window_size {
            stamp(&mut buffer, id, number);
            socket.send(&buffer)?;
        }
        sockets.push((socket, window_size, 0u64));
    }
    let mut window = Window::new(args)?;
    let mut events = Vec::with_capacity(count);
    let mut requests = 0;
    loop {
        events.clear();
        let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
        if epoll::wait(&epoll, spare_capacity(&mut events), Some(&patience))? == 0 {
            return Err(format!("datagrams were lost after {requests} answers").into());
        }
        for event in &events {
            let id = event.data.u64() as usize;
            let (socket, sent, answered) = &mut sockets[id];
            loop {
                let n = match socket.recv(&mut answer) {
                    Ok(n) => n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                };
                stamp(&mut buffer, id, *answered);
                if answer[..n] != buffer[..] {
                    return Err("an answer is not what was sent, or not in order".into());
                }
                *answered += 1;
                requests += 1;
                stamp(&mut buffer, id, *sent);
                socket.send(&buffer)?;
                *sent += 1;
            }
        }
        if window.look(requests)? {
            return Ok(());
        }
    }
}
