//! Identity: which certificates count, what the one port takes from whom, and new certificates without a restart.

#![allow(clippy::unwrap_used)]

mod cluster;
mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::*;
use common::{Client, TOKEN, config, connect, eventually, limits};
use quack_net::{CallError, Error, Server, ServerConfig, Tls, TlsFiles};
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rustls::pki_types::ServerName;

const WAIT: Duration = Duration::from_secs(10);

/// Certificates for a node that break the rule, each with the words that say how.
fn bad_wishes(name: &str) -> Vec<(Wish, &'static str)> {
    let good = || Wish::node(name);
    let (dns, uri) = (format!("DNS:{name}"), format!("URI:{name}"));
    vec![
        (Wish { years: (2020, 2021), ..good() }, "has expired"),
        (Wish { years: (2090, 2100), ..good() }, "valid only in"),
        (
            good().named(&[]),
            "names no node: it needs the subject alternative names DNS:<node_id> and URI:<node_id>",
        ),
        (good().named(&[&dns]), "(it has DNS:"),
        (good().named(&[&uri]), "(it has URI:"),
        (good().named(&[&dns, "URI:other"]), "names no node"),
        (good().named(&["DNS:*.example", "URI:*.example"]), "names no node"),
        (good().named(&[&dns, &uri, "DNS:other", "URI:other"]), "names several nodes"),
        (Wish { purposes: vec![ServerAuth], ..good() }, "lacks clientAuth"),
        (Wish { purposes: vec![ClientAuth], ..good() }, "lacks serverAuth:"),
        (Wish { purposes: vec![], ..good() }, "lacks serverAuth and clientAuth"),
    ]
}

fn load(files: TlsFiles, name: &str) -> Result<Tls, String> {
    Tls::load(files, &id(name)).map_err(|error| error.to_string())
}

#[test]
fn an_own_certificate_that_breaks_the_rule_is_refused_by_file_and_remedy() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    assert_eq!(load(ca.files(folder, &Wish::node("n0")), "n0").unwrap().node(), &id("n0"));
    // Other names do no harm.
    let more = Wish::node("n0").named(&["DNS:localhost", "DNS:n0", "URI:spiffe://x/n0", "URI:n0"]);
    assert!(load(ca.files(folder, &more), "n0").is_ok());
    for (wish, words) in bad_wishes("n0") {
        let error = load(ca.files(folder, &wish), "n0").unwrap_err();
        assert!(error.contains(words) && error.contains("cert.pem: "), "{words}: {error}");
    }
    let error = load(ca.files(folder, &Wish::node("n1")), "n0").unwrap_err();
    assert!(error.contains("proves node 'n1' and not 'n0'") && error.contains("node_id is 'n0'"), "{error}");
    let (certificate, key) = Ca::new().issue(&Wish::node("n0"));
    let error = load(files(folder, &certificate, &key, &ca.pem()), "n0").unwrap_err();
    assert!(error.contains("not signed by an authority") && error.contains("ca.pem"), "{error}");
    // An authority does not stand in for a node.
    let error = load(files(folder, &ca.pem(), &key, &ca.pem()), "n0").unwrap_err();
    assert!(error.contains("cert.pem: "), "{error}");
}

#[test]
fn files_that_cannot_be_used_are_refused_by_name() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let (certificate, key) = ca.issue(&Wish::node("n0"));
    let (_, other) = ca.issue(&Wish::node("n0"));
    let broken = certificate.replace("-----END", "-----NOT");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (cert, key, authority, words) in [
        (&certificate, &other, &ca.pem(), "key.pem: it is not the key of the certificate in "),
        (&broken, &key, &ca.pem(), "cert.pem: it is not readable PEM"),
        (&String::new(), &key, &ca.pem(), "cert.pem: there is no certificate in it"),
        (&key, &key, &ca.pem(), "cert.pem: there is no certificate in it"),
        (&garbage.to_owned(), &key, &ca.pem(), "cert.pem: the certificate cannot be read"),
        (&certificate, &certificate, &ca.pem(), "key.pem: there is no private key in it"),
        (&certificate, &"x".repeat(2 << 20), &ca.pem(), "key.pem: it has more than 1048576 bytes"),
        (&certificate, &key, &String::new(), "ca.pem: there is no certificate in it"),
        (&certificate, &key, &garbage.to_owned(), "ca.pem: it has a certificate that is no authority"),
    ] {
        let error = load(files(folder, cert, key, authority), "n0").unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
    }
    let good = files(folder, &certificate, &key, &ca.pem());
    assert!(load(good.clone(), "n0").is_ok());
    for missing in ["cert.pem", "key.pem", "ca.pem"] {
        let files = files(folder, &certificate, &key, &ca.pem());
        fs::remove_file(folder.join(missing)).unwrap();
        let error = load(files, "n0").unwrap_err();
        assert!(error.contains(&format!("{missing}: cannot read it")), "{error}");
    }
}

#[test]
fn an_authority_between_root_and_node_is_followed_and_excuses_nothing() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let below = ca.below();
    let chain = |wish: &Wish| {
        let (certificate, key) = below.issue(wish);
        files(folder.path(), &(certificate + &below.pem()), &key, &ca.pem())
    };
    assert!(load(chain(&Wish::node("n0")), "n0").is_ok());
    for (wish, words) in bad_wishes("n0") {
        let error = load(chain(&wish), "n0").unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
    }
    let (certificate, key) = below.issue(&Wish::node("n0"));
    let error = load(files(folder.path(), &certificate, &key, &ca.pem()), "n0").unwrap_err();
    assert!(error.contains("not signed by an authority"), "{error}");
}

#[test]
fn a_peer_whose_certificate_breaks_the_rule_is_refused_with_the_reason() {
    let (ca, nodes) = cluster(&["b"]);
    let b = &nodes[0];
    let refused = |certificate: Option<(String, String)>, words: &str| {
        let identity = certificate.as_ref().map(|(certificate, key)| (certificate.as_str(), key.as_str()));
        for head in [to_messages(), to_call("who")] {
            let raw = RawPeer::connect(b.server.local_address(), identity);
            let (status, text) = raw.request(head, &[b"\x01\0\0\0x"], true).unwrap();
            assert!(status == 403 && text.contains(words), "{words}: {status} {text}");
        }
    };
    for (wish, words) in bad_wishes("a") {
        refused(Some(ca.issue(&wish)), words);
    }
    refused(Some(Ca::new().issue(&Wish::node("a"))), "not signed by an authority of client_ca_file");
    refused(None, "no certificate was shown");
    assert!(b.recorder.calls.lock().unwrap().is_empty() && b.recorder.count() == 0);
    let (certificate, key) = ca.issue(&Wish::node("a"));
    let raw = RawPeer::connect(b.server.local_address(), Some((&certificate, &key)));
    assert_eq!(raw.request(to_call("who"), &[], true).unwrap(), (http::StatusCode::OK, "a".to_owned()));
}

#[test]
fn a_server_whose_certificate_breaks_the_rule_gets_nothing_from_a_peer() {
    let ca = Ca::new();
    let a = Node::start(&ca, "a");
    let mut wishes = bad_wishes("b");
    wishes.push((Wish::node("c"), "proves node 'c' and not 'b'"));
    wishes.push((Wish::node("B"), "proves node 'B' and not 'b'"));
    let mut servers: Vec<_> = wishes.into_iter().map(|(wish, words)| (ca.issue(&wish), words)).collect();
    servers.push((Ca::new().issue(&Wish::node("b")), "not signed by an authority"));
    for ((certificate, key), words) in servers {
        let (address, server) = tls_server(&certificate, &key);
        let endpoint = quack_net::Endpoint::new("127.0.0.1", address.port()).unwrap();
        let error = a.peers().call_at(&id("b"), &endpoint, "who", Bytes::from("secret"), WAIT).unwrap_err();
        assert!(
            matches!(error, CallError::Unreachable { .. }) && error.to_string().contains(words),
            "{error}"
        );
        assert_eq!(server.join().unwrap(), b"", "not a byte");
    }
}

/// A server that takes one connection, and returns what it has read from it.
fn tls_server(certificate: &str, key: &str) -> (SocketAddr, std::thread::JoinHandle<Vec<u8>>) {
    use rustls::pki_types::pem::PemObject;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut received = Vec::new();
        let _ = rustls::StreamOwned::new(connection, socket).read_to_end(&mut received);
        received
    });
    (address, server)
}

/// One exchange of HTTP/1.1 over TLS: the whole answer.
fn https(address: SocketAddr, identity: Option<(&str, &str)>, protocols: &[&str], request: &[u8]) -> String {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(client_config(identity, protocols), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, socket);
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // It may end without a farewell of TLS.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

const GREETING: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn clients_speak_http_1_over_tls_and_in_plain_on_the_same_port() {
    let (ca, nodes) = cluster(&["b"]);
    let address = nodes[0].server.local_address();
    let mut plain = Client::new(address);
    plain.open();
    let greeting = "This is a DuckDB Quack RPC endpoint.";
    assert_eq!(nodes[0].server.url(), format!("https://{}", address));
    assert!(https(address, None, &["http/1.1"], GREETING).contains(greeting));
    assert!(https(address, None, &[], GREETING).contains(greeting));
    assert!(https(address, None, &["h2", "http/1.1"], GREETING).contains(greeting), "a browser is a client");
    // Certificates do not matter here, be they right or wrong: clients show a token.
    let (certificate, key) = ca.issue(&Wish::node("a"));
    assert!(https(address, Some((&certificate, &key)), &["http/1.1"], GREETING).contains(greeting));
    let body = connect(TOKEN).encode("", Some(1)).concat();
    let head = format!("POST /quack HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = https(address, None, &["http/1.1"], &[head.as_bytes(), &body].concat());
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("application/vnd.duckdb"), "{answer}");
    assert_eq!(nodes[0].server.active_connections(), 2);
    let connection = TcpStream::connect(address).unwrap();
    drop(connection);
    eventually("only the first is open", || nodes[0].server.open_sockets() == 1);
}

#[test]
fn peers_are_not_spoken_with_in_plain_nor_as_clients() {
    let (ca, nodes) = cluster(&["b"]);
    let address = nodes[0].server.local_address();
    let words = "the nodes of a cluster speak HTTP/2 over TLS with certificates of the cluster";
    for path in ["/quack/peer/1/messages", "/quack/peer/1/call/who", "/quack/peer/"] {
        let request = format!("POST {path} HTTP/1.1\r\nquack-deadline-ms: 1000\r\nContent-Length: 0\r\n\r\n");
        let answer = Client::new(address).http(&request);
        assert_eq!((answer.status, answer.body.starts_with(words.as_bytes())), (403, true), "{path}");
        let (certificate, key) = ca.issue(&Wish::node("a"));
        let answer = https(address, Some((&certificate, &key)), &["http/1.1"], request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains(words), "{answer}");
    }
    // HTTP/2 with prior knowledge, in plain.
    let mut client = Client::new(address);
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let answer = client.receive(false);
    assert!(answer.is_none_or(|answer| answer.status >= 400));
    assert!(nodes[0].recorder.calls.lock().unwrap().is_empty());
}

#[test]
fn plain_http_can_be_switched_off_and_is_told_so_in_the_protocol() {
    let ca = Ca::new();
    let node = Node::start_with(&ca, "b", |config| config.plain_loopback = false);
    let address = node.server.local_address();
    let mut client = Client::new(address);
    let error = client.request("", &connect(TOKEN)).error();
    assert_eq!(error, "plain HTTP is switched off on this server: connect with TLS (https)");
    client.closed();
    assert_eq!(Client::new(address).http("GET / HTTP/1.1\r\n\r\n").status, 403);
    assert!(node.service.events().is_empty());
    assert!(https(address, None, &["http/1.1"], GREETING).contains("Quack RPC endpoint"));
}

#[test]
fn plain_http_from_another_machine_is_refused() {
    // An address of this machine that is not a loopback one stands for another machine.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let outside = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr()).map(|address| address.ip());
    let Ok(outside) = outside.map(|address| address.to_canonical()) else {
        return eprintln!("skipped: this machine has no address but loopback ones");
    };
    if outside.is_loopback() || outside.is_unspecified() {
        return eprintln!("skipped: this machine has no address but loopback ones");
    }
    let ca = Ca::new();
    let node = Node::start_with(&ca, "b", |config| config.listen = "quack:0.0.0.0:0".parse().unwrap());
    let port = node.server.local_address().port();
    let error = Client::new((outside, port).into()).request("", &connect(TOKEN)).error();
    assert!(error.contains("plain HTTP from its own machine only"), "{error}");
    assert!(https((outside, port).into(), None, &[], GREETING).contains("Quack RPC endpoint"));
    Client::new(([127, 0, 0, 1], port).into()).open();
}

#[test]
fn a_handshake_that_does_not_come_to_its_end_is_given_up() {
    let (_, nodes) = cluster(&["b"]);
    let server = &nodes[0].server;
    let mut silent = TcpStream::connect(server.local_address()).unwrap();
    let mut half = TcpStream::connect(server.local_address()).unwrap();
    half.write_all(b"\x16\x03\x01\x02\0").unwrap();
    let mut wrong = TcpStream::connect(server.local_address()).unwrap();
    wrong.write_all(&[&b"\x16\x03\x01\0\x20"[..], &[0xff; 32]].concat()).unwrap();
    for socket in [&mut silent, &mut half, &mut wrong] {
        socket.set_read_timeout(Some(WAIT)).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    }
    eventually("all are closed", || server.open_sockets() == 0);
    // Nor one that stops behind its handshake.
    let raw = RawPeer::connect(server.local_address(), None);
    eventually("it is there", || server.open_sockets() == 1);
    wait_until("it is given up", || server.open_sockets() == 0);
    drop(raw);
}

#[test]
fn new_certificates_are_taken_without_a_restart_and_bad_ones_are_not() {
    let ca = Ca::new();
    let nodes = [Node::start(&ca, "a"), Node::start(&ca, "b")];
    introduce(&nodes);
    let (a, b) = (&nodes[0], &nodes[1]);
    let serial = || {
        let name = ServerName::try_from("x").unwrap();
        let connection = rustls::ClientConnection::new(client_config(None, &["http/1.1"]), name).unwrap();
        let mut stream =
            rustls::StreamOwned::new(connection, TcpStream::connect(b.server.local_address()).unwrap());
        stream.write_all(GREETING).unwrap();
        stream.conn.peer_certificates().unwrap()[0].as_ref().to_vec()
    };
    let first = serial();
    let write = |ca: &Ca, wish: &Wish| ca.files(b.folder.path(), wish);
    write(&ca, &Wish { years: (2020, 2021), ..Wish::node("b") });
    let error = b.tls.reload().map_or_else(|error| error.to_string(), |taken| format!("taken: {taken}"));
    // The server itself may have been faster.
    assert!(error.contains("cert.pem: the certificate has expired") || error == "taken: false", "{error}");
    assert_eq!(
        b.tls.reload().map_err(drop),
        Ok(false),
        "what was refused is not read again until it changes"
    );
    assert_eq!(serial(), first, "the former one stays");
    // Only the certificate is new: the key belongs to another one.
    let (certificate, key) = ca.issue(&Wish::node("b"));
    fs::write(b.folder.path().join("cert.pem"), &certificate).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(serial(), first, "half of a new identity is none");
    fs::write(b.folder.path().join("key.pem"), &key).unwrap();
    eventually("both are new", || serial() != first);
    assert!(a.connected(), "connections stay");
    assert_eq!(*a.recorder.changes.lock().unwrap(), [(id("b"), true)]);
    // New authorities: both count for a while, then only the new one.
    let new = Ca::new();
    let both = format!("{}{}", ca.pem(), new.pem());
    let authority = |folder: &Path, pem: &str| fs::write(folder.join("ca.pem"), pem).unwrap();
    authority(a.folder.path(), &both);
    authority(b.folder.path(), &both);
    std::thread::sleep(Duration::from_millis(1500));
    let (certificate, key) = new.issue(&Wish::node("b"));
    files(b.folder.path(), &certificate, &key, &both);
    let second = serial();
    eventually("b's is of the new authority", || serial() != second);
    let call = || a.peers().call_at(&id("b"), b.server.endpoint(), "who", Bytes::new(), WAIT);
    assert_eq!(call().unwrap(), "a");
    authority(b.folder.path(), &new.pem());
    eventually("a's is of an authority that counts no more", || {
        call().is_err_and(|error| error.to_string().contains("not signed by an authority"))
    });
}

#[test]
fn a_configuration_that_cannot_be_is_refused_before_anything_is_touched() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let recorder = Node::start(&ca, "x").recorder;
    let check = |config: &ServerConfig| Server::check(config).map_err(|error| error.to_string());
    let error = check(&ServerConfig { peers: Some(recorder.clone()), ..config(limits()) }).unwrap_err();
    assert!(error.contains("nodes speak to each other over TLS only: give cert_file"), "{error}");
    let error = check(&ServerConfig { plain_loopback: false, ..config(limits()) }).unwrap_err();
    assert!(error.contains("no client could connect"), "{error}");
    let afar = ServerConfig { listen: "quack:0.0.0.0:0".parse().unwrap(), ..config(limits()) };
    assert!(matches!(Server::check(&afar), Err(Error::NotLocal { .. })));
    let tls = Tls::load(ca.files(folder.path(), &Wish::node("n0")), &id("n0")).unwrap();
    check(&ServerConfig { tls: Some(tls.clone()), ..afar }).unwrap();
    let mut full = ServerConfig { tls: Some(tls), peers: Some(recorder), ..config(limits()) };
    check(&full).unwrap();
    full.peer_limits.queue_bytes_max = 1;
    assert!(check(&full).unwrap_err().contains("limit 'queue_bytes_max' is 1, it must be 35651584 at least"));
    full.peer_limits = peer_limits();
    full.peer_limits.frame_bytes_max = usize::MAX;
    full.peer_limits.queue_bytes_max = usize::MAX;
    assert!(check(&full).unwrap_err().contains("it must be 1073741824 at most"));
}
