//! A histogram that costs its writer two atomic additions. It takes no lock, and recording allocates nothing.
//!
//! The threads that every write goes through record into it. A reader may see a value in its bucket and not in the sum
//! yet; the next reading has both. The count is computed from the buckets, so that those two always agree, as
//! Prometheus requires.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Sample;

/// Buckets of a histogram, the last one without an upper bound.
const BUCKETS: usize = 18;
const NANOSECONDS: f64 = 1e9;

/// What is measured, and where the buckets end.
#[derive(Debug)]
pub struct Scale {
    /// Upper bounds, inclusive and ascending, in the unit that is recorded.
    bounds: [u64; BUCKETS - 1],
    /// How many recorded units are one of the published unit.
    divisor: f64,
}

/// The numbers given, in nanoseconds instead of milliseconds.
const fn milliseconds(bounds: [f64; BUCKETS - 1]) -> [u64; BUCKETS - 1] {
    let mut nanoseconds = [0; BUCKETS - 1];
    let mut at = 0;
    while at < bounds.len() {
        nanoseconds[at] = (bounds[at] * 1e6) as u64;
        at += 1;
    }
    nanoseconds
}

const fn powers(first: u64, factor: u64) -> [u64; BUCKETS - 1] {
    let mut bounds = [first; BUCKETS - 1];
    let mut at = 1;
    while at < bounds.len() {
        bounds[at] = bounds[at - 1] * factor;
        at += 1;
    }
    bounds
}

impl Scale {
    /// Seconds, from 50 µs to 10 s: what a client waits for.
    pub const SHORT_SECONDS: Self = Self {
        bounds: milliseconds([
            0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 10e3,
        ]),
        divisor: NANOSECONDS,
    };
    /// Seconds, from 10 ms to 2,000 s: what goes on behind the clients' backs.
    pub const LONG_SECONDS: Self = Self {
        bounds: milliseconds([
            10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 10e3, 20e3, 50e3, 100e3, 200e3, 500e3, 1e6,
            2e6,
        ]),
        divisor: NANOSECONDS,
    };
    /// Bytes, from 64 B to 256 GiB by factors of four.
    pub const BYTES: Self = Self { bounds: powers(64, 4), divisor: 1.0 };
    /// Things that come together, from 1 to 65,536 by factors of two.
    pub const COUNT: Self = Self { bounds: powers(1, 2), divisor: 1.0 };
}

/// How often values fell between which bounds, and their sum.
#[derive(Debug)]
pub struct Histogram {
    scale: &'static Scale,
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Histogram {
    /// An empty one.
    pub const fn new(scale: &'static Scale) -> Self {
        Self { scale, buckets: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicU64::new(0) }
    }

    /// Records a value in the unit of the scale's bounds.
    pub fn record(&self, value: u64) {
        let bucket = self.scale.bounds.partition_point(|bound| *bound < value);
        // Nothing else is published by these, so that no order among them is needed.
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Records a time, in a scale of seconds.
    pub fn record_time(&self, time: Duration) {
        // More than five centuries do not fit.
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Appends the series of Prometheus: a cumulative one for each bucket, the sum and the count.
    pub fn read(
        &self,
        name: &str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        into: &mut Vec<Sample>,
    ) {
        let mut add = |suffix: &str, bound: Option<String>, value: f64| {
            let labels = labels.iter().map(|(key, value)| (*key, (*value).to_owned()));
            let labels = labels.chain(bound.map(|bound| ("le", bound))).collect();
            into.push(Sample { name: format!("{name}_{suffix}"), kind: "histogram", help, labels, value });
        };
        let mut count = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let bound = self.scale.bounds.get(at).map(|bound| *bound as f64 / self.scale.divisor);
            let bound = bound.map_or("+Inf".to_owned(), |bound| bound.to_string());
            add("bucket", Some(bound), count as f64);
        }
        add("sum", None, self.sum.load(Ordering::Relaxed) as f64 / self.scale.divisor);
        add("count", None, count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(histogram: &Histogram) -> Vec<Sample> {
        let mut samples = Vec::new();
        histogram.read("quack_test", "A test.", &[("outcome", "applied")], &mut samples);
        samples
    }

    /// The value of the bucket with this bound.
    fn bucket(samples: &[Sample], bound: &str) -> f64 {
        let found = samples.iter().find(|sample| sample.labels.contains(&("le", bound.to_owned())));
        found.unwrap_or_else(|| panic!("no bucket {bound}: {samples:?}")).value
    }

    #[test]
    fn the_bounds_ascend_and_are_those_that_are_documented() {
        for (scale, first, last) in [
            (&Scale::SHORT_SECONDS, 0.000_05, 10.0),
            (&Scale::LONG_SECONDS, 0.01, 2000.0),
            (&Scale::BYTES, 64.0, (256_u64 << 30) as f64),
            (&Scale::COUNT, 1.0, 65_536.0),
        ] {
            assert!(scale.bounds.is_sorted_by(|low, high| low < high), "{:?}", scale.bounds);
            let ends = [scale.bounds[0], scale.bounds[BUCKETS - 2]].map(|bound| bound as f64 / scale.divisor);
            assert_eq!(ends, [first, last]);
        }
    }

    #[test]
    fn a_value_counts_in_its_bucket_and_in_all_above_and_bounds_are_inclusive() {
        let histogram = Histogram::new(&Scale::SHORT_SECONDS);
        for microseconds in [0, 50, 51, 100, 5_000_000, 60_000_000] {
            histogram.record_time(Duration::from_micros(microseconds));
        }
        let samples = read(&histogram);
        let bounds = ["0.00005", "0.0001", "0.0002", "2", "5", "10", "+Inf"];
        assert_eq!(bounds.map(|bound| bucket(&samples, bound)), [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 6.0]);
        let last: Vec<_> =
            samples.iter().rev().take(2).map(|sample| (sample.name.as_str(), sample.value)).collect();
        assert_eq!(last, [("quack_test_count", 6.0), ("quack_test_sum", 65.000_201)]);
        assert_eq!(samples.len(), BUCKETS + 2);
        assert!(samples.iter().all(|sample| sample.labels[0] == ("outcome", "applied".to_owned())));
    }

    #[test]
    fn a_time_that_no_clock_can_measure_does_no_harm() {
        let histogram = Histogram::new(&Scale::LONG_SECONDS);
        histogram.record_time(Duration::MAX);
        assert_eq!(bucket(&read(&histogram), "+Inf"), 1.0);
        assert_eq!(bucket(&read(&histogram), "2000"), 0.0);
    }

    #[test]
    fn nothing_is_lost_when_many_record_at_once_and_the_count_never_contradicts_the_buckets() {
        const EACH: u64 = 20_000;
        let histogram = Histogram::new(&Scale::COUNT);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..EACH).for_each(|at| histogram.record(at % 100)));
            }
            for _ in 0..100 {
                let samples = read(&histogram);
                let count = samples.last().unwrap().value;
                assert_eq!(count, bucket(&samples, "+Inf"));
                let buckets = samples.iter().filter(|sample| sample.name.ends_with("_bucket"));
                assert!(buckets.map(|sample| sample.value).is_sorted());
            }
        });
        let samples = read(&histogram);
        assert_eq!(bucket(&samples, "+Inf"), (4 * EACH) as f64);
        let sum: u64 = 4 * (0..EACH).map(|at| at % 100).sum::<u64>();
        assert_eq!(samples[samples.len() - 2].value, sum as f64);
    }
}
