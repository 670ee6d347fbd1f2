//! How the programs end: one number for each kind of failure, for scripts. `docs/exit-codes.md` has the table.

/// What a program's end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitCode {
    /// It did what it was asked to do.
    Ok,
    /// It did not, and none of the other kinds fits; or a node answered, and is not well.
    Failed,
    /// Who asks is not known.
    Authentication,
    /// A file or a node's page does not exist.
    NotFound,
    /// Who asks may not.
    Permission,
    /// The arguments, a configuration or a certificate break a rule.
    Validation,
    /// A node cannot be reached, or does not answer in time.
    Network,
}

impl ExitCode {
    /// The process's exit status.
    pub fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Authentication => 2,
            Self::NotFound => 3,
            Self::Permission => 4,
            Self::Validation => 5,
            Self::Network => 6,
        }
    }

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Authentication => "authentication",
            Self::NotFound => "not_found",
            Self::Permission => "permission",
            Self::Validation => "validation",
            Self::Network => "network",
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}
