//! An authority, and certificates as they should be and as they should not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use quack_net::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, date_time_ymd,
};

/// An authority that signs certificates.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate as it is wished for, right or wrong.
#[derive(Clone)]
pub struct Wish {
    pub common_name: String,
    pub names: Vec<String>,
    pub purposes: Vec<ExtendedKeyUsagePurpose>,
    pub years: (i32, i32),
    /// Until when it is valid, in place of the second year.
    pub until: Option<SystemTime>,
}

impl Wish {
    /// What a node needs.
    pub fn node(name: &str) -> Self {
        Self {
            common_name: name.into(),
            names: vec![format!("DNS:{name}"), format!("URI:{name}")],
            purposes: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            years: (2020, 2100),
            until: None,
        }
    }

    pub fn named(mut self, names: &[&str]) -> Self {
        self.names = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, self.common_name.clone());
        let san = |name: &String| match name.split_once(':').unwrap() {
            ("DNS", name) => SanType::DnsName(name.try_into().unwrap()),
            ("URI", name) => SanType::URI(name.try_into().unwrap()),
            other => panic!("{other:?}"),
        };
        params.subject_alt_names = self.names.iter().map(san).collect();
        params.extended_key_usages = self.purposes.clone();
        params.not_before = date_time_ymd(self.years.0, 1, 1);
        params.not_after = self.until.map_or(date_time_ymd(self.years.1, 1, 1), Into::into);
        params
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

impl Ca {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(authority("cluster authority"), key).unwrap() }
    }

    /// An authority that this one has signed.
    pub fn below(&self) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::signed_by(authority("authority below"), key, &self.issuer).unwrap() }
    }

    pub fn pem(&self) -> String {
        self.issuer.as_ref().pem()
    }

    /// Certificate and key in PEM.
    pub fn issue(&self, wish: &Wish) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (wish.params().signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The files of an identity, in a folder.
    pub fn files(&self, folder: &Path, wish: &Wish) -> TlsFiles {
        let (certificate, key) = self.issue(wish);
        files(folder, &certificate, &key, &self.pem())
    }
}

pub fn files(folder: &Path, certificate: &str, key: &str, authority: &str) -> TlsFiles {
    let write = |name: &str, text: &str| -> PathBuf {
        // As an operator would, so that no reader sees half a file.
        let (path, new) = (folder.join(name), folder.join("new"));
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    };
    TlsFiles {
        cert_file: write("cert.pem", certificate),
        key_file: write("key.pem", key),
        client_ca_file: write("ca.pem", authority),
    }
}
