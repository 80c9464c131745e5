//! CRC-32C (Castagnoli), as Kafka, S3 and the persisted formats use it.

use crc_fast::CrcAlgorithm;

/// The polynomial, bits reversed as in the checksum: the highest bit is the coefficient of x⁰.
const POLYNOMIAL: u32 = 0x82F6_3B78;
/// x⁰ and x¹ in that order of bits.
const ONE: u32 = 1 << 31;
const X: u32 = 1 << 30;

/// `SHIFTS[k]` moves a checksum past 2ᵏ bytes: x to the power 8·2ᵏ, modulo the polynomial.
static SHIFTS: [u32; 64] = shifts();

/// CRC-32C of one piece of memory.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// CRC-32C of the concatenation of two pieces, from theirs and the second one's length: well under 1 µs.
pub fn combine(first: u32, second: u32, second_len: u64) -> u32 {
    let set = (0..64).filter(|k| second_len >> k & 1 == 1);
    set.fold(first, |moved, k| multiply(SHIFTS[k], moved)) ^ second
}

/// The product of two polynomials over GF(2), modulo the polynomial of the checksum.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        product ^= b & 0u32.wrapping_sub(a >> bit & 1);
        b = b >> 1 ^ POLYNOMIAL & 0u32.wrapping_sub(b & 1);
    }
    product
}

const fn shifts() -> [u32; 64] {
    // x⁸, by squaring three times.
    let mut power = multiply(ONE, X);
    let mut k = 0;
    while k < 3 {
        power = multiply(power, power);
        k += 1;
    }
    let mut table = [0; 64];
    let mut k = 0;
    while k < 64 {
        table[k] = power;
        power = multiply(power, power);
        k += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[]), 0);
        assert_eq!(combine(crc32c(b"12345"), crc32c(b"6789"), 4), 0xE306_9283);
        assert_eq!(combine(7, 0, 0), 7);
    }

    proptest! {
        #[test]
        fn combined_is_the_checksum_of_both(bytes in prop::collection::vec(any::<u8>(), 0..5000), at in any::<prop::sample::Index>()) {
            let (first, second) = bytes.split_at(at.index(bytes.len() + 1));
            prop_assert_eq!(combine(crc32c(first), crc32c(second), second.len() as u64), crc32c(&bytes));
        }

        #[test]
        fn lengths_past_memory_agree_with_another_implementation(first: u32, second: u32, len: u64) {
            let expected = crc_fast::checksum_combine(CrcAlgorithm::Crc32Iscsi, first.into(), second.into(), len);
            prop_assert_eq!(u64::from(combine(first, second, len)), expected);
        }
    }
}
