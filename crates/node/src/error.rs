//! What can go wrong, in words that say what to do.

use std::io;
use std::path::PathBuf;

use quack_core::Refusal;
use quack_types::NodeId;

/// Why a node does not start, or a folder is refused. A refusal has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value of the configuration cannot work.
    #[error("the node's configuration is not valid: {what}")]
    Config {
        /// The field and what it must be.
        what: &'static str,
    },
    /// The operating system refused.
    #[error("cannot {action} '{path}': {source}. Give a folder that this process may create files in")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The operating system does not let it be read.
    #[error("cannot read '{path}': {source}. Check the path, and run this as the user that owns the folder")]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The folder belongs to no member of a cluster.
    #[error(
        "the folder '{path}' holds no member of a cluster: it has no file 'identity'. Name a node's data folder"
    )]
    NoMember {
        /// The folder.
        path: PathBuf,
    },
    /// A backup is not written over anything.
    #[error(
        "the folder '{path}' holds '{found}': a backup is written into a new or an empty folder. Name another one"
    )]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// One of the files in it.
        found: String,
    },
    /// There is no backup.
    #[error(
        "the folder '{path}' holds no complete backup: it has no file 'backup', which is written last. Name the folder that \
         was given to quack_backup; one whose backup was interrupted is of no use"
    )]
    NoBackup {
        /// The folder.
        path: PathBuf,
    },
    /// A file of a backup is not as it was written.
    #[error("'{path}' is damaged: it is not what was backed up. Use another backup")]
    BackupDamaged {
        /// The file.
        path: PathBuf,
    },
    /// A node is there already.
    #[error(
        "the folder '{path}' is a node's: a backup is restored into a new or an empty folder. Name another one"
    )]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// Another server works in the folder.
    #[error("the data folder '{path}' is in use by {holder}: stop that server, or choose another folder")]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who holds it, as far as is known.
        holder: String,
    },
    /// The folder belongs to another user, who could replace what is in it.
    #[error(
        "the data folder '{path}' belongs to user {owner}, and this process runs as user {user}: give it to this user \
         (`chown -R {user} {path}`), or name a folder inside it, which is then created"
    )]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Number of the user that owns it.
        owner: u32,
        /// Number of the user that this process runs as.
        user: u32,
    },
    /// There are files, but no identity.
    #[error(
        "the folder '{path}' holds '{found}' but no file 'identity': it is not a node's data folder, or its \
         creation was interrupted. If nothing in it is of value, empty it and start again; otherwise choose \
         another folder"
    )]
    NotANode {
        /// The folder.
        path: PathBuf,
        /// One of the files in it.
        found: String,
    },
    /// The store was written by another program.
    #[error(
        "'{path}' lies beside the node's store: another program has opened the store and written to it, and the cluster has \
         agreed to nothing of that. Move this file elsewhere, and start again: the store is then as the node left it. To \
         look into a node's store, use `quackctl export`"
    )]
    Written {
        /// The program's write-ahead log.
        path: PathBuf,
    },
    /// The store is not as the node has left it.
    #[error(
        "the store in '{path}' has seen {count} checkpoints, and this node has made {expected}: another program has opened \
         it and written to it, or it was put back from a copy. The cluster has not agreed to what it holds. In a cluster, \
         start this node with an empty folder: it takes a copy from the others. For a node that is alone, restore a backup; \
         only if what is there is to be kept as it is, delete the file 'checkpoints' in the folder, and start again"
    )]
    OtherStore {
        /// The folder.
        path: PathBuf,
        /// Checkpoints that its store has seen.
        count: u64,
        /// Those that the node has made.
        expected: u64,
    },
    /// The folder is another node's.
    #[error(
        "the data folder '{path}' belongs to node '{found}', not to '{expected}': choose the right folder, or \
         start with node_id '{found}'"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        found: NodeId,
        /// Who asked.
        expected: NodeId,
    },
    /// The folder is to be filled by its cluster only.
    #[error(
        "the node in '{path}' is being rebuilt from its cluster: start it with the peers and certificates that it had. \
         What it held before is in the folder 'superseded' there"
    )]
    Former {
        /// The folder.
        path: PathBuf,
    },
    /// The identity cannot be read.
    #[error(
        "the file '{path}' is damaged ({reason}): move the files of the folder elsewhere, and start the node with an \
         empty folder: with peers it is rebuilt from its cluster. A copy from an earlier time is no help: it does not \
         know what the node has promised since"
    )]
    Identity {
        /// The file.
        path: PathBuf,
        /// What does not check.
        reason: String,
    },
    /// A newer release wrote the folder.
    #[error(
        "the file '{path}' has version {found}, this release reads version {supported}: use the newer release"
    )]
    FromTheFuture {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version known here.
        supported: u32,
    },
    /// The log refused.
    #[error(transparent)]
    Log(#[from] quack_log::Error),
    /// The core refused.
    #[error(transparent)]
    Core(#[from] quack_core::Error),
    /// The state machine refused to begin.
    #[error(transparent)]
    Machine(#[from] crate::LocalError),
}

impl Error {
    /// Whether the disk had no room: to try again may help.
    pub fn lacks_room(&self) -> bool {
        match self {
            Self::Io { source, .. } => quack_log::is_full(source),
            Self::Log(error) => matches!(error, quack_log::Error::Full { .. }),
            _ => false,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }
}

/// Why the members did not change, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// They did not.
    #[error("the change of members was refused: {0}")]
    Refused(Refusal),
    /// They may have.
    #[error(transparent)]
    Waiting(#[from] WaitError),
}

/// Why a proposal has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It is in no log and never will be: propose it again.
    #[error("the proposal was refused: {0}")]
    Refused(Refusal),
    /// It was not taken: too much is on its way.
    #[error("the node is busy: {bytes} bytes are waiting to be applied. Try again")]
    Busy {
        /// Bytes on their way.
        bytes: usize,
    },
    /// It was not taken: the caller was interrupted while it waited for room.
    #[error("interrupted before the write was proposed: nothing was written")]
    Interrupted,
    /// It was not taken: a proposal with the same id is on its way.
    #[error("a proposal with the same id is already on its way")]
    Duplicate,
    /// It was not taken: the node has latched an error.
    #[error("the node is degraded and takes no writes: {reason}")]
    Degraded {
        /// The error.
        reason: String,
    },
    /// It was not taken: the node has stopped.
    #[error("the node has stopped")]
    Stopped,
    /// It was proposed, and it is not known whether it took or will take effect.
    #[error(
        "the outcome of the write is unknown: {why}. It may still take effect; read before you repeat it"
    )]
    Unknown {
        /// What prevented an answer.
        why: String,
    },
}

impl ProposeError {
    /// Whether the proposal may have taken effect, or may yet.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

/// Why waiting for a position ended without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// It took too long.
    #[error("the node did not get there in time: {what}")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
    },
    /// The leader has said what is committed, and it is not applied here.
    #[error("the node has not applied yet what was committed before")]
    Behind,
    /// The caller was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// The disk has no room for it, or the process may open no more files; the node goes on without.
    #[error("{reason}")]
    NoRoom {
        /// What is missing, and what helps.
        reason: String,
    },
    /// The read was refused, for instance because no quorum is reachable.
    #[error("the read was refused: {0}")]
    Refused(Refusal),
    /// The node has latched an error.
    #[error("the node is degraded: {reason}")]
    Degraded {
        /// The error.
        reason: String,
    },
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}
