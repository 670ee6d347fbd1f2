//! The only source of chance in a run: SplitMix64, forked by purpose.
//!
//! Each part of the world draws from its own fork, so that one more draw in the
//! network does not change what the disk does.

/// A seeded generator (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins a sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own for a purpose; this one goes on unchanged.
    #[must_use]
    pub fn fork(&self, purpose: &str) -> Self {
        let mix = purpose
            .bytes()
            .fold(self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let mut fork = Self(mix);
        fork.next();
        fork
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True with this probability in parts per million.
    pub fn chance(&mut self, per_million: u64) -> bool {
        self.below(1_000_000) < per_million
    }

    /// A waiting time with this mean: anything from 1 to twice the mean.
    pub fn wait(&mut self, mean: u64) -> u64 {
        self.between(1, (2 * mean).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_repeat_and_differ_and_leave_the_parent_alone() {
        let parent = Random::new(7);
        let draw = |purpose| parent.fork(purpose).next();
        assert_eq!(draw("disk"), draw("disk"));
        assert_ne!(draw("disk"), draw("network"));
    }

    #[test]
    fn chances_come_near_their_probability() {
        let mut random = Random::new(1);
        let hits = (0..100_000).filter(|_| random.chance(250_000)).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
        assert!((0..1_000).all(|_| (3..=5).contains(&random.between(3, 5))));
    }
}
