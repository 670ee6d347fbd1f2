//! Slows down clients that guess tokens.
//!
//! A right token that arrives without delay tells a guesser as much as a wrong one, so a delay of refusals alone
//! slows nothing: a guesser would hang up and try again. Here a token waits **before** it is compared, once its
//! address has shown several wrong ones. What keeps honest clients from noticing:
//! - an address without wrong tokens in the last hour does not wait, even while other addresses guess;
//! - the same wrong token again is no new guess: it is refused at once, and costs nothing. A client that was set up
//!   with an old token and tries for ever delays nothing for its neighbours;
//! - open sessions are not affected.
//!
//! What lives here: who must wait, for how long. What it does not know: connections, timers, the protocol.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::random::tokens_equal;
use crate::session::lock;

/// Longest time that a token waits to be compared. Stock clients give up after 30 seconds.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(6);
/// Most tokens of one address that wait at a time: as many as get their turn within [`WAIT_MAX`] when all are wrong
/// and the pause is the longest, and some that go without a pause when they are right.
const WAITING_MAX: usize = 8;
/// Addresses that are remembered one by one: about 200 kB. All beyond them count as one.
const ADDRESSES_MAX: usize = 1024;
/// Wrong tokens of one address that are known again. Clients that were set up wrongly have one or two.
const KNOWN_MAX: usize = 8;
/// An address with a wrong token counts as one of the guessers for so long: those with many addresses come again.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Wrong tokens are written into the log so often at most: a burst of them is one line.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How wrong tokens are followed by pauses: none for the first `free`, then pauses that double.
struct Policy {
    free: u32,
    pause_min: Duration,
    pause_max: Duration,
    /// One wrong token is forgotten in this time without further ones.
    forget: Duration,
}

/// The number counts no further than so many beyond `free`: the longest pause is reached long before, and an address
/// that has stopped is soon as before.
const BEYOND_FREE_MAX: u32 = 8;

/// Of one address: ten mistypings are free, and then 30 guesses a minute are the most.
const OF_ADDRESS: Policy = Policy {
    free: 10,
    pause_min: Duration::from_millis(250),
    pause_max: Duration::from_secs(2),
    forget: Duration::from_secs(4),
};
/// Of all addresses together: 60 a minute. Only addresses with wrong tokens of their own wait for it.
const OF_ALL: Policy = Policy {
    free: 100,
    pause_min: Duration::from_millis(100),
    pause_max: Duration::from_secs(1),
    forget: Duration::from_secs(2),
};

/// How many wrong tokens there were of late.
#[derive(Debug, Default)]
struct Recent {
    count: u32,
    last: Option<Instant>,
}

impl Recent {
    /// How long ago the last one was.
    fn since(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::MAX, |last| now.saturating_duration_since(last))
    }

    fn count_at(&self, now: Instant, policy: &Policy) -> u32 {
        let forgotten = self.since(now).as_millis() / policy.forget.as_millis();
        self.count.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    fn add(&mut self, now: Instant, policy: &Policy) {
        self.count = (self.count_at(now, policy) + 1).min(policy.free + BEYOND_FREE_MAX);
        self.last = Some(now);
    }

    /// How long from `now` until the next token is compared.
    fn pause(&self, now: Instant, policy: &Policy) -> Duration {
        let (Some(last), Some(beyond)) = (self.last, self.count_at(now, policy).checked_sub(policy.free))
        else {
            return Duration::ZERO;
        };
        if beyond == 0 {
            return Duration::ZERO;
        }
        let pause = (policy.pause_min * (1 << (beyond - 1))).min(policy.pause_max);
        (last + pause).saturating_duration_since(now)
    }
}

/// What is remembered of an address.
#[derive(Debug, Default)]
struct Record {
    recent: Recent,
    /// Hashes of its last wrong tokens.
    known: VecDeque<u64>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Table {
    addresses: HashMap<IpAddr, Record>,
    all: Recent,
    logged: Option<Instant>,
    unlogged: u64,
}

/// What became of a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    /// With how many wrong ones a line of the log is to tell of, if it is time for one.
    Wrong {
        tell: Option<u64>,
    },
    /// Not compared: ask again after this time.
    Wait(Duration),
}

/// Compares tokens, and remembers who has shown wrong ones.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    table: Mutex<Table>,
    /// Keyed anew in each process: what is remembered tells nothing about tokens.
    hasher: RandomState,
}

/// A token that waits, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    guesses: &'a Guesses,
    key: IpAddr,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(record) = lock(&self.guesses.table).addresses.get_mut(&self.key) {
            record.waiting -= 1;
        }
    }
}

impl Guesses {
    /// Compares a token of a client at `from` with the right one, or tells it to wait.
    pub(crate) fn judge(&self, from: IpAddr, given: &str, right: &str, now: Instant) -> Verdict {
        let hash = self.hasher.hash_one(given);
        let mut table = lock(&self.table);
        let key = table.key(from, now);
        let all = table.all.pause(now, &OF_ALL);
        if let Some(record) = table.addresses.get(&key) {
            if record.known.contains(&hash) {
                return Verdict::Wrong { tell: table.tell(now) };
            }
            let own = record.recent.pause(now, &OF_ADDRESS);
            let all = if record.recent.since(now) < REMEMBERED { all } else { Duration::ZERO };
            if !own.max(all).is_zero() {
                return Verdict::Wait(own.max(all));
            }
        }
        if tokens_equal(given, right) {
            return Verdict::Right;
        }
        table.all.add(now, &OF_ALL);
        let record = table.addresses.entry(key).or_default();
        record.recent.add(now, &OF_ADDRESS);
        if record.known.len() == KNOWN_MAX {
            record.known.pop_front();
        }
        record.known.push_back(hash);
        Verdict::Wrong { tell: table.tell(now) }
    }

    /// A place to wait in, if one of the address is left.
    pub(crate) fn wait(&self, from: IpAddr, now: Instant) -> Option<Waiting<'_>> {
        let mut table = lock(&self.table);
        let key = table.key(from, now);
        let record = table.addresses.entry(key).or_default();
        if record.waiting == WAITING_MAX {
            return None;
        }
        record.waiting += 1;
        Some(Waiting { guesses: self, key })
    }
}

impl Table {
    /// Under what an address is remembered. A network gives each of its machines as many addresses of IPv6 as it
    /// likes below one prefix of 64 bits.
    fn key(&mut self, from: IpAddr, now: Instant) -> IpAddr {
        let key = match from.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            address @ IpAddr::V4(_) => address,
        };
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&key) {
            self.addresses.retain(|_, record| record.waiting > 0 || record.recent.since(now) < REMEMBERED);
            if self.addresses.len() >= ADDRESSES_MAX {
                return IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            }
        }
        key
    }

    fn tell(&mut self, now: Instant) -> Option<u64> {
        self.unlogged += 1;
        if self.logged.is_some_and(|logged| now.saturating_duration_since(logged) < LOG_INTERVAL) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "the right token of all";

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// Guesses as fast as it is let for a minute, with `addresses` at a time: how many tokens were compared.
    fn guesses_in_a_minute(guesses: &Guesses, addresses: u8, start: Instant) -> u32 {
        let mut compared = 0;
        for step in 0..600 {
            let now = start + Duration::from_millis(100) * step;
            for last in 0..addresses {
                let token = format!("{step} of {last} {start:?}");
                compared += u32::from(
                    guesses.judge(address(last), &token, RIGHT, now) == Verdict::Wrong { tell: None },
                );
            }
        }
        compared
    }

    #[test]
    fn an_address_gets_some_tens_of_guesses_a_minute() {
        let guesses = Guesses::default();
        let start = Instant::now();
        let first = guesses_in_a_minute(&guesses, 1, start);
        let second = guesses_in_a_minute(&guesses, 1, start + Duration::from_secs(60));
        assert!((30..=45).contains(&first) && (25..=31).contains(&second), "{first} {second}");
    }

    #[test]
    fn many_addresses_share_a_bound() {
        let guesses = Guesses::default();
        let start = Instant::now();
        let first = guesses_in_a_minute(&guesses, 100, start);
        let second = guesses_in_a_minute(&guesses, 100, start + Duration::from_secs(60));
        assert!(first <= 200 && second <= 62, "{first} {second}");
    }

    #[test]
    fn an_address_without_wrong_tokens_does_not_wait() {
        let guesses = Guesses::default();
        let start = Instant::now();
        guesses_in_a_minute(&guesses, 100, start);
        let now = start + Duration::from_secs(60);
        assert_eq!(guesses.judge(address(200), RIGHT, RIGHT, now), Verdict::Right);
    }

    #[test]
    fn the_right_token_waits_two_seconds_at_most_beside_a_guesser() {
        let guesses = Guesses::default();
        let start = Instant::now();
        guesses_in_a_minute(&guesses, 1, start);
        let now = start + Duration::from_secs(60);
        match guesses.judge(address(0), RIGHT, RIGHT, now) {
            Verdict::Wait(time) => {
                assert!(time <= OF_ADDRESS.pause_max);
                assert_eq!(guesses.judge(address(0), RIGHT, RIGHT, now + time), Verdict::Right);
            }
            verdict => assert_eq!(verdict, Verdict::Right),
        }
    }

    #[test]
    fn the_same_wrong_token_again_delays_nothing() {
        let guesses = Guesses::default();
        let now = Instant::now();
        for _ in 0..10_000 {
            assert!(matches!(guesses.judge(address(0), "an old token", RIGHT, now), Verdict::Wrong { .. }));
        }
        assert_eq!(guesses.judge(address(0), RIGHT, RIGHT, now), Verdict::Right);
    }

    #[test]
    fn a_burst_is_one_line_of_the_log() {
        let guesses = Guesses::default();
        let start = Instant::now();
        let lines = (0..3000_u32).filter_map(|step| {
            let now = start + Duration::from_millis(40) * step;
            match guesses.judge(address(0), "an old token", RIGHT, now) {
                Verdict::Wrong { tell } => tell,
                verdict => panic!("{verdict:?}"),
            }
        });
        assert_eq!(lines.collect::<Vec<_>>(), [1, 1500]);
    }

    #[test]
    fn neighbours_below_one_prefix_are_one() {
        let guesses = Guesses::default();
        let now = Instant::now();
        let compared = (0..1000_u16).filter(|last| {
            let from = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, *last));
            guesses.judge(from, &last.to_string(), RIGHT, now) != Verdict::Wait(OF_ADDRESS.pause_min)
        });
        assert_eq!(compared.count(), 11);
    }

    #[test]
    fn addresses_beyond_the_table_are_one() {
        let guesses = Guesses::default();
        let now = Instant::now();
        for number in 0..5000_u16 {
            let [high, low] = number.to_be_bytes();
            guesses.judge(IpAddr::from([10, 0, high, low]), &number.to_string(), RIGHT, now);
        }
        assert!(lock(&guesses.table).addresses.len() <= ADDRESSES_MAX + 1);
    }

    #[test]
    fn few_wait_at_a_time() {
        let guesses = Guesses::default();
        let now = Instant::now();
        let mut waiting: Vec<_> = std::iter::from_fn(|| guesses.wait(address(0), now)).collect();
        assert_eq!(waiting.len(), WAITING_MAX);
        waiting.pop();
        assert!(guesses.wait(address(0), now).is_some());
        assert!(guesses.wait(address(1), now).is_some());
    }
}
