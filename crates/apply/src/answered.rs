//! What an origin says of its answers when it proposes something.

use std::collections::BTreeSet;

/// How many proposals later one that is still waited for is named, instead of keeping all that came after it remembered.
pub const LAG: u64 = 256;

/// Most of them that one entry names.
const EXCEPT_MAX: usize = 64;

/// Which proposals of an origin have been answered: all through one, except a few.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answered {
    pub through: u64,
    /// In ascending order.
    pub except: Vec<u64>,
}

impl Answered {
    /// Of an origin that waits for `outstanding`, of which the last one is the proposal that says so. Those that are more
    /// than `lag` behind it are named.
    pub fn of(outstanding: &BTreeSet<u64>, lag: u64) -> Self {
        let newest = outstanding.last().copied().unwrap_or_default();
        let is_late = |sequence: &u64| newest - sequence > lag;
        let except: Vec<u64> = outstanding.iter().copied().take_while(is_late).take(EXCEPT_MAX).collect();
        let next = outstanding.iter().nth(except.len()).copied().unwrap_or(newest);
        Self { through: next.saturating_sub(1), except }
    }

    /// Whether this proposal is one of them.
    pub fn covers(&self, sequence: u64) -> bool {
        sequence <= self.through && !self.except.contains(&sequence)
    }
}

impl From<u64> for Answered {
    fn from(through: u64) -> Self {
        Self { through, except: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_waited_for_long_is_named_and_keeps_no_other_remembered() {
        let of = |outstanding: &[u64]| Answered::of(&outstanding.iter().copied().collect(), 10);
        assert_eq!(of(&[]), Answered::from(0));
        assert_eq!(of(&[1]), Answered::from(0));
        assert_eq!(of(&[5, 9, 15]), Answered::from(4), "a moment ago");
        let late = of(&[5, 9, 20]);
        assert_eq!(late, Answered { through: 19, except: vec![5, 9] });
        assert!(!late.covers(5) && late.covers(6) && late.covers(19) && !late.covers(20));
        assert_eq!(of(&[5, 12, 20]), Answered { through: 11, except: vec![5] });
        let many: Vec<u64> = (1..=100).chain([1000]).collect();
        assert_eq!((of(&many).through, of(&many).except.len()), (EXCEPT_MAX as u64, EXCEPT_MAX));
    }
}
