//! A development authority, and the node certificates that it signs.
//!
//! It is for trying and testing: its key lies in a file. In production, certificates come from where an organisation's
//! certificates come from; `quackctl cert check` tells whether they will do.

use std::path::Path;

use quack_types::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use super::check::is_dns_name;
use super::pem;
use crate::files::{self, NewFile, PRIVATE, PUBLIC};
use crate::{Error, Rule};

/// Days that an authority is valid by default: ten years, longer than any trial of the software.
pub const AUTHORITY_DAYS: u32 = 3650;
/// Days that a node's certificate is valid by default.
pub const NODE_DAYS: u32 = 365;
/// Most days that can be asked for: a century.
const DAYS_MAX: u32 = 36_500;
/// Clocks of nodes may be behind the clock of the machine that issues by this much.
const CLOCK_SKEW: Duration = Duration::hours(1);

/// Names of the authority's files in its folder.
const CERTIFICATE_FILE: &str = "ca.crt";
const KEY_FILE: &str = "ca.key";

/// An authority with its key.
pub struct Authority {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
    not_after: OffsetDateTime,
}

impl Authority {
    /// Makes a new one, which is valid for `days`.
    pub fn new(days: u32) -> Result<Self, Error> {
        let mut params = params(days, "quack development CA")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        let (text, not_after) = (key.serialize_pem(), params.not_after);
        Ok(Self { certificate, key: text, issuer: Issuer::new(params, key), not_after })
    }

    /// Reads `ca.crt` and `ca.key` from a folder.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let certificate_path = folder.join(CERTIFICATE_FILE);
        let certificate = files::read_text(&certificate_path)?;
        let key_path = folder.join(KEY_FILE);
        let key = files::read_text(&key_path)?;
        let findings = super::check_authority(&certificate_path, pem::unix_seconds_now());
        if let Some(finding) = findings.iter().find(|finding| finding.rule != Rule::CertificateExpiresSoon) {
            return Err(Error::Invalid(finding.to_string()));
        }
        let pair = KeyPair::from_pem(&key).map_err(|error| {
            Error::Invalid(format!("{} holds no private key that can sign: {error}", key_path.display()))
        })?;
        let not_after = pem::first_certificate(certificate.as_bytes())
            .and_then(|der| pem::not_after(&der))
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        let not_after = not_after
            .ok_or_else(|| Error::Invalid(format!("{} holds no certificate", certificate_path.display())))?;
        if !pem::belong_together(certificate.as_bytes(), &pair) {
            let message = "is not the key of ca.crt beside it: take both from one `quackctl cert init`";
            return Err(Error::Invalid(format!("{} {message}", key_path.display())));
        }
        let issuer = Issuer::from_ca_cert_pem(&certificate, pair)?;
        Ok(Self { certificate, key, issuer, not_after })
    }

    /// The files of the authority itself: `ca.crt` and `ca.key`.
    pub fn files(&self) -> Vec<NewFile> {
        vec![
            NewFile { name: CERTIFICATE_FILE.to_owned(), text: self.certificate.clone(), mode: PUBLIC },
            NewFile { name: KEY_FILE.to_owned(), text: self.key.clone(), mode: PRIVATE },
        ]
    }

    /// The authority's certificate alone, for a folder in which no key of it belongs.
    pub fn certificate_file(&self) -> NewFile {
        NewFile { name: CERTIFICATE_FILE.to_owned(), text: self.certificate.clone(), mode: PUBLIC }
    }

    /// Makes a certificate and a key for a node: `<node>.crt` and `<node>.key`.
    pub fn issue(&self, node: &NodeId, days: u32) -> Result<Vec<NewFile>, Error> {
        if matches!(node.as_str(), "ca") {
            return Err(Error::Invalid(
                "a node cannot be called 'ca': its files would be the authority's".into(),
            ));
        }
        if !is_dns_name(node.as_str()) {
            let message = format!(
                "node '{node}': the name cannot be in a certificate, because it is not a DNS name: its parts, between \
                 dots, begin and end with a letter or a digit, and the last is not all digits"
            );
            return Err(Error::Invalid(message));
        }
        let mut params = params(days, node.as_str())?;
        if params.not_after > self.not_after {
            let message = format!(
                "--days {days} is longer than the authority itself is valid (until {}): give fewer days, or make a \
                 new authority with `quackctl cert init`",
                self.not_after.date()
            );
            return Err(Error::Invalid(message));
        }
        let name = node.as_str();
        params.subject_alt_names = vec![SanType::DnsName(name.try_into()?), SanType::URI(name.try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(vec![
            NewFile { name: format!("{name}.key"), text: key.serialize_pem(), mode: PRIVATE },
            NewFile { name: format!("{name}.crt"), text: certificate.pem(), mode: PUBLIC },
        ])
    }
}

fn params(days: u32, name: &str) -> Result<CertificateParams, Error> {
    if days == 0 || days > DAYS_MAX {
        return Err(Error::Invalid(format!("--days {days}: give 1 to {DAYS_MAX}")));
    }
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + Duration::days(i64::from(days));
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_would_outlive_its_authority_is_refused() {
        let authority = Authority::new(10).unwrap();
        let node = NodeId::new("n0").unwrap();
        let Err(error) = authority.issue(&node, 11) else { panic!("it was issued") };
        assert!(error.to_string().contains("give fewer days"), "{error}");
        assert!(authority.issue(&node, 9).is_ok());
        for days in [0, DAYS_MAX + 1] {
            assert!(Authority::new(days).is_err(), "{days}");
        }
    }

    #[test]
    fn an_authority_goes_on_from_its_files_and_refuses_a_foreign_key() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(10).unwrap();
        files::write_all(folder.path(), &authority.files(), false).unwrap();
        let again = Authority::open(folder.path()).unwrap();
        assert!(again.issue(&NodeId::new("n0").unwrap(), 5).is_ok());

        let foreign = Authority::new(10).unwrap();
        std::fs::write(folder.path().join("ca.key"), foreign.key).unwrap();
        let Err(error) = Authority::open(folder.path()) else { panic!("it was opened") };
        assert!(error.to_string().contains("is not the key of ca.crt"), "{error}");
    }
}
