//! Every check must be able to fail: each is shown a world that breaks its property,
//! and one that does not.

use bytes::{BufMut, Bytes, BytesMut};
use quack_core::{GroupState, GroupStatus, Membership, Role};
use quack_log::{GroupWrite, HardState, Log, LogConfig, LogEntry, LogIdentity, LogRead};
use quack_types::{GroupId, LogIndex, NodeId, ProposalId, RaftId, Term};

use super::{Invariants, Seen};
use crate::disk::VirtualDisk;
use crate::failure::Failure;
use crate::model::{self, Operation, Proposal};
use crate::random::Random;
use crate::server::StateAfter;

const G: GroupId = GroupId::ROOT;

fn entry(index: u64, term: u64, sequence: u64) -> LogEntry {
    let operation = Operation { client: 1, number: sequence };
    model::entry_of(index, term, Proposal { id: id(sequence), operation, reshard: None })
}

fn id(sequence: u64) -> ProposalId {
    ProposalId { origin: RaftId(1), boot: 1, sequence }
}

fn leader(term: u64) -> GroupStatus {
    GroupStatus {
        group: G,
        role: Role::Leader,
        leader: None,
        term: Term(term),
        last_index: LogIndex(9),
        commit_index: LogIndex(9),
        applied_index: LogIndex(9),
        snapshot_index: LogIndex(0),
        membership: Membership::default(),
        replicated_index: None,
        ordered_index: LogIndex(9),
        is_resting: false,
        is_over: false,
        is_forgotten: false,
        waits_for: Vec::new(),
        proposals: 0,
        linearizable_read_safe: true,
        state: GroupState::Ok,
    }
}

/// A real log with these entries and term.
fn log(entries: &[LogEntry], term: u64) -> Log<VirtualDisk> {
    let identity = LogIdentity { cluster_id: 1, node: NodeId::new("n1").unwrap(), incarnation: 0 };
    let mut log = Log::create(VirtualDisk::new(Random::new(1)), LogConfig::default(), &identity).unwrap();
    let hard_state = HardState { term: Term(term), ..HardState::default() };
    let write = GroupWrite { entries: entries.to_vec(), hard_state: Some(hard_state), ..GroupWrite::new(G) };
    log.write(&[write], true).unwrap();
    log
}

/// A cut: lanes with index and term, as the core writes it.
fn cut(lanes: &[(GroupId, u64, u64)]) -> LogEntry {
    let mut data = BytesMut::new();
    for (lane, index, term) in lanes {
        [lane.0, *index, *term].into_iter().for_each(|part| data.put_u64(part));
    }
    LogEntry { data: data.freeze(), context: Bytes::from_static(b"cut1"), ..entry(9, 8, 1) }
}

fn applied(node: u64, entry: &LogEntry, hash: u64, length: usize) -> Seen<'_> {
    placed(node, G, entry.index.0, entry, hash, length)
}

/// Applied as the entry of a group, as number `order` of the one order.
fn placed(node: u64, group: GroupId, order: u64, entry: &LogEntry, hash: u64, length: usize) -> Seen<'_> {
    let last = model::decode(entry).map(|proposal| proposal.operation);
    let state = StateAfter { order, hash, length, last, is_reshard: false };
    Seen::Applied { node, group, entry, state, commit: LogIndex(9) }
}

/// What the last of these does to the checks that have seen the others.
fn verdict(seen: &[Seen]) -> Result<(), Failure> {
    let mut invariants = Invariants::new(3);
    let (last, before) = seen.split_last().unwrap();
    before.iter().for_each(|seen| invariants.observe(seen).unwrap());
    invariants.observe(last)
}

fn broken(seen: &[Seen]) -> &'static str {
    verdict(seen).unwrap_err().rule
}

#[test]
fn two_leaders_in_a_term_are_seen() {
    let (four, five, log) = (leader(4), leader(5), log(&[], 4));
    let status = |node, status| Seen::Status { node, status, log: &log };
    assert_eq!(broken(&[status(1, &four), status(2, &four)]), "election safety");
    assert!(verdict(&[status(1, &four), status(1, &four), status(2, &five)]).is_ok());
}

#[test]
fn logs_that_part_before_an_equal_entry_are_seen() {
    let write = |entries: &[LogEntry]| GroupWrite { entries: entries.to_vec(), ..GroupWrite::new(G) };
    let one = write(&[entry(1, 1, 1), entry(2, 2, 2)]);
    let other_content = write(&[entry(2, 2, 3)]);
    let other_past = write(&[entry(1, 2, 1), entry(2, 2, 2)]);
    let written = |node, write| Seen::Written { node, write };
    assert_eq!(broken(&[written(1, &one), written(2, &other_content)]), "log matching");
    assert_eq!(broken(&[written(1, &one), written(2, &other_past)]), "log matching");
    assert!(verdict(&[written(1, &one), written(2, &one)]).is_ok());
}

#[test]
fn a_leader_without_a_committed_entry_is_seen() {
    let committed = entry(3, 2, 1);
    let without = log(&[entry(1, 1, 1)], 5);
    let with = log(&[entry(1, 1, 1), entry(2, 2, 2), committed.clone()], 5);
    let status = leader(5);
    let leads = |log| Seen::Status { node: 2, status: &status, log };
    let seen = || placed(1, G, 1, &committed, 7, 1);
    assert_eq!(broken(&[seen(), leads(&without as &dyn LogRead)]), "leader completeness");
    assert!(verdict(&[seen(), leads(&with)]).is_ok());
}

#[test]
fn different_entries_or_states_at_an_index_are_seen() {
    let (one, other) = (entry(1, 1, 1), entry(1, 1, 2));
    assert_eq!(broken(&[applied(1, &one, 7, 1), applied(2, &other, 7, 1)]), "state machine safety");
    assert_eq!(broken(&[applied(1, &one, 7, 1), applied(2, &one, 8, 1)]), "state machine safety");
    assert!(verdict(&[applied(1, &one, 7, 1), applied(2, &one, 7, 1)]).is_ok());
}

#[test]
fn applying_too_much_or_with_gaps_is_seen() {
    let (one, three, ten) = (entry(1, 1, 1), entry(3, 1, 3), entry(10, 1, 4));
    assert_eq!(broken(&[applied(1, &ten, 1, 1)]), "applied within commit");
    assert_eq!(broken(&[applied(1, &one, 1, 1), applied(1, &three, 2, 2)]), "applied within commit");
    let again = [applied(1, &one, 1, 1), Seen::Crashed { node: 1 }, applied(1, &one, 1, 1)];
    assert!(verdict(&again).is_ok());
    let early = placed(1, GroupId(2), 1, &one, 1, 1);
    assert_eq!(broken(&[early]), "applied within commit", "no cut has named it");
}

#[test]
fn a_term_or_a_commit_position_that_goes_back_is_seen() {
    let state = |term| GroupWrite {
        hard_state: Some(HardState { term: Term(term), ..HardState::default() }),
        ..GroupWrite::new(G)
    };
    let (four, five, old, new) = (state(4), state(5), log(&[], 4), log(&[], 5));
    let written = |write| Seen::Written { node: 1, write };
    assert_eq!(broken(&[written(&five), written(&four)]), "nothing goes back");
    assert_eq!(broken(&[written(&five), Seen::Restarted { node: 1, log: &old }]), "nothing goes back");
    assert!(verdict(&[written(&five), Seen::Restarted { node: 1, log: &new }]).is_ok());
    let less = GroupStatus { commit_index: LogIndex(8), ..leader(4) };
    let more = leader(4);
    let status = |status| Seen::Status { node: 1, status, log: &old };
    assert_eq!(broken(&[status(&more), status(&less)]), "nothing goes back");
    assert!(verdict(&[status(&less), status(&more)]).is_ok());
}

#[test]
fn a_proposal_at_two_places_is_seen() {
    let (first, again) = (entry(1, 1, 7), entry(2, 1, 7));
    assert_eq!(broken(&[applied(1, &first, 1, 1), applied(1, &again, 2, 2)]), "exactly once");
}

#[test]
fn an_acknowledged_entry_that_most_disks_have_lost_is_seen() {
    let acknowledged = entry(1, 1, 1);
    let (empty, full) = (log(&[], 0), log(std::slice::from_ref(&acknowledged), 0));
    let lost = |node| Seen::Restarted { node, log: &empty as &dyn LogRead };
    let kept = |node| Seen::Restarted { node, log: &full as &dyn LogRead };
    let promise = || [applied(1, &acknowledged, 1, 1), Seen::Acknowledged { group: G, index: LogIndex(1) }];
    let after = |seen: [Seen<'_>; 2]| {
        let [promise_1, promise_2] = promise();
        let [one, two] = seen;
        verdict(&[promise_1, promise_2, one, two]).map_err(|failure| failure.rule)
    };
    assert_eq!(after([lost(1), lost(2)]), Err("acknowledged is durable"));
    assert_eq!(after([lost(1), kept(2)]), Ok(()));
    assert_eq!(after([lost(1), lost(1)]), Ok(()), "one node is one node");
}

#[test]
fn different_members_from_one_index_on_are_seen() {
    let (one, other) = (Membership::new([RaftId(1)], []), Membership::new([RaftId(2)], []));
    let changed = |node, membership| Seen::Membership { node, group: G, index: LogIndex(3), membership };
    assert_eq!(broken(&[changed(1, &one), changed(2, &other)]), "membership agreement");
    assert!(verdict(&[changed(1, &one), changed(2, &one)]).is_ok());
}

#[test]
fn two_orders_are_seen() {
    const LANE: GroupId = GroupId(2);
    let (one, two, cut) = (entry(1, 1, 1), entry(2, 1, 2), [cut(&[(LANE, 9, 1), (GroupId(3), 9, 1)])]);
    let in_lane = entry(1, 1, 7);
    let lanes = |node, order, created, dropped| Seen::Lanes { node, order, created, dropped };
    let root = |node, order, entry| placed(node, G, order, entry, order, 1);
    let lane = |node, order, entry| placed(node, LANE, order, entry, order, 2);
    let ordered = || Seen::Committed { node: 1, group: G, entries: &cut };
    let created = || [ordered(), root(1, 1, &one), lanes(1, 1, &[LANE], &[])];
    let after = |seen: Vec<Seen<'_>>| {
        let all: Vec<Seen> = created().into_iter().chain(seen).collect();
        verdict(&all).map_err(|failure| failure.rule)
    };
    assert_eq!(after(vec![lane(1, 2, &in_lane), root(2, 2, &two)]), Err("one order"), "lane or root");
    assert_eq!(after(vec![lane(1, 3, &in_lane)]), Err("one order"), "something is left out");
    assert_eq!(after(vec![lane(1, 2, &in_lane), root(1, 3, &two)]), Ok(()));
    assert_eq!(after(vec![placed(1, GroupId(3), 2, &in_lane, 2, 2)]), Err("one order"), "no such lane");
    let dropped = |node, order| lanes(node, order, &[], &[LANE]);
    assert_eq!(
        after(vec![root(1, 2, &two), dropped(1, 2), lane(1, 3, &in_lane)]),
        Err("one order"),
        "dropped"
    );
    assert_eq!(after(vec![dropped(1, 2), dropped(2, 3)]), Err("one order"), "dropped at two places");
    assert_eq!(after(vec![lanes(2, 4, &[LANE], &[])]), Err("one order"), "created at two places");
    assert_eq!(after(vec![lanes(2, 1, &[LANE], &[])]), Ok(()));
}

#[test]
fn a_cut_that_names_what_is_not_committed_is_seen() {
    let committed = |group, entries| Seen::Committed { node: 1, group, entries };
    let lane = GroupId(2);
    let cut = [cut(&[(lane, 4, 7)])];
    let (same, other) = ([entry(4, 7, 2)], [entry(4, 8, 2)]);
    assert_eq!(broken(&[committed(G, &cut), committed(lane, &other)]), "cuts name what is committed");
    assert_eq!(broken(&[committed(lane, &other), committed(G, &cut)]), "cuts name what is committed");
    assert!(verdict(&[committed(G, &cut), committed(lane, &same)]).is_ok());
}

#[test]
fn a_lane_that_was_forgotten_is_not_missed() {
    let state = HardState { term: Term(4), ..HardState::default() };
    let write = GroupWrite { hard_state: Some(state), ..GroupWrite::new(G) };
    let (empty, written) = (log(&[], 0), || Seen::Written { node: 1, write: &write });
    let woken = || Seen::Restarted { node: 1, log: &empty };
    assert_eq!(broken(&[written(), woken()]), "nothing goes back");
    assert!(verdict(&[written(), Seen::Forgets { node: 1, group: G }, woken()]).is_ok());
}
