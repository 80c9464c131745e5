//! Which partition a key belongs to, as Apache Kafka's producers decide it (`BuiltInPartitioner.partitionForKey`): murmur2 of the key.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;

/// `partitions` is 1 or more.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) as i32 % partitions
}

/// As `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    let (words, rest) = data.as_chunks::<4>();
    let hash = words.iter().fold(SEED ^ data.len() as u32, |hash, word| {
        let k = u32::from_le_bytes(*word).wrapping_mul(M);
        hash.wrapping_mul(M) ^ (k ^ k >> 24).wrapping_mul(M)
    });
    let hash = match rest {
        [] => hash,
        rest => {
            let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
            (hash ^ tail).wrapping_mul(M)
        }
    };
    let hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_apache_kafka_does() {
        // UtilsTest.testMurmur2 of Apache Kafka.
        let cases: [(&str, i32); 7] = [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
            ("", 275646681),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
        assert!((0..1000u32).all(|n| (0..7).contains(&partition_of(&n.to_be_bytes(), 7))));
    }
}
