//! HTTP as bytes: what a stock server answers, and what hostile or broken clients get.

#![allow(clippy::unwrap_used)]

mod common;

use std::net::Shutdown;
use std::time::{Duration, Instant};

use common::*;
use quack_net::Limits;
use quack_wire::protocol_1::{Request, Response};

#[test]
fn paths_and_methods_answer_as_those_of_the_stock_server() {
    let (server, _) = start(limits());
    let mut client = Client::new(server.local_address());
    let greeting = "This is a DuckDB Quack RPC endpoint. Use ATTACH 'quack:...' to connect here.\n";
    let answer = client.http("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((answer.status, &answer.body[..]), (200, greeting.as_bytes()));
    assert_eq!(answer.header("Content-Type"), Some("text/plain"));
    let answer = client.http("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((answer.status, answer.header("Content-Length")), (200, Some("77")));
    let answer = client.http("OPTIONS /quack HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("Access-Control-Allow-Methods"), Some("GET, POST, OPTIONS"));
    assert_eq!(answer.header("Access-Control-Allow-Headers"), Some("*"));
    for request in [
        "GET /quack",
        "OPTIONS /",
        "PUT /quack",
        "DELETE /quack",
        "POST /",
        "POST /quack/",
        "POST /QUACK",
        "GET /../etc/passwd",
        "PATCH /quack",
    ] {
        let answer =
            client.http(&format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!((answer.status, answer.body.len()), (404, 0), "{request}");
    }
    // A query is ignored.
    let body = connect(TOKEN).encode("", None).concat();
    client.send(format!("POST /quack?x=1 HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(body);
    client.receive(false).unwrap().response();
}

#[test]
fn a_message_is_answered_with_the_protocols_content_type() {
    let (server, _) = start(limits());
    let mut client = Client::new(server.local_address());
    let answer = client.request("", &connect(TOKEN));
    assert_eq!(answer.header("Content-Type"), Some("application/vnd.duckdb"));
    let (header, response) = answer.response();
    let Response::Connected(connected) = response else { panic!("{response:?}") };
    assert_eq!((connected.duckdb_version.as_str(), connected.version), ("v2.0.0", 1));
    assert!(header.session().is_ok());
    assert_eq!(header.client_query, None);
}

#[test]
fn a_body_that_is_no_message_gets_a_500_with_duckdbs_exception() {
    let (server, _) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    let header =
        |kind: u8| [b"\x01\0", &[kind][..], b"\x02\0\x20", id.as_bytes(), b"\x03\0\x01\xff\xff"].concat();
    let message = |kind, body: &[u8]| [&header(kind)[..], body].concat();
    let deserialize = |text: &str| ("Serialization", format!("Failed to deserialize: {text}"));
    for (body, (exception_type, text)) in [
        (b"hello".to_vec(), deserialize("field id mismatch, expected: 1, got: 25960")),
        (
            message(3, b"\x09\0\x08SELECT 1\xff\xff"),
            deserialize("expected end of object, but found field id: 9"),
        ),
        (
            message(3, b"\x01\0\xff\xff\xff\x07SEL"),
            deserialize("not enough data in buffer to fulfill read request"),
        ),
        (message(7, b"\xff\xff"), deserialize("field id mismatch, expected: 1, got: 65535")),
        (
            message(3, b"\x01\0\x01\xff\xff\xff"),
            (
                "Invalid Input",
                "Invalid unicode (byte sequence mismatch) detected in value construction".into(),
            ),
        ),
        (
            message(9, b"\x01\0\x01a\x02\0\x01b\xff\xff"),
            deserialize("field id mismatch, expected: 3, got: 65535"),
        ),
        (message(9, b"\x01\0\x01a\x02\0\x01b\x03\0\0\xff\xff"), deserialize("'append chunk' is not valid")),
    ] {
        let answer = client.post(&body);
        assert_eq!((answer.status, answer.body.len()), (500, 0), "{body:?}");
        let expected =
            format!("{{\"exception_type\":\"{exception_type}\",\"exception_message\":\"{text}\"}}");
        assert_eq!(answer.header("EXCEPTION_WHAT"), Some(expected.as_str()));
    }
    assert_eq!(client.post(b"").status, 500);
    // The connection and the session have survived all that.
    client.sql(&id, "SELECT 1").response();
}

#[test]
fn refusals_are_answers_with_the_texts_of_the_stock_server() {
    let (server, fake) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    let stranger = "0".repeat(32);
    let versions = |version_min, version_max| {
        let Request::Connect(mut connecting) = connect(TOKEN) else { panic!() };
        (connecting.version_min, connecting.version_max) = (version_min, version_max);
        Request::Connect(connecting)
    };
    let unsupported = "Unsupported Quack version - server only supports version 1 of quack";
    for (session, request, error) in [
        ("", connect("wrong-token"), "Authentication failed"),
        ("", connect(""), "Authentication failed"),
        ("", versions(2, 3), unsupported),
        ("", versions(3, 3), unsupported),
        ("", prepare("SELECT 1"), "Invalid connection id"),
        (&stranger, prepare("SELECT 1"), "Invalid connection id"),
        (&stranger, Request::Disconnect, "Invalid connection id"),
        ("short", Request::Disconnect, "Invalid connection id"),
        (&id.to_lowercase(), prepare("SELECT 1"), "Invalid connection id"),
        (&id, prepare("error no such table"), "no such table"),
    ] {
        assert_eq!(client.request(session, &request).error(), error, "{request:?}");
    }
    for kind in [0, 2, 4, 5, 6, 8, 10, 12, 13, 14, 15, 16, 99, 100, 127] {
        let body = [&[1, 0, kind, 3, 0, 1, 0xff, 0xff][..], b"\xff\xff"].concat();
        assert_eq!(client.post(&body).error(), "Unsupported message type for server", "{kind}");
    }
    for (min, max) in [(0, 0), (1, 3), (1, 1)] {
        let (_, response) = client.request("", &versions(min, max)).response();
        assert!(matches!(response, Response::Connected(_)));
    }
    let Request::Connect(mut connecting) = connect(TOKEN) else { panic!() };
    connecting.platform = "forbidden".into();
    let answer = client.request("", &Request::Connect(connecting));
    assert_eq!(answer.error(), "this platform is forbidden");
    assert_eq!(server.active_connections(), 4);
    assert_eq!(fake.sessions.lock().unwrap().len(), 4);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (server, _) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    let mut bytes = Vec::new();
    for number in 0..20 {
        bytes.extend(post(&prepare(&format!("error {number}")).encode(&id, None).concat()));
    }
    client.send(bytes);
    for number in 0..20 {
        assert_eq!(client.receive(false).unwrap().error(), number.to_string());
    }
}

#[test]
fn chunked_bodies_and_expect_100_continue_are_understood() {
    let (server, _) = start(limits());
    let mut client = Client::new(server.local_address());
    let body = connect(TOKEN).encode("", None).concat();
    client.send("POST /quack HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for part in body.chunks(7) {
        client.send(format!("{:x}\r\n", part.len()));
        client.send(part);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    client.receive(false).unwrap().response();
    client.send(format!(
        "POST /quack HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    assert_eq!(client.receive(false).unwrap().status, 100);
    client.send(&body);
    client.receive(false).unwrap().response();
}

#[test]
fn bytes_that_are_no_http_are_refused() {
    let (server, fake) = start(limits());
    for bytes in [
        &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"POST /quack HTTP/9.9\r\n\r\n",
        b"POST /quack HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /quack HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /quack HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /quack HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /quack HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut client = Client::new(server.local_address());
        client.send(bytes);
        let _ = client.socket.shutdown(Shutdown::Write);
        if let Some(answer) = client.receive(false) {
            assert_eq!(answer.status, 400, "{bytes:?}");
            client.closed();
        }
    }
    assert_eq!(fake.events(), Vec::<String>::new());
    eventually("all sockets are closed", || server.open_sockets() == 0);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let (server, _) = start(limits());
    let many = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    for headers in [format!("X: {}\r\n", "y".repeat(100_000)), many] {
        let mut client = Client::new(server.local_address());
        let answer = client.http(&format!("GET / HTTP/1.1\r\n{headers}\r\n"));
        assert_eq!(answer.status, 431);
        client.closed();
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_and_its_bytes_are_not_kept() {
    let (server, fake) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    let reason = "the message is larger than the 1048576 bytes that are accepted here: send fewer rows, \
                  or a shorter text, at a time";
    // Announced, and so large that not even the rest of it is wanted.
    let answer = client.http("POST /quack HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n");
    assert_eq!((answer.error().as_str(), answer.header("Connection")), (reason, Some("close")));
    client.closed();
    // Sent whole, by a client that reads only then.
    let mut client = Client::new(server.local_address());
    let message = prepare(&"x".repeat(2 << 20)).encode(&id, None).concat();
    assert_eq!(client.post(&message).error(), reason);
    client.closed();
    // Not announced.
    let mut client = Client::new(server.local_address());
    client.send("POST /quack HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("{:x}\r\n", message.len()));
    client.send(&message);
    client.send("\r\n0\r\n\r\n");
    assert_eq!(client.receive(false).unwrap().error(), reason);
    // The largest that fits is taken.
    let mut client = Client::new(server.local_address());
    let room = (1 << 20) - prepare("").encode(&id, None).concat().len() - 5;
    client.sql(&id, &"x".repeat(room)).response();
    assert_eq!(fake.events().len(), 1);
}

#[test]
fn a_large_body_that_names_no_session_is_refused_early() {
    let (server, _) = start(limits());
    let message = prepare(&"x".repeat(1 << 19)).encode(&"0".repeat(32), None).concat();
    // Of a size that is taken from others, and of one that is not.
    for announced in [message.len(), 3 << 20] {
        let mut client = Client::new(server.local_address());
        client.send(format!("POST /quack HTTP/1.1\r\nContent-Length: {announced}\r\n\r\n"));
        client.send(&message[..300 << 10]);
        let answer = client.receive(false).unwrap();
        assert_eq!(answer.status, 413, "{announced}");
        assert!(answer.header("EXCEPTION_WHAT").unwrap().contains("belongs to no connection"));
    }
}

#[test]
fn bodies_of_all_clients_together_are_bounded() {
    let (server, _) = start(Limits { bodies_bytes_max: 1 << 20, ..limits() });
    let mut first = Client::new(server.local_address());
    let id = first.open();
    let message = prepare(&format!("wait 400 {}", "x".repeat(700 << 10)).replacen("400 ", "400\0", 1))
        .encode(&id, None)
        .concat();
    first.send(format!("POST /quack HTTP/1.1\r\nContent-Length: {}\r\n\r\n", message.len()));
    first.send(&message[..message.len() - 1]);
    std::thread::sleep(Duration::from_millis(100));
    let mut second = Client::new(server.local_address());
    let busy = "the server holds too many large messages at this moment: try again";
    assert_eq!(second.post(&message).error(), busy);
    first.send(&message[message.len() - 1..]);
    first.receive(false).unwrap().response();
    let mut third = Client::new(server.local_address());
    third.post(&message).response();
}

#[test]
fn a_client_that_sends_too_slowly_is_cut_off() {
    let (server, _) = start(limits());
    let between = |time: Duration, low, high| {
        let range = Duration::from_millis(low)..Duration::from_millis(high);
        assert!(range.contains(&time), "{time:?}");
    };
    // Nothing at all.
    let mut client = Client::new(server.local_address());
    between(client.closed(), 200, 1000);
    // A head, a byte now and then.
    let mut client = Client::new(server.local_address());
    let start = Instant::now();
    for byte in b"POST /quack HTTP/1.1\r\nHost: localhost\r\nX: xxxxxxxxxxxxxxxxxxxx" {
        let sent = std::io::Write::write_all(&mut client.socket, &[*byte]);
        if sent.is_err() || start.elapsed() > Duration::from_secs(3) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    between(start.elapsed(), 250, 1000);
    // A body that stops.
    let mut client = Client::new(server.local_address());
    client.send("POST /quack HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc");
    let start = Instant::now();
    assert_eq!(client.receive(false).map(|answer| answer.status), Some(408));
    between(start.elapsed(), 200, 1000);
    // A body, a byte now and then.
    let mut client = Client::new(server.local_address());
    let start = Instant::now();
    client.send("POST /quack HTTP/1.1\r\nContent-Length: 100\r\n\r\n");
    while std::io::Write::write_all(&mut client.socket, b"x").is_ok() {
        assert!(start.elapsed() < Duration::from_secs(3));
        std::thread::sleep(Duration::from_millis(20));
        if start.elapsed() > Duration::from_millis(1100) {
            assert_eq!(client.receive(false).map(|answer| answer.status), Some(408));
            break;
        }
    }
    eventually("all sockets are closed", || server.open_sockets() == 0);
}

#[test]
fn an_idle_connection_is_closed_and_a_long_request_is_not() {
    let (server, _) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    // Longer than every time limit.
    client.sql(&id, "wait 1200").response();
    // Used again before the idle time is over, though after the head time.
    std::thread::sleep(Duration::from_millis(450));
    client.sql(&id, "SELECT 1").response();
    let idle = client.closed();
    assert!((500..1500).contains(&idle.as_millis()), "{idle:?}");
    // The session is not bound to the connection.
    Client::new(server.local_address()).sql(&id, "SELECT 1").response();
}

#[test]
fn a_client_that_does_not_read_is_cut_off_and_one_that_reads_slowly_is_not() {
    let (server, _) = start(Limits { idle_time_max: Duration::from_secs(60), ..limits() });
    let mut client = Client::new(server.local_address());
    let id = client.open();
    client.send(post(&prepare("large 30000000").encode(&id, None).concat()));
    eventually("the socket is closed", || server.open_sockets() == 0);

    let (server, _) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    client.send(post(&prepare("large 30000000").encode(&id, None).concat()));
    let mut received = 0;
    let mut buffer = vec![0; 3 << 20];
    let start = Instant::now();
    while received < 30_000_000 {
        let count = std::io::Read::read(&mut client.socket, &mut buffer).unwrap();
        assert_ne!(count, 0, "cut off after {received} bytes");
        received += count;
        if start.elapsed() < Duration::from_millis(1500) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    assert!(start.elapsed() > Duration::from_millis(900), "too fast to show anything");
}

#[test]
fn a_client_that_closes_its_side_is_gone() {
    let (server, fake) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    client.send(post(&prepare("wait 5000").encode(&id, None).concat()));
    std::thread::sleep(Duration::from_millis(100));
    client.socket.shutdown(Shutdown::Write).unwrap();
    assert!(client.closed() < Duration::from_secs(1));
    eventually("the statement is interrupted", || {
        fake.events().contains(&"interrupted wait 5000".to_owned())
    });
    // Between requests it is the ordinary end of a connection.
    let mut client = Client::new(server.local_address());
    client.sql(&id, "SELECT 1").response();
    client.socket.shutdown(Shutdown::Write).unwrap();
    assert!(client.closed() < Duration::from_millis(500));
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() {
    let (server, _) = start(Limits { connections_max: 2, ..limits() });
    let mut first = Client::new(server.local_address());
    let id = first.open();
    let mut second = Client::new(server.local_address());
    second.sql(&id, "SELECT 1").response();
    let mut third = Client::new(server.local_address());
    third.send(post(&prepare("SELECT 1").encode(&id, None).concat()));
    std::thread::sleep(Duration::from_millis(100));
    drop(first);
    third.receive(false).unwrap().response();
}
