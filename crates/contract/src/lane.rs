//! Lanes: the unit of order, ownership and parallelism. A lane is a partition of every topic.

use std::fmt;

use uuid::Uuid;

/// The most lanes a system can have: 256. More would only make the lane rows a scan.
pub const MAX_LANES: u16 = 256;

/// One lane, `0..lanes`; also the number of the Kafka partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u16);

impl Lane {
    /// The lane as PostgreSQL's `int2`.
    pub fn as_i16(self) -> i16 {
        i16::try_from(self.0).unwrap_or(i16::MAX)
    }

    /// The lane as Kafka's partition number.
    pub fn as_i32(self) -> i32 {
        i32::from(self.0)
    }

    /// The lane as an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many lanes a system has. Fixed when the system is created, as a key's lane follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes(u16);

/// A number of lanes outside `1..=256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a system has 1 to {MAX_LANES} lanes, not {0}")]
pub struct LanesOutOfRange(pub u16);

impl Lanes {
    /// `count` lanes, `1..=256`.
    pub fn new(count: u16) -> Result<Self, LanesOutOfRange> {
        if (1..=MAX_LANES).contains(&count) { Ok(Self(count)) } else { Err(LanesOutOfRange(count)) }
    }

    /// The number of lanes.
    pub fn count(self) -> u16 {
        self.0
    }

    /// All lanes, in order.
    pub fn all(self) -> impl Iterator<Item = Lane> {
        (0..self.0).map(Lane)
    }

    /// Whether `lane` is one of these.
    pub fn contains(self, lane: Lane) -> bool {
        lane.0 < self.0
    }

    /// The lane of a record's key. It is the partition that Kafka's own clients would choose for the same key
    /// (`murmur2` of the bytes with the sign bit cleared, modulo the partitions), so a tool that produces or joins by
    /// key agrees with us.
    pub fn of_key(self, key: &str) -> Lane {
        let positive = murmur2(key.as_bytes()) & 0x7fff_ffff;
        Lane(u16::try_from(positive % u32::from(self.0)).unwrap_or(0))
    }

    /// The lane of an order, whose key is its hyphenated lower-case id.
    pub fn of_order(self, order: Uuid) -> Lane {
        let mut text = Uuid::encode_buffer();
        self.of_key(order.hyphenated().encode_lower(&mut text))
    }
}

/// Kafka's 32-bit `MurmurHash2` (`org.apache.kafka.common.utils.Utils.murmur2`, seed `0x9747b28c`).
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const ROTATION: u32 = 24;

    #[expect(clippy::cast_possible_truncation, reason = "the hash is defined on the length modulo 2^32")]
    let mut hash = SEED ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(MULTIPLIER);
        k ^= k >> ROTATION;
        hash = hash.wrapping_mul(MULTIPLIER) ^ k.wrapping_mul(MULTIPLIER);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn hashes_as_kafka_does() {
        let cases: [(&str, i32); 7] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
            ("", 275_646_681),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key:?}");
        }
    }

    #[test]
    fn every_key_has_a_lane_of_the_system() {
        for count in [1, 2, 6, 255, 256] {
            let lanes = Lanes::new(count).expect("in range");
            for n in 0..1000_u128 {
                assert!(lanes.contains(lanes.of_order(Uuid::from_u128(n * 7919))));
            }
        }
    }

    #[test]
    fn refuses_no_lanes_and_too_many() {
        assert_eq!(Lanes::new(0), Err(LanesOutOfRange(0)));
        assert_eq!(Lanes::new(257), Err(LanesOutOfRange(257)));
    }
}
