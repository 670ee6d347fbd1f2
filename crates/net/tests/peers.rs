//! Nodes that speak with each other: messages, calls, and what happens when one of them does not play along.

#![allow(clippy::unwrap_used)]

mod cluster;
mod common;

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::*;
use common::{Client, eventually};
use quack_net::{CallError, Endpoint, Limits, PeerLimits, Peers, Server};

const WAIT: Duration = Duration::from_secs(10);

fn numbered(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

#[test]
fn three_nodes_exchange_messages_in_order() {
    let (_, nodes) = cluster(&["a", "b", "c"]);
    for number in 0..1000 {
        for from in &nodes {
            for to in nodes.iter().filter(|to| to.id() != from.id()) {
                assert!(from.send(to, numbered(number)));
            }
        }
    }
    let expected: Vec<_> = (0..1000).map(numbered).collect();
    for to in &nodes {
        eventually("all frames are there", || to.recorder.count() == 2000);
        for from in nodes.iter().filter(|from| from.id() != to.id()) {
            assert_eq!(to.recorder.frames_of(from.id().as_str()), expected);
        }
    }
    assert_eq!(nodes[0].recorder.changes.lock().unwrap().len(), 2);
}

#[test]
fn frames_of_every_size_arrive_whole() {
    let (_, nodes) = cluster(&["a", "b"]);
    let mut sent = Vec::new();
    for size in [0, 1, 16 << 10, (16 << 10) + 1, 0, 300_000, 5 << 20, 34 << 20, 7, 0] {
        let frame: Bytes = (0..size).map(|i: usize| (i * 31 + size) as u8).collect();
        assert!(nodes[0].send(&nodes[1], frame.clone()));
        sent.push(frame);
    }
    wait_until("all frames are there", || nodes[1].recorder.count() == sent.len());
    assert!(nodes[1].recorder.frames_of("a") == sent);
    assert!(!nodes[0].send(&nodes[1], vec![0; (34 << 20) + 1]), "a frame beyond the limit");
    assert!(!nodes[0].peers().send(&id("unknown"), Bytes::new()));
    assert!(!nodes[0].peers().send(&id("a"), Bytes::new()), "a node has no way to itself");
}

#[test]
fn calls_are_answered_by_the_node_that_is_called() {
    let (_, nodes) = cluster(&["a", "b"]);
    let peers = nodes[0].peers();
    let b = id("b");
    assert_eq!(peers.call(&b, "who", Bytes::new(), WAIT).unwrap(), "a");
    for size in [0, 1, 100_000, 8 << 20] {
        let body: Bytes = vec![size as u8; size].into();
        assert!(peers.call(&b, "echo", body.clone(), WAIT).unwrap() == body, "{size}");
    }
    let error = peers.call(&b, "fail", "nothing of the sort: ü".into(), WAIT).unwrap_err();
    assert_eq!(error.to_string(), "node 'b' refuses: nothing of the sort: ü");
    let error = peers.call(&b, "panic", Bytes::new(), WAIT).unwrap_err();
    assert!(matches!(&error, CallError::Refused { text, .. } if text.contains("panicked")), "{error}");
    assert_eq!(peers.call(&b, "who", Bytes::new(), WAIT).unwrap(), "a", "the node has survived");
    let error = peers.call(&id("unknown"), "who", Bytes::new(), WAIT).unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    for method in ["", "a/b", "a?b", &"x".repeat(65)] {
        assert!(matches!(peers.call(&b, method, Bytes::new(), WAIT), Err(CallError::Refused { .. })));
    }
}

#[test]
fn calls_that_are_too_long_are_refused_on_both_sides() {
    let (ca, nodes) = cluster(&["a", "b"]);
    let peers = nodes[0].peers();
    let max = PeerLimits::default().call_bytes_max;
    let error = peers.call(&id("b"), "echo", vec![0; max + 1].into(), WAIT).unwrap_err();
    assert!(error.to_string().contains("send it in parts"), "{error}");
    let error = peers.call(&id("b"), "large", (max + 1).to_string().into(), WAIT).unwrap_err();
    assert!(error.to_string().contains("the answer to call 'large' is too long"), "{error}");
    let (certificate, key) = ca.issue(&Wish::node("a"));
    let raw = RawPeer::connect(nodes[1].server.local_address(), Some((&certificate, &key)));
    let calls = nodes[1].recorder.calls.lock().unwrap().len();
    let (status, text) = raw.request(to_call("echo"), &[&vec![0; max + 1]], true).unwrap();
    assert!(status == 413 && text.contains("more than 8388608 bytes"), "{status} {text}");
    assert_eq!(nodes[1].recorder.calls.lock().unwrap().len(), calls);
}

#[test]
fn a_deadline_ends_the_wait_and_says_that_the_outcome_is_unknown() {
    let (_, nodes) = cluster(&["a", "b"]);
    let start = Instant::now();
    let error =
        nodes[0].peers().call(&id("b"), "wait", "3000".into(), Duration::from_millis(200)).unwrap_err();
    assert!(matches!(error, CallError::TimedOut { .. }) && error.outcome_unknown(), "{error}");
    assert!(error.to_string().contains("the outcome is unknown"));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(nodes[0].peers().call(&id("b"), "who", Bytes::new(), WAIT).unwrap(), "a");
}

#[test]
fn calls_beyond_the_threads_wait_and_are_told_when_they_were_not_begun() {
    let ca = Ca::new();
    let b = Node::start_with(&ca, "b", |config| config.peer_limits.calls_max = 2);
    let nodes = [Node::start(&ca, "a"), b];
    introduce(&nodes);
    let call = |millis: &'static str, deadline| {
        let peers = nodes[0].peers().clone();
        thread::spawn(move || peers.call(&id("b"), "wait", millis.into(), deadline))
    };
    let long = [call("1500", WAIT), call("1500", WAIT)];
    eventually("two calls run", || nodes[1].recorder.calls.lock().unwrap().len() == 2);
    let waits = call("0", WAIT);
    let gives_up = call("0", Duration::from_millis(200)).join().unwrap().unwrap_err();
    // Either side may see the deadline first, and only one of them knows that nothing was done.
    assert!(matches!(&gives_up, CallError::TimedOut { .. } | CallError::Refused { .. }), "{gives_up}");
    assert_eq!(nodes[1].recorder.calls.lock().unwrap().len(), 2);
    assert!(waits.join().unwrap().is_ok());
    assert!(long.into_iter().all(|call| call.join().unwrap().is_ok()));
}

#[test]
fn a_large_call_does_not_hold_up_messages() {
    let ca = Ca::new();
    // So little is taken ahead of the host that the credit of the message stream is used up.
    let small = |name| Node::start_with(&ca, name, |config| config.peer_limits.frame_bytes_max = 1 << 20);
    let nodes = [small("a"), small("b")];
    introduce(&nodes);
    let peers = nodes[0].peers().clone();
    // Its body waits for a thread while messages pass.
    nodes[1].recorder.close_gate(true);
    for _ in 0..20 {
        assert!(nodes[0].send(&nodes[1], vec![1; 1 << 20]));
    }
    // And calls pass while messages wait.
    let body: Bytes = vec![5; 8 << 20].into();
    assert!(peers.call(&id("b"), "echo", body.clone(), WAIT).unwrap() == body);
    assert_eq!(nodes[1].recorder.count(), 0);
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let peers = peers.clone();
            thread::spawn(move || peers.call(&id("b"), "wait", "300".into(), WAIT))
        })
        .collect();
    nodes[1].recorder.close_gate(false);
    eventually("messages pass", || nodes[1].recorder.count() == 20);
    assert!(calls.into_iter().all(|call| call.join().unwrap().is_ok()));
}

#[test]
fn a_peer_that_does_not_take_messages_makes_the_queue_full_and_not_longer() {
    let ca = Ca::new();
    let a = Node::start_with(&ca, "a", |config| {
        config.peer_limits.frame_bytes_max = 1 << 20;
        config.peer_limits.queue_bytes_max = 4 << 20;
    });
    let b = Node::start_with(&ca, "b", |config| config.peer_limits.frame_bytes_max = 1 << 20);
    let nodes = [a, b];
    introduce(&nodes);
    let (a, b) = (&nodes[0], &nodes[1]);
    b.recorder.close_gate(true);
    let frame = |number: u32| [&number.to_le_bytes()[..], &vec![9; 100_000]].concat();
    let (mut sent, mut refused) = (0, 0);
    // The queue is full when it stays so, though the task that empties it has had its time.
    while refused < 100 {
        if a.send(b, frame(sent)) {
            (sent, refused) = (sent + 1, 0);
            // The queues of both sides, the connection and the system hold far less than that.
            assert!(sent < 400, "the queues took {sent} frames of 100 kB");
        } else {
            refused += 1;
            thread::sleep(Duration::from_millis(5));
        }
    }
    let status = &a.peers().status()[0];
    assert!(status.connected && status.queued_bytes <= 4 << 20, "{status:?}");
    b.recorder.close_gate(false);
    wait_until("what was queued arrives", || b.recorder.count() == sent as usize);
    let received = b.recorder.frames_of("a");
    assert!(received.iter().enumerate().all(|(i, frame)| frame[..4] == (i as u32).to_le_bytes()));
    assert!(a.connected());
}

#[test]
fn many_small_frames_wait_for_a_slow_node_without_breaking_the_connection() {
    let (_, nodes) = cluster(&["a", "b"]);
    nodes[1].recorder.close_gate(true);
    let mut sent = 0;
    while sent < 60_000 {
        if nodes[0].send(&nodes[1], numbered(sent)) {
            sent += 1;
        } else {
            // Single frames now, each in a piece of its own.
            nodes[1].recorder.close_gate(false);
            thread::sleep(Duration::from_millis(1));
            nodes[1].recorder.close_gate(sent < 50_000);
        }
    }
    nodes[1].recorder.close_gate(false);
    wait_until("all are there", || nodes[1].recorder.count() == sent as usize);
    assert_eq!(nodes[1].recorder.frames_of("a"), (0..sent).map(numbered).collect::<Vec<_>>());
    assert_eq!(*nodes[0].recorder.changes.lock().unwrap(), [(id("b"), true)]);
}

#[test]
fn a_node_that_was_killed_is_found_again_and_what_waited_for_it_is_dropped() {
    let (ca, mut nodes) = cluster(&["a", "b"]);
    let b = nodes.pop().unwrap();
    let a = &nodes[0];
    let port = b.server.local_address().port();
    let peers = a.peers().clone();
    let in_flight = thread::spawn(move || peers.call(&id("b"), "wait", "2000".into(), WAIT));
    eventually("the call runs", || b.recorder.calls.lock().unwrap().len() == 1);
    b.server.stop(Duration::ZERO);
    let error = in_flight.join().unwrap().unwrap_err();
    assert!(matches!(error, CallError::Broken { .. }) && error.outcome_unknown(), "{error}");
    eventually("it is seen", || !a.connected());
    assert!(a.send(&b, "forgotten"), "the sender queues a frame until it knows that the peer is gone");
    eventually("it is dropped", || a.peers().status()[0].queued_bytes == 0);
    let error = a.peers().call(&id("b"), "who", Bytes::new(), WAIT).unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }) && !error.outcome_unknown(), "{error}");
    assert!(a.last_error("b").contains("no connection"), "{}", a.last_error("b"));
    drop(b);
    let b = Node::start_with(&ca, "b", |config| config.listen = config.listen.with_port(port));
    eventually("it is found again", || a.connected());
    a.send(&b, "remembered");
    eventually("a message arrives", || b.recorder.count() == 1);
    assert_eq!(b.recorder.frames_of("a"), ["remembered"]);
    let changes = [true, false, true].map(|up| (id("b"), up));
    assert_eq!(*a.recorder.changes.lock().unwrap(), changes);
}

#[test]
fn a_node_that_vanishes_without_a_word_is_noticed() {
    let ca = Ca::new();
    let quick = |limits: &mut PeerLimits| {
        limits.ping_interval = Duration::from_millis(100);
        limits.ping_time_max = Duration::from_millis(700);
        limits.connect_time_max = Duration::from_millis(700);
    };
    let nodes = ["a", "b"].map(|name| Node::start_with(&ca, name, |config| quick(&mut config.peer_limits)));
    let (a, b) = (&nodes[0], &nodes[1]);
    let proxy = Proxy::start(b.server.local_address());
    let endpoint = Endpoint::new("127.0.0.1", proxy.address.port()).unwrap();
    a.peers().set_addresses(&[(id("b"), endpoint)]);
    eventually("connected", || a.connected() && a.peers().status()[0].round_trip.is_some());
    let sockets = b.server.open_sockets();
    proxy.swallow(true);
    eventually("the silence is noticed", || a.last_error("b").contains("no sign of life"));
    eventually("the other side has noticed too", || b.server.open_sockets() < sockets);
    eventually("it does not answer", || a.last_error("b").contains("not within 700 ms"));
    proxy.swallow(false);
    eventually("it is back", || a.connected());
}

#[test]
fn a_server_stops_while_its_peers_are_busy_and_leaves_nothing_behind() {
    let (_, mut nodes) = cluster(&["a", "b"]);
    let b = nodes.pop().unwrap();
    let a = &nodes[0];
    b.recorder.close_gate(true);
    for number in 0..100 {
        assert!(a.send(&b, numbered(number)));
    }
    let peers = b.peers().clone();
    let call = |peers: &Peers| {
        let peers = peers.clone();
        thread::spawn(move || peers.call(&id("a"), "wait", "3000".into(), WAIT))
    };
    let own_call = call(&peers);
    eventually("it runs", || a.recorder.calls.lock().unwrap().len() == 1);
    b.server.stop(Duration::ZERO);
    let error = own_call.join().unwrap().unwrap_err();
    assert!(matches!(error, CallError::Broken { .. }), "{error}");
    assert!(!peers.send(&id("a"), Bytes::new()) && peers.status().is_empty());
    assert!(matches!(call(&peers).join().unwrap(), Err(CallError::Unreachable { .. })));
    peers.set_addresses(&[a.address()]);
    assert!(peers.status().is_empty());
    // The thread that runs in the host ends last; the frames that waited behind its frame are not delivered.
    let recorder = b.recorder.clone();
    drop(b);
    recorder.close_gate(false);
    eventually("no thread holds the host", || std::sync::Arc::strong_count(&recorder) == 1);
    assert!(recorder.count() <= 1, "{}", recorder.count());
}

#[test]
fn addresses_may_change() {
    let (_, nodes) = cluster(&["a", "b", "c"]);
    let a = &nodes[0];
    // The node of that address is another one.
    a.peers().set_addresses(&[(id("b"), nodes[2].server.endpoint().clone())]);
    eventually("it is not b", || a.last_error("b").contains("proves node 'c' and not 'b'"));
    assert!(!a.send(&nodes[2], "x"), "c is no peer any more");
    let gone = a.peers().call(&id("c"), "who", Bytes::new(), WAIT).unwrap_err();
    assert!(gone.to_string().contains("no address"), "{gone}");
    a.peers().set_addresses(&[nodes[1].address(), nodes[2].address(), a.address()]);
    eventually("both are there", || a.connected());
    assert_eq!(a.peers().status().len(), 2, "a node is no peer of its own");
    assert!(a.send(&nodes[2], "y"));
    eventually("it arrives", || nodes[2].recorder.frames_of("a") == ["y"]);
}

#[test]
fn a_node_can_be_called_before_it_is_a_peer() {
    let ca = Ca::new();
    let (a, b) = (Node::start(&ca, "a"), Node::start(&ca, "b"));
    let call = |node, endpoint: &Endpoint| a.peers().call_at(&id(node), endpoint, "who", Bytes::new(), WAIT);
    assert_eq!(call("b", b.server.endpoint()).unwrap(), "a");
    let error = call("c", b.server.endpoint()).unwrap_err();
    assert!(error.to_string().contains("proves node 'b' and not 'c'"), "{error}");
    let closed = Node::start(&ca, "x").server.endpoint().clone();
    assert!(matches!(call("x", &closed), Err(CallError::Unreachable { .. })));
    eventually("its connection is closed", || b.server.open_sockets() == 0);
}

#[test]
fn a_node_that_may_not_speak_is_told_so_until_it_may() {
    let ca = Ca::new();
    let nodes = [Node::start(&ca, "a"), Node::start(&ca, "b")];
    let (a, b) = (&nodes[0], &nodes[1]);
    b.recorder.banned.lock().unwrap().insert(id("a"));
    a.peers().set_addresses(&[b.address()]);
    eventually("it is told", || {
        a.last_error("b") == "refused: node 'a' is not a member of this cluster; add it with quack_add_node"
    });
    let error = a.peers().call_at(&id("b"), b.server.endpoint(), "who", Bytes::new(), WAIT).unwrap_err();
    assert!(matches!(&error, CallError::Refused { text, .. } if text.contains("not a member")), "{error}");
    b.recorder.banned.lock().unwrap().clear();
    eventually("it is taken", || a.connected());
    // A connection that stands does not help one that is banned later.
    b.recorder.banned.lock().unwrap().insert(id("a"));
    let error = a.peers().call(&id("b"), "who", Bytes::new(), WAIT).unwrap_err();
    assert!(error.to_string().contains("not a member"), "{error}");
    eventually("its connection is closed", || !a.connected());
    assert_eq!(b.recorder.calls.lock().unwrap().len(), 0);
    b.recorder.banned.lock().unwrap().clear();
    eventually("it is taken again", || a.connected());
    b.recorder.banned.lock().unwrap().insert(id("a"));
    assert!(a.send(b, "not heard"));
    eventually("it is told", || a.last_error("b").contains("not a member"));
    assert_eq!(b.recorder.count(), 0);
}

#[test]
fn frames_that_are_none_end_the_stream_with_the_reason() {
    let (ca, nodes) = cluster(&["a", "b"]);
    let (certificate, key) = ca.issue(&Wish::node("z"));
    let address = nodes[1].server.local_address();
    let raw = || RawPeer::connect(address, Some((&certificate, &key)));
    let good = b"\x02\0\0\0ok".as_slice();
    let (status, text) = raw().request(to_messages(), &[good, b"\xff\xff\xff\xff"], false).unwrap();
    assert!(status == 200 && text.contains("a frame of 4294967295 bytes"), "{status} {text}");
    let (_, text) = raw().request(to_messages(), &[good, b"GET / HTTP/1.1\r\n\r\n"], false).unwrap();
    assert!(text.contains("more than the 35651584"), "{text}");
    let (_, text) = raw().request(to_messages(), &[good, b"\x09\0\0\0half"], true).unwrap();
    assert_eq!(text, "the stream has ended within a frame");
    let (_, text) = raw().request(to_messages(), &[good, good], true).unwrap();
    assert_eq!(text, "the stream has ended");
    eventually("the good ones are there", || nodes[1].recorder.frames_of("z") == ["ok"; 5]);
    let (_, text) = raw().request(to_messages(), &[b"\x05\0\0\0panic", good], false).unwrap();
    assert!(text.contains("internal error"), "{text}");
    let request = |path: &str| http::Request::builder().uri(format!("https://x{path}"));
    for (path, status, words) in [
        ("/quack/peer/2/messages", 404, "of one version"),
        ("/quack/peer/1/", 404, "of one version"),
        ("/quack", 404, "HTTP/1.1"),
        ("/quack/peer/1/call/echo", 400, "quack-deadline-ms"),
    ] {
        let answer = raw().request(request(path), &[], true).unwrap();
        assert!(answer.0 == status && answer.1.contains(words), "{path}: {answer:?}");
    }
    let answer =
        raw().request(request("/quack/peer/1/call/echo").header("quack-deadline-ms", "x"), &[], true);
    assert_eq!(answer.unwrap().0, 400);
    let (_, text) = raw().request(to_messages(), &[b"\x05\0\0\0panic"], false).unwrap();
    assert!(text.contains("internal error"), "also when nothing comes behind it: {text}");
    // The connections of other nodes are not affected.
    assert!(nodes[0].connected() && nodes[0].send(&nodes[1], "x"));
    eventually("it arrives", || nodes[1].recorder.frames_of("a") == ["x"]);
}

#[test]
fn a_new_message_stream_replaces_the_old_one_and_does_not_overtake_it() {
    let (ca, nodes) = cluster(&["b"]);
    let b = &nodes[0];
    let (certificate, key) = ca.issue(&Wish::node("z"));
    let address = b.server.local_address();
    b.recorder.close_gate(true);
    let old = {
        let (certificate, key) = (certificate.clone(), key.clone());
        thread::spawn(move || {
            let raw = RawPeer::connect(address, Some((&certificate, &key)));
            raw.request(to_messages(), &[b"\x01\0\0\0a", b"\x01\0\0\0b"], false)
        })
    };
    thread::sleep(Duration::from_millis(300));
    let new = thread::spawn(move || {
        let raw = RawPeer::connect(address, Some((&certificate, &key)));
        raw.request(to_messages(), &[b"\x01\0\0\0c"], true)
    });
    let (_, text) = old.join().unwrap().unwrap();
    assert_eq!(text, "the node has opened another message stream");
    assert_eq!(b.recorder.count(), 0);
    b.recorder.close_gate(false);
    assert_eq!(new.join().unwrap().unwrap().1, "the stream has ended");
    eventually("all are there", || b.recorder.count() == 3);
    assert_eq!(b.recorder.frames_of("z"), ["a", "b", "c"]);
}

#[test]
fn clients_that_take_every_place_do_not_keep_peers_out() {
    let ca = Ca::new();
    let b = Node::start_with(&ca, "b", |config| {
        config.limits = Limits { connections_max: 2, ..Limits::default() };
    });
    let mut clients: Vec<_> = (0..2).map(|_| Client::new(b.server.local_address())).collect();
    for client in &mut clients {
        client.open();
    }
    let third = Client::new(b.server.local_address());
    let nodes = [Node::start(&ca, "a"), b];
    introduce(&nodes);
    assert_eq!(nodes[0].peers().call(&id("b"), "who", Bytes::new(), WAIT).unwrap(), "a");
    drop(third);
}

#[test]
fn peers_can_be_reached_before_there_is_a_service_and_until_clients_have_gone() {
    let ca = Ca::new();
    let a = Node::start(&ca, "a");
    let recorder = Node::start(&ca, "x").recorder;
    let folder = tempfile::tempdir().unwrap();
    let tls = quack_net::Tls::load(ca.files(folder.path(), &Wish::node("b")), &id("b")).unwrap();
    let config = quack_net::ServerConfig {
        tls: Some(tls),
        peers: Some(recorder.clone()),
        ..common::config(common::limits())
    };
    let server = Server::listen(&config).unwrap();
    a.peers().set_addresses(&[(id("b"), server.endpoint().clone())]);
    eventually("peers are answered", || a.connected());
    let mut client = Client::new(server.local_address());
    server.wait_for("no leader is known");
    let refusal = client.request("", &common::connect(common::TOKEN)).error();
    assert_eq!(refusal, "this node is not ready yet: no leader is known; try again in a moment");
    let service = std::sync::Arc::new(common::Fake::default());
    server.open(service);
    let session = client.open();
    client.sql(&session, "SELECT 1").response();
    // A request that runs while the server stops still has its peers.
    client.send(common::post(&common::prepare("wait 1500").encode(&session, None).concat()));
    thread::sleep(Duration::from_millis(200));
    let stopping = thread::spawn(move || server.stop(Duration::from_secs(5)));
    thread::sleep(Duration::from_millis(200));
    assert!(a.connected() && a.peers().call(&id("b"), "who", Bytes::new(), WAIT).is_ok());
    client.receive(false).unwrap().response();
    stopping.join().unwrap();
    eventually("now it is gone", || !a.connected());
}
