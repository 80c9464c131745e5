//! The bucket and the two nodes on it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lakebed_broker::{Background, Broker, BrokerConfig};
use lakebed_manifest::{Cleaning, ManifestConfig};
use lakebed_record::keys::Key;
use lakebed_store::env::Env;
use lakebed_store::memory::MemoryStore;
use lakebed_store::metered::{Metered, Operation};
use lakebed_store::profile::{Profile, Profiled};
use lakebed_store::{
    Body, BoxFuture, Created, Fault, Listing, Meta, Object, ReadError, Reply, Store, StoreKind, Swapped, Version,
};
use lakebed_testkit::store::plain_env;
use lakebed_testkit::time::TrueTime;

use crate::day::Started;

/// Small, so that what is cached fills up in the first days.
const MEMORY_BUDGET: usize = 64 << 20;

pub struct Cluster {
    pub bucket: Arc<MemoryStore>,
    pub time: TrueTime,
    all: Arc<Metered>,
    nodes: [Option<Node>; 2],
    seeds: AtomicU64,
}

struct Node {
    broker: Broker,
    line: Arc<Line>,
}

/// Requests so far, of all nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Requests {
    pub puts: u64,
    pub gets: u64,
    pub heads: u64,
    pub lists: u64,
    pub deletes: u64,
}

impl Requests {
    pub fn since(self, before: &Requests) -> Requests {
        Requests {
            puts: self.puts - before.puts,
            gets: self.gets - before.gets,
            heads: self.heads - before.heads,
            lists: self.lists - before.lists,
            deletes: self.deletes - before.deletes,
        }
    }

    fn of(store: &Metered) -> Requests {
        let counts = store.snapshot().counts;
        let sum = |of: &[Operation]| counts.iter().filter(|(o, ..)| of.contains(o)).map(|(.., c)| c.requests).sum();
        Requests {
            puts: sum(&[Operation::Create, Operation::Swap]),
            gets: sum(&[Operation::Get]),
            heads: sum(&[Operation::Head]),
            lists: sum(&[Operation::List]),
            deletes: sum(&[Operation::Delete]),
        }
    }
}

impl Cluster {
    pub async fn start(time: TrueTime) -> Cluster {
        let env = plain_env(time, 1);
        let bucket = Arc::new(MemoryStore::new(&env));
        let far = Profiled::new(Arc::clone(&bucket) as Arc<dyn Store>, Profile::S3Standard, &env);
        let all = Arc::new(Metered::new(Arc::new(far), &env));
        let mut cluster = Cluster { bucket, time, all, nodes: [None, None], seeds: AtomicU64::new(2) };
        cluster.start_node(0).await;
        cluster.start_node(1).await;
        cluster
    }

    pub async fn start_node(&mut self, number: usize) -> Started {
        let env = plain_env(self.time, self.seeds.fetch_add(1, Ordering::Relaxed));
        let line = Arc::new(Line { store: self.all.clone(), cut: AtomicBool::new(false) });
        let own = Arc::new(Metered::new(Arc::clone(&line) as Arc<dyn Store>, &env));
        let background = Background { merging: true, collecting: true, ..Background::default() };
        let config = BrokerConfig { background, ..BrokerConfig::new("localhost", 9092, MEMORY_BUDGET) };
        let log = ManifestConfig { cleaning: Some(Cleaning::default()), ..ManifestConfig::default() };
        let (simulated, real) = (self.time.now(), Env::system().clock);
        let began = real.monotonic();
        let broker = Broker::open_with(own.clone(), env, config, log).await.expect("the node starts");
        let requests = Requests::of(&own);
        let took = self.time.now() - simulated;
        let worked = real.monotonic().saturating_sub(began);
        self.nodes[number] = Some(Node { broker, line });
        Started { requests: requests.puts + requests.gets + requests.heads + requests.lists, took, worked }
    }

    /// Nothing that it sends arrives any more, its sign-off included.
    pub async fn kill(&mut self, number: usize) {
        if let Some(Node { broker, line }) = self.nodes[number].take() {
            line.cut.store(true, Ordering::Relaxed);
            // Ends its tasks.
            broker.shutdown().await;
        }
    }

    pub async fn sign_off(&mut self, number: usize) {
        if let Some(Node { broker, .. }) = self.nodes[number].take() {
            broker.shutdown().await;
        }
    }

    pub async fn stop(mut self) {
        self.sign_off(0).await;
        self.sign_off(1).await;
    }

    pub fn node(&self, number: usize) -> &Broker {
        &self.nodes[number % 2].as_ref().expect("both nodes run").broker
    }

    pub fn requests(&self) -> Requests {
        Requests::of(&self.all)
    }
}

/// From a node to the bucket; once it is cut, nothing is ever answered.
struct Line {
    store: Arc<dyn Store>,
    cut: AtomicBool,
}

impl Line {
    async fn over<T>(&self, request: BoxFuture<'_, T>) -> T {
        if self.cut.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let reply = request.await;
        if self.cut.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        reply
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for Line {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        Box::pin(self.over(self.store.create(key, body)))
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        Box::pin(self.over(self.store.get(key, range)))
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        Box::pin(self.over(self.store.head(key)))
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        Box::pin(self.over(self.store.swap(key, expected, body)))
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        Box::pin(self.over(self.store.delete(key)))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        Box::pin(self.over(self.store.list(prefix, after)))
    }

    fn kind(&self) -> StoreKind {
        self.store.kind()
    }

    fn refuses_short_bodies(&self) -> bool {
        self.store.refuses_short_bodies()
    }
}
