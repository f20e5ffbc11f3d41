//! The control plane: makes the plan true.
//!
//! Text becomes a configuration, the configuration a plan; *prepare* builds and binds everything that is
//! new and may fail; *commit* cannot. Start-up is the same call on an empty configuration. Whatever asks
//! for it (start, signal, API) goes through one lock, so that reloads run one after the other.

mod commit;
mod end;
mod fit;
mod lifecycle;
mod live;
mod log;
mod log_level;
mod prepare;
mod steer;
mod view;
pub mod watch;

pub use fit::{fit_limits, open_files_limit, room_for_connections};
pub use lifecycle::{Drained, Life, Lifecycle, Shutdown};
pub use view::{EndpointView, ListenerView, ReloadError, Report, Running, Source, State};

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::accounts::{Accounts, Slot};
use crate::config::{self, Catalog, Config, Diagnostic, LoadError, Loaded, Plan};
use crate::console::Consoles;
use crate::handler::Registry;
use crate::listener::{Hold, OwnAddresses};
use crate::net::tls::Acceptor;
use crate::net::{AdminSocket, Gate, Inherited};
use crate::stats::{CloseReason, ConnId, EventKind, Stats, Trigger};
use crate::upstream::Upstreams;
use live::{Leaving, Live, Published};

/// The control plane of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

/// What a supervisor is made of.
struct Inner {
    source: Source,
    registry: Arc<Registry>,
    inherited: Inherited,
    stats: Arc<Stats>,
    data: Handle,
    /// Where connections are carried to.
    upstreams: Arc<Upstreams>,
    consoles: Arc<Consoles>,
    /// The places of the whole process.
    process: Arc<Gate>,
    own: Arc<OwnAddresses>,
    /// The accounts, while a handler uses them.
    accounts: Arc<Slot>,
    /// Reloads wait here for each other.
    live: Arc<tokio::sync::Mutex<Live>>,
    /// What the views see: they never wait for a reload, which may wait for a name server.
    published: Mutex<Vec<Published>>,
    running: tokio::sync::watch::Sender<Arc<Running>>,
    admin: tokio::sync::watch::Sender<Vec<AdminSocket>>,
    /// What TLS of the admin API is begun with.
    admin_tls: tokio::sync::watch::Sender<Option<Acceptor>>,
    /// Whether the gateway as a whole accepts.
    hold: Arc<Hold>,
    course: lifecycle::Course,
    log_level: log_level::LogLevel,
    /// Whether a reload that nobody waits for has been asked for and has not begun, by [`Trigger`].
    asked: [AtomicBool; Trigger::COUNT],
    /// Cancelled when loops and conns are asked to finish.
    drain: CancellationToken,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("source", &self.inner.source).finish_non_exhaustive()
    }
}

impl Supervisor {
    /// A supervisor without any listener yet; [`Supervisor::start`] takes over the configuration.
    /// `data` is the runtime that connections and datagrams are served on. To be called in the runtime of the control
    /// plane, where drains and shutdowns go on.
    pub fn new(source: Source, registry: Registry, inherited: Inherited, data: Handle) -> Self {
        let nothing = Running {
            config: Arc::new(Config::empty()),
            generation: 0,
            applied_at: SystemTime::now(),
            warnings: Vec::new(),
            files: Arc::default(),
            max_connections: 0,
        };
        let drain = CancellationToken::new();
        let stats = Arc::new(Stats::new());
        let inner = Inner {
            consoles: Arc::default(),
            upstreams: Arc::new(Upstreams::new(stats.clone(), data.clone())),
            source,
            registry: Arc::new(registry),
            inherited,
            stats,
            data,
            process: Arc::new(Gate::new(0)),
            own: Arc::default(),
            accounts: Arc::default(),
            live: Arc::new(tokio::sync::Mutex::new(Live::new(drain.clone()))),
            drain,
            published: Mutex::default(),
            running: tokio::sync::watch::Sender::new(Arc::new(nothing)),
            admin: tokio::sync::watch::Sender::new(Vec::new()),
            admin_tls: tokio::sync::watch::Sender::new(None),
            hold: Arc::default(),
            course: lifecycle::Course::new(Handle::current()),
            log_level: log_level::LogLevel::default(),
            asked: Default::default(),
        };
        Supervisor { inner: Arc::new(inner) }
    }

    /// Takes over the first configuration.
    ///
    /// # Errors
    /// As [`Supervisor::reload`].
    pub async fn start(&self, loaded: Loaded) -> Result<Report, ReloadError> {
        let started = self.take_over(move |_| Ok(loaded), false).await?;
        self.tell_life();
        Ok(started)
    }

    /// Reads the configuration again and takes it over, or says why not. Reloads run one after the other.
    ///
    /// # Errors
    /// What is wrong with the text, what cannot be built or bound. What ran before runs on, unchanged.
    pub async fn reload(&self, trigger: Trigger, dry_run: bool) -> Result<Report, ReloadError> {
        let control = self.inner.stats.control();
        if !dry_run {
            control.reload_attempted(trigger);
        }
        let result = self.take_over(|inner| inner.source.load(&*inner.registry), dry_run).await;
        match &result {
            Ok(report) => log::reloaded(trigger, report),
            Err(error) => {
                if !dry_run {
                    control.reload_failed(trigger, error.stage());
                }
                log::not_reloaded(trigger, dry_run, error);
            }
        }
        if !dry_run {
            self.inner.stats.events().publish(EventKind::Config, || log::event(trigger, &result));
            if let Ok(report) = &result {
                self.tell_plan(&report.plan);
            }
        }
        result
    }

    /// Loads, plans, prepares and commits on a thread that may block: names are resolved, files read.
    async fn take_over(
        &self,
        load: impl FnOnce(&Inner) -> Result<Loaded, ReloadError> + Send + 'static,
        dry_run: bool,
    ) -> Result<Report, ReloadError> {
        let started = Instant::now();
        let mut live = self.inner.live.clone().lock_owned().await;
        if self.inner.hold.is_closed() {
            return Err(ReloadError::ShuttingDown);
        }
        let inner = self.inner.clone();
        // The lock goes along: whoever asked may go away meanwhile, and the next one still waits.
        let work = tokio::task::spawn_blocking(move || {
            let result = inner.take_over(&mut live, load, dry_run, started);
            (result, live)
        });
        match work.await {
            Ok((result, live)) => {
                let (report, leaving) = result?;
                // The answer says that what left is closed, and the next reload may have its address at once.
                let closed = async {
                    while leaving.iter().any(Leaving::is_open) {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                };
                let _ = tokio::time::timeout(LEAVE_WAIT, closed).await;
                drop(live);
                Ok(report)
            }
            Err(error) => Err(ReloadError::Build {
                listener: "all".into(),
                handler: "all".into(),
                reason: format!("internal error: {error}"),
            }),
        }
    }

    /// Checks a text as if it were the configuration's file: what a reload would do, with the warnings, or
    /// every finding. Nothing is built or bound.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub async fn validate(&self, text: String) -> Result<(Plan, Vec<Diagnostic>), LoadError> {
        let inner = self.inner.clone();
        let work = tokio::task::spawn_blocking(move || {
            let mut loaded = config::load_text(&text, &inner.source.origin(), &*inner.registry)?;
            let running = inner.running.borrow().clone();
            let plan = inner.plan(&running, &mut loaded.config, &mut loaded.warnings);
            loaded.warnings.extend(fit_limits(&loaded.config, open_files_limit()));
            Ok((plan, loaded.warnings))
        });
        work.await.unwrap_or_else(|error| {
            Err(LoadError::Unreadable("configuration".into(), std::io::Error::other(error)))
        })
    }

    /// What runs.
    pub fn running(&self) -> Arc<Running> {
        self.inner.running.borrow().clone()
    }

    /// Where the configuration comes from.
    pub fn source(&self) -> &Source {
        &self.inner.source
    }

    /// The listeners as they are now, in the order of the configuration.
    pub fn listeners(&self) -> Vec<ListenerView> {
        let drained = self.is_drained();
        self.inner.published().iter().map(|listener| listener.view(drained)).collect()
    }

    /// The counters.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.inner.stats
    }

    /// The accounts, if a listener's handler uses them.
    pub fn accounts(&self) -> Option<Arc<Accounts>> {
        self.inner.accounts.current()
    }

    /// The handler types.
    pub fn catalog(&self) -> Arc<dyn Catalog> {
        self.inner.registry.clone()
    }

    /// Kills a conn; false where none has that number.
    pub fn kill(&self, id: ConnId) -> bool {
        self.inner.stats.find(id).is_some_and(|meter| meter.kill(CloseReason::Admin))
    }

    /// What `/readyz` says: each listener's name and why it is not up. Draining is one of them (`drain`).
    pub fn readiness(&self) -> Vec<(String, Result<(), String>)> {
        let draining = self.inner.stats.control().is_draining();
        let drain = if draining { Err("the gateway drains".to_string()) } else { Ok(()) };
        let mut all = vec![("drain".to_string(), drain)];
        for listener in self.inner.published().iter() {
            all.push((listener.config.name.clone(), listener.readiness()));
        }
        all
    }

    /// The data plane's runtime, for its metrics.
    pub fn data_runtime(&self) -> &Handle {
        &self.inner.data
    }

    /// Follows the running configuration (for example to apply `log.level`).
    pub fn subscribe(&self) -> tokio::sync::watch::Receiver<Arc<Running>> {
        self.inner.running.subscribe()
    }

    /// How many conns and flows are open.
    pub fn active(&self) -> usize {
        self.inner.process.taken() + self.inner.stats.flows()
    }
}

/// How long a reload waits at most for the loops of what left to take what is queued, and how often it looks.
const LEAVE_WAIT: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// How often a wait for the last conn looks again.
const POLL: Duration = Duration::from_millis(20);

impl Inner {
    fn published(&self) -> MutexGuard<'_, Vec<Published>> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The difference from what runs. What waits for a restart takes its old value, with a warning.
    fn plan(&self, running: &Running, config: &mut Config, warnings: &mut Vec<Diagnostic>) -> Plan {
        let restart_required = config::plan(&running.config, config).restart_required;
        if running.generation > 0 {
            config.keep_running(&running.config);
        }
        warnings.extend(restart_required.iter().map(|key| fit::restart_required(key)));
        Plan { restart_required, ..config::plan(&running.config, config) }
    }

    fn take_over(
        &self,
        live: &mut Live,
        load: impl FnOnce(&Inner) -> Result<Loaded, ReloadError>,
        dry_run: bool,
        started: Instant,
    ) -> Result<(Report, Vec<Leaving>), ReloadError> {
        let mut leaving = Vec::new();
        let Loaded { mut config, mut warnings, files, .. } = load(self)?;
        let running = self.running.borrow().clone();
        let plan = self.plan(&running, &mut config, &mut warnings);
        let nofile = open_files_limit();
        warnings.extend(fit_limits(&config, nofile));
        let nothing_to_do = running.generation > 0 && config == *running.config;
        let mut generation = running.generation;
        if !nothing_to_do {
            // Sockets are registered with, and loops started on, the data plane's runtime.
            let _data = self.data.enter();
            let prepared = prepare::prepare(self, live, config.clone(), dry_run);
            if dry_run || prepared.is_err() {
                live.stop_sharing();
            }
            let prepared = prepared?;
            if self.hold.is_closed() {
                live.stop_sharing();
                return Err(ReloadError::ShuttingDown);
            }
            if dry_run {
                drop(prepared);
            } else {
                generation += 1;
                let room = room_for_connections(&config, nofile);
                leaving = commit::commit(self, live, prepared, generation, room);
                live.stop_sharing();
                *self.published() = live.publish(&config.listeners, &self.hold);
            }
        }
        if !dry_run {
            self.stats.control().config_applied(&config.hash());
            self.running.send_replace(Arc::new(Running {
                max_connections: self.process.limit(),
                config: Arc::new(config),
                generation,
                applied_at: if nothing_to_do { running.applied_at } else { SystemTime::now() },
                warnings: warnings.clone(),
                files: files.into(),
            }));
        }
        Ok((Report { generation, dry_run, duration: started.elapsed(), plan, warnings }, leaving))
    }
}
