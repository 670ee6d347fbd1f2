//! Bugs on purpose: each must be caught by the checks, or the checks are worth nothing.
//!
//! They live in the simulator's shell, disk and model. The real core and the real log
//! run unchanged.

/// One bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sabotage {
    /// The shell confirms a write to the core before its fsync.
    AckBeforeFsync,
    /// The shell never asks for an fsync.
    SkipFsync,
    /// The disk claims to have synced.
    LyingDisk,
    /// The vote is not written.
    ForgetVote,
    /// A repeated proposal is applied again.
    ApplyTwice,
    /// The log is compacted up to what is applied, not up to the checkpoint.
    CompactBeyondCheckpoint,
    /// A client is answered when its proposal was taken, not when it is applied.
    AcknowledgeEarly,
    /// A read is answered from the local state at once.
    StaleRead,
    /// One node in a while leaves an entry out.
    SkipEntry,
    /// The shell does not wait for the read index to be applied.
    ReadBeforeApplied,
    /// Nobody hears of a follower's refusal, and nobody retries: proposals hang.
    NeverRetry,
    /// After a restart the state machine claims to be older than its checkpoint but keeps its data.
    ForgetPosition,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Sabotage; 12] = [
        Sabotage::AckBeforeFsync,
        Sabotage::SkipFsync,
        Sabotage::LyingDisk,
        Sabotage::ForgetVote,
        Sabotage::ApplyTwice,
        Sabotage::CompactBeyondCheckpoint,
        Sabotage::AcknowledgeEarly,
        Sabotage::StaleRead,
        Sabotage::SkipEntry,
        Sabotage::ReadBeforeApplied,
        Sabotage::NeverRetry,
        Sabotage::ForgetPosition,
    ];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Sabotage::AckBeforeFsync => "ack-before-fsync",
            Sabotage::SkipFsync => "skip-fsync",
            Sabotage::LyingDisk => "lying-disk",
            Sabotage::ForgetVote => "forget-vote",
            Sabotage::ApplyTwice => "apply-twice",
            Sabotage::CompactBeyondCheckpoint => "compact-beyond-checkpoint",
            Sabotage::AcknowledgeEarly => "acknowledge-early",
            Sabotage::StaleRead => "stale-read",
            Sabotage::SkipEntry => "skip-entry",
            Sabotage::ReadBeforeApplied => "read-before-applied",
            Sabotage::NeverRetry => "never-retry",
            Sabotage::ForgetPosition => "forget-position",
        }
    }

    /// By its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sabotage| sabotage.name() == name)
    }
}
