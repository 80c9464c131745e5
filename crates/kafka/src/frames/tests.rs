use proptest::prelude::*;

use super::*;

/// Puts `bytes` in pieces of the given sizes, and gives back every frame that becomes complete.
fn cut(bytes: &[u8], pieces: &[usize]) -> Result<Vec<Bytes>, FrameSize> {
    let mut frames = Frames::new(1 << 20);
    let mut cut = Vec::new();
    let mut arriving = bytes;
    let mut sizes = pieces.iter().copied().cycle();
    loop {
        match frames.next()? {
            Next::Announced(_) => frames.admit(),
            Next::Short(bytes) => frames.grow(bytes),
            Next::Complete => cut.extend(frames.take()),
            Next::Nothing | Next::Partial if arriving.is_empty() => return Ok(cut),
            Next::Nothing | Next::Partial => {
                let mut room = frames.room();
                let n = sizes.next().unwrap_or(1).clamp(1, arriving.len()).min(room.remaining_mut());
                assert!(n > 0, "there is always room for more");
                room.put_slice(&arriving[..n]);
                arriving = &arriving[n..];
            }
        }
    }
}

fn framed(contents: &[Vec<u8>]) -> Vec<u8> {
    contents.iter().flat_map(|c| [&(c.len() as i32).to_be_bytes(), c.as_slice()].concat()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn frames_come_out_as_they_went_in(
        sizes in proptest::collection::vec(prop_oneof![8..200usize, 8..40_000usize, SMALL - 2..SMALL + 3], 1..12),
        pieces in proptest::collection::vec(prop_oneof![1..10usize, 1..100_000usize], 1..6),
    ) {
        let contents: Vec<Vec<u8>> =
            sizes.iter().enumerate().map(|(i, size)| (0..*size).map(|at| (at * 7 + i) as u8).collect()).collect();
        let frames = cut(&framed(&contents), &pieces).unwrap();
        let read: Vec<_> = frames.iter().map(|frame| frame.to_vec()).collect();
        prop_assert!(read == contents);
    }
}

#[test]
fn sizes_out_of_range_are_refused_before_anything_is_read() {
    for size in [-1, 0, 7, (1 << 20) + 1, i32::MAX, i32::MIN] {
        let error = cut(&[&size.to_be_bytes()[..], &[0; 100]].concat(), &[1000]).unwrap_err();
        assert_eq!(error, FrameSize(size, 1 << 20));
    }
    assert_eq!(cut(&framed(&[vec![1; 1 << 20]]), &[1000]).unwrap().len(), 1);
}

#[test]
fn nothing_of_a_frame_is_buffered_past_its_announcement() {
    let mut frames = Frames::new(1 << 20);
    frames.room().put_slice(&[0, 1, 0, 0, 9, 9]);
    assert_eq!(frames.next(), Ok(Next::Announced(65536)));
    assert!(frames.take().is_none());
    frames.admit();
    assert_eq!(frames.next(), Ok(Next::Partial));
    assert!(frames.room().remaining_mut() <= FIRST_CAPACITY, "no more than what was sent so far justifies");
}

#[test]
fn only_produce_may_be_large() {
    let announce = |api: [u8; 2]| {
        let mut frames = Frames::new(128 << 20);
        frames.room().put_slice(&[6, 0, 0, 0]);
        assert_eq!(frames.next(), Ok(Next::Partial), "its API is not known yet");
        frames.room().put_slice(&api);
        frames.next()
    };
    assert_eq!(announce([0, 0]), Ok(Next::Announced(6 << 24)));
    assert_eq!(announce([0, 1]), Err(FrameSize(6 << 24, MAX_QUERY)));
}

#[test]
fn a_stream_of_big_frames_is_not_copied_twice() {
    let mut frames = Frames::new(1 << 20);
    let size = 500_000usize;
    for round in 0..4 {
        frames.room().put_slice(&(size as i32).to_be_bytes());
        frames.admit();
        let mut missing = size;
        let mut pieces = 0;
        while missing > 0 {
            if let Ok(Next::Short(bytes)) = frames.next() {
                frames.grow(bytes);
            }
            let mut room = frames.room();
            let n = room.remaining_mut().min(missing);
            room.put_slice(&vec![0; n]);
            missing -= n;
            pieces += 1;
        }
        assert_eq!(frames.take().unwrap().len(), size);
        assert!(round == 0 || pieces == 1, "what was sent once is taken for granted: {pieces}");
    }
}
