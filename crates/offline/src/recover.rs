//! A new cluster out of one survivor of another, whose quorum is gone for ever.
//!
//! The survivor keeps its store and its log to its end, whether or not an entry was known to be committed: what is there may
//! have been acknowledged. It becomes the only voter of a cluster with another id, under another incarnation, so that nothing
//! of the old cluster meets it: no message of its nodes is meant for it, and no folder of them opens in it. All other members
//! are removed by entries at the end of the log, which also ends what they had begun.
//!
//! The order of groups has one limit. An entry of the root that orders a group's entries is of use only where those are: the
//! root's log is taken up to the first one whose entries never reached the survivor.
//!
//! Models: etcd's `--force-new-cluster`, CockroachDB's `debug recover`.

use std::collections::BTreeSet;
use std::path::Path;

use quack_apply::State;
use quack_core::{Cut, Membership, memberships, reseed};
use quack_log::{DiskOs, EntryKind, Floor, GroupWrite, HardState, Log, LogEntry, LogRead, LogReader};
use quack_node::{Claim, DataFolder, FolderView, Identity, Refounding, require_unused};
use quack_types::{GroupId, LogIndex, RaftId, Term};

use crate::inspect::look;
use crate::members::{Members, for_each_entry};
use crate::{Error, Inspection, Stored};

/// A folder that this process holds, to be recovered.
#[derive(Debug)]
pub struct Survivor {
    folder: DataFolder,
    view: FolderView,
}

/// What a recovery has come to.
#[derive(Debug)]
pub struct Recovered {
    /// Who the node was.
    pub former: Identity,
    /// Who it is now.
    pub identity: Identity,
    /// The root first.
    pub groups: Vec<RecoveredGroup>,
    /// What the log held and the new one does not.
    pub left_out: Option<LeftOut>,
    /// Nodes that were members.
    pub removed: Vec<String>,
}

/// What was taken of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredGroup {
    /// Its number.
    pub group: GroupId,
    /// Its name in SQL, as far as the store knows it.
    pub name: Option<String>,
    /// The last entry that the survivor knew to be committed.
    pub committed: LogIndex,
    /// The last entry that was taken.
    pub last: LogIndex,
}

/// Entries of the root that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The first of them.
    pub first: LogIndex,
    /// The last of them.
    pub last: LogIndex,
    /// The group whose entries the survivor lacks.
    pub group: GroupId,
}

impl Survivor {
    /// Takes the folder of a member.
    ///
    /// # Errors
    /// A process works in it, it is no member's, or it is to be rebuilt.
    pub fn take(path: &Path) -> Result<Self, Error> {
        let no_member = || Error::Folder(quack_node::Error::NoMember { path: path.to_owned() });
        let view = FolderView::read(path)?;
        let identity = view.identity.ok_or_else(no_member)?;
        if view.is_to_be_rebuilt {
            return Err(Error::ToBeRebuilt(path.to_owned()));
        }
        match Claim::take(path, &identity.node_id)? {
            // Read again: an earlier recovery may have been brought to its end by taking the folder.
            Claim::Member(folder) => Ok(Self { folder, view: FolderView::read(path)? }),
            Claim::Empty(_) => Err(no_member()),
        }
    }

    /// Makes the folder that of a new cluster. `lost` are the nodes whose folders are gone for ever.
    ///
    /// # Errors
    /// Without them the cluster may still have a quorum; or the folder is damaged. Nothing was changed then.
    pub fn recover(
        self,
        read_store: impl FnOnce(&Path) -> Result<Option<Stored>, String>,
        lost: &[String],
    ) -> Result<Recovered, Error> {
        let survey = Survey::of(&self.view, read_store)?;
        let former = self.folder.identity();
        let committed = survey.log.hard_state(GroupId::ROOT).commit.max(survey.state.root);
        let since = memberships(&survey.log, GroupId::ROOT)?;
        require_no_quorum(&since, committed, &survey.members, former, lost)?;
        survey.refound(self.folder)
    }
}

/// Copies the data folder `from` to `to`, which is not there yet, and makes the copy a cluster of its own. It serves no
/// client, so nothing is asked about the other voters.
///
/// # Errors
/// A process works in the folder, it is no member's, or damaged; or `to` cannot be written.
pub fn detached_copy(
    from: &Path,
    to: &Path,
    read_store: impl FnOnce(&Path) -> Result<Option<Stored>, String>,
) -> Result<Recovered, Error> {
    require_unused(from)?;
    FolderView::read(from)?.copy_to(to)?;
    // Otherwise the copy may be of two moments.
    require_unused(from)?;
    let copy = Survivor::take(to)?;
    Survey::of(&copy.view, read_store)?.refound(copy.folder)
}

/// All that is known of a folder that is to be another cluster's.
struct Survey {
    found: Inspection,
    log: LogReader<DiskOs>,
    state: State,
    members: Members,
}

impl Survey {
    fn of(
        view: &FolderView,
        read_store: impl FnOnce(&Path) -> Result<Option<Stored>, String>,
    ) -> Result<Self, Error> {
        let found = look(view.clone(), read_store);
        if !found.damage.is_empty() {
            return Err(Error::Damaged(found.damage.join("; ")));
        }
        let (log, _) = view.read_log()?;
        let state = found.checkpoint.as_ref().map(|checkpoint| checkpoint.state.clone()).unwrap_or_default();
        let members = Members::read(&state, &log, log.last_index(GroupId::ROOT))?;
        Ok(Self { found, log, state, members })
    }

    fn refound(&self, folder: DataFolder) -> Result<Recovered, Error> {
        let former = folder.identity().clone();
        let left_out = first_gap(&self.log, &self.state)?;
        let new = NewLog {
            log: &self.log,
            state: &self.state,
            members: &self.members,
            left_out: left_out.as_ref(),
        };
        let mut refounding = folder.refound()?;
        let groups = new.write(&mut refounding, &self.found)?;
        let removed = self.members.others(&former).map(|member| member.node_id.clone()).collect();
        let identity = refounding.commit()?;
        Ok(Recovered { former, identity, groups, left_out, removed })
    }
}

/// Refuses when the voters that are not said to be lost could still decide.
fn require_no_quorum(
    since: &[(LogIndex, Membership)],
    committed: LogIndex,
    members: &Members,
    own: &Identity,
    lost: &[String],
) -> Result<(), Error> {
    // A change that is not known to be committed may be in force elsewhere.
    let first = since.iter().rposition(|(from, _)| *from <= committed).unwrap_or(0);
    let possible: Vec<&Membership> = since.iter().skip(first).map(|(_, membership)| membership).collect();
    let voters = |membership: &Membership| {
        membership.voters.clone().into_iter().chain(membership.voters_outgoing.clone())
    };
    let name = |id: RaftId| members.name_of(id, own);
    let own_name = own.node_id.to_string();
    let peers: BTreeSet<String> = possible
        .iter()
        .flat_map(|membership| voters(membership))
        .map(name)
        .filter(|peer| *peer != own_name)
        .collect();
    if let Some(unknown) = lost.iter().find(|node| !peers.contains(*node)) {
        let known = peers.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Error::NoVoter { node: unknown.clone(), known });
    }
    if peers.is_empty() {
        return Err(Error::OnlyVoter(own_name));
    }
    let is_majority =
        |ids: &[RaftId]| ids.iter().filter(|id| !lost.contains(&name(**id))).count() > ids.len() / 2;
    let decides = |membership: &&Membership| {
        is_majority(&membership.voters)
            && (membership.voters_outgoing.is_empty() || is_majority(&membership.voters_outgoing))
    };
    if !possible.iter().any(decides) {
        return Ok(());
    }
    let missing: Vec<&String> = peers.iter().filter(|peer| !lost.contains(*peer)).collect();
    let described = missing.iter().map(|peer| match members.iter().find(|member| member.node_id == **peer) {
        Some(member) => format!("'{peer}' ({})", member.endpoint),
        None => format!("'{peer}'"),
    });
    let described = described.collect::<Vec<_>>().join(", ");
    let flags = peers.iter().map(|peer| format!("--lost {peer}")).collect::<Vec<_>>().join(" ");
    Err(Error::QuorumPossible { nodes: described, flags })
}

/// The first entry of the root, behind the store, that orders what the log does not hold.
fn first_gap(log: &LogReader<DiskOs>, state: &State) -> Result<Option<LeftOut>, Error> {
    let (first, last) =
        (state.root.max(log.floor(GroupId::ROOT).index).next(), log.last_index(GroupId::ROOT));
    let groups: BTreeSet<GroupId> = log.groups().into_iter().collect();
    let mut gap = None;
    for_each_entry(log, GroupId::ROOT, first, last, |entry| {
        if gap.is_some() {
            return Ok(());
        }
        let Some(cut) = Cut::of(&entry).map_err(|error| Error::Damaged(error.to_string()))? else {
            return Ok(());
        };
        let is_missing = |group: GroupId, index: LogIndex, term: Term| {
            let was_dropped = group <= state.lanes.last_group() && state.lanes.get(group).is_none();
            let is_held = groups.contains(&group)
                && (index <= log.floor(group).index || log.term(group, index) == Some(term));
            !was_dropped && !is_held
        };
        let missing = cut.lanes.iter().find(|(group, end)| is_missing(**group, end.index, end.term));
        gap = missing.map(|(group, _)| LeftOut { first: entry.index, last, group: *group });
        Ok(())
    })?;
    Ok(gap)
}

/// What is needed to write the log of the new cluster.
struct NewLog<'a> {
    log: &'a LogReader<DiskOs>,
    state: &'a State,
    members: &'a Members,
    left_out: Option<&'a LeftOut>,
}

impl NewLog<'_> {
    /// Writes all groups, each with the new node as its only voter.
    fn write(&self, refounding: &mut Refounding, found: &Inspection) -> Result<Vec<RecoveredGroup>, Error> {
        let identity = refounding.identity().clone();
        let views = found.log.iter().flat_map(|log| &log.groups);
        let mut groups = Vec::new();
        for view in views {
            let last = self.write_group(&mut refounding.log, view.group, &identity)?;
            let committed = view.state.commit.max(view.applied.unwrap_or_default());
            groups.push(RecoveredGroup { group: view.group, name: view.name.clone(), committed, last });
        }
        Ok(groups)
    }

    /// Returns the last entry that was taken.
    fn write_group(&self, to: &mut Log<DiskOs>, group: GroupId, own: &Identity) -> Result<LogIndex, Error> {
        let floor = self.floor(group, own);
        let last = match self.left_out {
            Some(left_out) if group == GroupId::ROOT => LogIndex(left_out.first.0 - 1),
            _ => self.log.last_index(group).max(floor.index),
        };
        let mut next = floor.index.next();
        write(to, group, &floor, Vec::new())?;
        while next <= last {
            let entries = self.log.entries(group, next, last.next(), crate::members::READ_BYTES)?;
            next = entries.last().map_or(last, |entry| entry.index).next();
            write(to, group, &floor, entries.into_iter().map(without_members).collect())?;
        }
        let mut end = last;
        if group == GroupId::ROOT {
            let term = to.term(group, last).unwrap_or(floor.term);
            let said = self.members.alone(own, None, last, term);
            end = LogIndex(last.0 + said.len() as u64);
            write(to, group, &floor, said)?;
        }
        let term = self.log.hard_state(group).term.max(to.hard_state(group).term);
        let hard_state = Some(HardState { term, vote: RaftId(0), commit: end });
        to.write(&[GroupWrite { hard_state, ..GroupWrite::new(group) }], false)?;
        Ok(last)
    }

    /// Where a group's log begins, with its one member. The store of a snapshot may be ahead of the log that came with it.
    fn floor(&self, group: GroupId, own: &Identity) -> Floor {
        let membership = Membership::new([own.raft_id()], []).encode();
        let applied = if group == GroupId::ROOT {
            self.state.root
        } else {
            self.state.lanes.get(group).map(|lane| lane.applied).unwrap_or_default()
        };
        if applied > self.log.last_index(group) {
            return Floor { index: applied, term: self.log.hard_state(group).term, membership };
        }
        Floor { membership, ..self.log.floor(group) }
    }
}

fn write(to: &mut Log<DiskOs>, group: GroupId, floor: &Floor, entries: Vec<LogEntry>) -> Result<(), Error> {
    let write = reseed(to, group, floor, entries)?;
    Ok(to.write(&[write], false)?)
}

/// Members of the old cluster change in the new one no more.
fn without_members(entry: LogEntry) -> LogEntry {
    match entry.kind {
        EntryKind::Normal => entry,
        EntryKind::ConfChange | EntryKind::ConfChangeV2 => LogEntry {
            kind: EntryKind::Normal,
            data: Default::default(),
            context: Default::default(),
            ..entry
        },
    }
}
