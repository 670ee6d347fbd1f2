//! Which node a certificate proves.
//!
//! The one rule for certificates, of this node and of its peers: signed by the cluster's authority, valid now,
//! usable by servers and by clients, and naming exactly one node, twice: as `DNS:<node_id>` and as `URI:<node_id>`
//! among its alternative names. The common name is never looked at (RFC 6125, section 6.4.4, retires it; here it
//! would let any applicant for *some* certificate of the authority choose its own identity).
//!
//! Knows nothing of sockets and files.

use std::cell::Cell;
use std::collections::BTreeSet;

use quack_types::NodeId;
use rustls::RootCertStore;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};

/// Names of others that a refusal repeats at most.
const NAMES_SHOWN_MAX: usize = 8;

/// Why a certificate proves no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotProven {
    #[error("no certificate was shown; peers show one that the cluster's authority has signed")]
    Missing,
    #[error("the certificate cannot be read ({0}); issue a new one")]
    Unreadable(String),
    #[error(
        "the certificate is not signed by an authority of client_ca_file; issue one with the cluster's authority, \
         or add the right authority to that file on every node"
    )]
    Authority,
    #[error("the certificate has expired {0} seconds ago; issue a new one")]
    Expired(u64),
    #[error("the certificate is valid only in {0} seconds; check the clocks of both machines")]
    NotYet(u64),
    #[error(
        "the certificate's extended key usage lacks {0}: a node is server and client; issue it with serverAuth and \
         clientAuth"
    )]
    Usage(&'static str),
    #[error("the certificate does not verify ({0}); issue a new one")]
    Invalid(String),
    #[error(
        "the certificate names no node: it needs the subject alternative names DNS:<node_id> and URI:<node_id>, both \
         with the same id (it has {0}; a common name does not count)"
    )]
    Nameless(String),
    #[error("the certificate names several nodes ({0}); issue one for each node")]
    Ambiguous(String),
    #[error(
        "the certificate proves node '{proven}' and not '{expected}'; check the address and the certificate"
    )]
    Other { proven: NodeId, expected: NodeId },
}

/// The authorities whose certificates count.
#[derive(Debug)]
pub(crate) struct Authority {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Authority {
    pub(crate) fn new(roots: RootCertStore, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { roots, algorithms }
    }

    pub(crate) fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }

    pub(crate) fn subjects(&self) -> Vec<rustls::DistinguishedName> {
        self.roots.subjects()
    }

    /// The node that a chain of certificates proves, its own certificate first.
    pub(crate) fn prove(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<NodeId, NotProven> {
        let (leaf, others) = chain.split_first().ok_or(NotProven::Missing)?;
        let leaf = EndEntityCert::try_from(leaf).map_err(|error| NotProven::Unreadable(error.to_string()))?;
        let usage = NodeUsage { leaf: Cell::new(true), lacks: Cell::new("serverAuth and clientAuth") };
        leaf.verify_for_usage(self.algorithms.all, &self.roots.roots, others, now, &usage, None, None)
            .map_err(|error| not_verified(error, &usage))?;
        named(&leaf)
    }

    /// Like [`prove`](Self::prove), when only one node will do.
    pub(crate) fn prove_node(
        &self,
        chain: &[CertificateDer<'_>],
        expected: &NodeId,
        now: UnixTime,
    ) -> Result<(), NotProven> {
        let proven = self.prove(chain, now)?;
        if proven == *expected {
            return Ok(());
        }
        Err(NotProven::Other { proven, expected: expected.clone() })
    }
}

/// The leaf must be made for servers and for clients. An authority between it and the root need not say what it
/// is for; if it does, servers and clients must be among it.
struct NodeUsage {
    /// True until the leaf has been looked at: chains are built upwards from it.
    leaf: Cell<bool>,
    /// What was missing last.
    lacks: Cell<&'static str>,
}

impl ExtendedKeyUsageValidator for NodeUsage {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let leaf = self.leaf.replace(false);
        let (mut server, mut client, mut any) = (false, false, false);
        for purpose in purposes {
            let purpose = purpose?.to_decoded_oid();
            any = true;
            server |= purpose == KeyUsage::SERVER_AUTH_REPR;
            client |= purpose == KeyUsage::CLIENT_AUTH_REPR;
        }
        if (server && client) || (!leaf && !any) {
            return Ok(());
        }
        self.lacks.set(match (server, client) {
            (true, _) => "clientAuth",
            (_, true) => "serverAuth",
            _ => "serverAuth and clientAuth",
        });
        let context = webpki::RequiredEkuNotFoundContext {
            required: KeyUsage::client_auth(),
            // The texts are made from `lacks`.
            present: Vec::new(),
        };
        Err(webpki::Error::RequiredEkuNotFoundContext(context))
    }
}

fn not_verified(error: webpki::Error, usage: &NodeUsage) -> NotProven {
    use webpki::Error;
    match error {
        Error::CertExpired { time, not_after } => {
            NotProven::Expired(time.as_secs().saturating_sub(not_after.as_secs()))
        }
        Error::CertNotValidYet { time, not_before } => {
            NotProven::NotYet(not_before.as_secs().saturating_sub(time.as_secs()))
        }
        Error::RequiredEkuNotFoundContext(_) => NotProven::Usage(usage.lacks.get()),
        // A key of the same name as the authority's, and another key.
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => NotProven::Authority,
        Error::BadDer | Error::UnsupportedCertVersion => NotProven::Unreadable(error.to_string()),
        error => NotProven::Invalid(error.to_string()),
    }
}

/// The node that is named among the DNS names and among the URIs.
fn named(leaf: &EndEntityCert<'_>) -> Result<NodeId, NotProven> {
    let dns: BTreeSet<&str> = leaf.valid_dns_names().collect();
    let uri: BTreeSet<&str> = leaf.valid_uri_names().collect();
    let mut nodes = dns.intersection(&uri).filter_map(|name| NodeId::new(*name).ok());
    let Some(node) = nodes.next() else {
        let names = dns.iter().map(|name| format!("DNS:{name}"));
        let names = names.chain(uri.iter().map(|name| format!("URI:{name}")));
        let names: Vec<_> = names.take(NAMES_SHOWN_MAX).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(NotProven::Nameless(names));
    };
    let more: Vec<_> = nodes.take(NAMES_SHOWN_MAX).map(|node| node.to_string()).collect();
    if more.is_empty() {
        return Ok(node);
    }
    Err(NotProven::Ambiguous(format!("{node}, {}", more.join(", "))))
}
