//! Broken rules, each with a name that scripts and tests may rely on.

use std::fmt;
use std::path::PathBuf;

use crate::ExitCode;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It works, and the operator should know of it.
    Warning,
    /// It does not work, or is not safe.
    Error,
}

impl Severity {
    /// The name in texts and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $name:literal $severity:ident),+ $(,)?) => {
        /// A rule that a configuration or a certificate can break.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $rule),+
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$rule),+];

            /// The name in texts and JSON; it does not change between releases.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$rule => $name),+ }
            }

            /// How bad it is to break it.
            pub fn severity(self) -> Severity {
                match self { $(Self::$rule => Severity::$severity),+ }
            }
        }
    };
}

rules! {
    /// A file does not exist.
    FileMissing = "file_missing" Error,
    /// A file may not be read.
    FileForbidden = "file_forbidden" Error,
    /// A file cannot be read for another reason.
    FileUnreadable = "file_unreadable" Error,
    /// The text is not the YAML that is understood here.
    NotYaml = "not_yaml" Error,
    /// No such key.
    UnknownKey = "unknown_key" Error,
    /// A key that exists elsewhere, and has no effect in this version.
    UnsupportedKey = "unsupported_key" Error,
    /// A key that must be there is not.
    MissingKey = "missing_key" Error,
    /// Two keys that exclude each other are both there.
    ConflictingKeys = "conflicting_keys" Error,
    /// A value is of the wrong kind.
    WrongType = "wrong_type" Error,
    /// A value is of the right kind, and still not possible.
    BadValue = "bad_value" Error,
    /// A node's name is not one.
    InvalidNodeId = "invalid_node_id" Error,
    /// Which node this is cannot be told.
    UnknownNodeId = "unknown_node_id" Error,
    /// A peer is not `node_id:role=quack:host:port`.
    InvalidPeer = "invalid_peer" Error,
    /// A peer's role is neither voter nor learner.
    WrongRole = "wrong_role" Error,
    /// Two peers have one name.
    DuplicatePeerId = "duplicate_peer_id" Error,
    /// Two peers have one address.
    DuplicatePeerAddress = "duplicate_peer_address" Error,
    /// The peers do not name this node.
    OwnNodeMissing = "own_node_missing" Error,
    /// The peers name this node with another port.
    OwnPortDiffers = "own_port_differs" Error,
    /// No peer is a voter.
    NoVoter = "no_voter" Error,
    /// An even number of voters stands no more failures than one voter fewer.
    EvenVoters = "even_voters" Warning,
    /// No token.
    TokenMissing = "token_missing" Error,
    /// Others can read the file that holds the token.
    TokenReadableByOthers = "token_readable_by_others" Error,
    /// The token can be guessed.
    TokenTooShort = "token_too_short" Error,
    /// Two ports of one node are the same.
    SamePort = "same_port" Error,
    /// Other nodes are named, and there is no TLS.
    TlsRequired = "tls_required" Error,
    /// The node listens beyond this machine without TLS.
    PlainBeyondLoopback = "plain_beyond_loopback" Error,
    /// The admin face, which requires no token, listens beyond this machine.
    AdminBeyondLoopback = "admin_beyond_loopback" Warning,
    /// A certificate file holds no certificate.
    CertificateUnreadable = "certificate_unreadable" Error,
    /// The certificate is no longer valid.
    CertificateExpired = "certificate_expired" Error,
    /// The certificate is not valid yet.
    CertificateNotYetValid = "certificate_not_yet_valid" Error,
    /// The certificate will soon be no longer valid.
    CertificateExpiresSoon = "certificate_expires_soon" Warning,
    /// The certificate is not signed by the cluster's authority.
    CertificateWrongCa = "certificate_wrong_ca" Error,
    /// The certificate lacks `DNS:<node_id>`.
    CertificateLacksDnsName = "certificate_lacks_dns_name" Error,
    /// The certificate lacks `URI:<node_id>`.
    CertificateLacksUriName = "certificate_lacks_uri_name" Error,
    /// The certificate has the names of several nodes.
    CertificateNamesSeveralNodes = "certificate_names_several_nodes" Error,
    /// The node's name cannot be in a certificate as a DNS name.
    NodeIdNotDnsName = "node_id_not_dns_name" Error,
    /// The certificate lacks the extended key usage serverAuth.
    CertificateLacksServerAuth = "certificate_lacks_server_auth" Error,
    /// The certificate lacks the extended key usage clientAuth.
    CertificateLacksClientAuth = "certificate_lacks_client_auth" Error,
    /// The node's certificate is an authority's.
    CertificateIsCa = "certificate_is_ca" Error,
    /// The authority's certificate is none.
    CaIsNotCa = "ca_is_not_ca" Error,
    /// The authority's certificate is out of its time.
    CaExpired = "ca_expired" Error,
    /// The key file holds no private key.
    KeyUnreadable = "key_unreadable" Error,
    /// The key does not belong to the certificate.
    KeyDoesNotMatch = "key_does_not_match" Error,
    /// The key is of a form that cannot be compared with the certificate here.
    KeyNotCompared = "key_not_compared" Warning,
    /// Others than the owner can read the key.
    KeyReadableByOthers = "key_readable_by_others" Warning,
    /// Two files are the same node.
    DuplicateNodeId = "duplicate_node_id" Error,
    /// Two nodes listen at one address.
    DuplicateAddress = "duplicate_address" Error,
    /// Two nodes of one machine share a folder.
    SharedDataDir = "shared_data_dir" Error,
    /// The nodes do not name the same peers.
    PeersDiffer = "peers_differ" Error,
    /// The nodes do not have the same token.
    TokenDiffers = "token_differs" Error,
    /// The nodes do not trust the same authority.
    CaDiffers = "ca_differs" Error,
    /// The nodes do not have the same catalog.
    CatalogDiffers = "catalog_differs" Error,
    /// A peer's own file is not among those that were given.
    PeerWithoutFile = "peer_without_file" Warning,
}

/// A broken rule, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// The file that breaks it.
    pub file: PathBuf,
    /// Line in the file, from 1, where there is one.
    pub line: Option<usize>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Finding {
    /// A finding about a whole file.
    pub fn new(rule: Rule, file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self { rule, file: file.into(), line: None, message: message.into() }
    }

    /// The same finding at a line.
    #[must_use]
    pub fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// The finding as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "rule": self.rule.as_str(),
            "severity": self.rule.severity().as_str(),
            "file": self.file.display().to_string(),
            "line": self.line,
            "message": self.message,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}: {} [{}]", self.rule.severity().as_str(), self.message, self.rule.as_str())
    }
}

/// Whether one of the findings is more than a warning.
pub fn has_errors(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.rule.severity() == Severity::Error)
}

/// How a program ends that has these findings. A file that is not there, or may not be read, says more than what
/// follows from it.
pub fn exit_code_of(findings: &[Finding]) -> ExitCode {
    let any = |rule| findings.iter().any(|finding| finding.rule == rule);
    if any(Rule::FileForbidden) {
        ExitCode::Permission
    } else if any(Rule::FileMissing) {
        ExitCode::NotFound
    } else if has_errors(findings) {
        ExitCode::Validation
    } else {
        ExitCode::Ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let mut names: Vec<_> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Rule::ALL.len());
    }

    #[test]
    fn a_finding_says_where_what_and_which_rule() {
        let finding = Finding::new(Rule::UnknownKey, "n0.yaml", "no such key").at(3);
        assert_eq!(finding.to_string(), "n0.yaml:3: error: no such key [unknown_key]");
        assert_eq!(exit_code_of(&[finding]), ExitCode::Validation);
        assert_eq!(exit_code_of(&[Finding::new(Rule::EvenVoters, "f", "")]), ExitCode::Ok);
        let missing = Finding::new(Rule::FileMissing, "f", "");
        assert_eq!(exit_code_of(&[missing]), ExitCode::NotFound);
    }
}
