//! How a sequence counts: as DuckDB's own would, so that every node comes to the same values, and the same errors.

use quack_proto::log::v1::{SequenceRun, SequenceUsage};
use quack_types::limits::SEQUENCE_VALUES_MAX;

use crate::store::{ErrorKind, StoreError};

/// Where a sequence is, and how it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceState {
    /// How often it has been used. Grows with every change of the state.
    pub usage_count: u64,
    /// The value that comes next.
    pub counter: i64,
    /// The value that was given out last.
    pub last_value: Option<i64>,
    pub increment: i64,
    pub minimum: i64,
    pub maximum: i64,
    /// Whether it begins again at its end.
    pub cycle: bool,
}

/// A name as DuckDB quotes it in its messages.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn sequence_error(message: String) -> StoreError {
    StoreError::new(ErrorKind::SEQUENCE, message)
}

/// The value after `value`; `None` when there is no such number.
fn step(value: i64, increment: i64, minimum: i64, maximum: i64, cycle: bool) -> Option<i64> {
    let next = value.checked_add(increment);
    if !cycle {
        return next;
    }
    Some(match next {
        None if increment < 0 => maximum,
        None => minimum,
        Some(next) if next < minimum => maximum,
        Some(next) if next > maximum => minimum,
        Some(next) => next,
    })
}

impl SequenceState {
    /// Gives out the next value.
    ///
    /// # Errors
    /// The sequence has reached its end.
    fn next(&mut self, name: &str) -> Result<i64, StoreError> {
        let value = self.counter;
        let after = step(value, self.increment, self.minimum, self.maximum, self.cycle);
        // A number that has none after it is not given out, not even if it is the last one: DuckDB's counter could not
        // go on.
        if !self.cycle && (value < self.minimum || (after.is_none() && self.increment < 0)) {
            let end =
                format!("nextval: reached minimum value of sequence {} ({})", quoted(name), self.minimum);
            return Err(sequence_error(end));
        }
        let after = match after {
            Some(after) if self.cycle || value <= self.maximum => after,
            _ => {
                let end =
                    format!("nextval: reached maximum value of sequence {} ({})", quoted(name), self.maximum);
                return Err(sequence_error(end));
            }
        };
        self.counter = after;
        self.last_value = Some(value);
        self.usage_count += 1;
        Ok(value)
    }

    /// Gives out up to `count` values, and at least one; fewer where the sequence ends, or for more than
    /// [`SEQUENCE_VALUES_MAX`].
    ///
    /// # Errors
    /// There is not one more.
    pub fn draw(&mut self, name: &str, count: u64) -> Result<SequenceRun, StoreError> {
        let first = self.next(name)?;
        let mut drawn = 1;
        while drawn < count.min(SEQUENCE_VALUES_MAX) && self.next(name).is_ok() {
            drawn += 1;
        }
        let Self { increment, minimum, maximum, cycle, .. } = *self;
        Ok(SequenceRun { count: drawn, first, increment, minimum, maximum, cycle })
    }

    /// Goes on from another value, which counts as given out if `is_called`.
    ///
    /// # Errors
    /// It is none of the sequence's, or no value comes after it.
    pub fn set(&mut self, name: &str, value: i64, is_called: bool) -> Result<(), StoreError> {
        let (minimum, maximum) = (self.minimum, self.maximum);
        if value < minimum || value > maximum {
            let name = quoted(name);
            return Err(sequence_error(format!(
                "setval: value {value} is out of bounds for sequence {name} ({minimum}..{maximum})"
            )));
        }
        self.counter = value;
        if is_called {
            return self.next(name).map(|_| ());
        }
        self.usage_count += 1;
        Ok(())
    }

    /// Moves forward to a state that the sequence had elsewhere. Says whether it did: never back.
    pub fn follow(&mut self, usage: &SequenceUsage) -> bool {
        if usage.usage_count <= self.usage_count {
            return false;
        }
        self.usage_count = usage.usage_count;
        self.counter = usage.counter;
        let before = usage.counter.checked_sub(self.increment);
        // A counter that has begun again does not tell what was before it.
        let before = before.filter(|value| (self.minimum..=self.maximum).contains(value));
        self.last_value = usage.last_value.or(before);
        true
    }
}

/// Takes the next value off a run.
pub fn take(run: &mut SequenceRun) -> Option<i64> {
    run.count = run.count.checked_sub(1)?;
    let value = run.first;
    // The last value of a run may have none after it.
    run.first = step(value, run.increment, run.minimum, run.maximum, run.cycle).unwrap_or(value);
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sequence(first: i64, increment: i64, minimum: i64, maximum: i64, cycle: bool) -> SequenceState {
        let (usage_count, last_value) = (0, None);
        SequenceState { usage_count, counter: first, last_value, increment, minimum, maximum, cycle }
    }

    fn values(mut run: SequenceRun) -> Vec<i64> {
        std::iter::from_fn(|| take(&mut run)).collect()
    }

    fn drawn(sequence: &mut SequenceState, count: u64) -> Result<Vec<i64>, String> {
        sequence.draw("s", count).map(values).map_err(|error| error.message)
    }

    #[test]
    fn it_counts_in_steps_and_remembers_the_last_value() {
        let mut up = sequence(5, 3, 1, i64::MAX, false);
        assert_eq!(drawn(&mut up, 1), Ok(vec![5]));
        assert_eq!(drawn(&mut up, 3), Ok(vec![8, 11, 14]));
        assert_eq!((up.usage_count, up.counter, up.last_value), (4, 17, Some(14)));
        let mut down = sequence(100, -10, -1000, 100, false);
        assert_eq!(drawn(&mut down, 3), Ok(vec![100, 90, 80]));
        assert_eq!(drawn(&mut up, 0), Ok(vec![17]), "one at least");
    }

    #[test]
    fn it_gives_what_is_left_and_then_says_that_it_has_reached_its_end() {
        let mut up = sequence(1, 2, 1, 6, false);
        assert_eq!(drawn(&mut up, 10), Ok(vec![1, 3, 5]));
        let end = Err("nextval: reached maximum value of sequence \"s\" (6)".to_owned());
        assert_eq!(drawn(&mut up, 1), end);
        assert_eq!(drawn(&mut up, 7), end);
        assert_eq!((up.usage_count, up.counter, up.last_value), (3, 7, Some(5)));
        let mut down = sequence(-1, -1, -2, -1, false);
        assert_eq!(drawn(&mut down, 10), Ok(vec![-1, -2]));
        let error = down.draw("a\"b", 1).unwrap_err();
        assert_eq!(error.message, "nextval: reached minimum value of sequence \"a\"\"b\" (-2)");
        assert_eq!(error.kind, ErrorKind::SEQUENCE);
        assert!(error.kind.is_deterministic());
    }

    #[test]
    fn a_number_with_none_after_it_is_not_given_out() {
        let mut up = sequence(i64::MAX - 1, 1, 1, i64::MAX, false);
        assert_eq!(drawn(&mut up, 5), Ok(vec![i64::MAX - 1]));
        assert!(drawn(&mut up, 1).unwrap_err().contains("maximum"));
        let mut down = sequence(i64::MIN + 1, -1, i64::MIN, -1, false);
        assert_eq!(drawn(&mut down, 5), Ok(vec![i64::MIN + 1]));
        assert!(drawn(&mut down, 1).unwrap_err().contains("minimum"));
    }

    #[test]
    fn one_that_cycles_begins_again_at_either_end() {
        let mut up = sequence(2, 2, 1, 5, true);
        assert_eq!(drawn(&mut up, 6), Ok(vec![2, 4, 1, 3, 5, 1]));
        let mut down = sequence(-1, -1, -3, -1, true);
        assert_eq!(drawn(&mut down, 5), Ok(vec![-1, -2, -3, -1, -2]));
        let mut far = sequence(i64::MAX - 1, 5, 7, i64::MAX, true);
        assert_eq!(drawn(&mut far, 3), Ok(vec![i64::MAX - 1, 7, 12]));
        let mut deep = sequence(i64::MIN + 1, -5, i64::MIN, 7, true);
        assert_eq!(drawn(&mut deep, 2), Ok(vec![i64::MIN + 1, 7]));
    }

    #[test]
    fn it_goes_on_from_where_it_is_set() {
        let mut set = sequence(1, 1, 1, 100, false);
        set.set("s", 50, true).unwrap();
        assert_eq!((set.usage_count, set.last_value), (1, Some(50)));
        assert_eq!(drawn(&mut set, 2), Ok(vec![51, 52]));
        set.set("s", 7, false).unwrap();
        assert_eq!(set.last_value, Some(52), "nothing was given out");
        assert_eq!(drawn(&mut set, 1), Ok(vec![7]));
        let error = set.set("s", 101, true).unwrap_err();
        assert_eq!(error.message, "setval: value 101 is out of bounds for sequence \"s\" (1..100)");
        set.set("s", 100, true).unwrap();
        assert!(drawn(&mut set, 1).is_err());
    }

    #[test]
    fn it_follows_forward_only() {
        let mut it = sequence(1, 2, 1, 100, true);
        let usage = |usage_count, counter, last_value| SequenceUsage {
            usage_count,
            counter,
            last_value,
            ..SequenceUsage::default()
        };
        assert!(it.follow(&usage(3, 7, None)));
        assert_eq!((it.counter, it.last_value), (7, Some(5)));
        assert!(!it.follow(&usage(3, 9, None)) && !it.follow(&usage(2, 5, None)));
        assert!(it.follow(&usage(50, 1, None)));
        assert_eq!(it.last_value, None, "it has begun again");
        assert!(it.follow(&usage(51, 3, Some(1))));
        assert_eq!((it.usage_count, it.counter, it.last_value), (51, 3, Some(1)));
    }

    #[test]
    fn one_entry_reserves_no_more_than_the_limit() {
        let mut up = sequence(1, 1, 1, i64::MAX, false);
        assert_eq!(up.draw("s", u64::MAX).unwrap().count, SEQUENCE_VALUES_MAX);
        assert_eq!(up.usage_count, SEQUENCE_VALUES_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// However the values are divided up, they are the values of one sequence that is drawn from one by one.
        #[test]
        fn runs_of_any_length_are_the_values_one_by_one(
            bounds in (-20i64..20, 0i64..30),
            start in 0i64..30,
            increment in prop_oneof![-7i64..0, 1i64..7],
            cycle in any::<bool>(),
            near in prop_oneof![Just(0), Just(i64::MAX - 60), Just(i64::MIN + 60)],
            counts in prop::collection::vec(1u64..20, 1..10),
        ) {
            let (minimum, maximum) = (near + bounds.0, near + bounds.0 + bounds.1);
            let first = minimum + start % (bounds.1 + 1);
            let mut one_by_one = sequence(first, increment, minimum, maximum, cycle);
            let mut in_runs = one_by_one.clone();
            for count in counts {
                let run = in_runs.draw("s", count);
                let drawn = run.as_ref().map_or(1, |run| run.count);
                prop_assert!(drawn <= count);
                let singly: Result<Vec<i64>, _> = (0..drawn).map(|_| one_by_one.next("s")).collect();
                prop_assert_eq!(run.map(values), singly);
            }
            prop_assert_eq!(one_by_one, in_runs);
        }
    }
}
