//! Clients that guess tokens, on real sockets.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, TOKEN, connect, limits, start};
use quack_net::Limits;

/// How long the guessers go on.
const TIME: Duration = Duration::from_secs(3);
const GUESSERS: usize = 16;

#[test]
fn guesses_are_slowed_to_some_tens_a_minute_and_others_do_not_notice() {
    let (server, _) = start(Limits { head_time_max: Duration::from_secs(30), ..limits() });
    let address = server.local_address();
    let mut client = Client::new(address);
    let session = client.open();
    let end = Instant::now() + TIME;
    let answers = AtomicUsize::new(0);
    thread::scope(|scope| {
        for guesser in 0..GUESSERS {
            let answers = &answers;
            scope.spawn(move || {
                let mut client = Client::new(address);
                for number in 0.. {
                    let guess = format!("guess {number} of {guesser}, long enough");
                    let error = client.request("", &connect(&guess)).error();
                    assert!(
                        error == "Authentication failed" || error.contains("too many wrong tokens"),
                        "{error}"
                    );
                    answers.fetch_add(1, Ordering::Relaxed);
                    if Instant::now() > end {
                        return;
                    }
                }
            });
        }
        // A session that is open goes on as ever.
        while Instant::now() < end {
            client.sql(&session, "SELECT 1").response();
            thread::sleep(Duration::from_millis(50));
        }
    });
    let counts = server.session_counts();
    assert!(answers.into_inner() > GUESSERS);
    assert!((10..=25).contains(&counts.wrong_tokens) && counts.slowed > 0, "{counts:?}");
    // The guessers have gone: a client of their address waits for one pause at most.
    let begun = Instant::now();
    Client::new(address).open();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn a_client_with_an_old_token_does_not_slow_its_neighbours() {
    let (server, _) = start(limits());
    let mut old = Client::new(server.local_address());
    for _ in 0..500 {
        assert_eq!(old.request("", &connect("an old token of the tests")).error(), "Authentication failed");
    }
    let counts = server.session_counts();
    assert_eq!((counts.wrong_tokens, counts.slowed), (500, 0));
    let begun = Instant::now();
    Client::new(server.local_address()).request("", &connect(TOKEN)).response();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}
