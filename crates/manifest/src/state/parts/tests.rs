//! Parts whose CRC is right and whose content is not: refused, and nothing overflows or panics.

use super::*;

fn object(fence: i64) -> ObjectRef {
    ObjectRef { fence, node: 5, number: 1 }
}

/// One entry behind one page.
fn good() -> PartitionPart {
    let page = PagePart {
        name: Some(object(1_000)),
        len: 100,
        base_offset: 0,
        end_offset: 10,
        entries: 1,
        bytes: 50,
        max_timestamp: 0,
        objects: vec![object(900)],
        counts: vec![1],
    };
    let batches = vec![0; 3 * REMEMBERED_BATCHES];
    PartitionPart {
        topic_id: vec![0; 16],
        next_offset: 12,
        objects: vec![object(-1)],
        gaps: vec![0],
        offsets: vec![2],
        object: vec![0],
        start: vec![64],
        len: vec![70],
        max_timestamp: vec![0],
        producers: vec![ProducerPart { id: 1, epoch: 0, last_append: 0, batches }],
        pages: vec![page],
        ..PartitionPart::default()
    }
}

fn read(partition: PartitionPart) -> Result<State, PartError> {
    let mut state = State::new();
    let part = Part { partitions: vec![partition], ..Part::default() };
    state.decode_part(&part.encode_to_vec()).map(|()| state)
}

#[test]
fn partitions_that_cannot_be_are_refused() {
    let mut state = read(good()).expect("reads");
    // What was counted in is counted out.
    let tp = TopicPartition::new(TopicId(0), 0);
    let references = super::super::objects::References::of(state.partition(tp).expect("is there"));
    state.drop_references(LogTime(0), &references);
    let spoil: [fn(&mut PartitionPart); 15] = [
        |p| p.len[0] = 0,
        |p| p.start[0] = u64::MAX,
        |p| p.offsets[0] = 0,
        |p| p.offsets[0] = u64::MAX,
        |p| p.gaps[0] = i64::MIN,
        |p| p.objects[0].fence = -2,
        |p| p.object[0] = 1,
        |p| p.producers[0].batches.extend([0; 30]),
        |p| p.pages[0].counts[0] = 0,
        |p| p.pages[0].counts.clear(),
        |p| p.pages[0].entries = 0,
        |p| p.pages[0].end_offset = 0,
        |p| p.pages[0].objects[0].fence = i64::MIN,
        |p| p.pages[0].name = Some(object(-1)),
        |p| p.pages[0].name = None,
    ];
    for (n, spoil) in spoil.into_iter().enumerate() {
        let mut part = good();
        spoil(&mut part);
        assert!(read(part).is_err(), "{n}");
    }
}

#[test]
fn globals_that_cannot_be_are_refused() {
    let good = Globals { slot: 5, log_time: 1, feature_level: 1, next_producer_id: 1, ..Globals::default() };
    assert!(decode_globals(&good.encode_to_vec()).is_ok());
    for bad in [Globals { slot: u64::MAX, ..good.clone() }, Globals { log_time: i64::MIN, ..good.clone() }] {
        assert!(decode_globals(&bad.encode_to_vec()).is_err(), "{bad:?}");
    }
}
