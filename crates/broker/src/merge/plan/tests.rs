use std::collections::BTreeMap;

use lakebed_manifest::state::MAX_ENTRY_LEN;
use lakebed_manifest::{Commit, SlotContent, State};
use lakebed_record::ops::{
    Append, BatchMeta, CreateTopic, Group, GroupOutcome, InlinePlace, NodeUp, OpKind, OpOutcome, PartitionAppend,
    Place, SegmentPlace,
};
use lakebed_record::{CommitId, Incarnation, SegmentName, Slot, TopicId};
use proptest::prelude::*;

use super::super::job;
use super::super::join::{Part, join};
use super::*;

const NODE: u64 = 7;
const TOPIC: TopicId = TopicId(9);
const START: i64 = 1_700_000_000_000;
const MINUTE: i64 = 60_000;

fn rules() -> Rules {
    Rules {
        most_bytes: 64 << 20,
        most_entries: 16_384,
        age_ms: 5 * MINUTE,
        patience_ms: 15 * MINUTE,
        page_entries: 1_024,
    }
}

/// A log whose batches take one offset each, and what every batch's length was.
struct Log {
    state: State,
    now: i64,
    group: u64,
    number: u64,
    ages: Ages,
    barred: Barred,
    batches: BTreeMap<TopicPartition, Vec<u64>>,
    /// Of each batch: how often it was copied.
    copies: BTreeMap<(TopicPartition, usize), u32>,
}

impl Log {
    fn new(partitions: u32) -> Log {
        let mut log = Log {
            state: State::new(),
            now: START,
            group: 0,
            number: 0,
            ages: Ages::new(Slot(0), 60 * MINUTE),
            barred: Barred::new(),
            batches: BTreeMap::new(),
            copies: BTreeMap::new(),
        };
        log.commit(OpKind::NodeUp(NodeUp { fence: 0, kafka_address: "a:1".into(), rack: String::new() }), 0);
        let topic = CreateTopic {
            namespace: "default".into(),
            name: "t".into(),
            topic_id: TOPIC.0.to_be_bytes().to_vec(),
            partitions,
            configs: Vec::new(),
        };
        log.commit(OpKind::CreateTopic(topic), 0);
        log
    }

    fn commit(&mut self, op: OpKind, inline_len: u64) -> OpOutcome {
        self.group += 1;
        let group = Group {
            incarnation: NODE,
            number: self.group,
            principal: String::new(),
            ops: vec![op.into()],
            inline_start: 0,
            inline_len,
        };
        let slot = self.state.slot().next();
        let commit = Commit {
            slot,
            id: CommitId(slot.0.into()),
            writer: Incarnation(NODE),
            wall_ms: self.now,
            verified_time: false,
            groups: vec![group],
            assert: None,
            payload_start: 64,
            payload_len: inline_len,
        };
        let applied = self.state.apply(slot, &SlotContent::Commit(commit));
        self.ages.note(slot, LogTime(self.now));
        match applied.outcomes.into_iter().next() {
            Some(GroupOutcome::Applied(mut outcomes)) => outcomes.pop().expect("one op, one outcome"),
            other => panic!("{other:?}"),
        }
    }

    /// Batches of these lengths, by partition.
    fn append(&mut self, inline: bool, parts: &[(i32, Vec<u64>)]) {
        let total: u64 = parts.iter().flat_map(|(_, lens)| lens).sum();
        self.number += 1;
        let place = if inline {
            Place::Inline(InlinePlace {})
        } else {
            let fence = self.state.log_time().0;
            Place::Segment(SegmentPlace { fence, node: NODE, number: self.number, total_len: 64 + total })
        };
        let mut start = if inline { 0 } else { 64 };
        let partitions = parts.iter().map(|(partition, lens)| {
            self.batches.entry(TopicPartition::new(TOPIC, *partition)).or_default().extend(lens);
            let batch = |len: &u64| BatchMeta { len: *len as u32, offsets: 1, max_timestamp: 5, producer: None };
            let append = PartitionAppend {
                topic_id: TOPIC.0.to_be_bytes().to_vec(),
                partition: *partition,
                start,
                batches: lens.iter().map(batch).collect(),
            };
            start += lens.iter().sum::<u64>();
            append
        });
        let op = Append { place: Some(place), partitions: partitions.collect() };
        assert!(matches!(self.commit(OpKind::Append(op), if inline { total } else { 0 }), OpOutcome::Appended(_)));
    }

    fn view<'a>(&'a self, rules: &'a Rules, rested: bool) -> View<'a> {
        let (ages, barred, now) = (&self.ages, &self.barred, LogTime(self.now));
        View { rules, ages, barred, now, pressed: false, rested }
    }

    fn next(&self, view: &View<'_>) -> Option<Merge> {
        let (mut survey, mut busy) = (Survey::default(), Vec::new());
        for tp in self.batches.keys() {
            let partition = self.state.partition(*tp).expect("it is there");
            if survey.add(*tp, partition, view) {
                busy.push((*tp, partition));
            }
        }
        let mut gather = Gather::new(survey.decide(view)?);
        busy.into_iter().find(|(tp, p)| !gather.add(*tp, p, view));
        Some(gather.finish().expect("what is decided is there"))
    }

    /// Checks the plan and applies it.
    fn merge(&mut self, merge: &Merge, rules: &Rules) {
        assert!(merge.bytes() <= rules.most_bytes || merge.entries() == 1, "{} bytes", merge.bytes());
        assert!(merge.entries() <= rules.most_entries);
        assert!(merge.runs.is_sorted_by(|a, b| a.partition < b.partition));
        let mut outputs = Vec::new();
        for run in &merge.runs {
            assert!(run.entries.windows(2).all(|w| w[0].end_offset() == w[1].base_offset), "a gap in {run:?}");
            let first = run.entries[0].base_offset as usize;
            let end = run.entries.last().expect("no run is empty").end_offset() as usize;
            let part = |len: &u64| Part { offsets: 1, len: *len, max_timestamp: 5 };
            outputs.push(join(&self.batches[&run.partition][first..end].iter().map(part).collect::<Vec<_>>()));
            for batch in first..end {
                *self.copies.entry((run.partition, batch)).or_default() += 1;
            }
        }
        self.number += 1;
        let place = SegmentPlace {
            fence: self.state.log_time().0,
            node: NODE,
            number: SegmentName::BACKGROUND | self.number,
            total_len: 64 + merge.bytes(),
        };
        assert_eq!(self.commit(job::op(merge, &outputs, place), 0), OpOutcome::Done);
    }

    /// Everything is at its offset still.
    fn check(&self) {
        for (tp, batches) in &self.batches {
            let partition = self.state.partition(*tp).expect("it is there");
            let mut offset = 0;
            for entry in partition.entries_from(0) {
                assert_eq!(entry.base_offset, offset);
                let (from, to) = (offset as usize, entry.end_offset() as usize);
                assert_eq!(entry.len, batches[from..to].iter().sum::<u64>());
                assert!(entry.len <= MAX_ENTRY_LEN || entry.offsets == 1);
                offset = entry.end_offset();
            }
            assert_eq!(offset, partition.next_offset());
        }
    }

    fn merge_all(&mut self, rules: &Rules, rested: bool) -> usize {
        let mut count = 0;
        while let Some(merge) = self.next(&self.view(rules, rested)) {
            self.merge(&merge, rules);
            count += 1;
            assert!(count < 10_000, "it does not end");
        }
        count
    }

    fn written(&self) -> u64 {
        self.copies.iter().map(|((tp, batch), times)| self.batches[tp][*batch] * u64::from(*times)).sum()
    }

    fn bytes(&self) -> u64 {
        self.batches.values().flatten().sum()
    }
}

/// Whether it rides in a commit, and the batches' lengths by partition.
type Flush = (bool, Vec<(i32, Vec<u64>)>);

fn stream() -> impl Strategy<Value = Vec<Flush>> {
    let lens = prop_oneof![
        4 => prop::collection::vec(70u64..2_000, 1..4),
        2 => prop::collection::vec(5_000u64..90_000, 1..4),
        1 => prop::collection::vec(300_000u64..1_500_000, 1..3),
    ];
    let parts = prop::collection::btree_map(0i32..4, lens, 1..4).prop_map(|p| p.into_iter().collect());
    prop::collection::vec((any::<bool>(), parts), 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_stream_ends_in_few_entries_and_few_copies(stream in stream(), every in 1usize..40, small: bool) {
        let rules = Rules { most_bytes: if small { 8 << 20 } else { 64 << 20 }, ..rules() };
        let mut log = Log::new(4);
        for (i, (inline, parts)) in stream.iter().enumerate() {
            log.now += 20_000;
            log.append(*inline, parts);
            if i % every == 0 {
                log.merge_all(&rules, i % 3 == 0);
                log.check();
            }
        }
        log.now += 30 * MINUTE;
        log.merge_all(&rules, true);
        log.check();
        prop_assert_eq!(log.state.inline_slot_count(), 0);
        for (tp, batches) in &log.batches {
            let most = 60 + 3 * batches.iter().sum::<u64>() / MAX_ENTRY_LEN;
            let count = log.state.partition(*tp).unwrap().entry_count() as u64;
            prop_assert!(count <= most, "{count} entries in {tp}, at most {most}");
        }
        prop_assert!(log.written() <= 7 * log.bytes(), "{} written for {}", log.written(), log.bytes());
        prop_assert_eq!(log.next(&log.view(&rules, true)), None);
    }
}

#[test]
fn a_trickle_is_copied_a_few_times_and_ends_in_few_entries() {
    let rules = rules();
    let mut log = Log::new(2);
    for i in 0..20_000 {
        log.now += 10_000;
        log.append(true, &[(0, vec![300])]);
        // By levels at least every fifteen minutes.
        log.merge_all(&rules, i % 90 == 0);
    }
    log.check();
    let partition = log.state.partition(TopicPartition::new(TOPIC, 0)).unwrap();
    let merged = partition.entries_from(0).filter(|e| !matches!(e.object, DataObject::Inline(_))).count();
    assert!(merged <= 45, "{merged} entries");
    assert!(log.state.inline_slot_count() <= 15 * 6 + 1, "{} slots", log.state.inline_slot_count());
    let most = log.copies.values().max().copied().unwrap();
    assert!(most <= 6, "a batch was copied {most} times");
}

#[test]
fn young_entries_stay_and_a_few_old_ones_wait_for_company() {
    let rules = rules();
    let mut log = Log::new(2);
    log.append(true, &[(0, vec![100]), (1, vec![100])]);
    log.now += 4 * MINUTE;
    log.append(false, &[(0, vec![20 << 20])]);
    assert_eq!(log.next(&log.view(&rules, false)), None);
    // The segment makes it worth it, once that is old enough.
    log.now += 6 * MINUTE;
    let merge = log.next(&log.view(&rules, false)).expect("something to do");
    assert_eq!((merge.runs.len(), merge.entries()), (2, 3));
    let mut log = Log::new(2);
    log.append(true, &[(0, vec![100])]);
    log.now += 14 * MINUTE;
    assert_eq!(log.next(&log.view(&rules, false)), None);
    log.now += 2 * MINUTE;
    assert!(log.next(&log.view(&rules, false)).is_some());
    // Pressed, half a minute is enough.
    let mut log = Log::new(2);
    log.append(true, &[(0, vec![100])]);
    log.now += MINUTE;
    let pressed = View { pressed: true, ..log.view(&rules, false) };
    assert!(log.next(&pressed).is_some());
}

#[test]
fn the_oldest_go_first_and_whole_objects_with_them() {
    let rules = Rules { most_bytes: 8 << 20, ..rules() };
    let mut log = Log::new(3);
    for _ in 0..10 {
        log.now += 5_000;
        log.append(false, &[(0, vec![900_000]), (1, vec![900_000]), (2, vec![900_000])]);
    }
    log.now += 20 * MINUTE;
    let merge = log.next(&log.view(&rules, false)).expect("something to do");
    // Three segments of 2.7 MB fit into 8 MiB; nothing of a fourth is taken.
    let objects: std::collections::BTreeSet<_> = merge.runs.iter().flat_map(|r| &r.entries).map(|e| e.object).collect();
    assert_eq!((objects.len(), merge.entries()), (3, 9));
}

#[test]
fn what_cannot_be_copied_is_left_alone_and_what_is_behind_it_goes_on() {
    let rules = rules();
    let mut log = Log::new(1);
    for _ in 0..5 {
        log.now += 5_000;
        log.append(true, &[(0, vec![100])]);
    }
    log.now += 20 * MINUTE;
    let tp = TopicPartition::new(TOPIC, 0);
    log.barred.insert((tp, 2));
    assert_eq!(log.merge_all(&rules, true), 2);
    log.check();
    let offsets: Vec<_> =
        log.state.partition(tp).unwrap().entries_from(0).map(|e| (e.base_offset, e.offsets)).collect();
    assert_eq!(offsets, [(0, 2), (2, 1), (3, 2)]);
}
