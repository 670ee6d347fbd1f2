//! Certificates and keys as they lie in files.

use rcgen::{KeyPair, PublicKeyData};
use x509_parser::pem::Pem;

/// Most certificates that are looked at in one file.
const CERTIFICATES_MAX: usize = 32;

/// Seconds since 1970 by this machine's clock.
pub fn unix_seconds_now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

/// The certificates of a PEM file, as DER, in their order.
pub fn certificates(text: &[u8]) -> Vec<Vec<u8>> {
    let blocks = Pem::iter_from_buffer(text).take(CERTIFICATES_MAX).filter_map(Result::ok);
    blocks.filter(|block| block.label == "CERTIFICATE").map(|block| block.contents).collect()
}

/// The first certificate of a PEM file, as DER.
pub fn first_certificate(text: &[u8]) -> Option<Vec<u8>> {
    certificates(text).into_iter().next()
}

/// End of validity, in seconds since 1970.
pub fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// What a key file holds.
pub enum Key {
    /// A key that can be compared with a certificate.
    Pair(Box<KeyPair>),
    /// A private key of a form that TLS takes and that cannot be compared here.
    OtherForm,
    /// No private key.
    Nothing,
}

/// Reads a key file.
pub fn key(text: &[u8]) -> Key {
    let Ok(text) = std::str::from_utf8(text) else { return Key::Nothing };
    if let Ok(pair) = KeyPair::from_pem(text) {
        return Key::Pair(Box::new(pair));
    }
    let mut blocks = Pem::iter_from_buffer(text.as_bytes()).take(CERTIFICATES_MAX).filter_map(Result::ok);
    let other = blocks
        .any(|block| matches!(block.label.as_str(), "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY"));
    if other { Key::OtherForm } else { Key::Nothing }
}

/// Whether a key is the key of the first certificate in a PEM file.
pub fn belong_together(certificate: &[u8], pair: &KeyPair) -> bool {
    let Some(der) = first_certificate(certificate) else { return false };
    x509_parser::parse_x509_certificate(&der)
        .is_ok_and(|(_, certificate)| certificate.public_key().raw == pair.subject_public_key_info())
}
