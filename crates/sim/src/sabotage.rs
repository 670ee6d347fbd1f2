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
    /// One node in a while decides an entry differently: it refuses what the others take.
    DecideDifferently,
    /// The shell does not wait for the read index to be applied.
    ReadBeforeApplied,
    /// A proposal is offered to the leader once: when it is lost on its way, it hangs.
    NeverRetry,
    /// After a restart the state machine claims to be older than its checkpoint but keeps its data.
    ForgetPosition,
    /// A node that waits too long proposes the same operation again under a new id.
    RetryUnderNewId,
    /// The starts of a node are not counted, so that ids repeat.
    ForgetBoot,
    /// A node that has lost its disk goes on as if it had never been there, under the same id.
    VoteWithLostMemory,
    /// A snapshot claims to hold one entry more than it does.
    SnapshotTooNew,
    /// A snapshot names the first members instead of those of its position.
    SnapshotWithFirstMembers,
    /// A snapshot holds the list, but not which proposals have been applied.
    SnapshotWithoutIds,
    /// A node that starts from a snapshot writes entries that it has, and so cuts off what follows.
    SeedCutsTail,
    /// A node that starts from a snapshot as itself forgets its term and vote.
    SeedForgetsVote,
    /// A node that believes to lead answers reads without asking the others.
    ReadByLease,
    /// Entries are applied when they are written, not when they are committed.
    ApplyEarly,
    /// A node takes its own entries of a lane for the ordered ones without a look at their term.
    CutIgnoresTerm,
    /// The lanes of a cut are applied as they arrive, not in the order of their numbers.
    OrderByArrival,
    /// A cut is applied without what is not there yet.
    CutDoesNotWait,
    /// What waits in a lane that is dropped is not proposed again.
    DropLosesProposals,
    /// A cut behind the drop of a lane still orders what is in it.
    HonourLateCut,
    /// A snapshot claims to hold one entry more of a lane than it does.
    SnapshotLanesTooNew,
    /// A checkpoint remembers where it is in the root, not where it is within the next cut.
    CheckpointWithoutLanes,
    /// A new lane gets the number of one that was dropped.
    ReuseLaneNumber,
    /// A checkpoint may know a lane before the log does.
    CheckpointBeforeLane,
    /// After a restart a lane that was dropped is taken for one that is to come.
    ForgetRetired,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Sabotage; 33] = [
        Sabotage::AckBeforeFsync,
        Sabotage::SkipFsync,
        Sabotage::LyingDisk,
        Sabotage::ForgetVote,
        Sabotage::ApplyTwice,
        Sabotage::CompactBeyondCheckpoint,
        Sabotage::AcknowledgeEarly,
        Sabotage::StaleRead,
        Sabotage::SkipEntry,
        Sabotage::DecideDifferently,
        Sabotage::ReadBeforeApplied,
        Sabotage::NeverRetry,
        Sabotage::ForgetPosition,
        Sabotage::RetryUnderNewId,
        Sabotage::ForgetBoot,
        Sabotage::VoteWithLostMemory,
        Sabotage::SnapshotTooNew,
        Sabotage::SnapshotWithFirstMembers,
        Sabotage::SnapshotWithoutIds,
        Sabotage::SeedCutsTail,
        Sabotage::SeedForgetsVote,
        Sabotage::ReadByLease,
        Sabotage::ApplyEarly,
        Sabotage::CutIgnoresTerm,
        Sabotage::OrderByArrival,
        Sabotage::CutDoesNotWait,
        Sabotage::DropLosesProposals,
        Sabotage::HonourLateCut,
        Sabotage::SnapshotLanesTooNew,
        Sabotage::CheckpointWithoutLanes,
        Sabotage::ReuseLaneNumber,
        Sabotage::CheckpointBeforeLane,
        Sabotage::ForgetRetired,
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
            Sabotage::DecideDifferently => "decide-differently",
            Sabotage::ReadBeforeApplied => "read-before-applied",
            Sabotage::NeverRetry => "never-retry",
            Sabotage::ForgetPosition => "forget-position",
            Sabotage::RetryUnderNewId => "retry-under-new-id",
            Sabotage::ForgetBoot => "forget-boot",
            Sabotage::VoteWithLostMemory => "vote-with-lost-memory",
            Sabotage::SnapshotTooNew => "snapshot-too-new",
            Sabotage::SnapshotWithFirstMembers => "snapshot-with-first-members",
            Sabotage::SnapshotWithoutIds => "snapshot-without-ids",
            Sabotage::SeedCutsTail => "seed-cuts-tail",
            Sabotage::SeedForgetsVote => "seed-forgets-vote",
            Sabotage::ReadByLease => "read-by-lease",
            Sabotage::ApplyEarly => "apply-early",
            Sabotage::CutIgnoresTerm => "cut-ignores-term",
            Sabotage::OrderByArrival => "order-by-arrival",
            Sabotage::CutDoesNotWait => "cut-does-not-wait",
            Sabotage::DropLosesProposals => "drop-loses-proposals",
            Sabotage::HonourLateCut => "honour-late-cut",
            Sabotage::SnapshotLanesTooNew => "snapshot-lanes-too-new",
            Sabotage::CheckpointWithoutLanes => "checkpoint-without-lanes",
            Sabotage::ReuseLaneNumber => "reuse-lane-number",
            Sabotage::CheckpointBeforeLane => "checkpoint-before-lane",
            Sabotage::ForgetRetired => "forget-retired",
        }
    }

    /// By its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sabotage| sabotage.name() == name)
    }
}
