//! Echoes on bare tokio, written as one writes them first: a task and a 16 KiB buffer a connection.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Builder;

use crate::args::{Args, Failure};

pub fn tcp_multi_thread(args: &Args) -> Result<(), Failure> {
    let at = args.get("at")?;
    // The accept loop is a task of the worker, too; `block_on` would keep it on the main thread.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async { tokio::spawn(tcp(at)).await })?
}

pub fn tcp_current_thread(args: &Args) -> Result<(), Failure> {
    Builder::new_current_thread().enable_all().build()?.block_on(tcp(args.get("at")?))
}

async fn tcp(at: SocketAddr) -> Result<(), Failure> {
    let listener = TcpListener::bind(at).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
        });
    }
}

pub fn udp(args: &Args) -> Result<(), Failure> {
    let at: SocketAddr = args.get("at")?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        tokio::spawn(async move {
            let socket = UdpSocket::bind(at).await?;
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let (n, peer) = socket.recv_from(&mut buffer).await?;
                socket.send_to(&buffer[..n], peer).await?;
            }
        })
        .await
    })?
}
