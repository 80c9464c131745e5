//! Fetch sessions (KIP-227): a connection remembers what is fetched over it, so that requests name only what changes and answers only what is
//! new. At most one session a connection; it ends with it. Does no I/O.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::FutureExt;
use lakebed_broker::{MemoryBudget, MemoryPermit};
use lakebed_record::TopicId;

use crate::wire::ErrorCode;
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchResponsePartition};
use crate::wire::produce::TopicRef;

/// What a partition takes in a session, besides its topic's name.
const PARTITION_BYTES: usize = 160;
/// Partitions of a session at most: as many as one request may name.
const MOST: usize = 25_000;
/// Without a session.
pub const NONE: i32 = 0;
/// The epoch of a request that wants no session, and ends the one that there is.
const FINAL: i32 = -1;
/// The epoch of a request that begins one.
const INITIAL: i32 = 0;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    Name(Arc<str>),
    Id(TopicId),
}

impl Topic {
    pub fn of(topic: TopicRef<'_>) -> Topic {
        match topic {
            TopicRef::Name(name) => Topic::Name(name.into()),
            TopicRef::Id(id) => Topic::Id(id),
        }
    }

    pub fn as_ref(&self) -> TopicRef<'_> {
        match self {
            Topic::Name(name) => TopicRef::Name(name),
            Topic::Id(id) => TopicRef::Id(*id),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Topic::Name(name) => name.len(),
            Topic::Id(_) => 0,
        }
    }
}

/// A partition that is to be fetched.
pub type Wish = (Topic, FetchPartition);

/// What the client knows of a partition's offsets: high watermark and log start.
type Told = (i64, i64);

#[derive(Debug)]
struct Remembered {
    wish: Wish,
    /// `None`: nothing yet, or an error.
    told: Option<Told>,
}

/// The one session of a connection, if there is one.
#[derive(Debug, Default)]
pub struct Sessions {
    last_id: i32,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    id: i32,
    /// Of the next request.
    epoch: i32,
    partitions: Vec<Remembered>,
    memory: MemoryPermit,
}

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With every partition that it names.
    Full,
    /// With every partition, and the session that begins.
    Begins(i32),
    /// With what is new in the session, as it is at this epoch.
    Continues { id: i32, epoch: i32 },
}

impl Answer {
    pub fn session_id(self) -> i32 {
        match self {
            Answer::Full => NONE,
            Answer::Begins(id) | Answer::Continues { id, .. } => id,
        }
    }
}

impl Sessions {
    /// What is to be fetched for a request, and how it is to be answered.
    pub fn open(
        &mut self,
        request: &FetchRequest<'_>,
        budget: &MemoryBudget,
    ) -> Result<(Answer, Vec<Wish>), ErrorCode> {
        match request.session_epoch {
            FINAL => {
                self.current.take_if(|current| current.id == request.session_id);
                Ok((Answer::Full, wishes(request)))
            }
            INITIAL => {
                self.current = None;
                let wishes = wishes(request);
                Ok((self.begin(&wishes, budget).map_or(Answer::Full, Answer::Begins), wishes))
            }
            _ => self.go_on(request, budget),
        }
    }

    /// `None` without anything to fetch, or without memory to remember it.
    fn begin(&mut self, wishes: &[Wish], budget: &MemoryBudget) -> Option<i32> {
        if wishes.is_empty() {
            return None;
        }
        let memory = take(budget, wishes.iter().map(bytes).sum())?;
        self.last_id = next(self.last_id);
        let partitions = wishes.iter().map(|wish| Remembered { wish: wish.clone(), told: None }).collect();
        self.current = Some(Current { id: self.last_id, epoch: 1, partitions, memory });
        Some(self.last_id)
    }

    fn go_on(&mut self, request: &FetchRequest<'_>, budget: &MemoryBudget) -> Result<(Answer, Vec<Wish>), ErrorCode> {
        let current = self.current.as_mut().filter(|current| current.id == request.session_id);
        let current = current.ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if current.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if !current.has_kind_of(request) {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        current.epoch = next(current.epoch);
        let (id, epoch) = (current.id, current.epoch);
        if !current.change(request, budget) {
            // The client begins anew, and gets a session if there is room for it then.
            self.current = None;
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        Ok((Answer::Continues { id, epoch }, current.partitions.iter().map(|p| p.wish.clone()).collect()))
    }

    /// Leaves of an answer, in the order of what was to be fetched, what is new to the client.
    pub fn close(&mut self, answer: Answer, parts: Vec<FetchResponsePartition>) -> Vec<Option<FetchResponsePartition>> {
        let (id, epoch, all) = match answer {
            Answer::Full => return parts.into_iter().map(Some).collect(),
            Answer::Begins(id) => (id, 1, true),
            Answer::Continues { id, epoch } => (id, epoch, false),
        };
        // If another request has moved or ended the session meanwhile, its client does not wait for this answer.
        let current = self.current.as_mut().filter(|current| (current.id, current.epoch) == (id, epoch));
        let Some(current) = current else { return parts.into_iter().map(Some).collect() };
        let has_records: Vec<_> = parts.iter().map(|part| !part.records.is_empty()).collect();
        let remembered = current.partitions.iter_mut().zip(parts);
        let left = remembered.map(|(remembered, part)| (remembered.hears(&part) || all).then_some(part)).collect();
        current.put_behind(&has_records);
        left
    }
}

impl Remembered {
    /// True if the client is to be told.
    fn hears(&mut self, part: &FetchResponsePartition) -> bool {
        let offsets = Some((part.high_watermark, part.log_start_offset)).filter(|_| part.error == ErrorCode::None);
        let before = std::mem::replace(&mut self.told, offsets);
        !part.records.is_empty() || offsets.is_none() || before != offsets
    }
}

impl Current {
    /// Topics go by name or by id, all through a session.
    fn has_kind_of(&self, request: &FetchRequest<'_>) -> bool {
        let by_id = self.partitions.first().map(|p| matches!(p.wish.0, Topic::Id(_)));
        let named = request.topics.iter().map(|t| t.topic).chain(request.forgotten.iter().map(|t| t.topic));
        by_id.is_none_or(|by_id| named.into_iter().all(|topic| matches!(topic, TopicRef::Id(_)) == by_id))
    }

    /// False without room for what is added.
    fn change(&mut self, request: &FetchRequest<'_>, budget: &MemoryBudget) -> bool {
        let forgotten: HashSet<_> =
            request.forgotten.iter().flat_map(|t| t.partitions.iter().map(move |p| (Topic::of(t.topic), p))).collect();
        if !forgotten.is_empty() {
            self.partitions.retain(|p| !forgotten.contains(&(p.wish.0.clone(), p.wish.1.index)));
        }
        let changes = wishes(request);
        if !changes.is_empty() {
            let key = |wish: &Wish| (wish.0.clone(), wish.1.index);
            let places: HashMap<_, _> = self.partitions.iter().enumerate().map(|(i, p)| (key(&p.wish), i)).collect();
            for wish in changes {
                match places.get(&key(&wish)) {
                    // A client that moves back or changes its limits has to be told anew only what differs.
                    Some(place) => self.partitions[*place].wish = wish,
                    None => self.partitions.push(Remembered { wish, told: None }),
                }
            }
        }
        let needed = self.partitions.iter().map(|p| bytes(&p.wish)).sum();
        match self.partitions.len() <= MOST && needed > self.memory.bytes() {
            true => {
                let more = take(budget, needed - self.memory.bytes());
                more.map(|more| self.memory.merge(more)).is_some()
            }
            false => {
                self.memory.shrink_to(needed);
                self.partitions.len() <= MOST
            }
        }
    }

    /// What had records goes behind what had none, so that it does not starve it.
    fn put_behind(&mut self, has_records: &[bool]) {
        if !has_records.contains(&true) || !has_records.contains(&false) {
            return;
        }
        let partitions = std::mem::take(&mut self.partitions).into_iter().zip(has_records);
        let (full, empty): (Vec<_>, Vec<_>) = partitions.partition(|(_, has_records)| **has_records);
        self.partitions = empty.into_iter().chain(full).map(|(partition, _)| partition).collect();
    }
}

/// All of it, at once, or nothing.
fn take(budget: &MemoryBudget, bytes: usize) -> Option<MemoryPermit> {
    budget.acquire(bytes).now_or_never().filter(|_| bytes <= budget.total())
}

fn next(n: i32) -> i32 {
    n.checked_add(1).unwrap_or(1)
}

fn bytes((topic, _): &Wish) -> usize {
    PARTITION_BYTES + topic.bytes()
}

/// Every partition once: where it is first named, and as it is last asked for, as Apache Kafka has it.
fn wishes(request: &FetchRequest<'_>) -> Vec<Wish> {
    let (mut wishes, mut places) = (Vec::<Wish>::new(), HashMap::<_, usize>::new());
    for asked in request.topics {
        let topic = Topic::of(asked.topic);
        for partition in asked.partitions {
            match places.entry((asked.topic, partition.index)) {
                Entry::Occupied(place) => wishes[*place.get()].1 = partition,
                Entry::Vacant(place) => {
                    place.insert(wishes.len());
                    wishes.push((topic.clone(), partition));
                }
            }
        }
    }
    wishes
}
