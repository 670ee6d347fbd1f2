//! Health, readiness, verdict, metrics and the HTTP face, for every state that a node can be in.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quack_admin::http::{AdminServer, get};
use quack_admin::status::{Board, Column, Phase, Table, Verdict, View, health, metrics, ready, status_json};

const COLUMNS: [(&str, &str); 16] = [
    ("group_name", "VARCHAR"),
    ("group_id", "UBIGINT"),
    ("node_id", "VARCHAR"),
    ("role", "VARCHAR"),
    ("leader_id", "VARCHAR"),
    ("term", "UBIGINT"),
    ("last_index", "UBIGINT"),
    ("commit_index", "UBIGINT"),
    ("applied_index", "UBIGINT"),
    ("snapshot_index", "UBIGINT"),
    ("voters", "VARCHAR[]"),
    ("learners", "VARCHAR[]"),
    ("initialized", "BOOLEAN"),
    ("linearizable_read_safe", "BOOLEAN"),
    ("state", "VARCHAR"),
    ("reason", "VARCHAR"),
];
const LEADER: [&str; 16] = [
    "default",
    "1",
    "n0",
    "leader",
    "n0",
    "3",
    "12",
    "11",
    "9",
    "4",
    "[n0, n1, n2]",
    "[]",
    "true",
    "true",
    "ok",
    "",
];

/// A table with the given rows; an empty text is NULL.
fn raft(rows: &[[&str; 16]]) -> Table {
    let columns = COLUMNS.map(|(name, kind)| Column::of_type(name, kind)).to_vec();
    let value = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Table { columns, rows: rows.iter().map(|row| row.iter().map(|text| value(text)).collect()).collect() }
}

fn with(changes: &[(&str, &'static str)]) -> [&'static str; 16] {
    let mut row = LEADER;
    for (column, value) in changes {
        row[COLUMNS.iter().position(|(name, _)| name == column).unwrap()] = value;
    }
    row
}

fn servers() -> Table {
    servers_that("true")
}

fn servers_that(accepts: &str) -> Table {
    let columns = [
        ("catalog", "VARCHAR"),
        ("active_connections", "UBIGINT"),
        ("max_connections", "UBIGINT"),
        ("accepts_connections", "BOOLEAN"),
    ];
    Table {
        columns: columns.map(|(name, kind)| Column::of_type(name, kind)).to_vec(),
        rows: vec![["cp", "7", "8", accepts].map(|text| Some(text.to_owned())).to_vec()],
    }
}

fn measured() -> Table {
    let columns = ["name", "kind", "labels", "value", "help"];
    let row = ["quack_apply_seconds_count", "histogram", "{}", "12.0", "Time to apply."];
    Table {
        columns: columns.map(|name| Column::of_type(name, "VARCHAR")).to_vec(),
        rows: vec![row.map(|text| Some(text.to_owned())).to_vec()],
    }
}

fn board(rows: &[[&str; 16]]) -> Board {
    let board = Board::new(Duration::from_secs(10));
    board.put(raft(rows), servers(), measured());
    board.set_phase(Phase::Serving);
    board
}

fn view(rows: &[[&str; 16]]) -> View {
    board(rows).view(Instant::now())
}

#[test]
fn a_node_is_healthy_and_ready_or_says_why_not() {
    for (row, healthy, is_ready, reason) in [
        (LEADER, true, true, "serving"),
        (with(&[("role", "follower"), ("leader_id", "n1")]), true, true, "serving"),
        (
            with(&[("leader_id", ""), ("state", "joining"), ("reason", "no leader yet")]),
            true,
            false,
            "no leader yet",
        ),
        (with(&[("leader_id", "")]), true, false, "waiting for a leader"),
        (with(&[("state", "joining"), ("reason", "catching up")]), true, false, "joining: catching up"),
        (with(&[("state", "degraded"), ("reason", "disk full")]), false, false, "disk full"),
        (with(&[("state", "stopped")]), true, false, "stopped"),
        (with(&[("state", "reseeding")]), true, false, "reseeding"),
    ] {
        let view = view(&[row]);
        assert_eq!((health(&view).ok, ready(&view).ok), (healthy, is_ready), "{row:?}");
        assert!(ready(&view).reason.contains(reason), "{row:?}: {}", ready(&view).reason);
    }
}

#[test]
fn a_degraded_lane_makes_the_node_unhealthy() {
    let lane = with(&[("group_name", "lane-2"), ("state", "degraded"), ("reason", "bad entry")]);
    let probe = health(&view(&[LEADER, lane]));
    assert!(!probe.ok && probe.reason.contains("lane-2") && probe.reason.contains("bad entry"), "{probe:?}");
    assert!(!Verdict::of(&raft(&[LEADER, lane])).ok);
}

#[test]
fn a_process_is_alive_while_it_starts_and_stops_and_ready_in_neither() {
    let board = Board::new(Duration::from_secs(10));
    let later = Instant::now() + Duration::from_secs(3000);
    let view = board.view(later);
    assert!(health(&view).ok, "reading a long log is no illness");
    assert!(!ready(&view).ok);
    board.set_phase(Phase::Serving);
    assert!(!ready(&board.view(Instant::now())).ok, "nothing is known yet");
    board.put(raft(&[LEADER]), Table::default(), measured());
    assert!(!ready(&board.view(Instant::now())).ok, "no server");
    board.put(raft(&[LEADER]), servers(), measured());
    assert!(ready(&board.view(Instant::now())).ok);
    board.set_phase(Phase::Stopping);
    let view = board.view(later);
    assert!(health(&view).ok && !ready(&view).ok);
    assert_eq!(status_json(&view)["verdict"]["ok"], false);
}

#[test]
fn old_figures_say_that_the_node_is_stuck() {
    let board = board(&[LEADER]);
    board.fail("interrupted".to_owned());
    let view = board.view(Instant::now() + Duration::from_secs(11));
    for probe in [health(&view), ready(&view)] {
        assert!(!probe.ok && probe.reason.contains("has not answered for 1"), "{probe:?}");
        assert!(probe.reason.contains("interrupted"));
    }
    assert_eq!(status_json(&view)["verdict"]["ok"], false);
    let text = metrics(&view);
    assert!(text.contains("\nquack_node_healthy 0\n") && text.contains("\nquack_status_age_seconds 11"));
    assert!(text.contains("\nquack_status_failures_total 1\n"));
    for old in ["quack_raft_", "quack_apply_"] {
        assert!(!text.contains(old), "old figures must not look like new ones");
    }
}

#[test]
fn the_verdict_follows_the_root_group() {
    let verdict = |row| Verdict::of(&raft(&[with(&[("group_name", "lane-2"), ("leader_id", "")]), row]));
    let leader = verdict(LEADER);
    assert!(leader.enabled && leader.ok && leader.is_leader && leader.linearizable_read_safe);
    let follower = verdict(with(&[("leader_id", "n1")]));
    assert!(follower.ok && !follower.is_leader && follower.leader_id.as_deref() == Some("n1"));
    assert!(!verdict(with(&[("voters", "[n1, n2]")])).enabled, "a learner is no voter");
    for broken in [
        ("leader_id", ""),
        ("initialized", "false"),
        ("linearizable_read_safe", "false"),
        ("state", "degraded"),
    ] {
        assert!(!verdict(with(&[broken])).ok, "{broken:?}");
    }
    assert_eq!(Verdict::of(&Table::default()), Verdict::default());
}

#[test]
fn metrics_carry_every_group_and_columns_that_are_new() {
    let mut table =
        raft(&[LEADER, with(&[("group_name", "a\"b\\c"), ("role", "observer"), ("leader_id", "")])]);
    for (name, kind, values) in [
        ("proposals_total", "UBIGINT", ["5", "6"]),
        ("fsync_seconds", "DOUBLE", ["0.25", "nan?"]),
        ("paused", "BOOLEAN", ["true", "false"]),
        ("comment", "VARCHAR", ["7", "8"]),
        ("Odd Name", "UBIGINT", ["1", "1"]),
    ] {
        table.columns.push(Column::of_type(name, kind));
        table.rows.iter_mut().zip(values).for_each(|(row, value)| row.push(Some(value.to_owned())));
    }
    let board = Board::new(Duration::from_secs(10));
    board.put(table, servers(), measured());
    board.set_phase(Phase::Serving);
    let text = metrics(&board.view(Instant::now()));
    for line in [
        "quack_node_info{node=\"n0\",version=\"0.1.0\"} 1",
        "quack_raft_term{group=\"default\"} 3",
        "quack_raft_commit_index{group=\"default\"} 11",
        "quack_raft_apply_lag_entries{group=\"default\"} 2",
        "quack_raft_voters{group=\"default\"} 3",
        "quack_raft_role{group=\"default\",role=\"leader\"} 1",
        "quack_raft_role{group=\"default\",role=\"follower\"} 0",
        "quack_raft_role{group=\"a\\\"b\\\\c\",role=\"observer\"} 1",
        "quack_raft_leader_known{group=\"a\\\"b\\\\c\"} 0",
        "# TYPE quack_raft_proposals_total counter",
        "quack_raft_proposals_total{group=\"default\"} 5",
        "quack_raft_fsync_seconds{group=\"default\"} 0.25",
        "quack_raft_paused{group=\"default\"} 1",
        "quack_server_connections{catalog=\"cp\"} 7",
        "# TYPE quack_apply_seconds histogram",
        "quack_apply_seconds_count 12",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    assert!(!text.contains("comment") && !text.contains("Odd") && !text.contains("nan"));
}

#[test]
fn every_metric_has_its_line_in_the_page() {
    // What the node measures has its own part of the page, and its own test beside it.
    let page = include_str!("../../../docs/metrics.md").split("\n### ").next().unwrap();
    let text = metrics(&view(&[LEADER]));
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE quack_")?.split(' ').next())
        .filter(|name| *name != "apply_seconds")
        .collect();
    let described: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `quack_")?.split(['`', '{']).next()).collect();
    assert_eq!(described, names);
}

#[test]
fn a_node_that_takes_no_more_clients_is_not_ready() {
    let board = board(&[LEADER]);
    board.put(raft(&[LEADER]), servers_that("false"), measured());
    let view = board.view(Instant::now());
    assert!(health(&view).ok);
    assert_eq!(ready(&view).reason, "7 of 8 connections are in use, and none is idle: raise max_connections");
    assert!(!ready(&view).ok);
}

#[test]
fn the_http_face_answers_with_what_is_on_the_board() {
    let board = Arc::new(board(&[LEADER]));
    let server = AdminServer::start("127.0.0.1", 0, board.clone()).unwrap();
    let ask =
        |path: &str| get(&format!("http://{}{path}", server.address()), Duration::from_secs(30)).unwrap();
    assert_eq!((ask("/health").status, ask("/ready").status), (200, 200));
    assert!(ask("/metrics").text.contains("quack_raft_term{group=\"default\"} 3"));
    let status: serde_json::Value = serde_json::from_str(&ask("/status").text).unwrap();
    assert_eq!(status["verdict"]["ok"], true);
    assert_eq!(status["groups"][0]["voters"], serde_json::json!(["n0", "n1", "n2"]));
    assert_eq!(ask("/secrets").status, 404);

    board.put(raft(&[with(&[("state", "degraded"), ("reason", "disk full")])]), servers(), measured());
    let answer = ask("/health");
    assert_eq!((answer.status, answer.text.contains("disk full")), (503, true));
    assert_eq!(ask("/ready").status, 503);
    assert_eq!(ask("/status").status, 200);
}

#[test]
fn other_methods_nonsense_and_silence_do_no_harm() {
    let server = AdminServer::start("127.0.0.1", 0, Arc::new(board(&[LEADER]))).unwrap();
    let talk = |request: &[u8]| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        // A refused request may be answered before it has been sent.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    assert!(
        talk(b"POST /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
            .starts_with("HTTP/1.1 405")
    );
    assert!(talk(b"HEAD /health HTTP/1.1\r\nhost: localhost\r\n\r\n").starts_with("HTTP/1.1 200"));
    assert!(talk(b"\x16\x03\x01\x00nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    assert!(!talk(long.as_bytes()).contains(" 200 "));
    assert!(talk(b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n").starts_with("HTTP/1.1 200"));
    drop(silent);
}

#[test]
fn web_pages_and_names_of_others_are_refused() {
    let server = AdminServer::start("127.0.0.1", 0, Arc::new(board(&[LEADER]))).unwrap();
    let status = |headers: &str| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(format!("GET /status HTTP/1.1\r\n{headers}\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(!answer.to_lowercase().contains("access-control-allow-origin"));
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    for headers in [
        "Host: evil.example",
        "Host: localhost\r\nOrigin: http://evil.example",
        "Host: localhost\r\nOrigin: null",
    ] {
        assert_eq!(status(headers), "403", "{headers}");
    }
    for host in ["localhost", "127.0.0.1:80", "[::1]"] {
        assert_eq!(status(&format!("Host: {host}")), "200", "{host}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let first = AdminServer::start("127.0.0.1", 0, Arc::new(board(&[]))).unwrap();
    let port = first.address().port();
    let error = AdminServer::start("127.0.0.1", port, Arc::new(board(&[]))).unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("metrics.port"), "{error}");
    drop(first);
    AdminServer::start("127.0.0.1", port, Arc::new(board(&[]))).unwrap();
}

#[test]
fn the_client_says_why_there_is_no_answer() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let error = get(&format!("http://{address}/status"), Duration::from_millis(200)).unwrap_err();
    assert!(error.to_string().contains("no answer within 0.2 s"), "{error}");
    drop(listener);
    let error = get(&format!("http://{address}/status"), Duration::from_secs(30)).unwrap_err();
    assert_eq!(error.exit_code(), quack_admin::ExitCode::Network);
    for url in ["https://localhost/status", "localhost:1", "http:///x", "x y"] {
        assert_eq!(
            get(url, Duration::from_secs(1)).unwrap_err().exit_code(),
            quack_admin::ExitCode::Validation,
            "{url}"
        );
    }
}
