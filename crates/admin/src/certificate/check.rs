//! The cluster's certificate rule, one finding for each violation.
//!
//! Names are compared verbatim with the node's id: an identity is not a host name, and upper and lower case differ.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use quack_net::{SecretFileError, read_secret};
use rustls_pki_types::DnsName;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::pem::{self, Key};
use crate::files;
use crate::{Error, Finding, Rule};

/// A certificate that ends within this many seconds is warned about: two weeks, time enough to renew it.
const SOON_SECONDS: i64 = 14 * 24 * 3600;
/// Most signatures between a node's certificate and the authority's.
const CHAIN_MAX: usize = 5;

/// The three files of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The node's certificate, PEM; intermediate certificates may follow it.
    pub certificate: PathBuf,
    /// The node's private key, PEM.
    pub key: PathBuf,
    /// The cluster's authority, PEM.
    pub authority: PathBuf,
}

/// Checks a node's files against the rule, at a time in seconds since 1970.
pub fn check(files: &CertificateFiles, node_id: &str, now: i64) -> Vec<Finding> {
    let mut findings = check_authority(&files.authority, now);
    let certificates = match files::read(&files.certificate) {
        Ok(text) => pem::certificates(&text),
        Err(error) => {
            findings.push(unreadable(&files.certificate, &error));
            check_key(&files.key, None, &mut findings);
            return findings;
        }
    };
    let leaf = certificates.first().and_then(|der| x509_parser::parse_x509_certificate(der).ok());
    let Some((_, leaf)) = leaf else {
        let message = "holds no certificate: give the node's certificate as PEM (BEGIN CERTIFICATE)";
        findings.push(Finding::new(Rule::CertificateUnreadable, &files.certificate, message));
        check_key(&files.key, None, &mut findings);
        return findings;
    };
    let mut add = |rule, message: String| findings.push(Finding::new(rule, &files.certificate, message));
    check_time(&leaf, now, &mut add);
    check_names(&leaf, node_id, &mut add);
    check_usages(&leaf, &mut add);
    check_issuer(&leaf, &certificates[1..], &files.authority, &mut add);
    check_key(&files.key, Some(&leaf), &mut findings);
    findings
}

/// Checks an authority's certificate alone.
pub fn check_authority(path: &Path, now: i64) -> Vec<Finding> {
    let text = match files::read(path) {
        Ok(text) => text,
        Err(error) => return vec![unreadable(path, &error)],
    };
    let certificates = pem::certificates(&text);
    if certificates.is_empty() {
        let message = "holds no certificate: give the cluster's authority as PEM (BEGIN CERTIFICATE)";
        return vec![Finding::new(Rule::CertificateUnreadable, path, message)];
    }
    let mut findings = Vec::new();
    for der in &certificates {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else {
            let message = "holds a certificate that cannot be read: make it again";
            findings.push(Finding::new(Rule::CertificateUnreadable, path, message));
            continue;
        };
        if !certificate.is_ca() {
            let message = "is not an authority's certificate (basic constraint CA is missing): give the certificate \
                           that signed the nodes' certificates";
            findings.push(Finding::new(Rule::CaIsNotCa, path, message));
        }
        let validity = certificate.validity();
        if now > validity.not_after.timestamp() || now < validity.not_before.timestamp() {
            let message = format!(
                "is valid from {} to {} only, and it is {}: make a new authority, or set the clock",
                date(validity.not_before.timestamp()),
                date(validity.not_after.timestamp()),
                date(now)
            );
            findings.push(Finding::new(Rule::CaExpired, path, message));
        }
    }
    findings
}

/// A file that cannot be read, as a finding.
pub fn unreadable(path: &Path, error: &Error) -> Finding {
    match error {
        Error::NotFound(_) => Finding::new(Rule::FileMissing, path, "does not exist: check the path"),
        Error::Permission(_) => Finding::new(
            Rule::FileForbidden,
            path,
            "may not be read by this user: change its owner or its mode",
        ),
        other => Finding::new(Rule::FileUnreadable, path, format!("cannot be read: {other}")),
    }
}

fn date(seconds: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).ok();
    let text = time.and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok());
    text.unwrap_or_else(|| seconds.to_string())
}

fn check_time(leaf: &X509Certificate<'_>, now: i64, add: &mut impl FnMut(Rule, String)) {
    let (start, end) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    if now > end {
        add(Rule::CertificateExpired, format!("expired at {}: issue a new one", date(end)));
    } else if now < start {
        let message = format!("is valid from {} only: wait, issue a new one, or set the clock", date(start));
        add(Rule::CertificateNotYetValid, message);
    } else if end - now < SOON_SECONDS {
        add(Rule::CertificateExpiresSoon, format!("expires at {}: issue a new one before that", date(end)));
    }
}

fn check_names(leaf: &X509Certificate<'_>, node_id: &str, add: &mut impl FnMut(Rule, String)) {
    let names = leaf.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let dns: Vec<&str> = names
        .iter()
        .filter_map(|name| if let GeneralName::DNSName(dns) = name { Some(*dns) } else { None })
        .collect();
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
        .collect();
    let several: BTreeSet<&str> = dns.iter().copied().filter(|name| uris.contains(name)).collect();
    if several.len() > 1 {
        let names = several.into_iter().collect::<Vec<_>>().join(", ");
        let message =
            format!("has the names of several nodes ({names}), so that it proves none: issue one for each");
        add(Rule::CertificateNamesSeveralNodes, message);
    }
    if !is_dns_name(node_id) {
        let message = format!(
            "'{node_id}' cannot be proved by a certificate, because it is not a DNS name (its parts, between dots, \
             begin and end with a letter or a digit, and the last is not all digits): rename the node"
        );
        add(Rule::NodeIdNotDnsName, message);
    }
    for (rule, kind, found) in
        [(Rule::CertificateLacksDnsName, "DNS", dns), (Rule::CertificateLacksUriName, "URI", uris)]
    {
        if !found.contains(&node_id) {
            let has = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            let message = format!(
                "lacks the subject alternative name {kind}:{node_id} (it has {has}; a common name does not count): \
                 issue a certificate for this node, or correct the node's id"
            );
            add(rule, message);
        }
    }
}

/// Whether a name can be a DNS name, as the handshake of the nodes sees it.
pub(super) fn is_dns_name(name: &str) -> bool {
    DnsName::try_from(name).is_ok()
}

fn check_usages(leaf: &X509Certificate<'_>, add: &mut impl FnMut(Rule, String)) {
    let usage = leaf.extended_key_usage().ok().flatten().map(|extension| extension.value);
    let reason =
        "every node is both a server and a client: issue the certificate with both serverAuth and clientAuth";
    if !usage.is_some_and(|usage| usage.server_auth) {
        add(Rule::CertificateLacksServerAuth, format!("lacks the extended key usage serverAuth; {reason}"));
    }
    if !usage.is_some_and(|usage| usage.client_auth) {
        add(Rule::CertificateLacksClientAuth, format!("lacks the extended key usage clientAuth; {reason}"));
    }
    if leaf.is_ca() {
        let message =
            "is an authority's certificate, which no node may show: issue one for the node".to_owned();
        add(Rule::CertificateIsCa, message);
    }
}

fn check_issuer(
    leaf: &X509Certificate<'_>,
    intermediates: &[Vec<u8>],
    authority: &Path,
    add: &mut impl FnMut(Rule, String),
) {
    // An authority that cannot be read has its own finding.
    let Ok(text) = files::read(authority) else { return };
    let roots = pem::certificates(&text);
    let roots: Vec<_> = parsed(&roots);
    if roots.is_empty() {
        return;
    }
    let intermediates = parsed(intermediates);
    let mut current = leaf;
    for _ in 0..CHAIN_MAX {
        if roots.iter().any(|root| signed_by(current, root)) {
            return;
        }
        match intermediates.iter().find(|issuer| issuer.is_ca() && signed_by(current, issuer)) {
            Some(issuer) => current = issuer,
            None => break,
        }
    }
    let message = format!(
        "is not signed by the authority in {} (its issuer is '{}'): issue it with that authority, or give the right one",
        authority.display(),
        leaf.issuer()
    );
    add(Rule::CertificateWrongCa, message);
}

fn parsed(certificates: &[Vec<u8>]) -> Vec<X509Certificate<'_>> {
    let parse = |der| x509_parser::parse_x509_certificate(der).ok().map(|(_, certificate)| certificate);
    certificates.iter().filter_map(|der| parse(der)).collect()
}

fn signed_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    certificate.issuer() == issuer.subject()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

fn check_key(path: &Path, leaf: Option<&X509Certificate<'_>>, findings: &mut Vec<Finding>) {
    let text = match files::read(path) {
        Ok(text) => text,
        Err(error) => {
            findings.push(unreadable(path, &error));
            return;
        }
    };
    if let Err(error @ (SecretFileError::Open { .. } | SecretFileError::Owner { .. })) = read_secret(path) {
        findings.push(Finding::new(Rule::KeyReadableByOthers, path, error.to_string()));
    }
    let mut add = |rule, message: &str| findings.push(Finding::new(rule, path, message));
    match (pem::key(&text), leaf) {
        (Key::Nothing, _) => {
            add(
                Rule::KeyUnreadable,
                "holds no private key: give the key as PEM (BEGIN PRIVATE KEY), without a password",
            );
        }
        (Key::OtherForm, _) => add(
            Rule::KeyNotCompared,
            "is in an old form and was not compared with the certificate: `openssl pkcs8 -topk8 -nocrypt` converts it",
        ),
        (Key::Pair(pair), Some(leaf)) => {
            if leaf.public_key().raw != rcgen::PublicKeyData::subject_public_key_info(&*pair) {
                add(Rule::KeyDoesNotMatch, "is not the key of the certificate: take both from one issue");
            }
        }
        (Key::Pair(_), None) => {}
    }
}
