//! One upstream: its members in order, and how one of them gets a connection.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use tokio::runtime::Handle;

use super::balance::{Candidate, Table, choose};
use super::datagrams::Datagrams;
use super::dial::{Dialling, Failure, dial};
use super::health;
use super::member::{Admin, Member, MemberView};
use super::tls::Secure;
use crate::config::{Balance, Upstream};
use crate::net::Stream;
use crate::stats::{ConnectFailure, Meter, Stats, UpstreamAccount};

/// One upstream.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    stats: Arc<Stats>,
    data: Handle,
    setup: RwLock<Arc<Setup>>,
    /// One choice at a time, so that turns are taken in order.
    choosing: Mutex<()>,
}

/// What a configuration makes of it.
#[derive(Debug, Default)]
struct Setup {
    config: Option<Upstream>,
    members: Vec<Arc<Member>>,
    table: Option<Table>,
    tls: Option<Secure>,
}

/// No member could be connected.
#[derive(Debug, thiserror::Error)]
pub enum NoUpstream {
    /// None is up.
    #[error("no endpoint of the upstream is up")]
    NoneUp,
    /// Every one that was tried failed; this is the last failure.
    #[error("no endpoint of the upstream could be connected, the last one was {0}: {1}")]
    Failed(String, Failure),
}

/// A member that carries a conn, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    member: Arc<Member>,
    meter: Arc<Meter>,
}

impl Lease {
    /// Where the conn is carried to.
    pub fn member(&self) -> &Member {
        &self.member
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.member.account().leave(&self.meter);
    }
}

/// How a member is dialled.
trait Dial {
    type Line;

    async fn dial(&self, member: &Member, setup: &Setup, config: &Upstream) -> Result<Self::Line, Failure>;
}

/// For connections, with a PROXY header first.
struct Streams<'a> {
    header: &'a [u8],
}

impl Dial for Streams<'_> {
    type Line = Stream;

    async fn dial(&self, member: &Member, setup: &Setup, config: &Upstream) -> Result<Stream, Failure> {
        let (timeout, dns) = (config.connect.timeout.get(), config.dns.get());
        dial(member, Dialling { timeout, dns, header: self.header, tls: setup.tls.as_ref() }).await
    }
}

/// For a flow of datagrams.
struct Flow;

impl Dial for Flow {
    type Line = Datagrams;

    async fn dial(&self, member: &Member, _: &Setup, config: &Upstream) -> Result<Datagrams, Failure> {
        Datagrams::dial(member, config.connect.timeout.get(), config.dns.get()).await
    }
}

impl Pool {
    pub(super) fn new(name: &str, stats: Arc<Stats>, data: Handle) -> Self {
        Pool { name: name.into(), stats, data, setup: RwLock::default(), choosing: Mutex::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The configuration in force.
    pub fn config(&self) -> Option<Upstream> {
        self.setup().config.clone()
    }

    pub(super) fn is_in_force(&self) -> bool {
        self.setup().config.is_some()
    }

    pub(super) fn accounts(&self) -> Vec<Arc<UpstreamAccount>> {
        self.setup().members.iter().map(|member| member.account().clone()).collect()
    }

    fn setup(&self) -> Arc<Setup> {
        self.setup.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, setup: Setup) {
        *self.setup.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(setup);
    }

    /// Takes a configuration over.
    pub(super) fn apply(&self, config: &Upstream) {
        let old = self.setup();
        let same = old.config.as_ref() == Some(config);
        if same {
            return;
        }
        let members: Vec<Arc<Member>> = (config.to.iter())
            .map(|to| {
                let kept = old.members.iter().find(|member| *member.endpoint() == to.endpoint);
                kept.cloned().unwrap_or_else(|| {
                    let account = self.stats.upstream(&self.name, &to.endpoint.to_string());
                    Arc::new(Member::new(to.endpoint.clone(), account, self.stats.clone()))
                })
            })
            .collect();
        let names = config.to.iter().filter(|to| !to.backup).map(|to| (to.endpoint.to_string(), to.weight));
        let table =
            (config.balance == Balance::Maglev).then(|| Table::new(&names.collect::<Vec<_>>())).flatten();
        let kept = old.config.as_ref().is_some_and(|before| before.tls == config.tls);
        // The same one as before, so that what began on one connection is resumed on another.
        let tls = if kept { old.tls.clone() } else { config.tls.as_ref().map(Secure::new) };
        for member in &members {
            // The configuration has the last word on weights; what the operator said of states stays.
            member.set_weight(0);
            health::start(&self.name, member, config, tls.clone(), &self.data);
        }
        for gone in old.members.iter().filter(|old| !members.iter().any(|new| Arc::ptr_eq(old, new))) {
            gone.stop_probe();
        }
        self.set(Setup { config: Some(config.clone()), members, table, tls });
    }

    /// It is not in the configuration any more; what it carries goes on.
    pub(super) fn retire(&self) {
        self.setup().members.iter().for_each(|member| member.stop_probe());
        self.set(Setup::default());
    }

    /// Its members as they are now, in the order of the configuration.
    pub fn members(&self) -> Vec<(Arc<Member>, MemberView)> {
        let setup = self.setup();
        let Some(config) = &setup.config else { return Vec::new() };
        let view = |(member, to): (&Arc<Member>, &crate::config::Target)| {
            let view = MemberView {
                endpoint: to.endpoint.to_string(),
                state: member.admin(),
                healthy: member.is_healthy(),
                ejected: member.is_ejected(),
                weight: member.weight(to.weight),
                backup: to.backup,
            };
            (member.clone(), view)
        };
        setup.members.iter().zip(&config.to).map(view).collect()
    }

    /// Steers a member; false where there is none at that endpoint.
    pub fn steer(&self, endpoint: &str, admin: Option<Admin>, weight: Option<u32>) -> bool {
        let members = self.members();
        let Some((member, _)) = members.iter().find(|(_, view)| view.endpoint == endpoint) else {
            return false;
        };
        if let Some(admin) = admin {
            member.set_admin(admin);
            let state = match admin {
                Admin::Ready => "ready",
                Admin::Drain => "drain",
                Admin::Down => "down",
            };
            member.tell(&self.name, state);
        }
        if let Some(weight) = weight {
            member.set_weight(weight);
        }
        true
    }

    /// Connects a conn to a member, with a PROXY header first, or to another one where that fails, before the client
    /// hears of anything.
    ///
    /// # Errors
    /// None is up, or none of those that were tried could be connected.
    pub async fn connect(&self, meter: &Arc<Meter>, header: &[u8]) -> Result<(Lease, Stream), NoUpstream> {
        let connected = self.connect_by(meter, Streams { header }).await;
        connected.inspect(|(lease, _)| lease.member.succeeded())
    }

    /// The same for a flow of datagrams.
    ///
    /// # Errors
    /// As [`Pool::connect`].
    pub async fn connect_datagrams(&self, meter: &Arc<Meter>) -> Result<(Lease, Datagrams), NoUpstream> {
        self.connect_by(meter, Flow).await
    }

    /// What a flow is carried to has answered: for datagrams there is no other sign that somebody is there.
    pub fn answered(&self, lease: &Lease) {
        lease.member.succeeded();
    }

    /// An endpoint that was connected did not take what TLS showed it after all.
    pub fn refused(&self, lease: &Lease, error: &std::io::Error) {
        let endpoint = lease.member.endpoint().to_string();
        tracing::warn!(target: "polygate::upstream", upstream = %self.name, endpoint, %error, "TLS was refused");
        lease.member.account().connected(Err(ConnectFailure::Tls));
        self.failed(lease, error);
    }

    /// What a flow was carried to does not answer any more.
    pub fn failed(&self, lease: &Lease, error: &std::io::Error) {
        let endpoint = lease.member.endpoint().to_string();
        tracing::debug!(target: "polygate::upstream", upstream = %self.name, endpoint, %error, "a connection failed");
        let setup = self.setup();
        if setup.config.as_ref().is_some_and(|config| lease.member.failed(&config.passive)) {
            self.ejected(&lease.member);
        }
    }

    async fn connect_by<D: Dial>(&self, meter: &Arc<Meter>, how: D) -> Result<(Lease, D::Line), NoUpstream> {
        let setup = self.setup();
        let config = setup.config.as_ref().ok_or(NoUpstream::NoneUp)?;
        let mut tried = Vec::new();
        let mut last = None;
        for _ in 0..=config.connect.retries {
            let Some(member) = self.choose(&setup, config, meter.peer().ip(), &tried) else { break };
            // Counted from now on, so that many at once are spread.
            member.account().enter(meter);
            let lease = Lease { member: member.clone(), meter: meter.clone() };
            let started = Instant::now();
            match how.dial(&member, &setup, config).await {
                Ok(stream) => {
                    member.account().connected(Ok(started.elapsed().as_secs_f64()));
                    return Ok((lease, stream));
                }
                Err(failure) => {
                    member.account().connected(Err(failure.reason));
                    let endpoint = member.endpoint().to_string();
                    if failure.reason == ConnectFailure::Tls {
                        // No passing trouble: somebody has to look at certificates.
                        tracing::warn!(target: "polygate::upstream", upstream = %self.name, endpoint, %failure, "cannot connect");
                    } else {
                        tracing::debug!(target: "polygate::upstream", upstream = %self.name, endpoint, %failure, "cannot connect");
                    }
                    if member.failed(&config.passive) {
                        self.ejected(&member);
                    }
                    last = Some(NoUpstream::Failed(endpoint, failure));
                    tried.push(member);
                }
            }
        }
        Err(last.unwrap_or(NoUpstream::NoneUp))
    }

    /// Says that a member is out for a while, and lets it be shown as up again after that.
    fn ejected(&self, member: &Arc<Member>) {
        let endpoint = member.endpoint().to_string();
        tracing::warn!(target: "polygate::upstream", upstream = %self.name, endpoint, "ejected: its connections fail");
        member.tell(&self.name, "ejected");
        let member = member.clone();
        self.data.spawn(async move {
            while let Some(left) = member.ejected_for() {
                tokio::time::sleep(left).await;
            }
            member.publish();
        });
    }

    fn choose(
        &self,
        setup: &Setup,
        config: &Upstream,
        key: Option<IpAddr>,
        tried: &[Arc<Member>],
    ) -> Option<Arc<Member>> {
        let _one_at_a_time = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let candidates = |backup: bool, ejected: bool| -> Vec<Candidate> {
            let members = setup.members.iter().zip(&config.to);
            let fits = members.filter(|(member, to)| {
                to.backup == backup
                    && member.is_eligible()
                    && (ejected || !member.is_ejected())
                    && !tried.iter().any(|one| Arc::ptr_eq(one, member))
            });
            fits.map(|(member, to)| Candidate { member: member.clone(), weight: member.weight(to.weight) })
                .collect()
        };
        // Ejection is a guess: rather than to refuse everybody, the ejected are tried.
        for (backup, ejected) in [(false, false), (true, false), (false, true), (true, true)] {
            let all = candidates(backup, ejected);
            let of_table = || {
                let primary: Vec<&Arc<Member>> = setup
                    .members
                    .iter()
                    .zip(&config.to)
                    .filter(|(_, to)| !to.backup)
                    .map(|(m, _)| m)
                    .collect();
                let mut places = setup.table.as_ref()?.walk(key);
                places.find_map(|place| {
                    let member = *primary.get(place)?;
                    all.iter().find(|candidate| Arc::ptr_eq(&candidate.member, member))
                })
            };
            if let Some(chosen) = choose(config.balance, &all, key, of_table) {
                return Some(chosen.member.clone());
            }
        }
        None
    }
}
