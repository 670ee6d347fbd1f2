//! Changes of the members: who may ask, who carries them out, what is refused and leaves everything as it was.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use prost::Message as _;
use quack_cluster::{Change, Host as _, Member};
use quack_net::{PeerRole, PeerSpec};
use quack_node::{MemberChange, SnapshotNeeded};
use quack_proto::log::v1::{self as log_proto, entry::Body};
use quack_proto::peer::v1::{self as proto, ChangeMember, Hello};
use quack_types::{GroupId, LogIndex};

fn role(node: &Node, of: &str) -> &'static str {
    let (membership, member) = (node.handle().membership(), node.member(of));
    match member.map(|member| member.raft_id()) {
        None => "none",
        Some(id) if membership.is_voter(id) => "voter",
        Some(id) if membership.learners.contains(&id) => "learner",
        Some(_) => "joining",
    }
}

/// Three voters of which the first one leads.
fn three_led_by_n0() -> (World, Vec<Node>) {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let nodes = world.found();
    hand_over(&nodes, 0);
    (world, nodes)
}

fn as_role(spec: PeerSpec, role: PeerRole) -> Change {
    Change::Put(PeerSpec { role, ..spec })
}

/// A change must be refused for this reason by the first node, which leads, and leave everything as it was.
fn refused(nodes: &[Node], asked: usize, change: &Change, why: &str) {
    let leader = &nodes[0];
    let state = || -> (Vec<Member>, _) { (leader.cluster.roster().members(), leader.handle().membership()) };
    let before = state();
    eventually("the leader answers", || {
        hand_over(nodes, 0);
        let error = nodes[asked].cluster.change(change).unwrap_err().to_string();
        // On a busy machine it may lose its place for a moment.
        assert!(error.contains(why) || is_leader_lost(&error), "{change:?}: {error}");
        error.contains(why)
    });
    assert_eq!(state(), before, "{change:?} was refused and has changed something");
}

#[test]
fn a_follower_hands_every_change_to_the_leader() {
    let (world, nodes) = three_led_by_n0();
    let spec = world.member("n3:learner");
    nodes[1].change(&Change::Put(spec.clone()));
    eventually("all know the new one", || nodes.iter().all(|node| role(node, "n3") == "joining"));
    let mut settings = world.settings("n0");
    settings.own = id("n3");
    settings.peers.push(spec);
    let n3 = world.start_with(settings);
    n3.ready();
    assert_eq!(n3.incarnation(), 1);
    eventually("it is a learner", || nodes.iter().all(|node| role(node, "n3") == "learner"));
    n3.change(&Change::Lead(id("n2")));
    eventually("n2 leads", || leader(&nodes) == 2);
    nodes[1].change(&Change::Remove(id("n3")));
    eventually("no node knows it", || nodes.iter().all(|node| role(node, "n3") == "none"));
    assert!(nodes.iter().all(|node| node.handle().membership().learners.is_empty()));
}

#[test]
fn a_learner_becomes_a_voter_when_it_has_caught_up_and_a_voter_a_learner_at_once() {
    let world = World::new(&["n0:voter", "n1:learner"]);
    let nodes = world.found();
    assert_eq!(role(&nodes[0], "n1"), "learner");
    nodes[0].change(&as_role(world.spec("n1"), PeerRole::Voter));
    eventually("it votes", || nodes.iter().all(|node| role(node, "n1") == "voter"));
    hand_over(&nodes, 1);
    nodes[1].change(&as_role(world.spec("n0"), PeerRole::Learner));
    eventually("it votes no more", || nodes.iter().all(|node| role(node, "n0") == "learner"));
    nodes[0].set("key", "value");
    eventually("all have it", || nodes.iter().all(|node| node.get("key").is_some()));
}

#[test]
fn a_learner_that_has_lost_its_disk_gets_no_vote_before_it_has_come_back() {
    let world = World::new(&["n0:voter", "n1:learner"]);
    let mut nodes = world.found();
    nodes.pop().unwrap().kill();
    world.wipe("n1");
    // It listens, and has nothing: neither an incarnation nor a position.
    let hello = Hello { node_id: "n1".to_owned(), ..Hello::default() }.encode_to_vec();
    let empty = world.puppet("n1", move |_, _| Ok(hello.clone().into()));
    let n0 = &nodes[0];
    n0.change(&as_role(world.spec("n1"), PeerRole::Voter));
    let asked = empty.count("hello");
    eventually("it is looked at", || empty.count("hello") > asked + 2 || role(n0, "n1") == "voter");
    assert_eq!(role(n0, "n1"), "learner", "the only voter needs an empty node for its quorum");
    drop(empty);
    let n1 = world.start("n1");
    n1.ready();
    eventually("it votes in its new life", || role(&n1, "n1") == "voter" && n1.incarnation() == 1);
}

#[test]
fn what_would_do_harm_is_refused_and_changes_nothing() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:learner"]);
    let nodes = world.found();
    hand_over(&nodes, 0);
    let taken = PeerSpec { node: id("n9"), ..world.spec("n1") };
    let moved = PeerSpec { endpoint: world.spec("n1").endpoint, ..world.spec("n2") };
    for (change, why) in [
        (Change::Remove(id("n0")), "it leads: hand leadership over"),
        (as_role(world.spec("n0"), PeerRole::Learner), "it leads: hand leadership over"),
        (Change::Remove(id("n9")), "node 'n9' is no member"),
        (Change::Lead(id("n9")), "node 'n9' is no member"),
        (Change::Lead(id("n2")), "node 'n2' is not a voter"),
        (Change::Put(taken), "node 'n1' is at quack:127.0.0.1:"),
        (Change::Put(moved), "node 'n1' is at quack:127.0.0.1:"),
    ] {
        for asked in [0, 1] {
            refused(&nodes[..2], asked, &change, why);
        }
    }
    nodes[0].change(&Change::Remove(id("n1")));
    for change in [Change::Remove(id("n0")), as_role(world.spec("n0"), PeerRole::Learner)] {
        refused(&nodes[..1], 0, &change, "it is the only voter: make another node a voter first");
    }
}

#[test]
fn a_change_of_a_later_release_and_one_for_a_node_that_does_not_lead_are_refused() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let mut nodes = world.found();
    nodes.pop().unwrap().kill();
    let puppet = world.puppet("n2", |_, _| Err("it is a puppet".to_owned()));
    hand_over(&nodes, 0);
    let error = puppet.call(&id("n0"), "members", ChangeMember { change: None }).unwrap_err();
    assert!(error.contains("this release does not know that change of members"), "{error}");
    let error = puppet.call(&id("n1"), "members", ChangeMember { change: None }).unwrap_err();
    assert!(error.contains("node 'n0' leads"), "{error}");
    let error = puppet.call(&id("n1"), "reshard", ChangeMember { change: None }).unwrap_err();
    assert!(error.contains("there is no call 'reshard' in this release"), "{error}");
}

#[test]
fn a_node_that_is_no_member_yet_says_so_when_it_is_asked_for_a_change() {
    let world = World::new(&["n0:voter", "n1:voter"]);
    let n0 = world.start("n0");
    n0.wait_until_waiting_for("cannot be reached");
    let error = n0.cluster.change(&Change::Lead(id("n1"))).unwrap_err().to_string();
    assert!(error.contains("not a member of a cluster yet; it waits for all first peers"), "{error}");
    assert!(n0.cluster.nodes().is_empty() && n0.cluster.verify().is_err());
}

#[test]
fn a_node_that_moves_is_found_at_its_new_address() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let mut nodes = world.found();
    // The leader, so that the change has to wait for the next one.
    hand_over(&nodes, 2);
    nodes.pop().unwrap().kill();
    eventually("its end is noticed", || !nodes[0].view("n2").unwrap().reachable);
    let moved = world.member("n2:voter");
    nodes[0].change(&Change::Put(moved.clone()));
    let mut settings = world.settings("n2");
    settings.peers.retain(|peer| peer.node != moved.node);
    settings.peers.push(moved.clone());
    let n2 = world.start_with(settings);
    n2.ready();
    assert_eq!(n2.incarnation(), 0, "its disk is the same");
    nodes[0].set("key", "value");
    eventually("it has it", || n2.get("key").is_some());
    assert!(nodes.iter().all(|node| node.member("n2").unwrap().endpoint == moved.endpoint));
}

#[test]
fn a_removed_node_is_not_heard_and_comes_back_under_a_new_incarnation_when_it_is_added_again() {
    let world = World::new(&["n0:voter", "n1:learner"]);
    let mut nodes = world.found();
    nodes.pop().unwrap().kill();
    let n0 = &nodes[0];
    n0.change(&Change::Remove(id("n1")));
    world.wipe("n1");
    let n1 = world.start("n1");
    n1.wait_until_waiting_for("node 'n1' is no member of this cluster: add it on a member");
    assert!(n0.handle().membership().learners.is_empty());
    n0.change(&Change::Put(world.spec("n1")));
    n1.ready();
    // The change has begun a life, which its empty folder leaves for the one that it is admitted as.
    assert_eq!((n1.incarnation(), role(n0, "n1")), (2, "learner"));
}

#[test]
fn every_node_that_needs_a_snapshot_is_told_not_only_the_first_one() {
    let world = World::new(&["n0:voter", "n1:learner", "n2:learner"]);
    let mut nodes = world.found();
    nodes.truncate(1);
    let n0 = &nodes[0];
    let puppets = ["n1", "n2"].map(|name| world.puppet(name, |_, _| Ok(bytes::Bytes::new())));
    let mut transport = n0.cluster.transport(n0.handle().identity()).unwrap();
    eventually("all are connected", || n0.cluster.nodes().iter().all(|view| view.reachable));
    for _ in 0..3 {
        for name in ["n1", "n2"] {
            let (group, peer, floor) = (GroupId::ROOT, id(name).raft_id(0), LogIndex(7));
            transport.snapshot_needed(SnapshotNeeded { group, peer, floor });
        }
    }
    let told = || [0, 1].map(|number| puppets[number].count("snapshot-needed"));
    eventually("both are told", || told().iter().all(|told| *told > 0));
    assert_eq!(told(), [1, 1], "a node is told once in a while");
}

/// A learner says so to all others, about logs that begin where it likes.
#[test]
fn a_member_that_does_not_lead_makes_no_other_fall_behind() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:learner"]);
    let mut nodes = world.found();
    nodes[0].set("key", "value");
    nodes.pop().unwrap().kill();
    let puppet = world.puppet("n2", |_, _| Ok(bytes::Bytes::new()));
    for (name, floor) in [("n0", 0), ("n0", 1), ("n1", 1000), ("n0", 1 << 60), ("n1", u64::MAX)] {
        let raft_id = id(name).raft_id(0).0;
        let needed = proto::SnapshotNeeded { raft_id, group: GroupId::ROOT.0, floor };
        puppet.call(&id(name), "snapshot-needed", needed).unwrap();
    }
    assert!(nodes.iter().all(|node| node.handle().degraded().is_none()));
    nodes[1].set("goes", "on");
    eventually("n0 has it", || nodes[0].get("goes").is_some());
}

/// The leader says that its log begins behind all that the others have. One of them believes it and is to be rebuilt; the
/// next one sees that the rest would be no quorum.
#[test]
fn a_leader_cannot_make_the_others_fall_behind_one_by_one() {
    let (world, nodes) = three_led_by_n0();
    let mut transport = nodes[0].cluster.transport(nodes[0].handle().identity()).unwrap();
    let mut say_to = |name: &str| {
        let need =
            SnapshotNeeded { group: GroupId::ROOT, peer: id(name).raft_id(0), floor: LogIndex(1 << 60) };
        transport.snapshot_needed(need);
    };
    eventually("n1 follows n0", || nodes[1].handle().leader() == Some(id("n0").raft_id(0)));
    say_to("n1");
    eventually("n1 stops", || nodes[1].handle().degraded().is_some());
    let reason = nodes[1].handle().degraded().unwrap();
    assert!(reason.contains("no longer reaches back to it: stop the server and start it again"), "{reason}");
    assert!(world.data("n1").join("rebuild").exists());
    say_to("n2");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(nodes[2].handle().degraded(), None);
    nodes[2].set("goes", "on");
}

#[test]
fn a_removal_that_would_leave_no_quorum_is_refused_and_changes_nothing() {
    let (world, mut nodes) = three_led_by_n0();
    nodes.pop().unwrap().kill();
    let error = nodes[1].cluster.change(&Change::Remove(id("n1"))).unwrap_err().to_string();
    assert!(error.contains("no leader any more") && error.contains("Start 'n2'"), "{error}");
    let demoted = PeerSpec { role: PeerRole::Learner, ..world.spec("n1") };
    let error = nodes[0].cluster.change(&Change::Put(demoted)).unwrap_err().to_string();
    assert!(error.contains("no quorum"), "{error}");
    nodes[0].set("goes", "on");
    // The one that is dead can be removed, and then nothing is in the way.
    nodes[0].change(&Change::Remove(id("n2")));
    nodes[0].set("still", "on");
    eventually("n1 has it", || nodes[1].get("still").is_some());
}

#[test]
fn a_node_that_was_removed_hears_so_and_comes_back_as_a_new_member() {
    let (world, mut nodes) = three_led_by_n0();
    nodes[0].change(&Change::Remove(id("n2")));
    nodes.pop().unwrap().kill();
    let n2 = world.start("n2");
    n2.wait_until_it_waits_for("it was removed from this cluster");
    nodes[0].set("meanwhile", "x");
    nodes[0].change(&Change::Put(world.spec("n2")));
    comes_back(&world, n2, &nodes);
}

/// It has worked all the time, and hears of neither change: no member says anything to its old life.
#[test]
fn a_node_that_is_removed_and_added_again_while_it_works_comes_back_as_a_new_member() {
    let (world, mut nodes) = three_led_by_n0();
    nodes[0].change(&Change::Remove(id("n2")));
    nodes[0].change(&Change::Put(world.spec("n2")));
    nodes[0].set("meanwhile", "x");
    let n2 = nodes.pop().unwrap();
    comes_back(&world, n2, &nodes);
}

/// The leader that was to remove it has taken its vote, and then died.
#[test]
fn a_node_whose_removal_was_not_ended_comes_back_when_it_is_added_again() {
    let (world, mut nodes) = three_led_by_n0();
    nodes.pop().unwrap().kill();
    nodes[0].handle().change_members(vec![MemberChange::Remove(id("n2").raft_id(0))], LONG).unwrap();
    nodes[0].set("meanwhile", "x");
    nodes[0].change(&Change::Put(world.spec("n2")));
    comes_back(&world, world.start("n2"), &nodes);
}

/// The leader that removes it stands still between its two decisions; the next one adds it again, and the second decision
/// comes after all.
#[test]
fn a_removal_that_ends_late_takes_no_vote_of_a_node_that_was_added_again() {
    let (world, mut nodes) = three_led_by_n0();
    let late = Member { removed: true, ..nodes[0].member("n2").unwrap() };
    nodes[0].handle().change_members(vec![MemberChange::Remove(id("n2").raft_id(0))], LONG).unwrap();
    nodes[0].change(&Change::Put(world.spec("n2")));
    nodes[0].set("meanwhile", "x");
    let refused = nodes[0].host().propose(Body::Member(late.to_proto())).unwrap_err();
    assert!(refused.contains("has been admitted under a later incarnation"), "{refused}");
    let n2 = nodes.pop().unwrap();
    comes_back(&world, n2, &nodes);
}

/// However that came about: the roster knows no such member, and Raft counts it.
#[test]
fn a_removed_node_that_raft_still_counts_is_removed_again() {
    let (_world, nodes) = three_led_by_n0();
    let removed = Member { removed: true, ..nodes[0].member("n2").unwrap() };
    nodes[0].host().propose(Body::Member(removed.to_proto())).unwrap();
    assert_eq!(nodes[0].handle().membership().voters.len(), 3);
    nodes[0].change(&Change::Remove(id("n2")));
    assert_eq!(nodes[0].handle().membership().voters.len(), 2);
    let error = nodes[0].cluster().change(&Change::Remove(id("n2"))).unwrap_err().to_string();
    assert!(error.contains("node 'n2' is no member"), "{error}");
}

/// Its old life stops with words, and the next start joins; what it proposes from then on has an effect.
fn comes_back(world: &World, n2: Node, others: &[Node]) {
    eventually("n2 is told", || n2.runs() && n2.handle().degraded().is_some());
    let reason = n2.handle().degraded().unwrap();
    assert!(reason.contains("it has been rebuilt or removed since: its incarnation is 1"), "{reason}");
    assert!(reason.contains("stop the server and start it again"), "{reason}");
    n2.kill();
    let n2 = world.start("n2");
    n2.ready();
    eventually("n2 votes again", || n2.handle().membership().is_voter(id("n2").raft_id(n2.incarnation())));
    eventually("n2 has it", || n2.get("meanwhile").is_some());
    n2.set("own", "x");
    eventually("the others have it", || others.iter().all(|node| node.get("own").is_some()));
    assert_eq!(others[0].handle().membership().voters.len(), 3);
}

/// A leader that admits a node decides two things, and dies between them: the node's earlier life still votes in Raft, and
/// the roster knows another one.
#[test]
fn an_admission_that_was_not_ended_leaves_no_voter_behind() {
    for removes in [false, true] {
        let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
        let mut nodes = world.found();
        hand_over(&nodes, 0);
        nodes.pop().unwrap().kill();
        for incarnation in 1..=3 {
            let member = Member { incarnation, ..nodes[0].member("n2").unwrap() };
            let begins = log_proto::Member { begins: true, ..member.to_proto() };
            nodes[0].host().propose(Body::Member(begins)).unwrap();
        }
        if removes {
            nodes[0].change(&Change::Remove(id("n2")));
            let voters = ["n0", "n1"].map(|name| id(name).raft_id(0)).to_vec();
            let counted = nodes[0].handle().membership();
            assert_eq!(
                (counted.voters.len(), counted.voters.iter().all(|id| voters.contains(id))),
                (2, true)
            );
            continue;
        }
        world.wipe("n2");
        let n2 = world.start("n2");
        n2.ready();
        assert_eq!(n2.incarnation(), 4);
        eventually("it votes, and no other life of it", || {
            let counted = nodes[0].handle().membership();
            counted.voters.len() == 3 && counted.is_voter(id("n2").raft_id(4)) && !counted.is_joint()
        });
    }
}

/// A learner does not elect: it has to notice by itself that no leader speaks to it.
#[test]
fn a_write_on_a_learner_is_refused_when_there_is_no_leader() {
    let world = World::new(&["n0:voter", "n1:learner"]);
    let mut nodes = world.found();
    let n1 = nodes.pop().unwrap();
    nodes.pop().unwrap().kill();
    let error = n1.host().propose(statement("key", "value")).unwrap_err();
    assert!(error.contains("the cluster has no leader"), "{error}");
}

#[test]
fn leadership_is_not_handed_to_a_node_that_is_not_there() {
    let (_world, mut nodes) = three_led_by_n0();
    nodes.pop().unwrap().kill();
    let error = nodes[1].cluster.change(&Change::Lead(id("n2"))).unwrap_err().to_string();
    assert!(error.contains("node 'n2' cannot lead"), "{error}");
    nodes[0].change(&Change::Lead(id("n1")));
    assert_eq!(leader(&nodes), 1);
}

#[test]
fn a_member_that_was_away_follows_a_leader_that_was_rebuilt_meanwhile() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter", "n3:learner"]);
    let mut nodes = world.found();
    nodes.pop().unwrap().kill();
    nodes.remove(1).kill();
    world.wipe("n1");
    nodes.insert(1, world.start("n1"));
    nodes[1].ready();
    assert_eq!(nodes[1].incarnation(), 1);
    eventually("n1 votes again", || nodes[0].handle().membership().is_voter(id("n1").raft_id(1)));
    hand_over(&nodes, 1);
    nodes[1].set("meanwhile", "x");
    let n3 = world.start("n3");
    n3.ready();
    eventually("n3 has it", || n3.get("meanwhile").is_some());
    assert_eq!(n3.member("n1").map(|member| member.incarnation), Some(1), "the log has told it");
}

#[test]
fn a_cluster_whose_addresses_have_all_changed_comes_up() {
    let mut world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let nodes = world.found();
    nodes[0].set("kept", "x");
    nodes.iter().for_each(|node| eventually("all have it", || node.get("kept").is_some()));
    nodes.into_iter().for_each(Node::kill);
    let moved = ["n0:voter", "n1:voter", "n2:voter"].map(|member| world.member(member));
    world.peers = moved.to_vec();
    let nodes: Vec<_> = ["n0", "n1", "n2"].map(|name| world.start(name)).into();
    nodes.iter().for_each(Node::ready);
    nodes[1].set("later", "x");
    let lead = leader(&nodes);
    let is_recorded = |spec: &PeerSpec| {
        nodes[lead].member(spec.node.as_str()).is_some_and(|member| member.endpoint == spec.endpoint)
    };
    eventually("the new addresses are in the log", || {
        world.peers.iter().filter(|spec| spec.node != nodes[lead].id).all(is_recorded)
    });
}

/// The others are not told where it is: it tells them.
#[test]
fn a_member_at_a_new_address_is_found_there() {
    let mut world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let mut nodes = world.found();
    hand_over(&nodes, 0);
    nodes.pop().unwrap().kill();
    let moved = world.member("n2:voter");
    world.peers[2] = moved.clone();
    let n2 = world.start("n2");
    n2.ready();
    nodes[0].set("later", "x");
    eventually("n2 has it", || n2.get("later").is_some());
    let is_recorded = |node: &Node| node.member("n2").is_some_and(|member| member.endpoint == moved.endpoint);
    eventually("the log says where it is", || nodes.iter().all(is_recorded));
}
