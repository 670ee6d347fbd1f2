//! TLS: this node's identity, the proof of others', and new files without a restart.
//!
//! What lives here: certificates and the handshake. What it does not know: what is said on a connection.
//! Invariants: a [`Tls`] that exists could prove this node when its files were read; the proved node of a
//! connection comes from [`identity`] alone.

mod files;
mod identity;
mod verifier;

use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use quack_types::NodeId;
use rustls::ProtocolVersion;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

pub use files::TlsFiles;
use files::{Loaded, Stamp};
use verifier::ExpectNode;

use crate::Error;

/// The protocol that peers ask for in a handshake.
pub(crate) const ALPN_PEER: &[u8] = b"h2";
/// The protocol that clients ask for, if they ask for any.
pub(crate) const ALPN_CLIENT: &[u8] = b"http/1.1";

/// How often the certificates of connections that stand are verified again. It takes some 0.1 ms.
const PROOF_INTERVAL: Duration = Duration::from_secs(2);

/// The certificates that the other side has shown.
pub(crate) fn chain_of(shown: Option<&[CertificateDer<'static>]>) -> Vec<CertificateDer<'static>> {
    shown.unwrap_or_default().to_vec()
}

/// A node's identity, and its eye for that of others. Clones share it.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: TlsFiles,
    own: NodeId,
    current: RwLock<Arc<Loaded>>,
    /// The files that were looked at last, taken or not.
    seen: Mutex<Stamp>,
}

impl Tls {
    /// Reads the files, and checks that they prove the node `own` to its peers.
    ///
    /// # Errors
    /// A file cannot be read, the key is not that of the certificate, or the certificate breaks the rule of the
    /// cluster: signed by the authority, valid now, `serverAuth` and `clientAuth`, `DNS:<node_id>` and
    /// `URI:<node_id>`. The error names the file and what to do.
    pub fn load(files: TlsFiles, own: &NodeId) -> Result<Self, Error> {
        // Before the files are read: what changes meanwhile is seen as a change.
        let seen = Mutex::new(files.stamp());
        let current = RwLock::new(Arc::new(files.load(own)?));
        Ok(Self(Arc::new(Shared { files, own: own.clone(), current, seen })))
    }

    /// The node that the files prove.
    pub fn node(&self) -> &NodeId {
        &self.0.own
    }

    /// Reads the files again if they have changed since they were looked at last. A running server does this about
    /// every second. Returns whether new files were taken.
    ///
    /// # Errors
    /// The new files are not acceptable. The former ones stay in use.
    pub fn reload(&self) -> Result<bool, Error> {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.0.files.stamp();
        if *seen == stamp {
            return Ok(false);
        }
        *seen = stamp;
        let loaded = Arc::new(self.0.files.load(&self.0.own)?);
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(true)
    }

    /// The same as [`reload`](Self::reload), for a server that has no caller to return an error to: it logs the error.
    pub(crate) fn reload_or_warn(&self) {
        match self.reload() {
            Ok(true) => tracing::info!(node = %self.0.own, "new certificates are in use"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "new certificates are not acceptable, the former ones stay in use");
            }
        }
    }

    fn current(&self) -> Arc<Loaded> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The handshake of a server.
    pub(crate) async fn accept(&self, socket: TcpStream) -> io::Result<server::TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current().server.clone()).accept(socket).await
    }

    /// The handshake of a peer, with one node and no other.
    pub(crate) async fn connect(
        &self,
        socket: TcpStream,
        node: &NodeId,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let loaded = self.current();
        let verifier = ExpectNode { authority: loaded.authority.clone(), expected: node.clone() };
        let mut config = rustls::ClientConfig::builder_with_provider(loaded.provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(loaded.key.clone());
        config.alpn_protocols = vec![ALPN_PEER.to_vec()];
        config.resumption = Resumption::disabled();
        // An address in place of a name only means that no name is sent.
        let name = ServerName::try_from(node.as_str().to_owned())
            .unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }

    /// Waits until a chain of certificates does not prove `node` any more: it has expired, or its authority does not
    /// count any more. Returns why.
    pub(crate) async fn until_unproven(&self, chain: &[CertificateDer<'_>], node: &NodeId) -> String {
        loop {
            tokio::time::sleep(PROOF_INTERVAL).await;
            if let Err(error) = self.current().authority.prove_node(chain, node, UnixTime::now()) {
                return error.to_string();
            }
        }
    }

    /// The node that the other side of an accepted connection has proved to be, or the words to refuse it with.
    pub(crate) fn peer(&self, stream: &server::TlsStream<TcpStream>) -> Result<NodeId, String> {
        // TLS 1.2 is for clients: it shows certificates in plain.
        if stream.get_ref().1.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return Err("nodes speak TLS 1.3 with each other".to_owned());
        }
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        self.current().authority.prove(chain, UnixTime::now()).map_err(|error| error.to_string())
    }
}
