//! What a web page can make a browser send.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{Client, Fake, TOKEN, config, connect, limits};
use quack_net::{Error, Server, ServerConfig};

fn start(allow_origins: &[&str]) -> Server {
    let allow_origins = allow_origins.iter().map(ToString::to_string).collect();
    let config = ServerConfig { allow_origins, ..config(limits()) };
    Server::start(&config, Arc::new(Fake::default())).unwrap()
}

fn post(server: &Server, headers: &str) -> common::Answer {
    let body = connect(TOKEN).encode("", None).concat();
    let mut client = Client::new(server.local_address());
    client.send(format!("POST /quack HTTP/1.1\r\n{headers}\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(body);
    client.receive(false).unwrap()
}

#[test]
fn a_page_that_is_not_configured_is_refused_before_its_message_is_read() {
    let server = start(&[]);
    for origin in ["http://evil.example", "null", "http://localhost"] {
        let answer = post(&server, &format!("Host: localhost\r\nOrigin: {origin}"));
        assert_eq!(answer.status, 403, "{origin}");
        assert!(String::from_utf8_lossy(&answer.body).contains("allow_origins"));
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
        let preflight = format!("OPTIONS /quack HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\r\n");
        assert_eq!(Client::new(server.local_address()).http(&preflight).status, 403);
    }
    assert_eq!(server.session_counts().opened, 0);
    let answer = post(&server, "Host: localhost");
    assert_eq!((answer.status, answer.header("Access-Control-Allow-Origin")), (200, None));
}

#[test]
fn a_page_that_is_configured_is_served_and_may_read_the_answer() {
    let page = "https://app.example";
    for allowed in [page, "*"] {
        let server = start(&[allowed]);
        let answer = post(&server, &format!("Host: localhost\r\nOrigin: {page}"));
        assert_eq!((answer.status, answer.header("Access-Control-Allow-Origin")), (200, Some(page)));
        answer.response();
        let preflight = format!("OPTIONS /quack HTTP/1.1\r\nHost: localhost\r\nOrigin: {page}\r\n\r\n");
        let answer = Client::new(server.local_address()).http(&preflight);
        assert_eq!((answer.status, answer.header("Access-Control-Allow-Origin")), (204, Some(page)));
    }
}

#[test]
fn a_name_that_was_made_to_lead_to_loopback_is_refused() {
    let server = start(&["*"]);
    for host in ["evil.example", "evil.example:80", "localhost.evil.example"] {
        let answer = post(&server, &format!("Host: {host}"));
        assert_eq!(answer.status, 403, "{host}");
        assert!(String::from_utf8_lossy(&answer.body).contains("none of this server's"));
    }
    let port = server.local_address().port();
    for host in ["localhost".to_owned(), format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        assert_eq!(post(&server, &format!("Host: {host}")).status, 200, "{host}");
    }
}

#[test]
fn what_is_no_origin_is_refused_at_the_start() {
    let config = ServerConfig { allow_origins: vec!["app.example".to_owned()], ..config(limits()) };
    assert!(matches!(Server::check(&config), Err(Error::Origin { .. })));
}
