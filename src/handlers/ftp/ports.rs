//! Passive ports: a range is one pool, shared by all listeners that name it. A port is leased while a data
//! connection is waited for on it; ports are given out in random order, so that nobody can guess the next.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that may wait on a port: one is meant, the others are turned away.
const BACKLOG: i32 = 4;

/// From, and up to and with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PortRange {
    first: u16,
    last: u16,
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a range of ports like \"40000-40009\", found `{text}`");
        let port = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u16>().ok()).flatten().ok_or_else(expected)
        };
        let (first, last) = text.split_once('-').ok_or_else(expected)?;
        let (first, last) = (port(first)?, port(last)?);
        if first < 1024 {
            return Err("expected ports of 1024 and above: those below are the system's".into());
        }
        if first > last {
            return Err(format!("expected the lower port first, found `{text}`"));
        }
        Ok(PortRange { first, last })
    }
}

impl PortRange {
    /// How many there are.
    pub(super) fn count(self) -> u64 {
        u64::from(self.last - self.first) + 1
    }
}

/// The ports of one range.
#[derive(Debug)]
pub(super) struct Pool {
    range: PortRange,
    /// Those that nobody has, in any order.
    free: Mutex<Vec<u16>>,
}

/// A port that is leased until this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Arc<Pool>,
    port: u16,
}

/// Every pool that is in use, by range.
static POOLS: Mutex<Option<HashMap<PortRange, Weak<Pool>>>> = Mutex::new(None);

impl Pool {
    /// The pool of a range: the one that is there, or a new one.
    pub(super) fn of(range: PortRange) -> Arc<Self> {
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        let pools = pools.get_or_insert_default();
        if let Some(pool) = pools.get(&range).and_then(Weak::upgrade) {
            return pool;
        }
        pools.retain(|_, pool| pool.strong_count() > 0);
        let pool = Arc::new(Pool { range, free: Mutex::new((range.first..=range.last).collect()) });
        pools.insert(range, Arc::downgrade(&pool));
        pool
    }

    /// Its range.
    pub(super) fn range(&self) -> PortRange {
        self.range
    }

    /// Listens on a free port of the range at that address. None: no port is free, or others have them.
    pub(super) fn listen(self: &Arc<Self>, ip: IpAddr) -> Option<(TcpListener, Lease)> {
        let mut tried = Vec::new();
        let found = loop {
            let Some(port) = self.take() else { break None };
            // Given back when this is dropped; kept meanwhile, so that none is tried twice.
            let lease = Lease { pool: self.clone(), port };
            match listen(SocketAddr::new(ip, port)) {
                Ok(listener) => break Some((listener, lease)),
                Err(_) => tried.push(lease),
            }
        };
        drop(tried);
        found
    }

    fn take(&self) -> Option<u16> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let at = fastrand::usize(..free.len().max(1));
        (!free.is_empty()).then(|| free.swap_remove(at))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.port);
    }
}

/// Listens at an address; the port 0 is the kernel's choice.
///
/// # Errors
/// Those of the system.
pub(super) fn listen(at: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Connections of before in TIME_WAIT do not keep the port.
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_range_is_two_ports() {
        let range: PortRange = "40000-40009".parse().unwrap();
        assert_eq!(range.count(), 10);
        for wrong in
            ["", "40000", "40009-40000", "80-90", "a-b", "40000-70000", "+40000-40001", "40000 - 40001"]
        {
            assert!(wrong.parse::<PortRange>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn ports_are_leased_and_come_back() {
        // Ports below the usual ephemeral range.
        let pool = Pool::of("28411-28413".parse().unwrap());
        assert!(Arc::ptr_eq(&pool, &Pool::of(pool.range())));
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let leases: Vec<_> = std::iter::from_fn(|| pool.listen(ip)).collect();
        assert!(!leases.is_empty() && leases.len() <= 3);
        assert!(pool.listen(ip).is_none());
        drop(leases);
        assert!(pool.listen(ip).is_some());
        assert_eq!(pool.free.lock().unwrap().len(), 3);
    }
}
