//! Measures the way between two nodes over loopback: there and back of a message and of a call, and throughput.
//!
//! `cargo run --release -p quack-net --example peer_speed`

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quack_net::{PeerHandler, Peers, Server, ServerConfig, Tls, TlsFiles};
use quack_types::NodeId;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};

/// Largest frame that is sent back.
const ECHO_BYTES_MAX: usize = 4096;

/// Sends small frames back, and tells of all.
struct Echo {
    peers: OnceLock<Peers>,
    back: bool,
    arrived: Mutex<Sender<usize>>,
}

impl PeerHandler for Echo {
    fn admit(&self, _: &NodeId) -> Result<(), String> {
        Ok(())
    }

    fn message(&self, peer: &NodeId, frame: Bytes) {
        let bytes = frame.len();
        if self.back && bytes <= ECHO_BYTES_MAX {
            self.peers.get().unwrap().send(peer, frame);
        }
        self.arrived.lock().unwrap().send(bytes).unwrap();
    }

    fn call(&self, _: &NodeId, _: &str, body: Bytes) -> Result<Bytes, String> {
        Ok(body)
    }
}

fn certificates(folder: &Path, issuer: &Issuer<'_, KeyPair>, authority: &str, name: &str) -> Tls {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        vec![SanType::DnsName(name.try_into().unwrap()), SanType::URI(name.try_into().unwrap())];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, issuer).unwrap();
    let write = |kind: &str, text: &str| {
        let file = folder.join(format!("{name}.{kind}.pem"));
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        file
    };
    let files = TlsFiles {
        cert_file: write("cert", &certificate.pem()),
        key_file: write("key", &key.serialize_pem()),
        client_ca_file: write("ca", authority),
    };
    Tls::load(files, &NodeId::new(name).unwrap()).unwrap()
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
    println!("{what}: median {} us, p99 {} us, max {} us", at(0.5), at(0.99), at(1.0));
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let start = |name: &str, back| {
        let (sender, arrived) = channel();
        let handler = Arc::new(Echo { peers: OnceLock::new(), back, arrived: Mutex::new(sender) });
        let config = ServerConfig {
            tls: Some(certificates(folder.path(), &issuer, &authority, name)),
            peers: Some(handler.clone()),
            ..ServerConfig::new("quack:127.0.0.1:0".parse().unwrap(), "token-of-the-example")
        };
        let server = Server::listen(&config).unwrap();
        handler.peers.set(server.peers().unwrap().clone()).unwrap();
        (server, arrived)
    };
    let ((a, at_a), (b, at_b)) = (start("a", false), start("b", true));
    let b_id = NodeId::new("b").unwrap();
    let addresses = [(NodeId::new("a").unwrap(), a.endpoint().clone()), (b_id.clone(), b.endpoint().clone())];
    for server in [&a, &b] {
        server.peers().unwrap().set_addresses(&addresses);
        while !server.peers().unwrap().status().iter().all(|peer| peer.connected) {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let peers = a.peers().unwrap();
    for (what, pause) in [("message there and back, idle", 5), ("message there and back, busy", 0)] {
        let there_and_back = |_| {
            thread::sleep(Duration::from_millis(pause));
            let start = Instant::now();
            assert!(peers.send(&b_id, Bytes::from_static(&[7; 200])));
            at_a.recv().unwrap();
            at_b.recv().unwrap();
            start.elapsed()
        };
        show(what, (0..1000).map(there_and_back).collect());
    }
    speed(peers, &b_id, &at_b);
}

fn speed(peers: &Peers, b_id: &NodeId, at_b: &Receiver<usize>) {
    let call = |_| {
        let start = Instant::now();
        peers.call(b_id, "echo", Bytes::from_static(&[7; 200]), Duration::from_secs(5)).unwrap();
        start.elapsed()
    };
    show("call", (0..2000).map(call).collect());
    for (bytes, total) in [(1 << 20, 2_usize << 30), (16 << 10, 512 << 20), (200, 50 << 20)] {
        // Above what is sent back, or the ways back would be measured with it.
        let frame = Bytes::from(vec![7; bytes]);
        let start = Instant::now();
        let (mut sent, mut arrived) = (0, 0);
        while arrived < total / bytes {
            if sent < total / bytes && peers.send(b_id, frame.clone()) {
                sent += 1;
                arrived += at_b.try_iter().count();
            } else {
                at_b.recv().unwrap();
                arrived += 1;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "frames of {bytes} bytes: {:.0} MB/s, {:.0} frames/s",
            (sent * bytes) as f64 / 1e6 / seconds,
            sent as f64 / seconds
        );
    }
}
