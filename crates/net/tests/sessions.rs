//! Sessions: their ids, their order, their limits, their end.

#![allow(clippy::unwrap_used)]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::*;
use quack_net::{Limits, Server, SessionCounts};
use quack_wire::protocol_1::{Batch, Request, Response};
use quack_wire::{Header, ResultId, SessionId};

/// Sends a statement on a connection of its own and reads the answer on a thread.
fn in_background(server: &Server, session: &str, sql: &str) -> thread::JoinHandle<(Answer, Instant)> {
    let mut client = Client::new(server.local_address());
    client.send(post(&prepare(sql).encode(session, None).concat()));
    thread::spawn(move || (client.receive(false).expect("an answer"), Instant::now()))
}

fn prepared(answer: &Answer) -> quack_wire::protocol_1::Prepared {
    match answer.response() {
        (Header { session, .. }, Response::Prepared(prepared)) if session.is_empty() => prepared,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ids_are_random_and_known_to_the_service() {
    let (server, fake) = start(limits());
    let mut client = Client::new(server.local_address());
    let mut ids: Vec<String> = (0..50).map(|_| client.open()).collect();
    assert!(ids.iter().all(|id| SessionId::parse(id).is_ok()));
    let connects: Vec<String> = ids.iter().map(|id| format!("connect {id}")).collect();
    assert_eq!(fake.events(), connects);
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), server.active_connections()), (50, 50));
}

#[test]
fn requests_of_one_session_run_one_after_the_other() {
    let (server, fake) = start(limits());
    let id = Client::new(server.local_address()).open();
    let start = Instant::now();
    let waits: Vec<_> = (0..4).map(|_| in_background(&server, &id, "wait 100")).collect();
    waits.into_iter().for_each(|wait| drop(prepared(&wait.join().unwrap().0)));
    assert!(start.elapsed() >= Duration::from_millis(400));
    assert_eq!(fake.running_max(), 1);
}

#[test]
fn requests_of_several_sessions_run_at_the_same_time_up_to_the_limit() {
    let (server, fake) = start(Limits { requests_max: 3, ..limits() });
    let mut client = Client::new(server.local_address());
    let ids: Vec<_> = (0..6).map(|_| client.open()).collect();
    let waits: Vec<_> = ids.iter().map(|id| in_background(&server, id, "wait 200")).collect();
    waits.into_iter().for_each(|wait| drop(prepared(&wait.join().unwrap().0)));
    assert_eq!(fake.running_max(), 3);
}

#[test]
fn too_many_requests_in_one_session_are_refused() {
    let (server, _) = start(Limits { session_requests_max: 2, ..limits() });
    let mut client = Client::new(server.local_address());
    let id = client.open();
    let running = in_background(&server, &id, "wait 500");
    thread::sleep(Duration::from_millis(100));
    let waiting: Vec<_> = (0..2).map(|_| in_background(&server, &id, "SELECT 1")).collect();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(client.sql(&id, "SELECT 1").error(), "too many requests wait in this connection");
    for thread in waiting.into_iter().chain([running]) {
        prepared(&thread.join().unwrap().0);
    }
    prepared(&client.sql(&id, "SELECT 1"));
}

#[test]
fn sessions_beyond_the_limit_are_refused_until_one_ends() {
    let (server, fake) = start(limits().with_sessions(2));
    let mut client = Client::new(server.local_address());
    let (first, _) = (client.open(), client.open());
    let refused = "Too many connections: the server has its maximum of 2, and none was silent for 20 s; close some, or \
                   raise max_connections";
    assert_eq!(client.request("", &connect(TOKEN)).error(), refused);
    assert_eq!(client.request(&first, &Request::Disconnect).response().1, Response::Success);
    assert_eq!(client.request(&first, &Request::Disconnect).error(), "Invalid connection id");
    assert_eq!(client.sql(&first, "SELECT 1").error(), "Invalid connection id");
    client.open();
    assert!(fake.events().contains(&format!("disconnect {first}")));
    assert_eq!(server.active_connections(), 2);
    assert_eq!(client.request("", &connect("a wrong token")).error(), "Authentication failed");
    assert_eq!(
        server.session_counts(),
        SessionCounts { opened: 3, wrong_tokens: 1, slowed: 0, without_place: 1, silent: 0, made_room: 0 }
    );
}

/// The answer says that the server has closed the connection, and why.
fn assert_closed(answer: &Answer, end: &str) {
    let error = answer.error();
    let begin = "Invalid connection id: the server has closed this connection after ";
    assert!(error.starts_with(begin) && error.ends_with(end), "{error}");
}

#[test]
fn sessions_of_clients_that_are_gone_make_room_for_others() {
    let room_silence_min = Duration::from_millis(500);
    let idle_time_max = Duration::from_secs(60);
    let (server, fake) = start(Limits { room_silence_min, idle_time_max, ..limits() }.with_sessions(3));
    let mut client = Client::new(server.local_address());
    let (running, silent, later) = (client.open(), client.open(), client.open());
    prepared(&client.sql(&silent, "BEGIN 1"));
    prepared(&client.sql(&later, "SELECT 1"));
    let long = in_background(&server, &running, "wait 1500");
    assert!(!server.accepts_connections());
    assert!(client.request("", &connect(TOKEN)).error().starts_with("Too many connections: "));
    eventually("one has been silent for long enough", || server.accepts_connections());
    thread::sleep(room_silence_min);
    client.open();
    assert_eq!(fake.events().last().unwrap().split(' ').next(), Some("connect"));
    assert!(fake.events().contains(&format!("disconnect {silent}")));
    let end = " of silence within a transaction, which is rolled back, to make room for another client; connect again";
    assert_closed(&client.sql(&silent, "SELECT 1"), end);
    prepared(&client.sql(&later, "SELECT 1"));
    prepared(&long.join().unwrap().0);
    let counts = server.session_counts();
    assert_eq!((counts.opened, counts.without_place, counts.made_room), (4, 1, 1));
}

#[test]
fn a_session_may_be_silent_for_longer_between_its_transactions() {
    let (transaction_idle_time_max, idle_time_max) = (Duration::from_millis(400), Duration::from_secs(60));
    let (server, fake) = start(Limits { transaction_idle_time_max, idle_time_max, ..limits() });
    let mut client = Client::new(server.local_address());
    let (idle, in_transaction) = (client.open(), client.open());
    prepared(&client.sql(&idle, "BEGIN 1"));
    prepared(&client.sql(&idle, "COMMIT 1"));
    prepared(&client.sql(&in_transaction, "BEGIN 1"));
    eventually("it is closed", || fake.events().contains(&format!("disconnect {in_transaction}")));
    let end = " of silence within a transaction, which is rolled back; connect again";
    assert_closed(&client.sql(&in_transaction, "SELECT 1"), end);
    prepared(&client.sql(&idle, "SELECT 1"));
    assert_eq!(server.session_counts().silent, 1);
}

#[test]
fn a_silent_session_is_closed_and_a_busy_one_is_not() {
    let (server, fake) = start(Limits { session_idle_time_max: Duration::from_secs(1), ..limits() });
    let mut client = Client::new(server.local_address());
    let (silent, busy, running) = (client.open(), client.open(), client.open());
    let long = in_background(&server, &running, "wait 2000");
    for _ in 0..20 {
        prepared(&client.sql(&busy, "SELECT 1"));
        thread::sleep(Duration::from_millis(100));
    }
    assert_closed(&client.sql(&silent, "SELECT 1"), " of silence; connect again");
    assert!(fake.events().contains(&format!("disconnect {silent}")));
    assert!(!fake.events().contains(&format!("disconnect {busy}")));
    prepared(&long.join().unwrap().0);
    // The silence of a long statement's session begins with its end.
    thread::sleep(Duration::from_millis(500));
    prepared(&client.sql(&running, "SELECT 1"));
    eventually("all sessions are closed", || fake.sessions.lock().unwrap().is_empty());
    assert_eq!(server.active_connections(), 0);
}

#[test]
fn a_result_is_fetched_in_numbered_batches_and_has_an_end() {
    let (server, _) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    let first = prepared(&client.sql(&id, "rows 3"));
    assert!(first.needs_more_fetch);
    let mut batches = Vec::new();
    for _ in 0..5 {
        let Response::Fetched(Batch { chunks, index }) =
            client.request(&id, &fetch(first.result)).response().1
        else {
            panic!()
        };
        batches.push((chunks.len(), index));
    }
    assert_eq!(batches, [(2, Some(1)), (2, Some(2)), (2, Some(3)), (0, None), (0, None)]);
    // The next result replaces it, and so does a failure.
    let second = prepared(&client.sql(&id, "rows 3"));
    assert_ne!(first.result, second.result);
    assert_eq!(client.request(&id, &fetch(first.result)).error(), "Result has been closed");
    assert_eq!(client.sql(&id, "error x").error(), "x");
    assert_eq!(client.request(&id, &fetch(second.result)).error(), "Result has been closed");
    let unknown = ResultId { upper: 1, lower: 2 };
    assert_eq!(client.request(&id, &fetch(unknown)).error(), "Result has been closed");
    // One without more rows is at its end at once.
    let third = prepared(&client.sql(&id, "SELECT 1"));
    let end = Response::Fetched(Batch { chunks: Vec::new(), index: None });
    assert_eq!(client.request(&id, &fetch(third.result)).response().1, end);
    // A result belongs to its session.
    let fourth = prepared(&client.sql(&id, "rows 3"));
    let other = client.open();
    assert_eq!(client.request(&other, &fetch(fourth.result)).error(), "Result has been closed");
}

#[test]
fn a_panic_of_the_service_is_an_error_of_one_request() {
    let (server, _) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    for _ in 0..3 {
        let error = client.sql(&id, "panic").error();
        assert_eq!(error, "internal error: the request has panicked on the server");
        prepared(&client.sql(&id, "SELECT 1"));
    }
}

#[test]
fn a_client_that_goes_away_interrupts_its_own_statement_only() {
    let (server, fake) = start(limits());
    let id = Client::new(server.local_address()).open();
    let mut leaver = Client::new(server.local_address());
    leaver.send(post(&prepare("wait 5000").encode(&id, None).concat()));
    thread::sleep(Duration::from_millis(100));
    // Two more wait behind it; the first of them leaves too, before its turn.
    let mut second = Client::new(server.local_address());
    second.send(post(&prepare("error never run").encode(&id, None).concat()));
    thread::sleep(Duration::from_millis(100));
    let third = in_background(&server, &id, "wait 300");
    drop(second);
    thread::sleep(Duration::from_millis(100));
    drop(leaver);
    prepared(&third.join().unwrap().0);
    let interrupts = |event: &&String| event.starts_with("interrupt");
    assert_eq!(fake.events().iter().filter(interrupts).count(), 2, "{:?}", fake.events());
    assert!(fake.events().contains(&"interrupted wait 5000".to_owned()));
}

#[test]
fn an_administrator_sees_sessions_and_closes_them() {
    let (server, fake) = start(limits());
    let mut client = Client::new(server.local_address());
    let (busy, idle) = (client.open(), client.open());
    prepared(&client.sql(&idle, "BEGIN"));
    let running = in_background(&server, &busy, "wait 20000");
    let seen = || server.sessions();
    while !seen()[0].is_active {
        thread::sleep(Duration::from_millis(5));
    }
    let shown: Vec<_> = seen()
        .into_iter()
        .map(|session| {
            (session.number, session.is_active, session.in_transaction, session.statement.unwrap().0)
        })
        .collect();
    assert_eq!(shown, [(1, true, false, "wait 20000".to_owned()), (2, false, true, "BEGIN".to_owned())]);
    assert!(!server.close_session(3));
    assert!(server.close_session(1) && server.close_session(2));
    assert!(running.join().unwrap().0.error().contains("Interrupted!"));
    while !seen().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    let told = client.sql(&idle, "SELECT 1").error();
    assert!(told.contains("an administrator has closed this connection within a transaction"), "{told}");
    let told = client.sql(&busy, "SELECT 1").error();
    assert!(told.contains("an administrator has closed this connection; connect again"), "{told}");
    assert_eq!(fake.sessions.lock().unwrap().len(), 0);
    client.open();
    assert_eq!(seen()[0].number, 3, "numbers are not given twice");
}

/// A chunk of as many rows, all of which are the text `x`. `rows` is encoded as LEB128.
fn constant_rows(rows: &[u8]) -> quack_wire::skim::Chunk {
    let column = b"e\0\x01d\0\x19\xff\xfff\0\x01Z\0\x02d\0\0f\0\x01\x01x\xff\xff\xff\xff";
    let bytes = bytes::Bytes::from([b"d\0", rows, column].concat());
    quack_wire::skim::check_chunk(&bytes).unwrap()
}

#[test]
fn appends_wait_for_the_memory_in_which_they_are_read() {
    // 30,000 rows, of which two megabytes hold two chunks; and 1,048,575, which are read alone.
    for (rows, at_a_time) in [(&[0xb0, 0xea, 0x01], 2), (&[0xff, 0xff, 0x3f], 1)] {
        let (server, fake) = start(Limits { appends_bytes_max: 2 << 20, ..limits() });
        let append = Request::Append(quack_wire::protocol_1::Append {
            schema: "main".into(),
            table: "slow".into(),
            chunk: constant_rows(rows),
        });
        let mut clients: Vec<_> = (0..5).map(|_| Client::new(server.local_address())).collect();
        let sessions: Vec<_> = clients.iter_mut().map(Client::open).collect();
        thread::scope(|scope| {
            for (client, session) in clients.iter_mut().zip(&sessions) {
                scope.spawn(|| assert_eq!(client.request(session, &append).response().1, Response::Success));
            }
        });
        assert_eq!(fake.running_max(), at_a_time);
    }
}

#[test]
fn appends_reach_the_service_with_their_chunk() {
    let (server, fake) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    let append = |bytes| {
        let chunk = quack_wire::skim::Chunk { bytes, rows: 1, memory_bytes: 0 };
        Request::Append(quack_wire::protocol_1::Append { schema: "main".into(), table: "t".into(), chunk })
    };
    let whole = append(bytes::Bytes::from_static(CHUNK));
    assert_eq!(client.request(&id, &whole).response().1, Response::Success);
    let event = format!("append main.t {}", CHUNK.len());
    assert!(fake.events().contains(&event));
    // A chunk whose structure is broken never reaches it.
    let broken = append(bytes::Bytes::from_static(&CHUNK[..CHUNK.len() - 3]));
    assert_eq!(client.request(&id, &broken).status, 500);
    assert_eq!(fake.events().len(), 2);
}

#[test]
fn a_session_can_be_closed_while_every_thread_is_taken() {
    let (server, fake) = start(Limits { requests_max: 1, ..limits() });
    let mut client = Client::new(server.local_address());
    let (id, other) = (client.open(), client.open());
    let running = in_background(&server, &id, "wait 1000");
    thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    assert_eq!(client.request(&other, &Request::Disconnect).response().1, Response::Success);
    assert!(start.elapsed() < Duration::from_millis(500));
    assert!(fake.events().contains(&format!("disconnect {other}")));
    prepared(&running.join().unwrap().0);
}

#[test]
fn a_session_whose_client_leaves_before_its_disconnect_begins_is_closed_all_the_same() {
    let (server, fake) = start(Limits { session_idle_time_max: Duration::from_millis(400), ..limits() });
    let id = Client::new(server.local_address()).open();
    let running = in_background(&server, &id, "wait 300");
    thread::sleep(Duration::from_millis(100));
    let mut leaver = Client::new(server.local_address());
    leaver.send(post(&Request::Disconnect.encode(&id, None).concat()));
    thread::sleep(Duration::from_millis(100));
    drop(leaver);
    prepared(&running.join().unwrap().0);
    eventually("the session is closed", || fake.events().contains(&format!("disconnect {id}")));
}

#[test]
fn a_result_whose_fetch_has_failed_is_closed() {
    let (server, _) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    let result = prepared(&client.sql(&id, "broken")).result;
    assert_eq!(client.request(&id, &fetch(result)).error(), "broken in the middle");
    assert_eq!(client.request(&id, &fetch(result)).error(), "Result has been closed");
}

#[test]
fn an_error_that_a_client_is_told_has_no_stack_trace() {
    let (server, _) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    let error =
        "error Attempted to access index 5\n\nStack Trace:\n\n/lib/duckdb.so(+0x1f2a) [0x7fa4c7cdd5ec]\n";
    assert_eq!(client.sql(&id, error).error(), "Attempted to access index 5");
}
