use std::collections::BTreeMap;
use std::time::Duration;

use lakebed_manifest::state::{MAX_ENTRY_LEN, Page};
use lakebed_manifest::{Commit, SlotContent, State};
use lakebed_record::entries::ObjectTable;
use lakebed_record::ops::{
    Append, BatchMeta, CreateTopic, DeleteTopic, Group, GroupOutcome, InlinePlace, NodeUp, OpKind, OpOutcome,
    PartitionAppend, Place, SealEntries, SegmentPlace,
};
use lakebed_record::{CommitId, Incarnation, SegmentName, Slot, TopicId};
use proptest::prelude::*;

use super::super::job;
use super::super::join::Part;
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
    sparse: BTreeSet<SegmentName>,
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
            barred: Barred::default(),
            sparse: BTreeSet::new(),
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
        let (ages, barred, sparse, now) = (&self.ages, &self.barred, &self.sparse, LogTime(self.now));
        View { rules, ages, barred, sparse, now, pressed: false, rested }
    }

    fn look(&self, view: &View<'_>) -> (Survey, Vec<(TopicPartition, &PartitionState)>) {
        let (mut survey, mut busy) = (Survey::default(), Vec::new());
        for tp in self.batches.keys() {
            let partition = self.state.partition(*tp).expect("it is there");
            if survey.add(*tp, partition, view) {
                busy.push((*tp, partition));
            }
        }
        (survey, busy)
    }

    fn next(&self, view: &View<'_>) -> Option<Merge> {
        let (survey, busy) = self.look(view);
        let mut gather = Gather::new(survey.decide(view)?);
        busy.into_iter().find(|(tp, p)| !gather.add(*tp, p, view));
        Some(gather.finish().expect("what is decided is there"))
    }

    /// Checks the plan and applies it.
    fn merge(&mut self, merge: &Merge, rules: &Rules) {
        assert!(merge.bytes() <= rules.most_bytes, "{} bytes", merge.bytes());
        assert!(merge.entries() <= rules.most_entries);
        assert!(merge.runs.is_sorted_by(|a, b| a.partition < b.partition));
        let mut batches = Vec::new();
        for run in &merge.runs {
            assert!(run.entries.windows(2).all(|w| w[0].end_offset() == w[1].base_offset), "a gap in {run:?}");
            let lens = &self.batches[&run.partition];
            for entry in &run.entries {
                let (first, end) = (entry.base_offset as usize, entry.end_offset() as usize);
                let part = |len: &u64| Part { offsets: 1, len: *len, max_timestamp: 5 };
                batches.push(lens[first..end].iter().map(part).collect());
                for batch in first..end {
                    *self.copies.entry((run.partition, batch)).or_default() += 1;
                }
            }
        }
        let place = self.place(merge.bytes());
        let op = job::op(&job::moves(merge, &batches), place);
        assert_eq!(self.commit(op, 0), OpOutcome::Done);
    }

    fn place(&mut self, bytes: u64) -> SegmentPlace {
        self.number += 1;
        SegmentPlace {
            fence: self.state.log_time().0,
            node: NODE,
            number: SegmentName::BACKGROUND | self.number,
            total_len: 64 + bytes,
        }
    }

    fn seal(&mut self, seal: &Seal) {
        let mut objects = ObjectTable::default();
        let run = objects.run(seal.partition, seal.entries[0].base_offset, seal.entries.iter().map(job::place_of));
        let page = Some(self.place(1_000));
        let op = SealEntries { page, objects: objects.into_refs(), inputs: Some(run) };
        assert_eq!(self.commit(OpKind::SealEntries(op), 0), OpOutcome::Done);
    }

    /// All that there is to do, pages included.
    fn settle(&mut self, rules: &Rules, pressed: bool) {
        for round in 0.. {
            assert!(round < 20_000, "it does not end");
            let view = View { pressed, ..self.view(rules, true) };
            let (survey, _) = self.look(&view);
            let (merge, own, seal) = (self.next(&view), survey.own, survey.seal);
            if let Some(own) = own {
                self.merge(&Merge { runs: vec![own] }, rules);
            } else if let Some(seal) = &seal {
                self.seal(seal);
            } else if let Some(merge) = merge {
                self.merge(&merge, rules);
            } else {
                return;
            }
        }
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

    /// The same, of what is in no page.
    fn check_from_pages(&self) {
        for (tp, batches) in &self.batches {
            let partition = self.state.partition(*tp).expect("it is there");
            let mut offset = partition.pages().last().map_or(0, |page| page.end_offset);
            let in_pages: u64 = partition.pages().iter().map(|page| page.bytes).sum();
            assert_eq!(in_pages, batches[..offset as usize].iter().sum::<u64>());
            for entry in partition.entries_from(0) {
                assert_eq!(entry.base_offset, offset);
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
    log.barred.damaged(tp, 2, Duration::ZERO);
    assert_eq!(log.merge_all(&rules, true), 2);
    log.check();
    let offsets: Vec<_> =
        log.state.partition(tp).unwrap().entries_from(0).map(|e| (e.base_offset, e.offsets)).collect();
    assert_eq!(offsets, [(0, 2), (2, 1), (3, 2)]);
}

fn pages_of(log: &Log, tp: TopicPartition) -> &[Page] {
    log.state.partition(tp).expect("it is there").pages()
}

#[test]
fn pages_of_many_even_partitions_name_few_segments_and_deleting_the_topic_gives_them_back() {
    // Each output has about one entry of each partition.
    let rules = Rules { most_bytes: 64 << 20, page_entries: 64, ..rules() };
    let partitions = 48;
    let mut log = Log::new(partitions);
    for _ in 0..400 {
        log.now += 10_000;
        let flush = (0..partitions as i32).map(|p| (p, vec![400_000])).collect::<Vec<_>>();
        log.append(false, &flush);
        log.settle(&rules, false);
    }
    log.now += 30 * MINUTE;
    log.settle(&rules, false);
    log.check_from_pages();
    let mut pages = 0;
    for p in 0..partitions as i32 {
        let own = pages_of(&log, TopicPartition::new(TOPIC, p));
        pages += own.len();
        for page in own {
            // Gathered by 64 MiB: a page of 64 entries is about one of them.
            assert!(page.objects.len() <= 3, "{} segments for {} bytes", page.objects.len(), page.bytes);
        }
    }
    assert!(pages >= 48, "{pages} pages");
    let most = log.copies.values().max().copied().unwrap();
    assert!(most <= 4, "a batch was copied {most} times");
    // Segments of pages belong to one partition.
    let mut named: BTreeMap<SegmentName, TopicPartition> = BTreeMap::new();
    for p in 0..partitions as i32 {
        let tp = TopicPartition::new(TOPIC, p);
        for (name, _) in pages_of(&log, tp).iter().flat_map(|page| &page.objects) {
            assert_eq!(*named.entry(*name).or_insert(tp), tp, "{name:?} is shared");
        }
    }
    log.commit(OpKind::DeleteTopic(DeleteTopic { topic_id: TOPIC.0.to_be_bytes().to_vec() }), 0);
    assert_eq!((log.state.entry_count(), log.state.inline_slot_count()), (0, 0));
}

#[test]
fn under_pressure_pages_are_smaller_and_made_sooner() {
    let rules = Rules { page_entries: 64, ..rules() };
    let mut log = Log::new(1);
    let tp = TopicPartition::new(TOPIC, 0);
    for _ in 0..60 {
        log.now += 10_000;
        log.append(false, &[(0, vec![600_000])]);
    }
    log.now += 20 * MINUTE;
    log.settle(&rules, false);
    assert_eq!((log.state.entry_count(), pages_of(&log, tp).len()), (60, 0));
    log.settle(&rules, true);
    assert!(log.state.entry_count() < 18 && pages_of(&log, tp).len() == 3, "{}", log.state.entry_count());
    log.check_from_pages();
}

#[test]
fn entries_of_a_sparse_segment_move_with_the_fresh_ones() {
    let rules = rules();
    let mut log = Log::new(3);
    log.append(true, &[(0, vec![100]), (1, vec![700_000]), (2, vec![50])]);
    log.now += 20 * MINUTE;
    assert_eq!(log.merge_all(&rules, true), 1);
    let object_of = |log: &Log, p| {
        let partition = log.state.partition(TopicPartition::new(TOPIC, p)).unwrap();
        partition.entries_from(0).next().unwrap().object
    };
    let DataObject::Segment(old) = object_of(&log, 0) else { panic!("it is merged") };
    assert_eq!(log.next(&log.view(&rules, true)), None);
    log.sparse.insert(old);
    let merge = log.next(&log.view(&rules, true)).expect("something to do");
    assert_eq!((merge.runs.len(), merge.bytes()), (3, 700_150));
    log.merge(&merge, &rules);
    assert!((0..3).all(|p| object_of(&log, p) != DataObject::Segment(old)));
    assert!(log.state.pending_deletes().any(|(name, _)| name == old));
    assert_eq!(log.next(&log.view(&rules, true)), None);
}

#[test]
fn after_a_restart_slots_are_read_whole_and_in_their_order() {
    let rules = Rules { most_entries: 64, ..rules() };
    let mut log = Log::new(16);
    for _ in 0..40 {
        log.now += 5_000;
        log.append(true, &(0..16).map(|p| (p, vec![100])).collect::<Vec<_>>());
    }
    // Another node starts now.
    log.ages = Ages::new(log.state.slot(), 60 * MINUTE);
    let mut reads = BTreeMap::new();
    while let Some(merge) = log.next(&log.view(&rules, false)) {
        let slots = merge.runs.iter().flat_map(|r| &r.entries).map(|e| e.object);
        let slots: BTreeSet<DataObject> = slots.filter(|o| matches!(o, DataObject::Inline(_))).collect();
        // Or it is one of merged entries.
        assert!(merge.entries() == 16 * slots.len() || slots.is_empty());
        slots.into_iter().for_each(|slot| *reads.entry(slot).or_insert(0) += 1);
        log.merge(&merge, &rules);
    }
    assert!(reads.len() == 40 && reads.values().all(|times| *times == 1), "{reads:?}");
    log.check();
}

#[test]
fn a_lost_object_is_one_round_and_no_longer_waits() {
    let rules = rules();
    let mut log = Log::new(500);
    log.append(false, &(0..500).map(|p| (p, vec![100])).collect::<Vec<_>>());
    let lost = log.state.partition(TopicPartition::new(TOPIC, 0)).unwrap().entries_from(0).next().unwrap().object;
    log.now += 1_000;
    log.append(true, &(0..500).map(|p| (p, vec![100])).collect::<Vec<_>>());
    log.now += 20 * MINUTE;
    assert_eq!(log.look(&log.view(&rules, true)).0.waiting(), 1_000);
    log.barred.lost(lost, Duration::ZERO);
    assert_eq!(log.look(&log.view(&rules, true)).0.waiting(), 500);
    let merge = log.next(&log.view(&rules, true)).expect("something to do");
    assert!(merge.entries() == 500 && merge.runs.iter().flat_map(|r| &r.entries).all(|e| e.object != lost));
    log.merge(&merge, &rules);
    assert_eq!(log.state.inline_slot_count(), 0);
    // Looked at still, so that it is tried again in quiet partitions as well.
    assert_eq!((log.look(&log.view(&rules, true)).1.len(), log.next(&log.view(&rules, true))), (500, None));
    log.barred.forget(Duration::from_secs(24 * 60 * 60));
    assert_eq!(log.next(&log.view(&rules, true)).expect("something to do").entries(), 500);
}

#[test]
fn what_cannot_be_moved_holds_up_no_page() {
    let rules = Rules { page_entries: 16, ..rules() };
    let mut log = Log::new(1);
    let tp = TopicPartition::new(TOPIC, 0);
    for i in 0..40 {
        log.now += 10_000;
        // The first is larger than an output; the fifth is damaged.
        log.append(false, &[(0, vec![if i == 0 { 65 << 20 } else { 600_000 }])]);
    }
    log.barred.damaged(tp, 4, Duration::ZERO);
    log.now += 20 * MINUTE;
    log.settle(&rules, false);
    log.check_from_pages();
    assert_eq!((pages_of(&log, tp).len(), log.state.entry_count()), (1, 24));
    assert!(!log.copies.contains_key(&(tp, 0)) && !log.copies.contains_key(&(tp, 4)));
}
