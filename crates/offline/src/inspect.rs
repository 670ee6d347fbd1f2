//! What a data folder is: whose, how far, and what is wrong with it. Nothing is changed.

use std::path::Path;

use quack_apply::State;
use quack_core::{Membership, memberships};
use quack_log::{HardState, LogRead, Recovery};
use quack_node::{FolderView, Identity, require_unused};
use quack_types::{GroupId, LogIndex, RaftId, Term};

use crate::members::Members;
use crate::{Checkpoint, Error, Stored};

/// What was found.
#[derive(Debug)]
pub struct Inspection {
    /// The folder and its identity.
    pub folder: FolderView,
    /// `None` when there is none, or it cannot be read.
    pub log: Option<LogView>,
    /// The store's position. `None` when there is none, or it cannot be read.
    pub checkpoint: Option<Checkpoint>,
    /// In the order of their names.
    pub members: Vec<MemberView>,
    /// What is wrong, in words.
    pub damage: Vec<String>,
}

/// The log.
#[derive(Debug)]
pub struct LogView {
    /// Its files, formats and unfinished end.
    pub files: Recovery,
    /// The root first.
    pub groups: Vec<GroupView>,
}

/// One group's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Its number.
    pub group: GroupId,
    /// Its name in SQL, as far as the store knows it.
    pub name: Option<String>,
    /// The last entry that the log does not hold any more.
    pub floor: LogIndex,
    /// The last entry of the log.
    pub last: LogIndex,
    /// Its term.
    pub last_term: Term,
    /// Term, vote and commit position.
    pub state: HardState,
    /// Who got the vote; `None` for none in that term.
    pub vote: Option<String>,
    /// The last entry that the store holds.
    pub applied: Option<LogIndex>,
    /// Those whose majority decides, behind what is known to be committed.
    pub voters: Vec<String>,
    /// The voters before the change that is under way.
    pub voters_outgoing: Vec<String>,
    /// Those who receive the log and do not vote.
    pub learners: Vec<String>,
}

/// A node of the cluster, as the folder knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Its name.
    pub node: String,
    /// Counts the lives of its disk.
    pub incarnation: u64,
    /// Where it is reached.
    pub endpoint: String,
    /// Whether it is to vote once it has caught up.
    pub is_voter: bool,
    /// Whether it belongs to the cluster no more.
    pub is_removed: bool,
}

/// Inspects a folder. `read_store` reads the store's file, where there is one, and says in words why it cannot; a store to
/// which no checkpoint was written yet holds nothing.
///
/// # Errors
/// A process works in the folder, or the folder or its identity cannot be read.
pub fn inspect(
    path: &Path,
    read_store: impl FnOnce(&Path) -> Result<Option<Stored>, String>,
) -> Result<Inspection, Error> {
    require_unused(path)?;
    let found = look(FolderView::read(path)?, read_store);
    // Otherwise what was read may be of two moments.
    require_unused(path)?;
    Ok(found)
}

/// Inspects a folder that no other process changes meanwhile.
pub(crate) fn look(
    folder: FolderView,
    read_store: impl FnOnce(&Path) -> Result<Option<Stored>, String>,
) -> Inspection {
    let mut found =
        Inspection { folder, log: None, checkpoint: None, members: Vec::new(), damage: Vec::new() };
    // While it is becoming another cluster's, its files belong to two identities.
    let identity = found.folder.identity.clone().filter(|_| !found.folder.is_being_refounded);
    if let Some(identity) = identity {
        found.read_store(read_store);
        if let Err(error) = found.read_log(&identity) {
            found.damage.push(error.to_string());
        }
        if found.damage.is_empty() {
            found.compare(&identity);
        }
    }
    found
}

impl Inspection {
    fn read_store(&mut self, read_store: impl FnOnce(&Path) -> Result<Option<Stored>, String>) {
        let path = self.folder.store_path();
        if let Some(path) = &self.folder.foreign_wal {
            // To read the store would be to read what is in there, too.
            self.damage.push(Error::from(quack_node::Error::Written { path: path.clone() }).to_string());
            return;
        }
        if !path.exists() {
            return;
        }
        let read = |stored: Stored| stored.checkpoint().map_err(|error| error.to_string());
        match read_store(&path).and_then(|stored| stored.map(read).transpose()) {
            Ok(checkpoint) => self.checkpoint = checkpoint,
            Err(error) => self.damage.push(format!("the store '{}': {error}", path.display())),
        }
    }

    fn read_log(&mut self, identity: &Identity) -> Result<(), Error> {
        let (log, files) = self.folder.read_log()?;
        let none = State::default();
        let state = self.checkpoint.as_ref().map_or(&none, |checkpoint| &checkpoint.state);
        let committed = log.hard_state(GroupId::ROOT).commit.max(state.root);
        let members = Members::read(state, &log, committed.min(log.last_index(GroupId::ROOT)))?;
        let groups = log.groups().into_iter().map(|group| {
            let view = GroupReader { log: &log, state, members: &members, identity };
            view.read(group, self.checkpoint.is_some())
        });
        let groups = groups.collect::<Result<_, _>>()?;
        self.members = members
            .iter()
            .map(|member| MemberView {
                node: member.node_id.clone(),
                incarnation: member.incarnation,
                endpoint: member.endpoint.clone(),
                is_voter: member.voter,
                is_removed: member.removed,
            })
            .collect();
        self.log = Some(LogView { files, groups });
        Ok(())
    }

    /// Finds what does not fit together.
    fn compare(&mut self, identity: &Identity) {
        let mut damage = Vec::new();
        if let Some(checkpoint) = &self.checkpoint
            && checkpoint.owner != identity.owner()
            && !self.folder.has_foreign_store
        {
            damage.push(format!(
                "the store is another node's (cluster, node, incarnation: {}; this node: {})",
                checkpoint.owner,
                identity.owner()
            ));
        }
        for group in self.log.iter().flat_map(|log| &log.groups) {
            let applied = group.applied.unwrap_or_default();
            if applied < group.floor && (group.applied.is_some() || group.group == GroupId::ROOT) {
                damage.push(format!(
                    "group {}: the store ends at entry {applied}, and the log begins behind entry {}: what lies between \
                     is missing",
                    group.group, group.floor
                ));
            }
            // The store of a snapshot may be ahead of the log that came with it.
            if applied > group.last && !self.folder.has_foreign_store {
                damage.push(format!(
                    "group {}: the store holds entry {applied}, and the log ends at entry {}",
                    group.group, group.last
                ));
            }
            if group.state.commit > group.last {
                damage.push(format!(
                    "group {}: entry {} is committed, and the log ends at entry {}",
                    group.group, group.state.commit, group.last
                ));
            }
        }
        self.damage.append(&mut damage);
    }
}

/// What is needed to describe a group.
struct GroupReader<'a, L> {
    log: &'a L,
    state: &'a State,
    members: &'a Members,
    identity: &'a Identity,
}

impl<L: LogRead + Clone> GroupReader<'_, L> {
    fn read(&self, group: GroupId, has_store: bool) -> Result<GroupView, Error> {
        let (log, state) = (self.log, self.log.hard_state(group));
        let lane = self.state.lanes.get(group);
        let is_root = group == GroupId::ROOT;
        let applied = if is_root { Some(self.state.root) } else { lane.map(|lane| lane.applied) };
        let applied = applied.filter(|_| has_store);
        let committed = state.commit.max(applied.unwrap_or_default());
        let mut since = memberships(log, group)?;
        since.retain(|(from, _)| *from <= committed);
        let membership = since.pop().map_or_else(Membership::default, |(_, membership)| membership);
        let name = |id: &RaftId| self.members.name_of(*id, self.identity);
        let names = |ids: &[RaftId]| {
            let mut names: Vec<String> = ids.iter().map(name).collect();
            names.sort();
            names
        };
        let last = log.last_index(group);
        Ok(GroupView {
            group,
            name: if is_root { Some("default".to_owned()) } else { lane.map(|lane| lane.name.to_string()) },
            floor: log.floor(group).index,
            last,
            last_term: log.term(group, last).unwrap_or_default(),
            state,
            vote: (state.vote != RaftId(0)).then(|| name(&state.vote)),
            applied,
            voters: names(&membership.voters),
            voters_outgoing: names(&membership.voters_outgoing),
            learners: names(&membership.learners),
        })
    }
}
