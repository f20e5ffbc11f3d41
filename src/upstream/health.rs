//! Probes: one task a member asks it again and again whether it works.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use proxy_header::ProxyHeader;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Handle;

use super::datagrams::Datagrams;
use super::dial::{Dialling, dial};
use super::member::{Admin, Member};
use super::tls::Secure;
use crate::config::{Endpoint, Health, HealthKind, SendProxy, Upstream};
use crate::net::Stream;
use crate::stats::CloseReason;

/// How much of an answer is looked at.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Starts, replaces or ends the probes of a member. Without any it counts as healthy.
pub(super) fn start(
    upstream: &Arc<str>,
    member: &Arc<Member>,
    config: &Upstream,
    tls: Option<Secure>,
    data: &Handle,
) {
    member.stop_probe();
    let Some(health) = config.health.clone() else {
        member.set_healthy(true);
        return;
    };
    let probing = Probing { health, dns: config.dns.get(), header: header(config.send_proxy), tls };
    let probing = run(upstream.clone(), Arc::downgrade(member), probing);
    *member.locked(&member.probe) = Some(data.spawn(probing).abort_handle());
}

/// How a member is probed.
struct Probing {
    health: Health,
    dns: Duration,
    header: Vec<u8>,
    tls: Option<Secure>,
}

/// A header that says that the connection is the gateway's own.
fn header(version: SendProxy) -> Vec<u8> {
    let (header, mut bytes) = (ProxyHeader::with_local(), Vec::new());
    // One without addresses can always be written.
    let _ = match version {
        SendProxy::Off => Ok(()),
        SendProxy::V1 => header.encode_v1(&mut bytes),
        SendProxy::V2 => header.encode_v2(&mut bytes),
    };
    bytes
}

async fn run(upstream: Arc<str>, member: std::sync::Weak<Member>, probing: Probing) {
    let health = &probing.health;
    let (mut good, mut bad) = (0, 0);
    // The first answer counts at once: nobody knows yet whether it works.
    let mut is_first = true;
    loop {
        {
            let Some(member) = member.upgrade() else { return };
            if member.admin() != Admin::Down {
                let result = tokio::time::timeout(health.timeout.get(), probe(&member, &probing)).await;
                let result = result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                member.account().health_checks.fetch_add(1, Relaxed);
                match &result {
                    Ok(()) => (good, bad) = (good + 1, 0),
                    Err(_) => {
                        (good, bad) = (0, bad + 1);
                        member.account().health_check_failures.fetch_add(1, Relaxed);
                    }
                }
                judge(&upstream, &member, health, result, (good, bad), is_first);
                is_first = false;
            }
        }
        // A little earlier or later each time, so that many gateways do not probe at once.
        let interval = health.interval.get();
        tokio::time::sleep(interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
    }
}

fn judge(
    upstream: &str,
    member: &Member,
    health: &Health,
    result: io::Result<()>,
    (good, bad): (u32, u32),
    is_first: bool,
) {
    let endpoint = member.endpoint().to_string();
    let counts = is_first || if result.is_ok() { good >= health.rise } else { bad >= health.fall };
    if !counts || !member.set_healthy(result.is_ok()) {
        return;
    }
    match result {
        Ok(()) => {
            tracing::info!(target: "polygate::upstream", upstream, endpoint, "healthy again");
            member.tell(upstream, "healthy");
        }
        Err(error) => {
            tracing::warn!(target: "polygate::upstream", upstream, endpoint, %error, "unhealthy");
            member.tell(upstream, "unhealthy");
            if health.close_on_unhealthy {
                let closed = member.account().kill_all(CloseReason::Upstream);
                tracing::info!(target: "polygate::upstream", upstream, endpoint, closed, "its connections are closed");
            }
        }
    }
}

async fn probe(member: &Member, probing: &Probing) -> io::Result<()> {
    let health = &probing.health;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    match health.kind {
        HealthKind::Tcp => connect(member, probing).await.map(drop),
        HealthKind::Http => {
            let stream = connect(member, probing).await?;
            let host = match member.endpoint() {
                Endpoint::Tcp(at) => at.to_string(),
                _ => "localhost".into(),
            };
            let path = text(&health.path);
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: polygate\r\nConnection: close\r\n\r\n"
            );
            let answer = ask(stream, request.as_bytes(), |answer| answer.contains(&b'\n')).await?;
            let code = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
            match code {
                Some([b'2' | b'3', ..]) => Ok(()),
                Some(code) => Err(io::Error::other(format!("status {}", String::from_utf8_lossy(code)))),
                None => Err(io::Error::other("the answer is not HTTP")),
            }
        }
        HealthKind::SendExpect => {
            let stream = connect(member, probing).await?;
            let expect = text(&health.expect);
            let found = |answer: &[u8]| contains(answer, expect.as_bytes());
            let answer = ask(stream, text(&health.send).as_bytes(), found).await?;
            if found(&answer) { Ok(()) } else { Err(io::Error::other("the answer is not the expected one")) }
        }
        HealthKind::Udp => {
            let answer = datagram(member, text(&health.send).as_bytes(), probing.dns).await?;
            match contains(&answer, text(&health.expect).as_bytes()) {
                true => Ok(()),
                false => Err(io::Error::other("the answer is not the expected one")),
            }
        }
    }
}

async fn connect(member: &Member, probing: &Probing) -> io::Result<Stream> {
    let Probing { health, dns, header, tls } = probing;
    let how = Dialling { timeout: health.timeout.get(), dns: *dns, header, tls: tls.as_ref() };
    dial(member, how).await.map_err(|failure| failure.error)
}

/// Sends, and reads until that is enough.
async fn ask(mut stream: Stream, question: &[u8], enough: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    stream.write_all(question).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    while !enough(&answer) && answer.len() < LONGEST_ANSWER {
        let mut piece = [0; 1024];
        match stream.read(&mut piece).await? {
            0 => break,
            n => answer.extend_from_slice(&piece[..n]),
        }
    }
    Ok(answer)
}

async fn datagram(member: &Member, question: &[u8], dns: Duration) -> io::Result<Vec<u8>> {
    let mut answer = vec![0; LONGEST_ANSWER];
    let socket = Datagrams::connect(member, dns).await.map_err(|failure| failure.error)?;
    socket.try_send(question)?;
    let n = loop {
        socket.readable().await?;
        match socket.try_recv(&mut answer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => break done?,
        }
    };
    answer.truncate(n);
    Ok(answer)
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|window| window == part)
}
