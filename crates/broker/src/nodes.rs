//! The nodes that clients are told of, and which of them each partition's clients should use.
//!
//! Any node serves every partition, so nothing depends on what is told here but where connections go. It has to be told alike by all nodes, though: a client that
//! learns of another leader with every answer moves back and forth, and requests of one connection become requests of several.
//! So leaders are chosen by rendezvous hashing over addresses: all who see the same nodes choose alike, few partitions move when one comes or
//! goes, and none when one is started again at its address.
//!
//! A node is seen while something was heard of it in the log lately, or its address takes connections. Nodes behind one address (a load balancer's) have one id,
//! and are one to clients.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lakebed_manifest::Manifest;
use lakebed_record::{BrokerId, TopicId};
use lakebed_store::BoxFuture;
use lakebed_store::env::Env;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::api::NodeInfo;
use crate::config::BrokerConfig;
use crate::hash;

/// Whether somebody takes connections at `host:port`.
pub type Reach = fn(String) -> BoxFuture<'static, bool>;

/// What was heard of so lately is there.
const HEARD: Duration = Duration::from_secs(2);
/// Where nobody can be asked: silent for so long is gone.
const GONE: Duration = Duration::from_secs(15);
/// How long an answer may wait for a first look at a node.
const FIRST_LOOK: Duration = Duration::from_millis(500);
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// Looks older than this are dropped.
const FORGET: Duration = Duration::from_secs(600);
/// A look at what was there holds for so long; at what was not, for this long at first and twice as long each time, up to a minute.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN_MOST: Duration = Duration::from_secs(60);

/// The nodes that are there, ordered by id, this one among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes {
    nodes: Vec<NodeInfo>,
    /// Hashes of their addresses.
    hashes: Vec<u64>,
    me: BrokerId,
}

impl Nodes {
    pub fn all(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// How clients know the node that answers.
    pub fn me(&self) -> BrokerId {
        self.me
    }

    /// The node that clients of this partition should use.
    pub fn leader(&self, topic: TopicId, partition: i32) -> BrokerId {
        let key = hash::fnv(topic.0.to_be_bytes().into_iter().chain(partition.to_be_bytes()));
        let weights = self.hashes.iter().map(|node| hash::mix(key ^ node));
        self.nodes.iter().zip(weights).max_by_key(|(_, weight)| *weight).map_or(self.me, |(node, _)| node.id)
    }

    /// Of the node that answers, and the others that are not down. `there`: what a look at an address gave lately.
    fn seen(me: NodeInfo, others: &[Registered], there: impl Fn(&NodeInfo) -> Option<bool>) -> Nodes {
        let is_there = |other: &Registered| other.heard < HEARD || there(&other.info).unwrap_or(other.heard < GONE);
        let id = me.id;
        let others = others.iter().filter(|other| is_there(other)).map(|other| other.info.clone());
        let nodes: BTreeMap<_, _> = others.chain([me]).map(|node| (node.id, node)).collect();
        let nodes: Vec<_> = nodes.into_values().collect();
        let hashes = nodes.iter().map(|node| hash::mix(hash::fnv(address(node).into_bytes()))).collect();
        Nodes { nodes, hashes, me: id }
    }
}

fn address(node: &NodeInfo) -> String {
    format!("{}:{}", node.host, node.port)
}

/// Another node that is not down, as the log tells of it.
#[derive(Clone, Debug)]
struct Registered {
    info: NodeInfo,
    /// For how long nothing was heard of it here.
    heard: Duration,
}

/// What looking at an address gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    there: bool,
    at: Duration,
    holds: Duration,
}

impl Look {
    fn new(there: bool, at: Duration, before: Option<Look>) -> Look {
        let holds = match before {
            Some(before) if !there && !before.there => (before.holds * 2).min(LOOK_AGAIN_MOST),
            _ => LOOK_AGAIN,
        };
        Look { there, at, holds }
    }

    fn holds(&self, now: Duration) -> bool {
        now < self.at + self.holds
    }
}

/// Knows the other nodes; looks at those of which the log tells nothing new.
#[derive(Clone)]
pub(crate) struct Neighbours {
    manifest: Manifest,
    env: Env,
    reach: Option<Reach>,
    me: (String, u16),
    looks: Arc<Mutex<Looks>>,
}

#[derive(Debug, Default)]
struct Looks {
    last: HashMap<String, Look>,
    under_way: HashSet<String>,
}

impl Neighbours {
    pub fn new(manifest: Manifest, env: Env, config: &BrokerConfig) -> Neighbours {
        let me = (config.advertised_host.clone(), config.advertised_port);
        Neighbours { manifest, env, reach: config.reach, me, looks: Arc::default() }
    }

    pub fn me(&self) -> NodeInfo {
        let (host, port) = self.me.clone();
        NodeInfo { id: self.manifest.broker_id(), host, port }
    }

    /// Waits only for a first look at a node, shortly.
    pub async fn all(&self) -> Nodes {
        let (me, others) = (self.me(), self.registered());
        let new: Vec<_> =
            others.iter().filter(|other| other.info != me).filter_map(|other| self.look_if_due(other)).collect();
        if !new.is_empty() {
            let _late = self.env.within(FIRST_LOOK, join_all(new)).await;
        }
        let looks = self.looks.lock();
        Nodes::seen(me, &others, |node| looks.last.get(&address(node)).map(|look| look.there))
    }

    fn registered(&self) -> Vec<Registered> {
        let me = self.manifest.incarnation();
        self.manifest.read(|s| {
            let others = s.nodes().filter(|(incarnation, node)| *incarnation != me && node.down_at.is_none());
            others
                .filter_map(|(incarnation, node)| {
                    let info = NodeInfo::of(node)?;
                    let heard = self.manifest.heard(incarnation)?;
                    Some(Registered { info, heard })
                })
                .collect()
        })
    }

    /// Starts a look if the last one holds no more; gives what is to be waited for if there was none.
    fn look_if_due(&self, other: &Registered) -> Option<oneshot::Receiver<()>> {
        let (reach, key, now) = (self.reach?, address(&other.info), self.env.clock.monotonic());
        let mut looks = self.looks.lock();
        let before = looks.last.get(&key).copied();
        if other.heard < HEARD || before.is_some_and(|look| look.holds(now)) || !looks.under_way.insert(key.clone()) {
            return None;
        }
        let (done, waits) = oneshot::channel();
        let (looks, env) = (Arc::clone(&self.looks), self.env.clone());
        tokio::spawn(async move {
            let there = env.within(LOOK_LIMIT, reach(key.clone())).await.unwrap_or(false);
            let look = Look::new(there, env.clock.monotonic(), before);
            let mut looks = looks.lock();
            looks.last.retain(|_, old| look.at < old.at + FORGET);
            looks.under_way.remove(&key);
            looks.last.insert(key, look);
            drop(looks);
            let _gone = done.send(());
        });
        before.is_none().then_some(waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: i32, port: u16) -> NodeInfo {
        NodeInfo { id: BrokerId(id), host: "a".into(), port }
    }

    fn other(id: i32, port: u16, heard_s: u64) -> Registered {
        Registered { info: node(id, port), heard: Duration::from_secs(heard_s) }
    }

    fn ids(nodes: &Nodes) -> Vec<i32> {
        nodes.all().iter().map(|node| node.id.0).collect()
    }

    #[test]
    fn a_node_is_there_that_was_heard_or_takes_connections() {
        let others = [other(1, 1, 1), other(2, 2, 60), other(3, 3, 60), other(5, 5, 14), other(6, 6, 16)];
        let look = |node: &NodeInfo| match node.id.0 {
            2 => Some(true),
            3 => Some(false),
            _ => None,
        };
        assert_eq!(ids(&Nodes::seen(node(4, 4), &others, look)), [1, 2, 4, 5]);
        let refused = |_: &NodeInfo| Some(false);
        assert_eq!(ids(&Nodes::seen(node(4, 4), &[other(1, 1, 1)], refused)), [1, 4], "what commits is there");
    }

    #[test]
    fn nodes_behind_one_address_are_one_to_clients_whichever_answers() {
        let nothing = |_: &NodeInfo| None;
        let nodes = Nodes::seen(node(2, 9), &[other(2, 9, 300), other(2, 9, 0)], nothing);
        assert_eq!((ids(&nodes), nodes.me()), (vec![2], BrokerId(2)));
    }

    #[test]
    fn all_who_see_the_same_nodes_choose_the_same_leaders_and_a_new_start_moves_none() {
        let nothing = |_: &NodeInfo| None;
        let one = Nodes::seen(node(1, 1), &[other(2, 2, 0), other(3, 3, 0)], nothing);
        let two = Nodes::seen(node(2, 2), &[other(1, 1, 0), other(3, 3, 0)], nothing);
        let restarted = Nodes::seen(node(1, 1), &[other(7, 2, 0), other(3, 3, 0)], nothing);
        let fewer = Nodes::seen(node(1, 1), &[other(2, 2, 0)], nothing);
        let mut led = BTreeMap::<i32, usize>::new();
        for partition in 0..3_000 {
            let topic = TopicId(7);
            let leader = one.leader(topic, partition).0;
            *led.entry(leader).or_default() += 1;
            assert_eq!(leader, two.leader(topic, partition).0);
            let expected = if leader == 2 { 7 } else { leader };
            assert_eq!(restarted.leader(topic, partition).0, expected);
            assert!(leader == 3 || fewer.leader(topic, partition).0 == leader, "only what the third had moves");
        }
        assert!(led.len() == 3 && led.values().all(|n| (800..1_200).contains(n)), "{led:?}");
    }

    #[test]
    fn what_is_not_there_is_looked_at_less_and_less_often() {
        let at = Duration::from_secs(100);
        let mut look = Look::new(false, at, None);
        assert!(look.holds(at + Duration::from_millis(1_999)) && !look.holds(at + LOOK_AGAIN));
        for _ in 0..10 {
            look = Look::new(false, at, Some(look));
        }
        assert_eq!(look.holds, LOOK_AGAIN_MOST);
        assert_eq!(Look::new(true, at, Some(look)).holds, LOOK_AGAIN);
        assert_eq!(Look::new(false, at, Some(Look::new(true, at, None))).holds, LOOK_AGAIN);
    }
}
