//! Starting and stopping.

#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use quack_net::{Error, Limits, Server, ServerConfig, random_token};
use quack_wire::protocol_1::Response;

fn refused(config: &ServerConfig) -> Error {
    Server::start(config, Arc::new(Fake::default())).expect_err("a refusal")
}

/// Names of this process's threads.
fn server_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
    };
    tasks.map(name).filter(|name| name.starts_with("quack-net")).count()
}

#[test]
fn a_server_that_cannot_be_is_refused_with_what_to_do() {
    let at = |address: &str| ServerConfig { listen: address.parse().unwrap(), ..config(limits()) };
    for address in ["quack:0.0.0.0:0", "quack:[::]:0", "quack:192.0.2.1:0"] {
        let error = refused(&at(address));
        assert!(matches!(error, Error::NotLocal { .. }), "{error}");
        assert!(error.to_string().contains("allow_other_hostname := true"), "{error}");
    }
    let error = refused(&ServerConfig { token: "abc".into(), ..config(limits()) });
    assert_eq!(
        error.to_string(),
        "the token has 3 characters, it needs 16 at least; leave it out to get a random one"
    );
    let error = refused(&config(Limits { requests_max: 0, ..limits() }));
    assert_eq!(error.to_string(), "limit 'requests_max' is 0, it must be 1 at least");
    let (server, _) = start(limits());
    let error = refused(&at(&server.endpoint().to_string()));
    assert!(matches!(error, Error::Listen { .. }) && error.to_string().contains("choose another port"));
    let error = refused(&at("quack:no-such-host.invalid:1"));
    assert!(matches!(error, Error::Resolve { .. }), "{error}");
}

#[test]
fn an_address_that_others_can_reach_is_served_when_it_is_meant() {
    let config = ServerConfig {
        listen: "quack:0.0.0.0:0".parse().unwrap(),
        allow_other_hostname: true,
        token: random_token().unwrap(),
        ..config(limits())
    };
    let server = Server::start(&config, Arc::new(Fake::default())).unwrap();
    let (port, endpoint) = (server.local_address().port(), server.endpoint().to_string());
    assert_eq!(endpoint, format!("quack:0.0.0.0:{port}"));
    assert_ne!(port, 0);
    let mut client = Client::new(([127, 0, 0, 1], port).into());
    assert_eq!(client.request("", &connect(&config.token)).status, 200);
}

#[test]
fn a_stopped_server_has_let_requests_end_and_leaves_nothing_behind() {
    let (server, fake) = start(limits());
    let address = server.local_address();
    let mut client = Client::new(address);
    let mut idle = Client::new(address);
    let (id, _) = (client.open(), idle.open());
    client.send(post(&prepare("wait 300").encode(&id, None).concat()));
    thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    server.stop(Duration::from_secs(5));
    assert!((150..2000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert!(matches!(client.receive(false).unwrap().response().1, Response::Prepared(_)));
    client.closed();
    idle.closed();
    assert!(fake.sessions.lock().unwrap().is_empty());
    assert_eq!((server.active_connections(), server.open_sockets()), (0, 0));
    assert!(TcpStream::connect(address).is_err());
    let again = ServerConfig { listen: server.endpoint().clone(), ..config(limits()) };
    server.stop(Duration::ZERO);
    Server::start(&again, Arc::new(Fake::default())).unwrap();
}

#[test]
fn a_statement_that_runs_past_the_deadline_is_interrupted() {
    let (server, fake) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    client.send(post(&prepare("wait 60000").encode(&id, None).concat()));
    thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    server.stop(Duration::from_millis(200));
    assert!((200..1500).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(client.receive(false).unwrap().error(), "Interrupted!");
    assert!(fake.sessions.lock().unwrap().is_empty());
}

#[test]
fn a_statement_that_does_not_end_does_not_hold_the_server() {
    let (server, fake) = start(limits());
    let mut client = Client::new(server.local_address());
    let id = client.open();
    let others: Vec<_> = (0..20).map(|_| client.open()).collect();
    client.send(post(&prepare("stubborn 8000").encode(&id, None).concat()));
    thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    server.stop(Duration::from_millis(100));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(fake.events().contains(&"interrupt".to_owned()));
    assert!(others.iter().all(|other| fake.events().contains(&format!("disconnect {other}"))));
    assert!(!fake.events().contains(&format!("disconnect {id}")));
}

#[test]
fn a_client_may_stop_the_server_that_it_talks_to() {
    let (server, fake) = start(limits());
    let server = Arc::new(server);
    let mut client = Client::new(server.local_address());
    let id = client.open();
    let own = server.clone();
    *fake.on_stop.lock().unwrap() = Some(Box::new(move || own.stop(Duration::from_secs(5))));
    let start = Instant::now();
    assert!(matches!(client.sql(&id, "stop").response().1, Response::Prepared(_)));
    eventually("the session is closed", || fake.sessions.lock().unwrap().is_empty());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    eventually("the port is free", || TcpStream::connect(server.local_address()).is_err());
}

#[test]
fn a_dropped_server_is_stopped_and_its_threads_are_gone() {
    // The other tests of this file have threads of the same name: a process of its own.
    if std::env::var_os("QUACK_NET_TEST_ALONE").is_none() {
        let alone = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_dropped_server_is_stopped_and_its_threads_are_gone"])
            .env("QUACK_NET_TEST_ALONE", "1")
            .output()
            .unwrap();
        assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stdout));
        return;
    }
    for _ in 0..20 {
        let (server, _) = start(limits());
        let mut client = Client::new(server.local_address());
        let id = client.open();
        client.sql(&id, "SELECT 1").response();
        assert!(server_threads() >= 3);
        drop(server);
        client.closed();
        eventually("the threads are gone", || server_threads() == 0);
    }
}
