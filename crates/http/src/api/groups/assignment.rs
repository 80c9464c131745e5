//! What members of the classic protocol are assigned, as consumers write it (`ConsumerProtocolAssignment` of Apache Kafka): two bytes of version, an
//! array of topics with their partitions, and bytes of the assignor's own.

use std::collections::BTreeMap;

/// `None` for what is none: it is the members' affair.
pub fn read(mut bytes: &[u8]) -> Option<BTreeMap<String, Vec<i32>>> {
    if bytes.is_empty() {
        return Some(BTreeMap::new());
    }
    let bytes = &mut bytes;
    number::<2>(bytes)?;
    let mut assigned = BTreeMap::new();
    for _ in 0..count(bytes)? {
        let len = usize::from(u16::from_be_bytes(*number::<2>(bytes)?));
        let (name, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        let partitions = (0..count(bytes)?).map(|_| number::<4>(bytes).map(|n| i32::from_be_bytes(*n)));
        assigned.insert(name, partitions.collect::<Option<Vec<_>>>()?);
    }
    Some(assigned)
}

/// Nothing is made ready for elements that are not there.
fn count(bytes: &mut &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(*number::<4>(bytes)?))
}

fn number<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_and_nothing_else() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x05\0\x01b\0\0\0\0\xff\xff\xff\xff";
        let expected = [("a".to_owned(), vec![0, 5]), ("b".to_owned(), vec![])];
        assert_eq!(read(bytes), Some(expected.into()));
        assert_eq!(read(b""), Some(BTreeMap::new()));
        for wrong in [&bytes[..20], b"\0\x01\x7f\xff\xff\xff", b"\0\x01\0\0\0\x01\0\x01\xff\0\0\0\0", b"\0"] {
            assert_eq!(read(wrong), None);
        }
    }
}
