//! How a run fails, in classes that scripts can tell apart by the exit code.

/// Class of a failure. The numbers follow TigerBeetle's simulator, which began the habit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The code under test panicked, or a group was poisoned.
    Crash,
    /// Without faults, the cluster did not come to what it owes.
    Liveness,
    /// An invariant of the protocol was broken.
    Safety,
    /// A client was promised something that does not hold.
    Oracle,
}

impl Class {
    /// Exit code of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Crash => 127,
            Class::Liveness => 128,
            Class::Safety => 129,
            Class::Oracle => 130,
        }
    }
}

/// A failed run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class:?}: {rule}: {what}")]
pub struct Failure {
    /// Class.
    pub class: Class,
    /// The invariant or promise that was broken.
    pub rule: &'static str,
    /// Who, where, what.
    pub what: String,
}

impl Failure {
    /// A broken invariant.
    pub fn safety(rule: &'static str, what: impl Into<String>) -> Self {
        Self { class: Class::Safety, rule, what: what.into() }
    }

    /// A broken promise.
    pub fn oracle(rule: &'static str, what: impl Into<String>) -> Self {
        Self { class: Class::Oracle, rule, what: what.into() }
    }

    /// No progress.
    pub fn liveness(rule: &'static str, what: impl Into<String>) -> Self {
        Self { class: Class::Liveness, rule, what: what.into() }
    }

    /// A panic or a poisoned group.
    pub fn crash(rule: &'static str, what: impl Into<String>) -> Self {
        Self { class: Class::Crash, rule, what: what.into() }
    }
}
