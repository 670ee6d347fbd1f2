//! Each mistake that can be planted in a set of configurations is found, by name, and nothing else is.
//!
//! The starting point is a generated cluster of three, which has no findings at all.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use quack_admin::Rule;
use quack_admin::certificate::{Authority, unix_seconds_now};
use quack_admin::config::{generate_local, validate};
use quack_types::NodeId;

const DAY: i64 = 24 * 3600;

struct Cluster {
    folder: tempfile::TempDir,
    files: Vec<PathBuf>,
}

impl Cluster {
    fn new(nodes: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = generate_local(folder.path(), nodes, 8445, false).unwrap().configurations;
        Self { folder, files }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.path(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    fn replace_everywhere(&self, from: &str, to: &str) {
        for index in 0..self.files.len() {
            self.replace(&format!("n{index}.yaml"), from, to);
        }
    }

    fn rules_at(&self, now: i64) -> BTreeSet<Rule> {
        validate(&self.files, now).1.iter().map(|finding| finding.rule).collect()
    }

    fn rules(&self) -> BTreeSet<Rule> {
        self.rules_at(unix_seconds_now())
    }
}

type Plant = fn(&Cluster);

/// A mistake in one or more files, and exactly what is to be found.
const MISTAKES: &[(&str, Plant, &[Rule])] = &[
    ("a key with a slip", |c| c.replace("n1.yaml", "catalog:", "catalogue:"), &[Rule::UnknownKey]),
    (
        "a key in the wrong section",
        |c| c.replace("n1.yaml", "catalog: cp", "format: text"),
        &[Rule::UnknownKey],
    ),
    (
        "a key of another system",
        |c| c.replace("n1.yaml", "  node_id: n1\n", "  node_id: n1\n  internal_api_port: 8444\n"),
        &[Rule::UnsupportedKey],
    ),
    (
        "a key twice",
        |c| c.replace("n1.yaml", "catalog: cp", "catalog: cp\ncatalog: cp"),
        &[Rule::NotYaml, Rule::PeerWithoutFile],
    ),
    ("no YAML", |c| fs::write(c.path("n1.yaml"), "a: [").unwrap(), &[Rule::NotYaml, Rule::PeerWithoutFile]),
    (
        "no such file",
        |c| fs::remove_file(c.path("n1.yaml")).unwrap(),
        &[Rule::FileMissing, Rule::PeerWithoutFile],
    ),
    ("no data_dir", |c| c.replace("n1.yaml", "data_dir: data/n1\n", ""), &[Rule::MissingKey]),
    (
        "a word for a number",
        |c| c.replace("n1.yaml", "port: 8446", "port: many"),
        &[Rule::WrongType, Rule::OwnPortDiffers, Rule::DuplicateAddress],
    ),
    ("a port too high", |c| c.replace("n1.yaml", "  port: 8546", "  port: 70000"), &[Rule::BadValue]),
    (
        "a section without keys",
        |c| c.replace("n1.yaml", "logging:\n  format: text\n  level: info", "logging: text"),
        &[Rule::WrongType],
    ),
    (
        "a switch that is neither",
        |c| c.replace("n1.yaml", "cp_metadata_enabled: true", "cp_metadata_enabled: yes"),
        &[Rule::WrongType],
    ),
    (
        "the catalog switched off",
        |c| c.replace("n1.yaml", "cp_metadata_enabled: true", "cp_metadata_enabled: false"),
        &[Rule::BadValue],
    ),
    (
        "a cluster switched off",
        |c| c.replace("n1.yaml", "  enabled: true\n  node_id", "  enabled: false\n  node_id"),
        &[Rule::ConflictingKeys],
    ),
    (
        "clients without certificates",
        |c| c.replace("n1.yaml", "client_cert: true", "client_cert: false"),
        &[Rule::BadValue],
    ),
    (
        "a level of consistency",
        |c| c.replace("n1.yaml", "catalog: cp", "catalog: cp\nconsistency: strong"),
        &[Rule::BadValue],
    ),
    ("a log format", |c| c.replace("n1.yaml", "format: text", "format: xml"), &[Rule::BadValue]),
    ("a log level", |c| c.replace("n1.yaml", "level: info", "level: inof"), &[Rule::BadValue]),
    (
        "a stale time below the interval",
        |c| c.replace("n1.yaml", "metrics:", "metrics:\n  flush_interval_ms: 1000\n  stale_after_ms: 1500"),
        &[Rule::BadValue],
    ),
    (
        "a bad node id",
        |c| c.replace("n1.yaml", "node_id: n1", "node_id: n/1"),
        &[Rule::InvalidNodeId, Rule::PeerWithoutFile],
    ),
    (
        "no node id among equal hosts",
        |c| c.replace("n1.yaml", "  node_id: n1\n  advertised_host: 127.0.0.1\n", ""),
        &[Rule::UnknownNodeId, Rule::PeerWithoutFile],
    ),
    (
        "a missing file with the node id",
        |c| c.replace("n1.yaml", "  node_id: n1\n", "  node_id_path: nowhere\n"),
        &[Rule::UnknownNodeId, Rule::PeerWithoutFile],
    ),
    (
        "node id and its file",
        |c| c.replace("n1.yaml", "  node_id: n1\n", "  node_id: n1\n  node_id_path: x\n"),
        &[Rule::ConflictingKeys],
    ),
    (
        "a peer without an address",
        |c| c.replace_everywhere("\"n2:voter=quack:127.0.0.1:8447\"", "\"n2:voter\""),
        &[Rule::InvalidPeer, Rule::OwnNodeMissing, Rule::EvenVoters],
    ),
    (
        "a role that is none",
        |c| c.replace_everywhere("n2:voter", "n2:leader"),
        &[Rule::WrongRole, Rule::OwnNodeMissing, Rule::EvenVoters],
    ),
    (
        "two peers with one id",
        |c| c.replace_everywhere("n2:voter", "n1:voter"),
        &[Rule::DuplicatePeerId, Rule::OwnNodeMissing],
    ),
    (
        "two peers at one address",
        |c| c.replace_everywhere("n2:voter=quack:127.0.0.1:8447", "n2:voter=quack:127.0.0.1:8446"),
        &[Rule::DuplicatePeerAddress, Rule::OwnPortDiffers],
    ),
    (
        "the node itself not among the peers",
        |c| c.replace("n1.yaml", "    - \"n1:voter=quack:127.0.0.1:8446\"\n", ""),
        &[Rule::OwnNodeMissing, Rule::PeersDiffer, Rule::EvenVoters],
    ),
    (
        "another port than the peers say",
        |c| c.replace("n1.yaml", "cp_metadata_port: 8446", "cp_metadata_port: 8450"),
        &[Rule::OwnPortDiffers],
    ),
    ("no voter", |c| c.replace_everywhere(":voter=", ":learner="), &[Rule::NoVoter]),
    ("an even number of voters", |c| c.replace_everywhere("n2:voter", "n2:learner"), &[Rule::EvenVoters]),
    (
        "other peers than the first file",
        |c| c.replace("n1.yaml", "n2:voter=quack:127.0.0.1:8447", "n2:voter=quack:127.0.0.1:8448"),
        &[Rule::PeersDiffer],
    ),
    (
        "another role than the first file",
        |c| c.replace("n1.yaml", "n2:voter", "n2:learner"),
        &[Rule::PeersDiffer, Rule::EvenVoters],
    ),
    (
        "no token",
        |c| c.replace("n1.yaml", "  cp_metadata_token_path: certs/token\n", ""),
        &[Rule::TokenMissing],
    ),
    ("a missing token file", |c| c.replace("n1.yaml", "certs/token", "certs/nothing"), &[Rule::TokenMissing]),
    (
        "a token file that others can read",
        |c| fs::set_permissions(c.path("certs/token"), fs::Permissions::from_mode(0o644)).unwrap(),
        &[Rule::TokenReadableByOthers],
    ),
    (
        "a short token",
        |c| fs::write(c.path("certs/token"), "fifteen-letters").unwrap(),
        &[Rule::TokenTooShort],
    ),
    (
        "another token than the first file",
        |c| {
            c.replace(
                "n1.yaml",
                "cp_metadata_token_path: certs/token",
                "cp_metadata_token: another-token-of-some-length",
            )
        },
        &[Rule::TokenDiffers],
    ),
    (
        "token and its file",
        |c| {
            c.replace(
                "n1.yaml",
                "  cp_metadata_token_path",
                "  cp_metadata_token: another-token-of-some-length\n  cp_metadata_token_path",
            )
        },
        &[Rule::ConflictingKeys, Rule::TokenDiffers],
    ),
    ("one port for both faces", |c| c.replace("n1.yaml", "  port: 8546", "  port: 8446"), &[Rule::SamePort]),
    (
        "peers without TLS",
        |c| c.replace("n1.yaml", "  tls:\n    enabled: true", "  tls:\n    enabled: false"),
        &[Rule::TlsRequired],
    ),
    (
        "TLS without a key",
        |c| c.replace("n1.yaml", "    key_path: certs/n1.key\n", ""),
        &[Rule::MissingKey, Rule::TlsRequired],
    ),
    (
        "metrics for other machines",
        |c| c.replace("n1.yaml", "metrics:\n  host: 127.0.0.1", "metrics:\n  host: 0.0.0.0"),
        &[Rule::AdminBeyondLoopback],
    ),
    ("another catalog", |c| c.replace("n1.yaml", "catalog: cp", "catalog: pc"), &[Rule::CatalogDiffers]),
    (
        "two files of one node",
        |c| {
            fs::copy(c.path("n0.yaml"), c.path("n1.yaml")).unwrap();
        },
        &[Rule::DuplicateNodeId, Rule::DuplicateAddress, Rule::SharedDataDir, Rule::PeerWithoutFile],
    ),
    (
        "one port for the metrics of two nodes",
        |c| c.replace("n1.yaml", "  port: 8546", "  port: 8545"),
        &[Rule::DuplicateAddress],
    ),
    ("one folder for two nodes", |c| c.replace("n1.yaml", "data/n1", "data/n0"), &[Rule::SharedDataDir]),
    (
        "a folder for a certificate",
        |c| c.replace("n1.yaml", "certs/n1.crt", "certs"),
        &[Rule::FileUnreadable],
    ),
    ("a key in an old form", |c| old_key(&c.path("certs/n1.key")), &[Rule::KeyNotCompared]),
    ("a missing certificate", |c| fs::remove_file(c.path("certs/n1.crt")).unwrap(), &[Rule::FileMissing]),
    ("a missing key", |c| fs::remove_file(c.path("certs/n1.key")).unwrap(), &[Rule::FileMissing]),
    ("a missing authority", |c| fs::remove_file(c.path("certs/ca.crt")).unwrap(), &[Rule::FileMissing]),
    (
        "no certificate in the file",
        |c| fs::write(c.path("certs/n1.crt"), "x").unwrap(),
        &[Rule::CertificateUnreadable],
    ),
    ("no key in the file", |c| fs::write(c.path("certs/n1.key"), "x").unwrap(), &[Rule::KeyUnreadable]),
    (
        "another node's certificate",
        |c| {
            fs::copy(c.path("certs/n0.crt"), c.path("certs/n1.crt")).unwrap();
        },
        &[Rule::CertificateLacksDnsName, Rule::CertificateLacksUriName, Rule::KeyDoesNotMatch],
    ),
    (
        "another node's key",
        |c| {
            fs::copy(c.path("certs/n0.key"), c.path("certs/n1.key")).unwrap();
        },
        &[Rule::KeyDoesNotMatch],
    ),
    (
        "a key that all users can read",
        |c| fs::set_permissions(c.path("certs/n1.key"), fs::Permissions::from_mode(0o644)).unwrap(),
        &[Rule::KeyReadableByOthers],
    ),
    (
        "another authority's certificate",
        |c| foreign_certificate(&c.path("certs")),
        &[Rule::CertificateWrongCa],
    ),
    ("another authority", |c| foreign_authority(c), &[Rule::CertificateWrongCa, Rule::CaDiffers]),
    (
        "a node's certificate for the authority",
        |c| c.replace("n1.yaml", "certs/ca.crt", "certs/n0.crt"),
        &[Rule::CaIsNotCa, Rule::CertificateWrongCa, Rule::CaDiffers],
    ),
];

/// A PEM block of a form that TLS may take and that is not PKCS#8.
fn old_key(path: &Path) {
    fs::write(path, "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n").unwrap();
}

fn foreign_certificate(certs: &Path) {
    let files = Authority::new(100).unwrap().issue(&NodeId::new("n1").unwrap(), 50).unwrap();
    quack_admin::write_all(certs, &files, true).unwrap();
}

fn foreign_authority(cluster: &Cluster) {
    let authority = Authority::new(100).unwrap();
    quack_admin::write_all(&cluster.path("foreign"), &authority.files(), false).unwrap();
    cluster.replace("n1.yaml", "certs/ca.crt", "foreign/ca.crt");
}

#[test]
fn a_generated_cluster_has_no_findings() {
    for nodes in [1, 3, 5] {
        let cluster = Cluster::new(nodes);
        let (configurations, findings) = validate(&cluster.files, unix_seconds_now());
        assert_eq!(findings, [], "{nodes} nodes");
        assert_eq!(configurations.len(), usize::from(nodes));
    }
    assert_eq!(Cluster::new(4).rules(), BTreeSet::from([Rule::EvenVoters]));
}

#[test]
fn each_planted_mistake_is_found_by_name_and_nothing_else_is() {
    for (name, plant, expected) in MISTAKES {
        let cluster = Cluster::new(3);
        plant(&cluster);
        assert_eq!(cluster.rules(), expected.iter().copied().collect(), "{name}");
    }
}

#[test]
fn every_rule_has_a_mistake_that_breaks_it() {
    let planted: BTreeSet<Rule> = MISTAKES.iter().flat_map(|(_, _, rules)| rules.iter().copied()).collect();
    let elsewhere = BTreeSet::from([
        // Below in this file.
        Rule::PlainBeyondLoopback,
        Rule::CertificateExpired,
        Rule::CertificateNotYetValid,
        Rule::CertificateExpiresSoon,
        Rule::CaExpired,
        // In certificates.rs.
        Rule::CertificateLacksServerAuth,
        Rule::CertificateLacksClientAuth,
        Rule::CertificateIsCa,
        Rule::CertificateNamesSeveralNodes,
        Rule::NodeIdNotDnsName,
        // Not to be had by the superuser, who may read everything.
        Rule::FileForbidden,
    ]);
    let missing: Vec<_> =
        Rule::ALL.iter().filter(|rule| !planted.contains(rule) && !elsewhere.contains(rule)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn certificates_out_of_their_time_are_found() {
    let cluster = Cluster::new(3);
    let now = unix_seconds_now();
    for (time, expected) in
        [(now + 360 * DAY, Rule::CertificateExpiresSoon), (now + 366 * DAY, Rule::CertificateExpired)]
    {
        assert_eq!(cluster.rules_at(time), BTreeSet::from([expected]));
    }
    let early = BTreeSet::from([Rule::CertificateNotYetValid, Rule::CaExpired]);
    assert_eq!(cluster.rules_at(now - DAY), early);
    let late = BTreeSet::from([Rule::CertificateExpired, Rule::CaExpired]);
    assert_eq!(cluster.rules_at(now + 4000 * DAY), late);
}

#[test]
fn a_node_of_its_own_beyond_loopback_needs_tls_or_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.yaml");
    let text = "data_dir: d\nlisten_host: 10.0.0.1\ncluster_mode:\n  cp_metadata_token: sixteen-characters\n";
    let rules = |text: &str| {
        fs::write(&file, text).unwrap();
        let findings = validate(std::slice::from_ref(&file), unix_seconds_now()).1;
        findings.into_iter().map(|finding| finding.rule).collect::<Vec<_>>()
    };
    assert_eq!(rules(text), [Rule::PlainBeyondLoopback]);
    assert_eq!(rules(&format!("{text}allow_other_hostname: true\n")), []);
    assert_eq!(rules(&text.replace("listen_host: 10.0.0.1\n", "")), []);
    assert_eq!(rules(&text.replace("listen_host: 10.0.0.1", "require_tls: true")), [Rule::TlsRequired]);
}

#[test]
fn the_node_is_found_by_its_advertised_host_or_in_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.yaml");
    let peers = "  cp_metadata_peers: n0:voter=quack:db0.example:8445,n1:voter=quack:DB1.example:8445\n";
    fs::write(folder.path().join("id"), "n1\n").unwrap();
    for line in ["  advertised_host: db1.Example\n", "  node_id_path: id\n"] {
        fs::write(&file, format!("data_dir: d\ncluster_mode:\n{line}{peers}")).unwrap();
        let (configuration, _) = quack_admin::config::read(&file);
        let configuration = configuration.unwrap();
        assert_eq!(configuration.name(), "n1");
        assert_eq!(configuration.listen.to_string(), "quack:db1.example:8445");
        assert_eq!(configuration.data_dir, folder.path().join("d"));
    }
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest_known_key() {
    let cluster = Cluster::new(1);
    cluster.replace("n0.yaml", "cp_metadata_port", "cp_metdata_port");
    let findings = validate(&cluster.files, unix_seconds_now()).1;
    let text = findings.iter().find(|finding| finding.rule == Rule::UnknownKey).unwrap().to_string();
    assert!(text.contains("did you mean cluster_mode.cp_metadata_port?"), "{text}");
    assert!(text.contains("n0.yaml:11: error"), "{text}");
}

#[test]
fn nodes_agree_while_one_authority_replaces_another() {
    let cluster = Cluster::new(3);
    let authority = Authority::new(100).unwrap();
    quack_admin::write_all(&cluster.path("new"), &authority.files(), false).unwrap();
    let read = |name: &str| fs::read_to_string(cluster.path(name)).unwrap();
    fs::write(cluster.path("both.crt"), read("new/ca.crt") + &read("certs/ca.crt")).unwrap();
    cluster.replace("n1.yaml", "certs/ca.crt", "both.crt");
    assert_eq!(cluster.rules(), BTreeSet::new());
}

#[test]
fn no_finding_shows_the_token() {
    let cluster = Cluster::new(3);
    fs::write(cluster.path("certs/token"), "guess-me").unwrap();
    cluster.replace("n1.yaml", "cp_metadata_token_path: certs/token", "cp_metadata_token: keep-secret");
    let (configurations, findings) = validate(&cluster.files, unix_seconds_now());
    let text = format!("{findings:?} {configurations:?}");
    assert!(findings.iter().any(|finding| finding.rule == Rule::TokenDiffers));
    assert!(!text.contains("guess-me") && !text.contains("keep-secret"), "{text}");
}
