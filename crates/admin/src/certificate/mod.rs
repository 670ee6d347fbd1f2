//! Certificates that satisfy the cluster's rule, and the check that they do.
//!
//! The rule: a node's certificate is signed by the cluster's authority, has the extended key usages serverAuth and
//! clientAuth (every node is both), and carries its name twice, as `DNS:<node_id>` and `URI:<node_id>`. A common name
//! alone is no identity (RFC 6125, section 6.4.4).

mod authority;
mod check;
mod pem;

pub use authority::{AUTHORITY_DAYS, Authority, NODE_DAYS};
pub(crate) use check::unreadable;
pub use check::{CertificateFiles, check, check_authority};
pub(crate) use pem::certificates;
pub use pem::unix_seconds_now;
