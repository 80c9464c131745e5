//! Data-driven cases of the state machine (`testdata/state/*.txt`): commits in words, outcomes in words.
//!
//! After every commit the state also goes through a snapshot and back, and at the end of a file replay from the start and from
//! every snapshot must give the same hash. `LAKEBED_REWRITE=1` writes the outcomes that were found; read the diff.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use lakebed_record::ops::{
    Append, BatchMeta, ConfigEntry, CreateTopic, DeleteTopic, DropTombstones, EntryRun, ExpireProducers,
    GrantProducerId, Group, InlinePlace, MoveEntries, NodeDown, NodeUp, ObjectRef, ObjectsDeleted, OpKind,
    PartitionAppend, PartitionMove, PartitionProducers, Place, ProducerMeta, SealEntries, SegmentPlace,
    SetFeatureLevel, Truncate,
};
use lakebed_record::{CommitId, DataObject, Incarnation, Slot, TopicId, TopicPartition};

use super::{State, decode_globals, encode_globals};
use crate::commit::{Commit, SlotContent};

/// A snapshot of the state in as many parts as given, and what reading it back gives.
fn through_snapshot(state: &State, parts: usize) -> State {
    let mut back = decode_globals(&encode_globals(state)).expect("globals");
    let step = super::BUCKETS / parts;
    for first in (0..super::BUCKETS).step_by(step) {
        back.decode_part(&state.encode_part(first..first + step)).expect("part");
    }
    back
}

struct Script {
    state: State,
    history: Vec<SlotContent>,
    snapshots: Vec<State>,
}

impl Script {
    fn new() -> Self {
        Self { state: State::new(), history: Vec::new(), snapshots: vec![State::new()] }
    }

    fn run(&mut self, input: &str) -> String {
        let mut lines = input.lines().filter(|l| !l.trim_start().starts_with('#'));
        let first = lines.next().expect("a directive");
        let mut words = first.split_whitespace();
        match words.next().expect("a directive") {
            "commit" => {
                let args: Vec<&str> = words.collect();
                let groups = lines.map(parse_group).collect();
                self.apply(SlotContent::Commit(commit(self.state.slot().next(), &args, groups)))
            }
            "void" => self.apply(SlotContent::Void),
            "partition" => {
                let topic: u128 = words.next().and_then(|w| w.parse().ok()).expect("topic id");
                let partition: i32 = words.next().and_then(|w| w.parse().ok()).expect("partition");
                describe(&self.state, TopicPartition::new(TopicId(topic), partition))
            }
            "objects" => self.objects(),
            other => panic!("unknown directive {other}"),
        }
    }

    fn objects(&self) -> String {
        let state = &self.state;
        let mut needed: Vec<_> = state.objects().collect();
        needed.sort();
        let (inline, deletable) = (state.first_inline_slot(), state.deletable().count());
        format!("needed {needed:?}\nfirst inline {inline:?}\npending {:?}, deletable {deletable}\n", pending(state))
    }

    fn apply(&mut self, content: SlotContent) -> String {
        let slot = self.state.slot().next();
        let applied = self.state.apply(slot, &content);
        let mut out = format!("slot {slot}: log time {}\n", self.state.log_time());
        if let SlotContent::Commit(commit) = &content {
            for (group, outcome) in commit.groups.iter().zip(&applied.outcomes) {
                writeln!(out, "{:x}#{} {outcome:?}", group.incarnation, group.number).expect("a string");
            }
        }
        self.history.push(content);
        let parts = 1 << (slot.0 % 9);
        let back = through_snapshot(&self.state, parts);
        assert_eq!(back.hash(), self.state.hash(), "a snapshot in {parts} parts changes the state at slot {slot}");
        self.snapshots.push(back);
        out
    }

    /// Replay from every point is the same state.
    fn check_replay(&self) {
        for snapshot in &self.snapshots {
            let mut state = snapshot.clone();
            for content in &self.history[state.slot().0 as usize..] {
                let _applied = state.apply(state.slot().next(), content);
            }
            assert_eq!(state.hash(), self.state.hash(), "replay from slot {}", snapshot.slot());
            let references = |s: &State| s.buckets.iter().map(|b| b.references.clone()).collect::<Vec<_>>();
            assert_eq!(references(&state), references(&self.state), "counted while replaying from {}", snapshot.slot());
            assert_eq!(state.producer_states, self.state.producer_states);
            assert_eq!(state.derived_producers, self.state.derived_producers);
            let derived = state.partitions().map(|(_, p)| p.derived_producers()).sum::<usize>();
            assert_eq!(state.derived_producers, derived);
            assert_eq!(state.partition_count(), self.state.partition_count());
            let counted = state.partitions().map(|(_, p)| p.entries().count()).sum::<usize>();
            assert_eq!((state.entry_count(), self.state.entry_count()), (counted, counted));
        }
    }
}

fn pending(state: &State) -> Vec<(lakebed_record::SegmentName, lakebed_record::LogTime)> {
    let mut pending: Vec<_> = state.pending_deletes().collect();
    pending.sort();
    pending
}

fn describe(state: &State, tp: TopicPartition) -> String {
    let Some(p) = state.partition(tp) else { return "none\n".into() };
    let mut out = format!("offsets {}..{}\n", p.log_start(), p.next_offset());
    for page in p.pages() {
        writeln!(
            out,
            "page {}..{} entries {} of {} bytes, time {}, names {:?}",
            page.base_offset,
            page.end_offset,
            page.entries,
            page.bytes,
            page.max_timestamp,
            page.objects.iter().map(|(name, count)| (name.number, *count)).collect::<Vec<_>>()
        )
        .expect("a string");
    }
    for e in p.entries_from(0) {
        writeln!(out, "{}+{} {:?} {}+{} time {}", e.base_offset, e.offsets, e.object, e.start, e.len, e.max_timestamp)
            .expect("a string");
    }
    for (id, s) in &p.producers {
        writeln!(out, "producer {id} epoch {} batches {:?}", s.epoch, s.batches).expect("a string");
    }
    out
}

fn value<T: std::str::FromStr>(args: &[&str], name: &str) -> Option<T> {
    let found = args.iter().find_map(|a| a.strip_prefix(name)?.strip_prefix('='))?;
    Some(found.parse().unwrap_or_else(|_| panic!("{name}={found}")))
}

fn commit(slot: Slot, args: &[&str], groups: Vec<Group>) -> Commit {
    Commit {
        slot,
        id: CommitId(slot.0.into()),
        writer: Incarnation(1),
        wall_ms: value(args, "wall").expect("wall"),
        verified_time: args.contains(&"verified"),
        groups,
        assert: None,
        payload_start: 1000,
        payload_len: 1 << 20,
    }
}

/// `a#2 op …; op …`
fn parse_group(line: &str) -> Group {
    let (name, ops) = line.trim().split_once(' ').expect("a group");
    let (incarnation, number) = name.split_once('#').expect("incarnation#number");
    Group {
        incarnation: u64::from_str_radix(incarnation, 16).expect("hex"),
        number: number.parse().expect("a number"),
        ops: ops.split(';').map(|op| parse_op(op).into()).collect(),
        inline_start: 0,
        inline_len: 1 << 20,
        ..Group::default()
    }
}

fn parse_op(text: &str) -> OpKind {
    let words: Vec<&str> = text.split_whitespace().collect();
    let args = &words[1..];
    let hex = |w: &str| u64::from_str_radix(w, 16).expect("hex");
    let id = |name| value::<u128>(args, name).expect("id").to_be_bytes().to_vec();
    match words[0] {
        "up" => OpKind::NodeUp(NodeUp { fence: value(args, "fence").expect("fence"), ..NodeUp::default() }),
        "down" => OpKind::NodeDown(NodeDown { incarnation: hex(args[0]) }),
        "drop" => OpKind::DropTombstones(DropTombstones { incarnations: vec![hex(args[0])] }),
        "level" => OpKind::FeatureLevel(SetFeatureLevel { level: args[0].parse().expect("level") }),
        "topic" => OpKind::CreateTopic(CreateTopic {
            namespace: "default".into(),
            name: args[0].into(),
            topic_id: id("id"),
            partitions: value(args, "partitions").unwrap_or(1),
            configs: vec![ConfigEntry { name: "b".into(), value: "2".into() }],
        }),
        "delete" => OpKind::DeleteTopic(DeleteTopic { topic_id: id("id") }),
        "pid" => OpKind::GrantProducerId(GrantProducerId {}),
        "expire" => OpKind::ExpireProducers(ExpireProducers {
            partitions: vec![PartitionProducers {
                topic_id: id("id"),
                partition: value(args, "partition").unwrap_or(0),
                producer_ids: vec![args[0].parse().expect("a producer")],
            }],
        }),
        "truncate" => OpKind::Truncate(Truncate {
            topic_id: id("id"),
            partition: value(args, "partition").unwrap_or(0),
            log_start: value(args, "to").expect("to"),
        }),
        "deleted" => OpKind::ObjectsDeleted(ObjectsDeleted { segments: vec![parse_object(args[0])] }),
        "move" => {
            let mut objects = Vec::new();
            let moves = text[4..].split('|').map(|m| parse_move(m, &mut objects)).collect();
            OpKind::MoveEntries(MoveEntries { output: Some(parse_place(args)), objects, moves })
        }
        "seal" => {
            let mut objects = Vec::new();
            let inputs = parse_move(&text[4..], &mut objects).inputs;
            OpKind::SealEntries(SealEntries { page: Some(parse_place(args)), objects, inputs })
        }
        "append" => OpKind::Append(parse_append(args, id("id"))),
        other => panic!("unknown op {other}"),
    }
}

fn parse_place(args: &[&str]) -> SegmentPlace {
    let node: String = value(args, "node").unwrap_or_else(|| "a".into());
    SegmentPlace {
        fence: value(args, "fence").expect("fence"),
        node: u64::from_str_radix(&node, 16).expect("hex"),
        number: value(args, "number").unwrap_or(1),
        total_len: value(args, "len").unwrap_or(1 << 24),
    }
}

/// `s3` (slot 3) or `1002.a.1` (fence, node, number)
fn parse_object(word: &str) -> ObjectRef {
    match word.strip_prefix('s') {
        Some(slot) => DataObject::Inline(Slot(slot.parse().expect("a slot"))).into(),
        None => {
            let words: Vec<&str> = word.split('.').collect();
            let node = u64::from_str_radix(words[1], 16).expect("hex");
            ObjectRef { fence: words[0].parse().expect("fence"), node, number: words[2].parse().expect("number") }
        }
    }
}

/// `id=7 partition=0 base=N in=OBJECT/OFFSETS/START/LEN … out=OFFSETS/LEN/TIME …`
fn parse_move(text: &str, objects: &mut Vec<ObjectRef>) -> PartitionMove {
    let args: Vec<&str> = text.split_whitespace().collect();
    let mut run = EntryRun {
        topic_id: value::<u128>(&args, "id").expect("id").to_be_bytes().to_vec(),
        partition: value(&args, "partition").unwrap_or(0),
        base_offset: value(&args, "base").expect("base"),
        ..EntryRun::default()
    };
    for words in args.iter().filter_map(|a| a.strip_prefix("in=")).map(|w| w.split('/').collect::<Vec<_>>()) {
        run.object.push(objects.len() as u32);
        objects.push(parse_object(words[0]));
        run.offsets.push(words[1].parse().expect("offsets"));
        run.start.push(words[2].parse().expect("start"));
        run.len.push(words[3].parse().expect("len"));
    }
    let mut m =
        PartitionMove { inputs: Some(run), start: value(&args, "start").unwrap_or(0), ..PartitionMove::default() };
    for words in args.iter().filter_map(|a| a.strip_prefix("out=")).map(|w| w.split('/').collect::<Vec<_>>()) {
        m.offsets.push(words[0].parse().expect("offsets"));
        m.len.push(words[1].parse().expect("len"));
        m.max_timestamp.push(words[2].parse().expect("time"));
    }
    m
}

/// `append id=7 partition=0 [fence=N node=a] start=N batch=LEN/OFFSETS/TIME[/PID/EPOCH/SEQ] …`
fn parse_append(args: &[&str], topic_id: Vec<u8>) -> Append {
    let place = match value::<i64>(args, "fence") {
        None => Place::Inline(InlinePlace {}),
        Some(fence) => {
            let node: String = value(args, "node").expect("node");
            let node = u64::from_str_radix(&node, 16).expect("hex");
            let number = value(args, "number").unwrap_or(1);
            Place::Segment(SegmentPlace { fence, node, number, total_len: 1 << 24 })
        }
    };
    let batches = args.iter().filter_map(|a| a.strip_prefix("batch=")).map(parse_batch).collect();
    let partition = value(args, "partition").unwrap_or(0);
    let start = value(args, "start").unwrap_or(0);
    Append { place: Some(place), partitions: vec![PartitionAppend { topic_id, partition, start, batches }] }
}

fn parse_batch(text: &str) -> BatchMeta {
    let n: Vec<i64> = text.split('/').map(|n| n.parse().expect("a number")).collect();
    let producer = (n.len() > 3).then(|| ProducerMeta {
        id: n[3],
        epoch: n[4] as i32,
        sequence: n[5] as i32,
        transactional: false,
    });
    BatchMeta { len: n[0] as u32, offsets: n[1] as u32, max_timestamp: n[2], producer }
}

/// A file is paragraphs: input, `----`, expected output.
fn run_file(path: &Path) {
    let text = std::fs::read_to_string(path).expect("readable");
    let mut script = Script::new();
    let mut rewritten = Vec::new();
    for paragraph in text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()) {
        let Some((input, expected)) = paragraph.split_once("\n----") else {
            rewritten.push(paragraph.to_owned());
            continue;
        };
        let found = script.run(input);
        if std::env::var_os("LAKEBED_REWRITE").is_none() {
            assert_eq!(expected.trim(), found.trim(), "{}:\n{input}", path.display());
        }
        rewritten.push(format!("{input}\n----\n{}", found.trim()));
    }
    script.check_replay();
    if std::env::var_os("LAKEBED_REWRITE").is_some() {
        std::fs::write(path, rewritten.join("\n\n") + "\n").expect("writable");
    }
}

#[test]
fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/state");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("testdata").map(|f| f.expect("a file").path()).collect();
    files.sort();
    assert!(files.len() >= 5, "the cases are there");
    files.iter().for_each(|f| run_file(f));
}

#[test]
fn a_changed_expectation_is_noticed() {
    let mut script = Script::new();
    let found = script.run("commit wall=5\na#1 up fence=0");
    assert_ne!(found.trim(), "slot 1: log time 6");
}

/// A commit whose CRC is right and whose numbers are not: every node refuses it alike, and nothing overflows.
#[test]
fn numbers_at_their_ends_are_refused_without_a_panic() {
    let mut script = Script::new();
    script.run("commit wall=1000\na#1 up fence=0");
    script.run("commit wall=1000\na#2 topic t id=7");
    for fence in [i64::MIN, -1] {
        let found = script.run(&format!("commit wall=1000\nb#1 up fence={fence}"));
        assert!(found.contains("b#1 Fenced"), "{found}");
    }
    let mut number = 2;
    let mut append = |start: u64, len: u64, place| {
        number += 1;
        let batches = vec![parse_batch("10/1/1")];
        let topic_id = 7_u128.to_be_bytes().to_vec();
        let partitions = vec![PartitionAppend { topic_id, partition: 0, start: 0, batches }];
        let ops = vec![OpKind::Append(Append { place: Some(place), partitions }).into()];
        let group = Group { incarnation: 10, number, ops, inline_start: start, inline_len: len, ..Group::default() };
        script.apply(SlotContent::Commit(commit(script.state.slot().next(), &["wall=1000"], vec![group])))
    };
    let inline = || Place::Inline(InlinePlace {});
    assert!(append(0, 1 << 20, inline()).contains("base_offset: 0"));
    for (start, len) in [(1, 1 << 20), (0, (1 << 20) + 1), (u64::MAX, 1), (1, u64::MAX)] {
        let found = append(start, len, inline());
        assert!(found.contains("Refused"), "{start} {len}: {found}");
    }
    for fence in [i64::MIN, -1] {
        let place = Place::Segment(SegmentPlace { fence, node: 10, number: 1, total_len: 1 << 20 });
        let found = append(0, 10, place);
        assert!(found.contains("OutsideWindow"), "{fence}: {found}");
    }
    script.run(&format!("commit wall={}", i64::MIN));
    script.run(&format!("commit wall={} verified", i64::MAX));
    script.run(&format!("commit wall={}", i64::MIN));
    script.run("commit wall=0\na#10 down b; drop b");
}

#[test]
fn one_node_has_the_duty_as_long_as_it_commits() {
    let mut script = Script::new();
    let duty = |script: &Script| script.state.duty_node().map(|i| i.0);
    assert_eq!(duty(&script), None);
    script.run("commit wall=1000000\na#1 up fence=0\nb#1 up fence=0\nc#1 up fence=0");
    // Whoever writes the last commit, it is the same one.
    let mut numbers = [1; 3];
    let mut commit = |script: &mut Script, node: usize, wall: i64| {
        numbers[node] += 1;
        script.run(&format!("commit wall={wall}\n{}#{} pid", ["a", "b", "c"][node], numbers[node]));
    };
    for (i, node) in [0, 2, 1, 2, 1, 0, 1].into_iter().enumerate() {
        commit(&mut script, node, 1_020_000 + 10_000 * i as i64);
        assert_eq!(duty(&script), Some(0xa));
    }
    // It falls silent, then the next one is down.
    for i in 0..8 {
        commit(&mut script, 1 + i % 2, 1_090_000 + 10_000 * i as i64);
    }
    assert_eq!(duty(&script), Some(0xb));
    script.run("commit wall=1161000\nc#20 pid");
    let c = numbers[2] + 1;
    script.run(&format!("commit wall=1162000\nc#{c} down b"));
    assert_eq!(duty(&script), Some(0xc));
    // Ticks alone: nobody.
    script.run("commit wall=1300000");
    assert_eq!(duty(&script), None);
    script.check_replay();
}
