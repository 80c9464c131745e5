//! The handle that front ends hold, and how a broker starts and stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lakebed_manifest::state::changed_configs;
use lakebed_manifest::{ApplyListener, Manifest, ManifestConfig, OpenError, SubmitError};
use lakebed_record::envelope::{self, Kind};
use lakebed_record::ops::{ConfigChange, ConfigEntry, CreateTopic, DeleteTopic, GrantProducerId, OpKind, OpOutcome};
use lakebed_record::{DataObject, Namespace, Slot, TopicId, TopicName, TopicPartition};
use lakebed_store::env::Env;
use lakebed_store::hedge::{Hedged, Patient};
use lakebed_store::{Body, Store};
use tokio::sync::oneshot;

use crate::admin::CONFIGS_TOO_LARGE;
use crate::api::*;
use crate::config::{BrokerConfig, Hedging};
use crate::fetch::cache::Cache;
use crate::fetch::ring::Ring;
use crate::fetch::wait::Waiters;
use crate::fetch::{Data, Reader};
use crate::flush::connection::Connection;
use crate::flush::planner::{ConnectionId, Policy};
use crate::flush::stream::Stream;
use crate::groups::Groups;
use crate::health::{self, Health, Status};
use crate::memory::MemoryBudget;
use crate::merge::{Candidates, Inputs};
use crate::metrics::{Metrics, Sample};
use crate::nodes::{Neighbours, Nodes};
use crate::off_worker::{Turn, Turns};
use crate::pages::Pages;
use crate::produce::{Ids, Producer};
use crate::topics::{MAX_PARTITIONS, Topics};
use crate::workers::Workers;

/// How long what was taken may need to be stored when the node stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(6);
const SIGN_OFF_LIMIT: Duration = Duration::from_secs(2);
/// How long a change of metadata may take before its client is told to ask again.
const CHANGE_LIMIT: Duration = Duration::from_secs(20);
/// Bytes that such changes may take until they have their outcome, whoever still waits for it; and what each takes besides
/// its strings.
const CHANGES: usize = 4 << 20;
const CHANGE_OVERHEAD: usize = 1 << 10;

/// Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    config: BrokerConfig,
    env: Env,
    manifest: Manifest,
    memory: MemoryBudget,
    metrics: Metrics,
    topics: Topics,
    groups: Groups,
    neighbours: Neighbours,
    stream: Arc<Stream>,
    reader: Reader,
    health: Arc<Health>,
    background: Workers,
    /// What changes of metadata without an outcome may take.
    changes: MemoryBudget,
    connections: AtomicU64,
    turns: Turns,
}

/// Puts what the manifest applies where fetches find it.
struct Tail {
    ring: Arc<Ring>,
    waiters: Arc<Waiters>,
    /// `None`: nothing is merged.
    candidates: Option<Arc<Candidates>>,
}

impl ApplyListener for Tail {
    fn applied(&self, changed: &[TopicPartition], _: Slot) {
        self.waiters.wake(changed);
        if let Some(candidates) = &self.candidates {
            candidates.add(changed.iter().copied());
        }
    }

    fn inline_data(&self, slot: Slot, object: &Body) {
        let head = object.chunks().first().map(|c| envelope::open(Kind::Commit, c));
        if head.is_some_and(|h| h.is_ok_and(|h| h.payload_len > 0)) {
            self.ring.insert(DataObject::Inline(slot), object.chunks().to_vec());
        }
    }
}

/// The store for what is waited for, and for background work.
fn stores(
    store: Arc<dyn Store>,
    env: &Env,
    config: &BrokerConfig,
    metrics: &Metrics,
) -> (Arc<dyn Store>, Arc<dyn Store>) {
    match config.hedging {
        Hedging::On => {
            let metrics = metrics.clone();
            let hedged = Hedged::new(store, env.clone(), config.flush.eagerness(), move |kind| metrics.hedge(kind));
            let hedged = Arc::new(hedged);
            (Arc::clone(&hedged) as Arc<dyn Store>, Arc::new(Patient::new(hedged)))
        }
        Hedging::Off => (Arc::clone(&store), store),
    }
}

impl Broker {
    /// Replays the log, registers the node and starts the flush stream.
    pub async fn open(store: Arc<dyn Store>, env: Env, config: BrokerConfig) -> Result<Broker, OpenError> {
        Broker::open_with(store, env, config, ManifestConfig::default()).await
    }

    /// As [`Broker::open`], with settings of the log that no operator needs; address and rack are those of `config`.
    pub async fn open_with(
        store: Arc<dyn Store>,
        env: Env,
        config: BrokerConfig,
        log: ManifestConfig,
    ) -> Result<Broker, OpenError> {
        let metrics = Metrics::new();
        let (store, background) = stores(store, &env, &config, &metrics);
        let shares = config.cache_shares();
        let ring = Arc::new(Ring::new(shares.ring));
        let waiters = Arc::new(Waiters::default());
        let candidates = config.background.merging.then(Arc::<Candidates>::default);
        let tail = Tail { ring: Arc::clone(&ring), waiters: Arc::clone(&waiters), candidates: candidates.clone() };
        let manifest_config = ManifestConfig {
            kafka_address: format!("{}:{}", config.advertised_host, config.advertised_port),
            rack: config.rack.clone(),
            ..log
        };
        let manifest = Manifest::open(Arc::clone(&store), env.clone(), manifest_config, Arc::new(tail)).await?;
        let stream = Stream::spawn(
            Policy::new(&config),
            manifest.clone(),
            Arc::clone(&store),
            env.clone(),
            Arc::clone(&ring),
            metrics.clone(),
        );
        let turns = Turns::of_this_machine();
        let inputs = Inputs {
            manifest: manifest.clone(),
            store: background,
            env: env.clone(),
            ring: Arc::clone(&ring),
            metrics: metrics.clone(),
            turns: turns.clone(),
        };
        let cache = Arc::new(Cache::new(shares.blocks, store, env.clone(), metrics.clone()));
        let pages = Pages::new(shares.pages);
        let reader = Reader {
            manifest: manifest.clone(),
            env: env.clone(),
            data: Data { ring, cache, pages, metrics: metrics.clone() },
            waiters,
            turns: turns.clone(),
        };
        let memory = MemoryBudget::new(config.buffer_bytes());
        let health = health::watch(manifest.clone(), memory.clone(), env.clone());
        let topics = Topics::new(manifest.clone());
        let groups = Groups::new(
            manifest.clone(),
            env.clone(),
            config.groups.clone(),
            format!("{}:{}", config.advertised_host, config.advertised_port),
            config.flush.offset_patience(),
        );
        let background = Workers::spawn(&config, inputs, candidates, &stream, &groups);
        let neighbours = Neighbours::new(manifest.clone(), env.clone(), &config);
        let changes = MemoryBudget::new(CHANGES);
        let connections = AtomicU64::new(1);
        let inner = Inner {
            config,
            env,
            manifest,
            memory,
            metrics,
            topics,
            groups,
            neighbours,
            stream,
            reader,
            health,
            background,
            changes,
            connections,
            turns,
        };
        Ok(Broker { inner: Arc::new(inner) })
    }

    /// [`Broker::drain`] and [`Broker::sign_off`]; at most 8 s.
    pub async fn shutdown(&self) {
        self.drain().await;
        self.sign_off().await;
    }

    /// Takes no more records, and stores what was taken; at most 6 s.
    pub async fn drain(&self) {
        self.inner.health.stop();
        self.inner.background.stop();
        self.inner.stream.shutdown(DRAIN_LIMIT).await;
    }

    /// Signs the node off, at most 2 s. Clients had better have their answers by then: once others no more tell of a node, some drop what
    /// they wait for from it, and send it again elsewhere.
    pub async fn sign_off(&self) {
        tokio::select! {
            biased;
            () = self.inner.manifest.shutdown() => {}
            () = self.inner.env.clock.sleep(SIGN_OFF_LIMIT) => {
                tracing::warn!("the store did not take this node's sign-off in time");
            }
        }
    }

    /// The log and its state, for those who watch or test them.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    pub fn cluster_id(&self) -> &str {
        self.inner.manifest.cluster_id()
    }

    pub fn node(&self) -> NodeInfo {
        self.inner.neighbours.me()
    }

    /// Those that clients are told of.
    pub async fn nodes(&self) -> Nodes {
        self.inner.neighbours.all().await
    }

    /// The budget for requests and replies.
    pub fn memory(&self) -> &MemoryBudget {
        &self.inner.memory
    }

    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// `/metrics` in OpenMetrics text.
    pub fn render_metrics(&self) -> String {
        let inner = &self.inner;
        inner.metrics.render(&Sample {
            memory_used: inner.memory.used(),
            memory_budget: inner.memory.total(),
            pending_bytes: inner.stream.pending(),
            ring_bytes: inner.reader.data.ring.bytes(),
            cache_bytes: inner.reader.data.cache.bytes(),
            manifest: inner.manifest.status(),
        })
    }

    /// For `/readyz`.
    pub fn status(&self) -> Status {
        self.inner.health.status(&self.inner.manifest, &self.inner.memory)
    }

    /// Consumer groups.
    pub fn groups(&self) -> &Groups {
        &self.inner.groups
    }

    pub fn config(&self) -> &BrokerConfig {
        &self.inner.config
    }

    pub fn auto_create_topics(&self) -> bool {
        self.inner.config.auto_create_topics
    }

    /// As this node knows it now.
    pub fn find_topic(&self, name: &TopicName) -> Option<TopicInfo> {
        self.inner.topics.local_by_name(name)
    }

    /// As this node knows them now, ordered by name: what other nodes created or deleted shows within some seconds.
    pub fn topics(&self) -> Vec<TopicInfo> {
        self.inner.topics.all()
    }

    /// Of how many topics and partitions [`Broker::topics`] tells at most.
    pub fn topic_totals(&self) -> (usize, usize) {
        self.inner.manifest.read(|s| (s.topics().count(), s.partition_count()))
    }

    /// Waits until this node has applied what any node was told before.
    pub async fn barrier(&self) -> Result<(), Unavailable> {
        self.inner.reader.barrier().await
    }

    /// `None` only if no node knows it (read barrier).
    ///
    /// What this node knows is answered without asking: a topic that another node has deleted may be found for some
    /// seconds more, until this node has applied that (it looks at least every 5 s, while the store answers). Clients of
    /// Apache Kafka are used to this, as its brokers learn of a deletion one after another too. Nothing is lost by it: records
    /// for such a topic are refused by the outcome, which depends on the log alone.
    pub async fn topic_by_name(&self, name: &TopicName) -> Result<Option<TopicInfo>, Unavailable> {
        if let Some(topic) = self.inner.topics.local_by_name(name) {
            return Ok(Some(topic));
        }
        self.inner.reader.barrier().await?;
        Ok(self.inner.topics.local_by_name(name))
    }

    /// As of now (read barrier): for those who decide by a name what is to be done with a topic.
    pub async fn current_topic_by_name(&self, name: &TopicName) -> Result<Option<TopicInfo>, Unavailable> {
        self.barrier().await?;
        Ok(self.inner.topics.local_by_name(name))
    }

    /// As [`Broker::topic_by_name`].
    pub async fn topic_by_id(&self, id: TopicId) -> Result<Option<TopicInfo>, Unavailable> {
        if let Some(topic) = self.inner.topics.local(id) {
            return Ok(Some(topic));
        }
        self.inner.reader.barrier().await?;
        Ok(self.inner.topics.local(id))
    }

    pub async fn create_topic(&self, topic: NewTopic, validate_only: bool) -> Result<TopicInfo, CreateTopicError> {
        let partitions = match topic.partitions {
            -1 => self.inner.config.default_partitions,
            n if (1..=MAX_PARTITIONS).contains(&n) => n,
            n => {
                let reason = format!("a topic has 1 to {MAX_PARTITIONS} partitions, not {n}");
                return Err(CreateTopicError::InvalidPartitions(reason));
            }
        };
        let config = TopicConfig::parse(&topic.configs).map_err(CreateTopicError::InvalidConfig)?;
        let configs = topic.configs.into_iter().map(|(name, value)| ConfigEntry { name, value }).collect();
        let change = ConfigChange { set: configs, ..ConfigChange::default() };
        if changed_configs(&[], &change).is_none() {
            return Err(CreateTopicError::InvalidConfig(CONFIGS_TOO_LARGE.into()));
        }
        let known = self.find_topic(&topic.name).is_some();
        if (known || validate_only) && self.current_topic_by_name(&topic.name).await?.is_some() {
            return Err(CreateTopicError::Exists);
        }
        let id = TopicId(self.inner.env.entropy.u128());
        let info = TopicInfo { id, name: topic.name.clone(), partitions, config: Arc::new(config) };
        if validate_only {
            return Ok(info);
        }
        let op = CreateTopic {
            namespace: Namespace::default().as_str().to_owned(),
            name: topic.name.as_str().to_owned(),
            topic_id: id.0.to_be_bytes().to_vec(),
            partitions: partitions as u32,
            configs: change.set,
        };
        match self.change(OpKind::CreateTopic(op)).await? {
            OpOutcome::TopicCreated => Ok(info),
            OpOutcome::TopicExists { .. } => Err(CreateTopicError::Exists),
            _ => Err(CreateTopicError::InvalidPartitions("the cluster takes no more partitions".into())),
        }
    }

    pub async fn delete_topic(&self, id: TopicId) -> Result<(), TopicError> {
        match self.change(OpKind::DeleteTopic(DeleteTopic { topic_id: id.0.to_be_bytes().to_vec() })).await? {
            OpOutcome::TopicDeleted => Ok(()),
            _ => Err(TopicError::Unknown),
        }
    }

    pub async fn init_producer_id(&self) -> Result<ProducerIdentity, ProducerIdError> {
        match self.change(OpKind::GrantProducerId(GrantProducerId {})).await? {
            OpOutcome::ProducerId(id) => Ok(ProducerIdentity { id, epoch: 0 }),
            _ => Err(ProducerIdError::Exhausted),
        }
    }

    /// Commits one op and returns what applying it decided. While as many as may are under way, it waits its turn.
    pub(crate) async fn change(&self, op: OpKind) -> Result<OpOutcome, Unavailable> {
        let receipt = async {
            let memory = self.inner.changes.acquire(weight(&op)).await;
            let ticket = self.inner.manifest.submit(vec![op.into()], Vec::new());
            let (tell, told) = oneshot::channel();
            // The group stays until it has its outcome, also when nobody waits for that any more.
            tokio::spawn(async move {
                let receipt = ticket.await;
                drop(memory);
                let _gone = tell.send(receipt);
            });
            told.await.unwrap_or_else(|_| Err(SubmitError::Stopped(String::new())))
        };
        match self.inner.env.within(CHANGE_LIMIT, receipt).await.ok_or(Unavailable::Timeout)? {
            Ok(mut receipt) => Ok(receipt.outcomes.pop().unwrap_or(OpOutcome::Refused)),
            Err(SubmitError::Fenced) => Err(Unavailable::Timeout),
            Err(SubmitError::Stopped(_)) => Err(Unavailable::Stopping),
        }
    }

    /// Waits until there is a turn for batches that take long to check: [`Producer::check`].
    pub fn turn(&self) -> impl Future<Output = Turn> + Send + use<> {
        let turns = self.inner.turns.clone();
        async move { turns.next().await }
    }

    /// One per connection. `client`: how the log names it.
    pub fn producer_of(&self, client: impl Into<String>) -> Producer {
        self.producer_with(client.into(), Ids::Granted)
    }

    /// For one request that its client names by a key ([`crate::keyed`]).
    pub fn keyed_producer_of(&self, client: impl Into<String>) -> Producer {
        self.producer_with(client.into(), Ids::Derived)
    }

    fn producer_with(&self, client: String, ids: Ids) -> Producer {
        let id = ConnectionId(self.inner.connections.fetch_add(1, Ordering::Relaxed));
        Producer::new(self.clone(), Connection::new(id, client), ids)
    }

    /// Of this machine, in ms since the epoch: for records that come without a time.
    pub fn wall_ms(&self) -> i64 {
        self.inner.env.clock.wall_ms()
    }

    /// One per connection, without a name.
    pub fn producer(&self) -> Producer {
        self.producer_of("")
    }

    /// One result per partition of the request, in its order.
    pub async fn fetch(&self, request: FetchRequest) -> Vec<Result<Fetched, FetchError>> {
        self.inner.reader.fetch(request).await
    }

    pub async fn list_offsets(&self, partition: TopicPartition, spec: OffsetSpec) -> Result<ListedOffset, FetchError> {
        self.inner.reader.list_offsets(partition, spec).await
    }

    pub(crate) fn env(&self) -> &Env {
        &self.inner.env
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.inner.stream
    }

    /// A local look, like [`Broker::find_topic`].
    pub fn local_topic(&self, id: TopicId) -> Option<TopicInfo> {
        self.inner.topics.local(id)
    }
}

/// What an op takes while it has no outcome, in bytes.
fn weight(op: &OpKind) -> usize {
    let entry = |c: &ConfigEntry| c.name.len() + c.value.len();
    let strings = match op {
        OpKind::CreateTopic(op) => op.name.len() + op.configs.iter().map(entry).sum::<usize>(),
        OpKind::AlterTopicConfigs(op) => op
            .change
            .iter()
            .map(|change| change.set.iter().map(entry).chain(change.delete.iter().map(String::len)).sum::<usize>())
            .sum(),
        _ => 0,
    };
    CHANGE_OVERHEAD + strings
}
