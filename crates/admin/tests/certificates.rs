//! Certificates as they are in their DER, and each violation of the rule by name.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use quack_admin::certificate::{Authority, CertificateFiles, check, unix_seconds_now};
use quack_admin::{Error, Rule, write_all};
use quack_types::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

fn der(path: &Path) -> Vec<u8> {
    let text = fs::read(path).unwrap();
    Pem::iter_from_buffer(&text).next().unwrap().unwrap().contents
}

fn files(folder: &Path, node: &str) -> CertificateFiles {
    CertificateFiles {
        certificate: folder.join(format!("{node}.crt")),
        key: folder.join(format!("{node}.key")),
        authority: folder.join("ca.crt"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_issued_certificate_satisfies_the_rule_in_its_der() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(100).unwrap();
    write_all(folder.path(), &authority.files(), false).unwrap();
    let node = NodeId::new("n0.db_1").unwrap();
    write_all(folder.path(), &authority.issue(&node, 30).unwrap(), false).unwrap();

    let files = files(folder.path(), "n0.db_1");
    let (leaf, root) = (der(&files.certificate), der(&files.authority));
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    let (_, root) = x509_parser::parse_x509_certificate(&root).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names, [GeneralName::DNSName("n0.db_1"), GeneralName::URI("n0.db_1")]);
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth && !usage.any);
    assert!(root.is_ca() && !leaf.is_ca());
    assert_eq!(leaf.issuer(), root.subject());
    leaf.verify_signature(Some(root.public_key())).unwrap();
    let seconds = leaf.validity().not_after.timestamp() - unix_seconds_now();
    assert!((29 * 86_400..=30 * 86_400).contains(&seconds), "{seconds}");
    assert!(leaf.serial != root.serial);

    assert_eq!((mode(&files.key), mode(&files.certificate)), (0o600, 0o644));
    assert_eq!(mode(&folder.path().join("ca.key")), 0o600);
    assert_eq!(check(&files, "n0.db_1", unix_seconds_now()), []);
    assert!(is_accepted(&files, "n0.db_1") && !is_accepted(&files, "n0"));
}

#[test]
fn a_name_is_issued_exactly_when_the_nodes_accept_it() {
    let authority = Authority::new(100).unwrap();
    for name in
        ["n0", "N0", "a-b", "a_b", "a.b", "0", "a.0", "0a", "-a", "a-", "a.", ".a", "_a", "a_", "a..b", "-"]
    {
        let folder = tempfile::tempdir().unwrap();
        write_all(folder.path(), &authority.files(), false).unwrap();
        let files = files(folder.path(), name);
        let issued = authority.issue(&NodeId::new(name).unwrap(), 30);
        let issued = issued.map(|issued| write_all(folder.path(), &issued, false).unwrap());
        if issued.is_ok() {
            assert!(is_accepted(&files, name), "{name}");
            continue;
        }
        // By other means, it is not accepted either.
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_key = KeyPair::generate().unwrap();
        fs::write(&files.authority, params.self_signed(&root_key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, root_key);
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            vec![SanType::DnsName(name.try_into().unwrap()), SanType::URI(name.try_into().unwrap())];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        fs::write(&files.certificate, params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        assert!(!is_accepted(&files, name), "{name}");
        let findings = check(&files, name, unix_seconds_now());
        assert!(
            findings.iter().any(|finding| finding.rule == Rule::NodeIdNotDnsName),
            "{name}: {findings:?}"
        );
    }
}

#[test]
fn nothing_is_overwritten_without_force() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(100).unwrap();
    let mut all = authority.files();
    all.extend(authority.issue(&NodeId::new("n0").unwrap(), 30).unwrap());
    fs::write(folder.path().join("n0.crt"), "mine").unwrap();
    let error = write_all(folder.path(), &all, false).unwrap_err();
    assert!(matches!(error, Error::Exists(path) if path.ends_with("n0.crt")));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing else was written either");
    write_all(folder.path(), &all, true).unwrap();
    assert_eq!(check(&files(folder.path(), "n0"), "n0", unix_seconds_now()), []);
    assert_eq!(mode(&folder.path().join("n0.key")), 0o600);
}

#[test]
fn a_key_that_is_replaced_does_not_keep_a_mode_that_was_too_wide() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.key");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    write_all(folder.path(), &Authority::new(10).unwrap().files(), true).unwrap();
    assert_eq!(mode(&path), 0o600);
}

/// Whether the nodes themselves take these files for this node.
fn is_accepted(files: &CertificateFiles, node: &str) -> bool {
    let files = quack_net::TlsFiles {
        cert_file: files.certificate.clone(),
        key_file: files.key.clone(),
        client_ca_file: files.authority.clone(),
    };
    quack_net::Tls::load(files, &NodeId::new(node).unwrap()).is_ok()
}

/// Writes a certificate that is as it should be but for what `spoil` does to it.
fn spoiled(folder: &Path, spoil: impl FnOnce(&mut CertificateParams)) -> BTreeSet<Rule> {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root_key = KeyPair::generate().unwrap();
    fs::write(folder.join("ca.crt"), root.self_signed(&root_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(root, root_key);

    let mut params = CertificateParams::default();
    params.subject_alt_names =
        vec![SanType::DnsName("n0".try_into().unwrap()), SanType::URI("n0".try_into().unwrap())];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    spoil(&mut params);
    let key = KeyPair::generate().unwrap();
    fs::write(folder.join("n0.crt"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    fs::write(folder.join("n0.key"), key.serialize_pem()).unwrap();
    fs::set_permissions(folder.join("n0.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let files = files(folder, "n0");
    let findings = check(&files, "n0", unix_seconds_now());
    assert_eq!(!quack_admin::has_errors(&findings), is_accepted(&files, "n0"), "{findings:?}");
    findings.iter().map(|finding| finding.rule).collect()
}

#[test]
fn each_violation_of_the_rule_is_named() {
    type Spoil = fn(&mut CertificateParams);
    let cases: &[(&str, Spoil, &[Rule])] = &[
        ("nothing", |_| {}, &[]),
        (
            "no names but the common name",
            |p| p.subject_alt_names.clear(),
            &[Rule::CertificateLacksDnsName, Rule::CertificateLacksUriName],
        ),
        ("no DNS name", |p| drop(p.subject_alt_names.remove(0)), &[Rule::CertificateLacksDnsName]),
        (
            "two nodes",
            |p| {
                p.subject_alt_names.push(SanType::DnsName("n1".try_into().unwrap()));
                p.subject_alt_names.push(SanType::URI("n1".try_into().unwrap()));
            },
            &[Rule::CertificateNamesSeveralNodes],
        ),
        (
            "another name that is no node",
            |p| p.subject_alt_names.push(SanType::DnsName("db.example".try_into().unwrap())),
            &[],
        ),
        ("no URI", |p| drop(p.subject_alt_names.remove(1)), &[Rule::CertificateLacksUriName]),
        (
            "another case",
            |p| p.subject_alt_names[0] = SanType::DnsName("N0".try_into().unwrap()),
            &[Rule::CertificateLacksDnsName],
        ),
        (
            "a longer URI",
            |p| p.subject_alt_names[1] = SanType::URI("spiffe://n0".try_into().unwrap()),
            &[Rule::CertificateLacksUriName],
        ),
        (
            "no usages",
            |p| p.extended_key_usages.clear(),
            &[Rule::CertificateLacksServerAuth, Rule::CertificateLacksClientAuth],
        ),
        ("a server only", |p| p.extended_key_usages.truncate(1), &[Rule::CertificateLacksClientAuth]),
        ("a client only", |p| drop(p.extended_key_usages.remove(0)), &[Rule::CertificateLacksServerAuth]),
        (
            "any usage",
            |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any],
            &[Rule::CertificateLacksServerAuth, Rule::CertificateLacksClientAuth],
        ),
        ("an authority", |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), &[Rule::CertificateIsCa]),
        ("the past", |p| p.not_after = rcgen::date_time_ymd(2020, 1, 1), &[Rule::CertificateExpired]),
        ("the future", |p| p.not_before = rcgen::date_time_ymd(4000, 1, 1), &[Rule::CertificateNotYetValid]),
    ];
    for (name, spoil, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(spoiled(folder.path(), spoil), expected.iter().copied().collect(), "{name}");
    }
}

#[test]
fn a_chain_through_an_intermediate_authority_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let ca = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        (params, KeyPair::generate().unwrap())
    };
    let (root, root_key) = ca("root");
    fs::write(folder.path().join("ca.crt"), root.self_signed(&root_key).unwrap().pem()).unwrap();
    let (middle, middle_key) = ca("middle");
    let middle_pem = middle.signed_by(&middle_key, &Issuer::new(root, root_key)).unwrap().pem();
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        vec![SanType::DnsName("n0".try_into().unwrap()), SanType::URI("n0".try_into().unwrap())];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &Issuer::new(middle, middle_key)).unwrap().pem();
    fs::write(folder.path().join("n0.key"), key.serialize_pem()).unwrap();
    fs::set_permissions(folder.path().join("n0.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let rules = |text: String| {
        fs::write(folder.path().join("n0.crt"), text).unwrap();
        let findings = check(&files(folder.path(), "n0"), "n0", unix_seconds_now());
        findings.iter().map(|finding| finding.rule).collect::<Vec<_>>()
    };
    assert_eq!(rules(leaf.clone() + &middle_pem), []);
    assert_eq!(rules(leaf), [Rule::CertificateWrongCa]);
}
