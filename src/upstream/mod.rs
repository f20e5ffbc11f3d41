//! Upstreams: where connections are carried to. Each is a [`Pool`] of members that is balanced, probed and
//! steered; it keeps its name, and its members' state, over reloads.

mod balance;
mod datagrams;
mod dial;
mod health;
mod member;
mod pool;
mod tls;

pub use datagrams::Datagrams;
pub use dial::Failure;
pub use member::{Admin, Member, MemberView};
pub use pool::{Lease, NoUpstream, Pool};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;

use crate::config::Upstream;
use crate::stats::Stats;

/// Every upstream of a gateway.
#[derive(Debug)]
pub struct Upstreams {
    stats: Arc<Stats>,
    data: Handle,
    pools: Mutex<BTreeMap<String, Arc<Pool>>>,
}

impl Upstreams {
    /// None yet. Probes run on `data`.
    pub fn new(stats: Arc<Stats>, data: Handle) -> Self {
        Upstreams { stats, data, pools: Mutex::default() }
    }

    /// The upstream of that name. One that is not in force yet has no member until [`Upstreams::apply`].
    pub fn get(&self, name: &str) -> Arc<Pool> {
        let mut pools = self.pools();
        let new = || Arc::new(Pool::new(name, self.stats.clone(), self.data.clone()));
        pools.entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// The upstream of that name, if it is in force.
    pub fn find(&self, name: &str) -> Option<Arc<Pool>> {
        self.pools().get(name).filter(|pool| pool.is_in_force()).cloned()
    }

    /// Those in force, sorted by name.
    pub fn all(&self) -> Vec<Arc<Pool>> {
        self.pools().values().filter(|pool| pool.is_in_force()).cloned().collect()
    }

    /// Makes a configuration true. Members that stay keep their state and connections; what left ends when its
    /// last connection does.
    pub fn apply(&self, upstreams: &[Upstream]) {
        let mut pools = self.pools();
        pools.retain(|name, pool| {
            let stays = upstreams.iter().any(|upstream| upstream.name == *name);
            if !stays {
                pool.retire();
            }
            stays
        });
        drop(pools);
        for upstream in upstreams {
            self.get(&upstream.name).apply(upstream);
        }
        let kept: Vec<_> = self.all().iter().flat_map(|pool| pool.accounts()).collect();
        self.stats.retain_upstreams(|account| kept.iter().any(|one| std::ptr::eq(Arc::as_ptr(one), account)));
    }

    fn pools(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
