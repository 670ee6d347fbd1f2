//! Survivors whose logs hold what a test wants them to hold.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use bytes::Bytes;
use quack_apply::{State, entry};
use quack_core::Membership;
use quack_log::{
    DiskOs, EntryKind, Floor, GroupWrite, HardState, Log, LogConfig, LogEntry, LogIdentity, LogRead,
};
use quack_node::{DataFolder, FolderView};
use quack_offline::{Error, LeftOut, Recovered, Stored, Survivor};
use quack_proto::log::v1::{Boot, Member, entry::Body};
use quack_types::{GroupId, LogIndex, NodeId, ProposalId, RaftId, Term};

const ROOT: GroupId = GroupId::ROOT;
const LANE: GroupId = GroupId(2);

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn voters(names: &[&str]) -> Membership {
    Membership::new(names.iter().map(|name| id(name).raft_id(0)).collect::<Vec<_>>(), [])
}

fn entry(term: u64, index: u64, data: Bytes, context: &'static [u8]) -> LogEntry {
    let (term, index) = (Term(term), LogIndex(index));
    LogEntry { term, index, kind: EntryKind::Normal, data, context: Bytes::from_static(context) }
}

fn body(sequence: u64, body: Body) -> Bytes {
    entry::encode(ProposalId { origin: RaftId(1), boot: 1, sequence }, 0, None, body)
}

fn member(name: &str) -> Body {
    let endpoint = format!("quack:{name}:9494");
    Body::Member(Member { node_id: name.to_owned(), endpoint, voter: true, ..Member::default() })
}

/// A cut that orders the lane's entries through `index`.
fn cut(index: u64, lane_index: u64, lane_term: u64) -> LogEntry {
    let numbers = [LANE.0, lane_index, lane_term];
    let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    entry(1, index, data.into(), b"cut1")
}

/// The folder of n0 in a cluster of these voters, with what the root's log and a lane's hold.
fn folder(names: &[&str], root: Vec<LogEntry>, lane: Vec<LogEntry>, commit: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let identity = DataFolder::open(folder.path(), &id("n0")).unwrap().identity().clone();
    let identity = LogIdentity {
        cluster_id: identity.cluster_id,
        node: identity.node_id,
        incarnation: identity.incarnation,
    };
    let disk = DiskOs::new(folder.path().join("log"));
    let (mut log, _) = Log::open(disk, LogConfig::default(), &identity).unwrap();
    let membership = voters(names).encode();
    for (group, entries, commit) in [(ROOT, root, commit), (LANE, lane, 0)] {
        let floor = Some(Floor { membership: membership.clone(), ..Floor::default() });
        let state = HardState { term: Term(3), vote: RaftId(7), commit: LogIndex(commit) };
        let write = GroupWrite { floor, entries, hard_state: Some(state), ..GroupWrite::new(group) };
        log.write(&[write], true).unwrap();
    }
    folder
}

fn recover(folder: &Path, lost: &[&str]) -> Result<Recovered, Error> {
    let lost: Vec<String> = lost.iter().map(|name| (*name).to_owned()).collect();
    Survivor::take(folder)?.recover(|_| Ok(None), &lost)
}

fn three_members() -> Vec<LogEntry> {
    let names = ["n0", "n1", "n2"];
    (1..).zip(names).map(|(index, name)| entry(1, index, body(index, member(name)), b"")).collect()
}

#[test]
fn all_of_the_log_is_taken_and_the_other_members_are_removed() {
    let boot = entry(2, 4, body(4, Body::Boot(Boot {})), b"");
    // raft.ConfChangeV2: one more voter, with the number 9.
    let change = Bytes::from_static(&[0x08, 0x01, 0x12, 0x02, 0x10, 0x09]);
    let change = LogEntry { kind: EntryKind::ConfChangeV2, ..entry(2, 5, change, b"") };
    let root = [three_members(), vec![boot.clone(), change]].concat();
    let folder = folder(&["n0", "n1", "n2"], root, Vec::new(), 3);
    let recovered = recover(folder.path(), &["n1", "n2"]).unwrap();
    assert_eq!((recovered.left_out, recovered.removed), (None, vec!["n1".to_owned(), "n2".to_owned()]));
    assert_eq!((recovered.groups[0].committed, recovered.groups[0].last), (LogIndex(3), LogIndex(5)));

    let view = FolderView::read(folder.path()).unwrap();
    assert_eq!(view.identity.as_ref(), Some(&recovered.identity));
    let (log, _) = view.read_log().unwrap();
    let own = recovered.identity.raft_id();
    for group in [ROOT, LANE] {
        let alone = Membership::new([own], []);
        assert_eq!(Membership::decode(&log.floor(group).membership).unwrap(), alone);
        let state = log.hard_state(group);
        assert_eq!((state.term, state.vote, state.commit), (Term(3), RaftId(0), log.last_index(group)));
    }
    let entries = log.entries(ROOT, LogIndex(4), LogIndex(9), u64::MAX).unwrap();
    assert_eq!(entries[0], boot);
    assert_eq!(
        (entries[1].kind, entries[1].data.len()),
        (EntryKind::Normal, 0),
        "no node becomes a member by it"
    );
    let said = entries[2..].iter().map(|entry| entry::decode(entry.index.0, &entry.data).unwrap());
    let said: Vec<_> = said
        .map(|decoded| match decoded.body {
            Body::Member(member) if decoded.id.origin == own => {
                (member.node_id, member.incarnation, member.removed, member.endpoint)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let of = |name: &str, incarnation, removed| {
        (name.to_owned(), incarnation, removed, format!("quack:{name}:9494"))
    };
    assert_eq!(said, [of("n0", 1, false), of("n1", 0, true), of("n2", 0, true)]);
}

#[test]
fn the_root_is_taken_up_to_where_the_entries_of_a_group_never_arrived() {
    let lane: Vec<LogEntry> =
        (1..=2).map(|index| entry(1, index, body(index, Body::Boot(Boot {})), b"")).collect();
    let behind = |cut: LogEntry| {
        let next = entry(1, 5, body(9, Body::Boot(Boot {})), b"");
        let root = [three_members(), vec![cut, next]].concat();
        let folder = folder(&["n0", "n1", "n2"], root, lane.clone(), 0);
        let recovered = recover(folder.path(), &["n1", "n2"]).unwrap();
        (recovered.left_out, recovered.groups[0].last, recovered.groups[1].last)
    };
    assert_eq!(behind(cut(4, 2, 1)), (None, LogIndex(5), LogIndex(2)));
    let left_out = Some(LeftOut { first: LogIndex(4), last: LogIndex(5), group: LANE });
    for missing in [cut(4, 3, 1), cut(4, 2, 2)] {
        assert_eq!(behind(missing), (left_out.clone(), LogIndex(3), LogIndex(2)));
    }
}

#[test]
fn nothing_is_done_while_voters_that_are_not_lost_could_decide() {
    let names = ["n0", "n1", "n2"];
    let folder = folder(&names, three_members(), Vec::new(), 3);
    let before = FolderView::read(folder.path()).unwrap();
    for lost in [&[][..], &["n1"], &["n2"]] {
        let error = recover(folder.path(), lost).unwrap_err();
        assert!(matches!(error, Error::QuorumPossible { .. }), "{error}");
        assert!(error.to_string().contains("--lost n1 --lost n2"), "{error}");
    }
    for unknown in ["n0", "n3"] {
        let error = recover(folder.path(), &["n1", "n2", unknown]).unwrap_err();
        assert!(error.to_string().contains("the voters besides this node are n1, n2"), "{error}");
    }
    assert_eq!(FolderView::read(folder.path()).unwrap(), before);
    let learner = self::folder(&["n1", "n2", "n3"], three_members(), Vec::new(), 3);
    let nameless = format!("{:016x}", id("n3").raft_id(0).0);
    let error = recover(learner.path(), &["n1"]).unwrap_err();
    assert!(error.to_string().contains(&format!("'{nameless}'")), "{error}");
    recover(learner.path(), &["n1", &nameless]).unwrap();
    let alone = self::folder(&["n0"], Vec::new(), Vec::new(), 0);
    assert!(matches!(recover(alone.path(), &[]), Err(Error::OnlyVoter(_))));
}

#[test]
fn a_damaged_log_is_left_as_it_is() {
    let folder = folder(&["n0", "n1", "n2"], three_members(), Vec::new(), 9);
    let error = recover(folder.path(), &["n1", "n2"]).unwrap_err();
    assert!(error.to_string().contains("entry 9 is committed, and the log ends at entry 3"), "{error}");
    assert!(!folder.path().join("superseded").exists());
}

#[test]
fn a_store_that_is_ahead_of_its_log_is_kept() {
    let folder = folder(&["n0", "n1", "n2"], three_members(), Vec::new(), 3);
    let state = State { root: LogIndex(7), ..State::default() }.encode();
    let stored =
        |_: &Path| Ok(Some(Stored { owner: "a sender".to_owned(), position: 7, state: state.clone() }));
    std::fs::write(folder.path().join("store.duckdb"), "").unwrap();
    // As a snapshot leaves it whose node has not run to the end of its log yet.
    let lost = ["n1", "n2"].map(|node| format!("{:016x}", id(node).raft_id(0).0));
    let error = Survivor::take(folder.path()).unwrap().recover(stored, &lost).unwrap_err();
    assert!(error.to_string().contains("the store is another node's"), "{error}");
    std::fs::write(folder.path().join("joining"), "").unwrap();
    let recovered = Survivor::take(folder.path()).unwrap().recover(stored, &lost).unwrap();
    assert_eq!(recovered.groups[0].last, LogIndex(7));
    let (log, _) = FolderView::read(folder.path()).unwrap().read_log().unwrap();
    assert_eq!((log.floor(ROOT).index, log.last_index(ROOT)), (LogIndex(7), LogIndex(8)));
}
