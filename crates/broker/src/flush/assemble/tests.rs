use lakebed_record::TopicId;
use lakebed_record::ops::InlinePlace;

use super::super::planner::ConnectionId;
use super::super::request::Answer;
use super::*;
use crate::api::AppendError;

fn batches(sizes: &[(i32, usize)]) -> (Arc<Request>, Answer, Vec<Batch>) {
    let (request, answer) = Request::new(sizes.iter().map(|_| None), Duration::MAX, None);
    let connection = Arc::new(Connection::new(ConnectionId(1), String::new()));
    let batch = |(index, &(partition, len)): (usize, &(i32, usize))| {
        let bytes = Bytes::from(vec![index as u8; len]);
        Batch {
            request: Arc::clone(&request),
            index,
            connection: Arc::clone(&connection),
            partition: TopicPartition::new(TopicId(1), partition),
            crc: crc::crc32c(&bytes),
            meta: BatchMeta { len: len as u32, offsets: 1, max_timestamp: 0, producer: None },
            bytes,
            log_append_time: -1,
            queued: Duration::ZERO,
        }
    };
    let all = sizes.iter().enumerate().map(batch).collect();
    (request, answer, all)
}

/// For each range of the op: partition, and which batch each of its members' bytes are.
fn layout(flush: &Assembled, grouped: &Grouped, start: u64) -> Vec<(i32, Vec<usize>)> {
    let all: Vec<u8> = flush.chunks.iter().flatten().copied().collect();
    let ranges = grouped.op.partitions.iter().zip(&grouped.members);
    let range = |(range, members): (&PartitionAppend, &Vec<usize>)| {
        let mut at = (range.start - start) as usize;
        let mut found = Vec::new();
        for (meta, &member) in range.batches.iter().zip(members) {
            let batch = &flush.batches[member];
            let bytes = &all[at..at + meta.len as usize];
            assert!(bytes.iter().all(|b| usize::from(*b) == batch.index));
            assert_eq!(batch.bytes, bytes);
            found.push(batch.index);
            at += meta.len as usize;
        }
        assert_eq!(range.batches.len(), members.len());
        (range.partition, found)
    };
    ranges.map(range).collect()
}

const INLINE: Place = Place::Inline(InlinePlace {});

#[test]
fn batches_are_grouped_by_partition_in_their_order() {
    let sizes = [(3, 10), (1, SMALL), (3, SMALL + 5), (1, 7), (3, 9), (0, 100), (0, 20)];
    let (_request, _answer, all) = batches(&sizes);
    let flush = assemble(all);
    let whole: Vec<u8> = flush.chunks.iter().flatten().copied().collect();
    assert_eq!((flush.len, flush.crc), (whole.len() as u64, crc::crc32c(&whole)));
    // Small neighbours share a piece, also over partitions.
    let pieces: Vec<_> = flush.chunks.iter().map(Bytes::len).collect();
    assert_eq!(pieces, [120, SMALL, 17, SMALL + 5, 9]);
    let grouped = flush.group(INLINE, 64).expect("all are wanted");
    assert_eq!(layout(&flush, &grouped, 64), [(0, vec![5, 6]), (1, vec![1, 3]), (3, vec![0, 2, 4])]);
}

#[test]
fn dropped_batches_leave_gaps() {
    let (request, _answer, all) = batches(&[(0, 10), (0, 11), (0, 12), (1, 13), (2, 14)]);
    let flush = assemble(all);
    request.finish(1, Err(AppendError::TimedOut));
    request.finish(3, Err(AppendError::TimedOut));
    assert!(flush.is_wanted(Duration::ZERO));
    let grouped = flush.group(INLINE, 0).expect("some are wanted");
    assert_eq!(layout(&flush, &grouped, 0), [(0, vec![0]), (0, vec![2]), (2, vec![4])]);
    assert!(flush.group(INLINE, 0).is_none(), "what is grouped is not grouped again");
}

#[test]
fn nothing_is_grouped_when_nothing_is_wanted() {
    let (request, _answer, all) = batches(&[(0, 10), (0, 11)]);
    let flush = assemble(all);
    (0..2).for_each(|i| request.finish(i, Err(AppendError::TimedOut)));
    assert!(!flush.is_wanted(Duration::ZERO));
    assert!(flush.group(INLINE, 0).is_none());
}
