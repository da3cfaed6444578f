//! The node of a cluster: what runs beside the server.

use std::sync::Arc;
use std::time::Duration;

use diarized_config::Config;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::answers;
use super::audio::{Intakes, Labeller};
use super::beat::Beat;
use super::copies::Copies;
use super::directory::Directory;
use super::error::ClusterError;
use super::link::Link;
use super::mirrors::Mirrors;
use super::node::Own;
use super::nodes::Nodes;
use super::orphans::Orphans;
use super::others::Others;
use super::publishers::Publishers;
use super::questions::Questions;
use super::taking::Taking;
use super::tenants::SharedUsage;
use super::voices::SharedVoices;
use crate::hub::Hub;
use crate::metrics::PrometheusText;
use crate::voices::{Key, Registry};

/// Deleted sessions that wait to be forgotten here.
const MAX_DELETED: usize = 4096;

/// This process as a node; without `[cluster]` it is nothing.
#[derive(Debug)]
pub struct Cluster(Option<Running>);

struct Running {
    stop: watch::Sender<bool>,
    beat: JoinHandle<()>,
    publishers: Arc<Publishers>,
    intakes: Arc<Intakes>,
    voices: Option<Arc<SharedVoices>>,
    usage: Option<Arc<SharedUsage>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Cluster {
    /// Starts what is configured; nothing is no error. NATS may be away: it is reached later. `voices` are shared, if they may.
    /// Needs a runtime.
    ///
    /// # Errors
    /// [`ClusterError`]: a file that the configuration names cannot be used.
    pub async fn start(
        config: &Config,
        hub: &Arc<Hub>,
        key: Option<&Key>,
        voices: Option<&Arc<Registry>>,
    ) -> Result<Self, ClusterError> {
        let Some(name) = config.cluster.node.as_ref().filter(|_| !config.cluster.nats.is_empty()) else {
            return Ok(Self(None));
        };
        let link = Link::open(&config.cluster, name).await?;
        let own = Own::new(name, config);
        let copies = Copies::new(&link, key);
        let share =
            |registry: &Arc<Registry>| SharedVoices::new(Arc::clone(&link), name, Arc::clone(registry));
        let voices = voices.filter(|_| config.cluster.voices).map(share);
        Ok(Self(Some(Running::start(&link, hub, &Arc::new(own), &copies, voices))))
    }

    /// Writes what is left and leaves the cluster, for at most `grace`. To be called when all sessions have ended.
    pub async fn stop(self, grace: Duration) {
        let Some(Running { stop, beat, publishers, intakes, voices, usage }) = self.0 else { return };
        let is_all_written = || {
            publishers.is_all_written()
                && intakes.is_all_written()
                && voices.as_ref().is_none_or(|voices| voices.is_settled())
        };
        let all = async {
            while !is_all_written() {
                sleep(Duration::from_millis(20)).await;
            }
            if let Some(usage) = &usage {
                usage.write_all().await;
            }
            stop.send_replace(true);
            let _ = beat.await;
        };
        if timeout(grace, all).await.is_err() {
            tracing::warn!(
                "NATS does not take the last events; the other nodes see these sessions without them"
            );
        }
    }
}

impl Running {
    fn start(
        link: &Arc<Link>,
        hub: &Arc<Hub>,
        own: &Arc<Own>,
        copies: &Arc<Copies>,
        voices: Option<Arc<SharedVoices>>,
    ) -> Self {
        let (stop, held) = (watch::Sender::new(false), watch::Sender::new(false));
        let parts = || (Arc::clone(link), Arc::clone(hub), Arc::clone(own));
        let nodes = Arc::new(Nodes::default());
        let (deleted, gone) = mpsc::channel(MAX_DELETED);
        let directory = Arc::new(Directory::new(link.keep(), deleted));
        let (l, h, o) = parts();
        let publishers = Publishers::new(l, h, o, Arc::clone(copies));
        let (l, h, o) = parts();
        let mirrors = Mirrors::new(l, h, o, Arc::clone(&directory));
        let (l, h, o) = parts();
        let orphans = Orphans {
            link: l,
            hub: h,
            own: o,
            nodes: Arc::clone(&nodes),
            directory: Arc::clone(&directory),
            mirrors: Arc::clone(&mirrors),
        };
        tokio::spawn(forget_deleted(Arc::clone(hub), gone));
        tokio::spawn(Arc::clone(&nodes).follow(Arc::clone(link)));
        tokio::spawn(Arc::clone(&directory).follow(Arc::clone(link)));
        tokio::spawn(Arc::clone(&publishers).run(held.subscribe()));
        tokio::spawn(Arc::clone(&mirrors).run());
        tokio::spawn(orphans.run(held.subscribe()));
        if let Some(voices) = &voices {
            show_voices(hub, voices);
            tokio::spawn(Arc::clone(voices).run(held.subscribe()));
        }
        let usage = hub.tenants().map(|tenants| SharedUsage::start(link, own, tenants, held.subscribe()));
        let (l, h, o) = parts();
        tokio::spawn(answers::run(l, h, o, Arc::clone(&publishers), held.subscribe()));
        let (l, h, o) = parts();
        let held_by_name = held.subscribe();
        let beat = tokio::spawn(Beat::new(l, h, o, held).run(stop.subscribe()));
        let shared = Shared { link, hub, own, nodes: &nodes, directory: &directory, mirrors: &mirrors };
        let intakes = shared.join(copies, &publishers, held_by_name);
        report(link, hub, nodes, mirrors, &intakes);
        Self { stop, beat, publishers, intakes, voices, usage }
    }
}

/// What the parts of a node share.
struct Shared<'a> {
    link: &'a Arc<Link>,
    hub: &'a Arc<Hub>,
    own: &'a Arc<Own>,
    nodes: &'a Arc<Nodes>,
    directory: &'a Arc<Directory>,
    mirrors: &'a Arc<Mirrors>,
}

impl Shared<'_> {
    /// Joins the sessions of other nodes to those of this one, and takes those that wait for a node that labels them.
    fn join(
        &self,
        copies: &Arc<Copies>,
        publishers: &Arc<Publishers>,
        held: watch::Receiver<bool>,
    ) -> Arc<Intakes> {
        let parts = || (Arc::clone(self.link), Arc::clone(self.hub), Arc::clone(self.own));
        let (link, hub, own) = parts();
        let (nodes, directory) = (Arc::clone(self.nodes), Arc::clone(self.directory));
        let mirrors = Arc::clone(self.mirrors);
        let sessions = Mutex::default();
        let intakes = Arc::new(Intakes { link, hub, own, nodes, directory, mirrors, sessions });
        let questions = Arc::new(Questions(Arc::clone(self.link)));
        let (link, hub, own) = parts();
        let taking = Arc::new(Taking {
            link,
            hub,
            own,
            directory: Arc::clone(self.directory),
            mirrors: Arc::clone(self.mirrors),
            copies: Arc::clone(copies),
            questions: Arc::clone(&questions),
            intakes: Arc::clone(&intakes),
            busy: Mutex::default(),
        });
        if self.own.roles.label {
            tokio::spawn(Labeller::new(Arc::clone(self.nodes), Arc::clone(&taking)).run(held));
        }
        let (link, hub, own) = parts();
        self.hub.join(Arc::new(Others {
            link,
            hub,
            own,
            nodes: Arc::clone(self.nodes),
            directory: Arc::clone(self.directory),
            mirrors: Arc::clone(self.mirrors),
            publishers: Arc::clone(publishers),
            questions,
            taking,
            intakes: Arc::clone(&intakes),
        }));
        intakes
    }
}

/// Forgets what this node keeps of sessions that were deleted at others, such as the beginning of one that moved from here.
async fn forget_deleted(hub: Arc<Hub>, mut gone: mpsc::Receiver<String>) {
    while let Some(id) = gone.recv().await {
        if let Err(error) = hub.forget_kept(&id).await {
            tracing::error!(session = id, %error, "what this node keeps of a deleted session stays");
        }
    }
}

/// Shows how the cluster is in `/readyz` and `/metrics`.
fn report(link: &Arc<Link>, hub: &Hub, nodes: Arc<Nodes>, mirrors: Arc<Mirrors>, intakes: &Arc<Intakes>) {
    let health = Arc::clone(&link.health);
    hub.check(move || health.must_have_joined());
    let health = Arc::clone(&link.health);
    hub.remark(move || health.remark());
    let link = Arc::clone(link);
    hub.add_metrics(move |page| write_metrics(page, &link, &nodes, &mirrors));
    let intakes = Arc::clone(intakes);
    hub.add_metrics(move |page| {
        let help = "Sessions whose audio comes in here and that another node labels.";
        page.gauge("cluster_intakes", help, intakes.n() as f64);
        let bytes = intakes.link.counts.audio.get() as f64;
        page.counter("cluster_audio_bytes_total", "Bytes of audio written to NATS.", bytes);
    });
}

/// Shows what keeps voices from being shared.
fn show_voices(hub: &Hub, voices: &Arc<SharedVoices>) {
    let shown = Arc::clone(voices);
    hub.remark(move || shown.remark());
    let counted = Arc::clone(voices);
    hub.add_metrics(move |page| {
        page.gauge("cluster_voices", "Voices in NATS that this node knows.", counted.n_shared() as f64);
    });
}

fn write_metrics(page: &mut PrometheusText, link: &Link, nodes: &Nodes, mirrors: &Mirrors) {
    let is_connected = f64::from(u8::from(link.health.is_connected()));
    page.gauge("cluster_connected", "1 while NATS is reached.", is_connected);
    page.gauge("cluster_nodes", "Nodes of the cluster that are there.", nodes.n_alive() as f64);
    page.gauge("cluster_followed", "Sessions of other nodes that are followed.", mirrors.n_followed() as f64);
    page.counter("cluster_events_total", "Events written to NATS.", link.counts.events.get() as f64);
    let failures = link.counts.failures.get() as f64;
    page.counter("cluster_failures_total", "Messages that NATS did not take at once.", failures);
    page.counter(
        "cluster_taken_total",
        "Sessions of other nodes that went on here.",
        link.counts.taken.get() as f64,
    );
    let copies = link.counts.copies.get() as f64;
    page.counter("cluster_voice_copies_total", "Copies of the voices of running sessions in NATS.", copies);
    page.counter("cluster_asked_total", "Questions to other nodes.", link.counts.asked.get() as f64);
}
