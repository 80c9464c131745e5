use bytes::Bytes;

use super::*;

fn batch(codec: Codec) -> Bytes {
    let mut b = BatchBuilder::new().codec(codec);
    let big = vec![7u8; 100_000];
    b.push(1000, Some(b"k"), Some(b"v"), []);
    b.push(900, None, Some(&big), [(&b"h"[..], Some(&b"x"[..])), (&b"h"[..], None)]);
    b.push(1500, Some(b""), None, []);
    b.build()
}

#[test]
fn what_is_built_validates_and_reads_back() {
    for codec in Codec::ALL {
        let bytes = batch(codec);
        let v = validate(&bytes, Limits::default()).unwrap_or_else(|e| panic!("{codec:?}: {e}"));
        assert_eq!((v.min_timestamp, v.max_timestamp, v.header.max_timestamp), (900, 1500, 1500));
        assert_eq!(v.header.codec(), Ok(codec));
        let set = records(&bytes, Limits::default()).unwrap();
        let all: Vec<_> = set.iter().map(Result::unwrap).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].key, Some(&b"k"[..]));
        assert_eq!(all[1].value.unwrap().len(), 100_000);
        let headers: Vec<_> = all[1].headers().collect();
        assert_eq!(headers, [Header { key: b"h", value: Some(b"x") }, Header { key: b"h", value: None }]);
        assert_eq!((all[2].key, all[2].value, all[2].timestamp, all[2].offset_delta), (Some(&b""[..]), None, 1500, 2));
    }
}
