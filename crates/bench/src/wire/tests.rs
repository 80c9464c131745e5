use super::*;

/// What a broker would send: numbers and strings one after the other.
#[derive(Default)]
struct Reply(BytesMut);

impl Reply {
    fn i16(mut self, n: i16) -> Self {
        self.0.put_i16(n);
        self
    }

    fn i32(mut self, n: i32) -> Self {
        self.0.put_i32(n);
        self
    }

    fn i64(mut self, n: i64) -> Self {
        self.0.put_i64(n);
        self
    }

    fn bytes(mut self, b: &[u8]) -> Self {
        self.0.put_slice(b);
        self
    }

    fn str(self, s: &str) -> Self {
        self.i16(s.len() as i16).bytes(s.as_bytes())
    }

    fn answer(self) -> Answer {
        Answer(self.0.freeze())
    }
}

#[test]
fn a_frame_counts_what_follows_its_length_and_the_batch_behind_it() {
    let head = produce_head(7, "t", 3, -1, 1000);
    assert_eq!(i32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize, head.len() - 4 + 1000);
    assert_eq!(&head[4..12], [0, 0, 0, 7, 0, 0, 0, 7]);
    assert_eq!(&head[head.len() - 4..], 1000_i32.to_be_bytes());
}

#[test]
fn produce_answers() {
    let reply = |error| Reply::default().i32(1).str("t").i32(1).i32(0).i16(error).i64(5).i64(-1).i64(0).i32(0).answer();
    assert_eq!(read_produce(reply(0)), Ok(0));
    assert_eq!(read_produce(reply(7)), Ok(7));
}

#[test]
fn metadata_counts_partitions_with_a_leader() {
    let partition = |r: Reply, leader| r.i16(0).i32(0).i32(leader).i32(1).i32(1).i32(1).i32(1);
    let head = Reply::default().i32(0).i32(1).i32(1).str("localhost").i32(9092).i16(-1).str("cluster").i32(1);
    let topic = head.i32(1).i16(0).str("t").bytes(&[0]).i32(2);
    assert_eq!(read_metadata(partition(partition(topic, 1), -1).answer()), Ok(Ok(1)));
    let unknown = Reply::default().i32(0).i32(0).i16(-1).i32(1).i32(1).i16(3).str("t").bytes(&[0]).i32(0);
    assert_eq!(read_metadata(unknown.answer()), Ok(Err(3)));
}

#[test]
fn create_topic_answers() {
    let reply = Reply::default().i32(0).i32(1).str("t").i16(36).str("it exists").answer();
    assert_eq!(read_create_topic(reply), Ok((36, "it exists".to_owned())));
}

#[test]
fn fetch_answers() {
    let head = Reply::default().i32(0).i16(0).i32(0).i32(1).str("t").i32(2);
    let first = head.i32(0).i16(0).i64(9).i64(9).i64(0).i32(-1).i32(-1).i32(3).bytes(b"abc");
    let both = first.i32(1).i16(1).i64(-1).i64(-1).i64(-1).i32(1).i64(1).i64(2).i32(-1).i32(-1);
    let (error, partitions) = read_fetch(both.answer()).expect("well formed");
    assert_eq!((error, partitions.len()), (0, 2));
    assert_eq!((partitions[0].partition, partitions[0].error, &partitions[0].records[..]), (0, 0, &b"abc"[..]));
    assert_eq!((partitions[1].partition, partitions[1].error, partitions[1].records.len()), (1, 1, 0));
}

#[test]
fn offset_answers() {
    let reply = Reply::default().i32(0).i32(1).str("t").i32(1).i32(4).i16(0).i64(-1).i64(17).i32(0).answer();
    assert_eq!(read_list_offsets(reply), Ok(vec![(4, 0, 17)]));
}

#[test]
fn a_short_answer_is_an_error_at_every_length() {
    let whole = Reply::default().i32(0).i32(1).str("t").i32(1).i32(4).i16(0).i64(-1).i64(17).i32(0).0.freeze();
    for len in 0..whole.len() {
        assert_eq!(read_list_offsets(Answer(whole.slice(..len))), Err(Malformed), "{len} bytes");
    }
    let huge = Reply::default().i32(0).i32(i32::MAX).answer();
    assert_eq!(read_list_offsets(huge), Err(Malformed));
}
