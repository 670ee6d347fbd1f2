//! Peers that say what they are told to, and a network that swallows what it should carry.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// A client's side of TLS that takes any server, and shows what it is told to.
pub fn client_config(identity: Option<(&str, &str)>, protocols: &[&str]) -> Arc<rustls::ClientConfig> {
    client_config_of(rustls::DEFAULT_VERSIONS, identity, protocols)
}

/// The same, for some versions of TLS alone.
pub fn client_config_of(
    versions: &[&'static rustls::SupportedProtocolVersion],
    identity: Option<(&str, &str)>,
    protocols: &[&str],
) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some((certificates, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificates.as_bytes()).map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A peer that says what it is told to.
pub struct RawPeer {
    runtime: tokio::runtime::Runtime,
    requests: SendRequest<Bytes>,
}

impl RawPeer {
    pub fn connect(address: SocketAddr, identity: Option<(&str, &str)>) -> Self {
        Self::connect_with(address, client_config(identity, &["h2"]))
    }

    pub fn connect_with(address: SocketAddr, config: Arc<rustls::ClientConfig>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let requests = runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("any").unwrap();
            let stream = tokio_rustls::TlsConnector::from(config).connect(name, socket).await.unwrap();
            let (requests, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            requests
        });
        Self { runtime, requests }
    }

    /// Sends a request whose body is these pieces, which may not be its end, and returns status and body of the
    /// answer.
    pub fn request(
        &self,
        head: http::request::Builder,
        pieces: &[&[u8]],
        end: bool,
    ) -> Result<(StatusCode, String), h2::Error> {
        let request: Request<()> = head.method("POST").body(()).unwrap();
        let exchange = async {
            let mut requests = self.requests.clone().ready().await?;
            let (response, mut stream) = requests.send_request(request, false)?;
            for piece in pieces {
                let _ = stream.send_data(Bytes::copy_from_slice(piece), false);
            }
            if end {
                let _ = stream.send_data(Bytes::new(), true);
            }
            let (head, mut body) = response.await?.into_parts();
            let mut text = Vec::new();
            while let Some(data) = body.data().await {
                let data = data?;
                let _ = body.flow_control().release_capacity(data.len());
                text.extend_from_slice(&data);
            }
            Ok((head.status, String::from_utf8(text).unwrap()))
        };
        let in_time = async { tokio::time::timeout(Duration::from_secs(10), exchange).await };
        self.runtime.block_on(in_time).expect("an answer in time")
    }
}

pub fn to_messages() -> http::request::Builder {
    Request::builder().uri("https://x/quack/peer/1/messages")
}

pub fn to_call(method: &str) -> http::request::Builder {
    Request::builder()
        .uri(format!("https://x/quack/peer/1/call/{method}"))
        .header("quack-deadline-ms", "5000")
}

/// Sits between two nodes and passes bytes on, until it is told to swallow them.
pub struct Proxy {
    pub address: SocketAddr,
    swallow: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let swallow = Arc::new(AtomicBool::new(false));
        let shared = swallow.clone();
        thread::spawn(move || {
            while let Ok((from, _)) = listener.accept() {
                let Ok(to) = TcpStream::connect(to) else { continue };
                for (from, to) in [(&from, &to), (&to, &from)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let swallow = shared.clone();
                    thread::spawn(move || pass_on(from, to, &swallow));
                }
            }
        });
        Self { address, swallow }
    }

    pub fn swallow(&self, swallow: bool) {
        self.swallow.store(swallow, Ordering::Relaxed);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, swallow: &AtomicBool) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !swallow.load(Ordering::Relaxed) && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    if swallow.load(Ordering::Relaxed) {
        // The end is swallowed too.
        std::mem::forget(to);
    } else {
        let _ = to.shutdown(std::net::Shutdown::Both);
    }
}
