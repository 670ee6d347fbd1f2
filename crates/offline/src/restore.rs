//! A new cluster out of a backup: the store with a log that begins behind it, and one voter.

use std::path::Path;

use quack_core::Membership;
use quack_log::Floor;
use quack_node::{Backup, BackupOrigin, Claim, Identity};
use quack_types::{LogIndex, NodeId, Term};

use crate::members::Members;
use crate::{Error, Stored};

/// The term in which the new logs begin. Nothing in them is older.
const FIRST_TERM: Term = Term(1);

/// What a restoration has come to.
#[derive(Debug)]
pub struct Restored {
    /// What the backup is of.
    pub origin: BackupOrigin,
    /// Who the node is.
    pub identity: Identity,
    /// The last entry of the backed up cluster that the store holds.
    pub position: LogIndex,
    /// Nodes that were members.
    pub removed: Vec<String>,
}

/// Restores the backup in `from` into the data folder `to`, which is created or empty, as `node`, reached at `endpoint` (where
/// it was, if it was a member).
///
/// # Errors
/// There is no complete backup, or it is damaged; the folder is a node's or cannot be written. Then nothing starts in it, and
/// it is as good as empty.
pub fn restore(
    from: &Path,
    to: &Path,
    node: Option<&NodeId>,
    endpoint: Option<&str>,
    read_store: impl FnOnce(&Path) -> Result<Option<Stored>, String>,
) -> Result<Restored, Error> {
    let backup = Backup::open(from)?;
    let node = node.unwrap_or(&backup.origin.node_id);
    let taken = || Error::Folder(quack_node::Error::Taken { path: to.to_owned() });
    if to.join(quack_types::folder::REBUILD).exists() {
        return Err(taken());
    }
    let Claim::Empty(folder) = Claim::take(to, node)? else { return Err(taken()) };
    if folder.former().is_some() || folder.promised().is_some() {
        return Err(taken());
    }
    let store = folder.begin_join()?;
    backup.copy_store(&store)?;
    let stored = read_store(&store).map_err(Error::Damaged)?;
    let stored = stored.ok_or_else(|| Error::Damaged("its store is empty".to_owned()))?;
    let state = stored.checkpoint()?.state;
    let members = Members::of(&state);
    // Higher than that of every earlier life of any node: what those proposed is remembered in the store.
    let lives = members.iter().map(|member| member.incarnation);
    let incarnation = lives.fold(backup.origin.incarnation, u64::max) + 1;
    let membership = Membership::new([node.raft_id(incarnation)], []).encode();
    let place = state.place();
    let floors = place.groups().map(|(group, index)| {
        let term = if index == LogIndex(0) { Term(0) } else { FIRST_TERM };
        (group, Floor { index, term, membership: membership.clone() })
    });
    let floors = floors.collect();
    let own = Identity { cluster_id: 0, node_id: node.clone(), incarnation, boot: 0 };
    let entries = members.alone(&own, endpoint, state.root, FIRST_TERM);
    let folder = folder.found_with(incarnation, floors, entries)?;
    Ok(Restored {
        origin: backup.origin.clone(),
        identity: folder.identity().clone(),
        position: state.root,
        removed: members.others(&own).map(|member| member.node_id.clone()).collect(),
    })
}
