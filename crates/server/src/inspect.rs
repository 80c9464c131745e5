//! `lakebed inspect`: what a bucket holds, in words. Reads only; also of a cluster of which no node runs.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use lakebed_manifest::{Commit, Entry, SlotContent, SnapshotRef, examine};
use lakebed_record::batch::{BatchHeader, crc_matches, split_first};
use lakebed_record::entries::IndexPage;
use lakebed_record::envelope::{self, Kind};
use lakebed_record::keys::{self, Key, Name};
use lakebed_record::ops::{ConfigChange, ConfigScope, GroupRef, OpKind, Place};
use lakebed_record::{Namespace, Slot, TopicId, TopicName, TopicPartition};
use lakebed_store::Store;
use lakebed_store::env::Env;

use crate::cli::{Inspect, InspectArgs, StoreProfile};
use crate::output::say;
use crate::{config, open};

/// Requests at once.
const PARALLEL: usize = 16;

pub async fn inspect(args: InspectArgs) -> Result<()> {
    let env = Env::system();
    let at = config::store_or_default(args.store)?;
    let store = open::store(&at, StoreProfile::None, &env).await?;
    let reader = Reader { store, env };
    match args.what {
        Inspect::State => reader.state().await,
        Inspect::Log { from, slots } => reader.log(from, slots).await,
        Inspect::Slot { slot } => reader.slot(Slot(slot)).await,
        Inspect::Segment { key } => reader.segment(&key).await,
        Inspect::Partition { topic, partition, namespace } => reader.partition(&namespace, &topic, partition).await,
    }
}

struct Reader {
    store: Arc<dyn Store>,
    env: Env,
}

impl Reader {
    async fn cluster(&self) -> Result<examine::Cluster> {
        Ok(examine::cluster(self.store.as_ref(), &self.env).await?)
    }

    async fn state(&self) -> Result<()> {
        let cluster = self.cluster().await?;
        let (state, current) = (&cluster.state, &cluster.current);
        say(format_args!("cluster          {}", cluster.format.cluster_id));
        say(format_args!("format           {}, feature level {}", cluster.format.format, state.feature_level()));
        say(format_args!("applied slot     {}", state.slot()));
        say(format_args!("log time         {} ms", state.log_time()));
        say(format_args!("state hash       {:016x}", state.hash()));
        say(format_args!("CURRENT          serial {}, log floor {}", current.serial, current.log_floor));
        for snapshot in &current.snapshots {
            let (slot, index) = (snapshot.slot, &snapshot.index);
            match self.size(snapshot).await {
                Ok((parts, bytes)) => {
                    say(format_args!("snapshot         slot {slot}, {index}, {parts} parts, {bytes} bytes"))
                }
                Err(why) => say(format_args!("snapshot         slot {slot}, {index}: {why:#}")),
            }
        }
        for slot in &cluster.beyond {
            say(format_args!("beyond a hole    slot {slot}"));
        }
        let first_inline = state.first_inline_slot().map_or("none".to_owned(), |s| s.to_string());
        let pages: usize = state.partitions().map(|(_, p)| p.pages().len()).sum();
        say(format_args!("partitions       {}", state.partition_count()));
        say(format_args!("entries          {}, and {pages} index pages", state.entry_count()));
        say(format_args!("producer states  {}", state.producer_count()));
        say(format_args!("inline slots     {}, the first {first_inline}", state.inline_slot_count()));
        say(format_args!("to be deleted    {}", state.pending_deletes().count()));
        let groups = state.group_totals();
        say(format_args!("consumer groups  {}, {} of them without members", groups.groups, groups.empty));
        say(format_args!("group offsets    {}, with the groups about {} bytes", groups.offsets, groups.bytes));
        say(format_args!("configs          of {} beside topics", state.config_resources().count()));
        for (incarnation, node) in state.nodes() {
            let down = node.down_at.map_or(String::new(), |at| format!(", down since {at} ms"));
            let (id, seen) = (node.broker_id, node.last_seen);
            say(format_args!(
                "node             {incarnation} broker {id} {} last group {} at {seen} ms{down}",
                node.kafka_address, node.last_group
            ));
        }
        for topic in state.topics() {
            let (namespace, name) = (topic.namespace.as_str(), &topic.name);
            say(format_args!("topic            {namespace}/{name} {} partitions {}", topic.id, topic.partitions));
        }
        Ok(())
    }

    /// Parts, and bytes with those of the index. The parts of an older snapshot may be gone by now.
    async fn size(&self, snapshot: &SnapshotRef) -> Result<(usize, u64)> {
        let mut keys = examine::snapshot_parts(self.store.as_ref(), &self.env, snapshot).await?;
        let parts = keys.len();
        keys.push(Key::new(&snapshot.index));
        let heads = stream::iter(&keys).map(|key| async move {
            self.store.head(key).await.value.map(|meta| meta.total_len).with_context(|| key.to_string())
        });
        let lengths: Vec<u64> = heads.buffered(PARALLEL).try_collect().await?;
        Ok((parts, lengths.iter().sum()))
    }

    async fn log(&self, from: Option<u64>, slots: u64) -> Result<()> {
        let (from, slots) = match from {
            Some(from) => (from, slots),
            None => {
                let last = self.cluster().await?.state.slot().0;
                (last.saturating_sub(slots).saturating_add(1).max(1), slots.min(last))
            }
        };
        for slot in (from..from.saturating_add(slots)).map(Slot) {
            match examine::slot(self.store.as_ref(), &self.env, slot).await? {
                None => say(format_args!("{slot} nothing")),
                Some(SlotContent::Void) => say(format_args!("{slot} void")),
                Some(SlotContent::Commit(commit)) => say(format_args!("{}", headline(&commit))),
            }
        }
        Ok(())
    }

    async fn slot(&self, slot: Slot) -> Result<()> {
        let Some(content) = examine::slot(self.store.as_ref(), &self.env, slot).await? else {
            bail!("slot {slot} holds nothing: it is past the end of the log, or was deleted below the log floor");
        };
        let SlotContent::Commit(commit) = content else {
            say(format_args!("{slot} void: its stored length is not the declared one"));
            return Ok(());
        };
        say(format_args!("{}", headline(&commit)));
        say(format_args!("commit id {}", commit.id));
        if let Some(assert) = commit.assert {
            say(format_args!("asserts that the state at slot {} has the hash {:016x}", assert.slot, assert.hash));
        }
        for group in &commit.groups {
            say(format_args!("group {:016x}#{} inline bytes {}", group.incarnation, group.number, group.inline_len));
            for op in &group.ops {
                say(format_args!("  {}", describe(op.kind.as_ref())));
            }
        }
        Ok(())
    }

    async fn segment(&self, key: &str) -> Result<()> {
        let (key, kind) = data_key(key)?;
        let object = self.store.get(&key, None).await.value.with_context(|| key.to_string())?;
        if let Ok(page) = IndexPage::decode(&object.bytes) {
            print_page(&key, object.bytes.len(), &page);
            return Ok(());
        }
        let header = envelope::open(kind, &object.bytes).with_context(|| key.to_string())?;
        let (stored, declared) = (object.meta.total_len, header.total_len());
        say(format_args!("{key} {stored} bytes, declared {declared}, feature level {}", header.feature_level));
        let mut at = header.payload_start();
        let mut rest = object.bytes.slice((at as usize).min(object.bytes.len())..);
        loop {
            match split_first(&mut rest) {
                Ok(None) => return Ok(()),
                Ok(Some((batch, bytes))) => {
                    say(format_args!("{at:>10} {}", describe_batch(&batch, &bytes)));
                    at += bytes.len() as u64;
                }
                Err(error) => bail!("{key}, byte {at}: {error}"),
            }
        }
    }

    async fn partition(&self, namespace: &str, topic: &str, partition: i32) -> Result<()> {
        let (namespace, name) = (Namespace::new(namespace)?, TopicName::new(topic)?);
        let cluster = self.cluster().await?;
        let state = &cluster.state;
        let Some(topic) = state.topic_by_name(&namespace, &name) else { bail!("there is no topic {name}") };
        let tp = TopicPartition::new(topic.id, partition);
        let Some(p) = state.partition(tp) else {
            bail!("topic {name} has {} partitions, from 0 on", topic.partitions);
        };
        say(format_args!("{tp} offsets {} to {}, {} bytes", p.log_start(), p.next_offset(), p.bytes()));
        for page in p.pages() {
            let key = keys::segment(&page.name);
            say(format_args!(
                "{:>12} to {:>12} page {key} with {} entries",
                page.base_offset, page.end_offset, page.entries
            ));
        }
        p.entries().for_each(print_entry);
        Ok(())
    }
}

fn print_page(key: &Key, bytes: usize, page: &IndexPage) {
    say(format_args!("{key} {bytes} bytes, index page of {} with {} entries", page.partition, page.entries.len()));
    Entry::of_page(page).iter().for_each(print_entry);
}

fn print_entry(e: &Entry) {
    let key = keys::data(&e.object);
    let (from, to) = (e.base_offset, e.end_offset());
    say(format_args!("{from:>12} to {to:>12} {key} bytes {} + {} max time {}", e.start, e.len, e.max_timestamp));
}

/// A key as `inspect` prints it, or the number of a slot.
fn data_key(key: &str) -> Result<(Key, Kind)> {
    if let Ok(slot) = key.parse() {
        return Ok((keys::log(Slot(slot)), Kind::Commit));
    }
    let named = Key::listed(key).and_then(|key| Some((keys::parse(&key)?, key)));
    match named {
        Some((Name::Segment(_), key)) => Ok((key, Kind::Segment)),
        Some((Name::Log(_), key)) => Ok((key, Kind::Commit)),
        _ => bail!("{key} is not the key of a segment, an index page or a slot"),
    }
}

fn headline(commit: &Commit) -> String {
    let verified = if commit.verified_time { ", verified" } else { "" };
    let ops: usize = commit.groups.iter().map(|g| g.ops.len()).sum();
    format!(
        "{} by {} at {} ms{verified}: {} groups, {ops} ops, {} inline bytes",
        commit.slot,
        commit.writer,
        commit.wall_ms,
        commit.groups.len(),
        commit.payload_len
    )
}

fn describe(op: Option<&OpKind>) -> String {
    let topic = |id: &[u8]| TopicId::from_bytes(id).map_or("a malformed topic id".to_owned(), |id| id.to_string());
    match op {
        None => "an op of a newer build".into(),
        Some(OpKind::NodeUp(up)) => format!("node up {} fence {}", up.kafka_address, up.fence),
        Some(OpKind::NodeDown(down)) => format!("node down {:016x}", down.incarnation),
        Some(OpKind::DropTombstones(op)) => format!("drop {} tombstones", op.incarnations.len()),
        Some(OpKind::FeatureLevel(op)) => format!("feature level {}", op.level),
        Some(OpKind::CreateTopic(op)) => {
            format!("create topic {} {} partitions {}", op.name, topic(&op.topic_id), op.partitions)
        }
        Some(OpKind::DeleteTopic(op)) => format!("delete topic {}", topic(&op.topic_id)),
        Some(OpKind::GrantProducerId(_)) => "grant a producer id".into(),
        Some(OpKind::ExpireProducers(op)) => {
            let count: usize = op.partitions.iter().map(|p| p.producer_ids.len()).sum();
            format!("expire {count} producers of {} partitions", op.partitions.len())
        }
        Some(OpKind::Append(op)) => {
            let place = match &op.place {
                Some(Place::Segment(s)) => keys::segment(&s.into()).to_string(),
                Some(Place::Inline(_)) => "inline".into(),
                None => "nowhere".into(),
            };
            let runs = op.partitions.iter().map(|p| {
                let offsets: u64 = p.batches.iter().map(|b| u64::from(b.offsets)).sum();
                format!("{}-{} {} batches {offsets} records", topic(&p.topic_id), p.partition, p.batches.len())
            });
            format!("append {place}: {}", runs.collect::<Vec<_>>().join(", "))
        }
        Some(OpKind::MoveEntries(op)) => {
            let inputs: usize = op.moves.iter().filter_map(|m| m.inputs.as_ref()).map(|r| r.offsets.len()).sum();
            let outputs: usize = op.moves.iter().map(|m| m.offsets.len()).sum();
            let to = op.output.as_ref().map_or("nowhere".to_owned(), |s| keys::segment(&s.into()).to_string());
            format!("move {inputs} entries of {} partitions into {outputs} in {to}", op.moves.len())
        }
        Some(OpKind::SealEntries(op)) => {
            let entries = op.inputs.as_ref().map_or(0, |r| r.offsets.len());
            format!(
                "seal {entries} entries into {}",
                op.page.as_ref().map_or("nowhere".to_owned(), |s| keys::segment(&s.into()).to_string())
            )
        }
        Some(OpKind::Truncate(op)) => format!("truncate {}-{} to {}", topic(&op.topic_id), op.partition, op.log_start),
        Some(OpKind::ObjectsDeleted(op)) => format!("{} objects deleted", op.segments.len()),
        Some(OpKind::ClaimGroup(op)) => format!("claim group {} from epoch {}", group(op.group.as_ref()), op.replaces),
        Some(OpKind::WriteGroup(op)) => format!(
            "write group {} epoch {} generation {} to {}, {} members",
            group(op.group.as_ref()),
            op.epoch,
            op.from_generation,
            op.generation,
            op.members
        ),
        Some(OpKind::CommitOffsets(op)) => {
            let offsets: usize = op.topics.iter().map(|t| t.offsets.len()).sum();
            let generation = op.generation.map_or(String::new(), |g| format!(" generation {g}"));
            format!("commit {offsets} offsets of group {} epoch {}{generation}", group(op.group.as_ref()), op.epoch)
        }
        Some(OpKind::DeleteOffsets(op)) => {
            let offsets: usize = op.topics.iter().map(|t| t.partitions.len()).sum();
            format!("delete {offsets} offsets of group {} epoch {}", group(op.group.as_ref()), op.epoch)
        }
        Some(OpKind::DeleteGroup(op)) => format!("delete group {} epoch {}", group(op.group.as_ref()), op.epoch),
        Some(OpKind::ExpireOffsets(op)) => {
            let offsets: usize = op.groups.iter().flat_map(|g| &g.topics).map(|t| t.partitions.len()).sum();
            format!("expire {offsets} offsets of {} groups", op.groups.len())
        }
        Some(OpKind::AlterTopicConfigs(op)) => {
            format!("topic {}: {}", topic(&op.topic_id), describe_change(op.change.as_ref()))
        }
        Some(OpKind::CreatePartitions(op)) => {
            format!("topic {}: partitions {} to {}", topic(&op.topic_id), op.expected_now, op.count)
        }
        Some(OpKind::SetConfigs(op)) => {
            let of = match ConfigScope::try_from(op.scope) {
                Ok(ConfigScope::Cluster) => "cluster".to_owned(),
                Ok(ConfigScope::Group) => format!("group {}/{}", op.namespace, op.name),
                Err(_) => "something of a newer build".to_owned(),
            };
            format!("{of}: {}", describe_change(op.change.as_ref()))
        }
    }
}

fn group(group: Option<&GroupRef>) -> String {
    group.map_or("without a name".to_owned(), |g| format!("{}/{}", g.namespace, g.id))
}

/// Values may be secrets.
fn describe_change(change: Option<&ConfigChange>) -> String {
    let Some(change) = change else { return "no change of configs".into() };
    let names = change.set.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
    let replaced = if change.replace { "all configs replaced, " } else { "" };
    format!("{replaced}set [{names}], deleted [{}]", change.delete.join(", "))
}

fn describe_batch(header: &BatchHeader, bytes: &[u8]) -> String {
    let codec = header.codec().map_or("unknown codec".to_owned(), |c| format!("{c:?}").to_lowercase());
    let producer = if header.is_idempotent() {
        format!(" producer {} epoch {} sequence {}", header.producer_id, header.producer_epoch, header.base_sequence)
    } else {
        String::new()
    };
    let crc = if crc_matches(header, bytes) { "" } else { " CRC-32C DOES NOT MATCH" };
    format!("{} bytes {} records {codec} max time {}{producer}{crc}", bytes.len(), header.count, header.max_timestamp)
}
