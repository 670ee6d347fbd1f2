//! The files that a node's identity is in: read, checked, made into configurations.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use quack_types::NodeId;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};

use super::identity::{Authority, NotProven};
use super::verifier::AskForCertificate;
use super::{ALPN_CLIENT, ALPN_PEER};
use crate::secret_file::FILE_BYTES_MAX;
use crate::{Error, SecretFileError, read_secret};

/// Where a node's identity is: three files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The node's certificate, followed by those of authorities between it and the root, if any.
    pub cert_file: PathBuf,
    /// The private key of the certificate: PKCS #8, SEC 1 or PKCS #1, not encrypted.
    pub key_file: PathBuf,
    /// The authorities that sign the certificates of the cluster's nodes; several while one replaces another.
    pub client_ca_file: PathBuf,
}

/// What tells a file from its successor. Missing files have one too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp([Option<FileStamp>; 3]);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

/// What was in the files.
#[derive(Debug)]
pub(super) struct Loaded {
    pub authority: Arc<Authority>,
    pub key: Arc<SingleCertAndKey>,
    pub server: Arc<ServerConfig>,
    pub provider: Arc<CryptoProvider>,
}

impl TlsFiles {
    pub(super) fn stamp(&self) -> Stamp {
        let stamp = |file: &Path| {
            let metadata = fs::metadata(file).ok()?;
            Some(FileStamp {
                modified: metadata.modified().ok(),
                bytes: metadata.len(),
                inode: inode(&metadata),
            })
        };
        Stamp([stamp(&self.cert_file), stamp(&self.key_file), stamp(&self.client_ca_file)])
    }

    /// Reads and checks the files: they must prove `own` to every peer that has the same authorities.
    pub(super) fn load(&self, own: &NodeId) -> Result<Loaded, Error> {
        let provider = Arc::new(ring::default_provider());
        let authority = Arc::new(self.authority(&provider)?);
        let chain = certificates(&self.cert_file)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key()?).map_err(|error| {
            let reason = format!("there is no private key in it ({error})");
            refused(&self.key_file, reason, "give the certificate's key in PEM, not encrypted")
        })?;
        authority.prove_node(&chain, own, UnixTime::now()).map_err(|error| self.not_own(own, error))?;
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| self.not_key(error))?;
        let key = Arc::new(SingleCertAndKey::from(key));
        let server = server(&provider, &authority, key.clone()).map_err(|error| {
            refused(&self.cert_file, error.to_string(), "issue a new certificate with an ECDSA or RSA key")
        })?;
        Ok(Loaded { authority, key, server: Arc::new(server), provider })
    }

    /// What is in the file of the key. One that others may use is taken, and said to be none: keys are often written with the
    /// usual mode, and a cluster that does not start any more is no safer.
    fn key(&self) -> Result<Vec<u8>, Error> {
        if let Err(error @ (SecretFileError::Open { .. } | SecretFileError::Owner { .. })) =
            read_secret(&self.key_file)
        {
            tracing::warn!(%error, "the private key of this node is no secret");
        }
        read(&self.key_file)
    }

    fn authority(&self, provider: &CryptoProvider) -> Result<Authority, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.client_ca_file)? {
            roots.add(certificate).map_err(|error| {
                let reason = format!("it has a certificate that is no authority ({error})");
                refused(&self.client_ca_file, reason, "give the certificate of the cluster's authority")
            })?;
        }
        Ok(Authority::new(roots, provider.signature_verification_algorithms))
    }

    fn not_own(&self, own: &NodeId, error: NotProven) -> Error {
        // The texts are those that a peer would answer; where another file or a setting may be the culprit,
        // that is said too.
        let remedy = match error {
            NotProven::Authority => {
                format!("cert_file must be signed by the authority of {}", self.client_ca_file.display())
            }
            NotProven::Other { .. } => {
                format!("this node's node_id is '{own}': change it, or the certificate")
            }
            _ => format!("the certificate of node '{own}' must prove it to the other nodes"),
        };
        refused(&self.cert_file, error.to_string(), &remedy)
    }

    fn not_key(&self, error: rustls::Error) -> Error {
        let reason = match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                format!("it is not the key of the certificate in {}", self.cert_file.display())
            }
            error => format!("the key cannot be used ({error})"),
        };
        refused(&self.key_file, reason, "give the key that the certificate was issued for")
    }
}

fn server(
    provider: &Arc<CryptoProvider>,
    authority: &Arc<Authority>,
    key: Arc<SingleCertAndKey>,
) -> Result<ServerConfig, rustls::Error> {
    let verifier = AskForCertificate { authority: authority.clone(), subjects: authority.subjects() };
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(key);
    // Peers offer HTTP/2 alone. A program that offers both is a client (a browser, curl).
    server.alpn_protocols = vec![ALPN_CLIENT.to_vec(), ALPN_PEER.to_vec()];
    // Every connection proves itself anew: no certificate lives on in a ticket.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(server)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let remedy = "give certificates in PEM (-----BEGIN CERTIFICATE-----)";
    let pem = read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates =
        certificates.map_err(|error| refused(file, format!("it is not readable PEM ({error})"), remedy))?;
    if certificates.is_empty() {
        return Err(refused(file, "there is no certificate in it".to_owned(), remedy));
    }
    Ok(certificates)
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let remedy = "check the path, and that this process may read the file";
    let io = |error: std::io::Error| refused(file, format!("cannot read it ({error})"), remedy);
    let mut bytes = Vec::new();
    fs::File::open(file).map_err(io)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(refused(file, format!("it has more than {FILE_BYTES_MAX} bytes"), remedy));
    }
    Ok(bytes)
}

fn refused(file: &Path, reason: String, remedy: &str) -> Error {
    Error::Tls { file: file.to_path_buf(), reason, remedy: remedy.to_owned() }
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}
