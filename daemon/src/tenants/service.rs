//! What the sessions of each token use, and what follows from its limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::day::Day;
use super::ledger::Ledger;
use super::over_limit::OverLimit;
use crate::access::{Access, TenantId, TokenLimits};
use crate::hub::Hub;
use crate::metrics::{Count, PrometheusText};
use crate::protocol::server_message::EndReason;
use crate::session::Session;
use crate::storage::Storage;

/// Time between two looks at the sessions.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Time between two writes to the store.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// Part of the day's audio after which its publishers are warned.
const NEAR: f64 = 0.9;
/// Code of that warning.
const WARNING_NEAR: &str = "quota_near";
/// Code of the warning before the end.
const WARNING_OVER: &str = "quota_exceeded";

/// The limits of the tokens of one server.
#[derive(Debug)]
pub struct Tenants {
    access: Arc<Access>,
    storage: Option<Arc<Storage>>,
    /// Changes when the tokens were loaded again.
    reloaded: Mutex<watch::Receiver<u64>>,
    tokens: RwLock<BTreeMap<TenantId, (String, TokenLimits)>>,
    ledger: Mutex<Ledger>,
    metered: Mutex<Vec<Metered>>,
    /// What was written to the store last.
    kept: Mutex<(Day, BTreeMap<TenantId, f64>)>,
    refused: Count,
    ended: Count,
}

/// A session whose audio is counted.
#[derive(Debug)]
struct Metered {
    session: Arc<Session>,
    /// Samples of each channel that were counted.
    n_counted: u64,
    /// The day of which its followers know that little is left.
    warned: Option<Day>,
}

impl Tenants {
    /// Counts for the sessions of `hub` from now on, where tokens are asked for. What was counted today before this process
    /// began is read from the store, where there is one. Needs a runtime.
    pub fn start(hub: &Arc<Hub>, access: &Arc<Access>) {
        if !access.asks_for_tokens() {
            return;
        }
        let tenants = Arc::new(Self::new(access, hub.storage().cloned()));
        tenants.read_kept();
        hub.set_tenants(&tenants);
        let counting = Arc::clone(&tenants);
        hub.on_open(move |session| counting.meter(session));
        let shown = Arc::clone(&tenants);
        hub.add_metrics(move |page| shown.write_metrics(page));
        tokio::spawn(tenants.run());
    }

    pub(super) fn new(access: &Arc<Access>, storage: Option<Arc<Storage>>) -> Self {
        let mut ledger = Ledger::default();
        ledger.turn(Day::today());
        Self {
            access: Arc::clone(access),
            storage,
            reloaded: Mutex::new(access.reloaded()),
            tokens: RwLock::new(access.tenants()),
            ledger: Mutex::new(ledger),
            metered: Mutex::default(),
            kept: Mutex::default(),
            refused: Count::default(),
            ended: Count::default(),
        }
    }

    /// The tenant of the token with this name; `None` without a token.
    pub(crate) fn id_of(&self, token: &str) -> Option<TenantId> {
        (!token.is_empty()).then(|| TenantId::of(token))
    }

    /// Whether a token may open one more session. `running` is the number of its sessions on all nodes.
    ///
    /// # Errors
    /// [`OverLimit`]
    pub(crate) fn may_open(&self, tenant: &TenantId, running: usize) -> Result<(), OverLimit> {
        self.refresh();
        let tokens = self.tokens.read();
        let Some((token, limits)) = tokens.get(tenant) else { return Ok(()) };
        let token = || token.clone();
        if let Some(max) = limits.max_sessions.filter(|max| running >= *max as usize) {
            return Err(OverLimit::Sessions { token: token(), running, max });
        }
        let mut ledger = self.ledger.lock();
        let day = ledger.turn(Day::today());
        match limits.audio_s_a_day.filter(|max_s| ledger.used_s(tenant) >= f64::from(*max_s)) {
            Some(max_s) => Err(OverLimit::Audio { token: token(), max_s, day }),
            None => Ok(()),
        }
    }

    /// A session was not opened because of a limit.
    pub(crate) fn count_refused(&self) {
        self.refused.add(1);
    }

    /// Counts the audio of a session from now on.
    pub(super) fn meter(&self, session: &Arc<Session>) {
        let n_counted = session.input().n_audio();
        self.metered.lock().push(Metered { session: Arc::clone(session), n_counted, warned: None });
    }

    async fn run(self: Arc<Self>) {
        let mut every = interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept_at = Instant::now();
        loop {
            every.tick().await;
            self.look(SystemTime::now());
            if kept_at.elapsed() >= KEEP_EVERY && self.news().is_some() {
                kept_at = Instant::now();
                let us = Arc::clone(&self);
                // A panic is reported by the runtime.
                let _ = tokio::task::spawn_blocking(move || us.keep()).await;
            }
        }
    }

    /// Counts what came since the last look, and warns or ends the sessions of tokens that have used their day.
    pub(super) fn look(&self, now: SystemTime) {
        self.refresh();
        let mut metered = self.metered.lock();
        let day = {
            let mut ledger = self.ledger.lock();
            let day = ledger.turn(Day::of(now));
            metered.iter_mut().for_each(|one| one.count(&mut ledger));
            day
        };
        metered.retain(|one| !one.session.channel().is_over());
        for one in metered.iter_mut().filter(|one| one.session.end_reason().is_none()) {
            self.limit(one, day);
        }
    }

    fn limit(&self, one: &mut Metered, day: Day) {
        let Some(tenant) = one.session.tenant() else { return };
        let tokens = self.tokens.read();
        let Some((token, TokenLimits { audio_s_a_day: Some(max_s), .. })) = tokens.get(tenant) else {
            return;
        };
        let (used_s, max_s) = (self.ledger.lock().used_s(tenant), *max_s);
        if used_s >= f64::from(max_s) {
            let over = OverLimit::Audio { token: token.clone(), max_s, day };
            tracing::info!(session = one.session.id(), token, "a session ends: {over}");
            one.session.warn(WARNING_OVER, &over.to_string());
            one.session.finish(EndReason::QuotaExceeded);
            self.ended.add(1);
        } else if used_s >= f64::from(max_s) * NEAR && one.warned != Some(day) {
            one.warned = Some(day);
            let left_s = (f64::from(max_s) - used_s).ceil();
            let reason = format!(
                "the token {token:?} has {left_s} s left of its {max_s} s of audio of {day} (its limit audio_s_a_day); then its \
                 sessions end, and more is taken from {} on",
                day.end_of_utc()
            );
            one.session.warn(WARNING_NEAR, &reason);
        }
    }

    /// Takes notice of tokens that were loaded again.
    fn refresh(&self) {
        let mut reloaded = self.reloaded.lock();
        if reloaded.has_changed().unwrap_or(false) {
            reloaded.mark_unchanged();
            *self.tokens.write() = self.access.tenants();
        }
    }

    pub(super) fn read_kept(&self) {
        let Some(storage) = &self.storage else { return };
        let mut ledger = self.ledger.lock();
        let day = ledger.day();
        match storage.usage(day.0) {
            Ok(kept) => {
                for (tenant, seconds) in kept {
                    if let Some(tenant) = TenantId::parse(&tenant) {
                        ledger.had(day, &tenant, seconds);
                    }
                }
            }
            Err(error) => tracing::error!(%error, "the audio that tokens have used today cannot be read"),
        }
    }

    /// Counts and keeps what came last. Waits for the disk.
    pub fn close(&self) {
        self.look(SystemTime::now());
        self.keep();
    }

    /// This node's share of the day, if there is a store that does not have it yet.
    fn news(&self) -> Option<(Day, BTreeMap<TenantId, f64>)> {
        let own = self.own();
        (self.storage.is_some() && !own.1.is_empty() && *self.kept.lock() != own).then_some(own)
    }

    /// Writes this node's share to the store, where it has changed. Waits for the disk.
    fn keep(&self) {
        let (Some(storage), Some((day, own))) = (&self.storage, self.news()) else { return };
        let rows: Vec<_> = own.iter().map(|(tenant, seconds)| (tenant.as_str(), *seconds)).collect();
        match storage.keep_usage(day.0, &rows) {
            Ok(()) => *self.kept.lock() = (day, own),
            Err(error) => tracing::debug!(%error, "the audio that tokens have used is not kept"),
        }
    }

    /// This node's share of the day.
    pub(crate) fn own(&self) -> (Day, BTreeMap<TenantId, f64>) {
        let ledger = self.ledger.lock();
        (ledger.day(), ledger.own())
    }

    /// What this node had counted before this process began.
    pub(crate) fn had(&self, day: Day, tenant: &TenantId, seconds: f64) {
        self.ledger.lock().had(day, tenant, seconds);
    }

    /// What the other nodes have counted.
    pub(crate) fn set_others(&self, day: Day, tenant: &TenantId, seconds: f64) {
        self.ledger.lock().set_others(day, tenant, seconds);
    }

    /// The day, and every token with its limits and the audio that it has used.
    pub(super) fn all(&self) -> (Day, Vec<(TenantId, String, TokenLimits, f64)>) {
        self.refresh();
        let (tokens, mut ledger) = (self.tokens.read(), self.ledger.lock());
        let day = ledger.turn(Day::today());
        let one = |(tenant, (name, limits)): (&TenantId, &(String, TokenLimits))| {
            (tenant.clone(), name.clone(), *limits, ledger.used_s(tenant))
        };
        (day, tokens.iter().map(one).collect())
    }

    fn write_metrics(&self, page: &mut PrometheusText) {
        let (refused, ended) = (self.refused.get() as f64, self.ended.get() as f64);
        page.counter("quota_refused_total", "Sessions refused by a limit of their token.", refused);
        page.counter("quota_ended_total", "Sessions ended by a limit of their token.", ended);
    }
}

impl Metered {
    fn count(&mut self, ledger: &mut Ledger) {
        let Some(tenant) = self.session.tenant() else { return };
        let n_audio = self.session.input().n_audio();
        let n_new = n_audio.saturating_sub(self.n_counted);
        if n_new > 0 {
            self.n_counted = n_audio;
            ledger.add(tenant, n_new as f64 / f64::from(self.session.format().sample_rate));
        }
    }
}
