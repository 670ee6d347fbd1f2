//! What a node looks after by itself, from time to time: learners that have caught up become voters, and what each
//! member runs is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quack_net::PeerStatus;
use quack_proto::peer::v1::Hello;

use crate::cluster::{Cluster, Running, own_spec};
use crate::introduction::SAVE_INTERVAL;
use crate::roster::{Member, Release};

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(250);
/// How often the members are asked what they run, once that is known of all.
const RELEASE_INTERVAL: Duration = Duration::from_secs(5);
/// A learner that is behind by no more entries than this has caught up: what is left takes a moment.
const CAUGHT_UP_ENTRIES: u64 = 1000;

impl Cluster {
    /// Starts the thread. It ends with the cluster.
    pub(crate) fn start_steward(self: &Arc<Self>) {
        let this = Arc::downgrade(self);
        let run = move || {
            let (mut verified_at, mut releases_at, mut saved_at) = (None, None, Instant::now());
            let mut leaderless_since = None;
            let verifies = Arc::default();
            while let Some(cluster) = this.upgrade() {
                let Some(running) = cluster.running() else { return };
                cluster.verify_when_due(&running, &mut verified_at, &verifies);
                if let Err(error) = running.node.settle_store() {
                    tracing::warn!(%error, "the mark of a node that joins could not be removed");
                }
                cluster.tell_the_others(&running.node);
                cluster.look_whether_replaced(&running, &mut leaderless_since);
                if saved_at.elapsed() >= SAVE_INTERVAL {
                    saved_at = Instant::now();
                    cluster.save_witnessed(&running.node);
                }
                cluster.look_after_learners(&running);
                cluster.look_after_releases(&running, &mut releases_at);
                cluster.snapshots.expire(Instant::now());
                // Nothing must keep the node alive while this sleeps.
                drop(running);
                cluster.wait_a_moment(INTERVAL);
            }
        };
        if let Err(error) = quack_types::thread::builder("quack-steward").spawn(run) {
            tracing::error!(%error, "the thread that looks after the members cannot start: learners stay learners");
        }
    }

    /// Compares the nodes after every so many entries, on the leader. It takes minutes, while everything else goes on.
    fn verify_when_due(
        self: &Arc<Self>,
        running: &Running,
        verified_at: &mut Option<u64>,
        verifies: &Arc<AtomicBool>,
    ) {
        let committed = running.node.commit_index().0;
        let before = *verified_at.get_or_insert(committed);
        let is_due = committed >= before.saturating_add(self.settings.verify_entries);
        if !is_due || !running.node.is_leader() || verifies.swap(true, Ordering::Relaxed) {
            return;
        }
        *verified_at = Some(committed);
        let (this, ends) = (Arc::clone(self), Arc::clone(verifies));
        let run = move || {
            match this.verify() {
                Ok(verdicts) => tracing::info!(?verdicts, "verified"),
                Err(error) => tracing::warn!(%error, "not verified"),
            }
            ends.store(false, Ordering::Relaxed);
        };
        if let Err(error) = quack_types::thread::builder("quack-verify").spawn(run) {
            tracing::warn!(%error, "not verified");
            verifies.store(false, Ordering::Relaxed);
        }
    }

    /// Records on the leader what the members run: at once when it begins to lead, then from time to time.
    fn look_after_releases(&self, running: &Running, looked_at: &mut Option<Instant>) {
        if !running.node.is_leader() {
            *looked_at = None;
            return;
        }
        let known = self.roster.members().iter().all(|member| member.release.is_some());
        if known && looked_at.is_some_and(|at| at.elapsed() < RELEASE_INTERVAL) {
            return;
        }
        *looked_at = Some(Instant::now());
        let membership = running.node.membership();
        for member in self.roster.members() {
            let id = member.raft_id();
            if !membership.is_member(id) {
                continue;
            }
            let hello = if member.node == self.settings.own { Ok(self.hello()) } else { self.ask(&member) };
            let Ok(hello) = hello else { continue };
            self.look_after_address(running, &member, &hello);
            let release = Release {
                entry_version: hello.entry_version,
                duckdb_version: hello.duckdb_version,
                extensions: hello.extensions,
            };
            // A release that says nothing of itself stays unknown.
            if release.entry_version == 0 || member.release.as_ref() == Some(&release) {
                continue;
            }
            if let Err(error) = self.record_release(running, &member.node, release) {
                tracing::debug!(node = %member.node, error, "its release is not recorded yet");
            }
        }
    }

    /// Records where a member is that was found there, and not where the log says.
    fn look_after_address(&self, running: &Running, member: &Member, hello: &Hello) {
        let Some(spec) = own_spec(&member.node, hello) else { return };
        let links = self.network.get().map(|network| network.status()).unwrap_or_default();
        let is_there =
            |link: &PeerStatus| link.node == member.node && link.connected && link.endpoint == spec.endpoint;
        if spec.endpoint == member.endpoint || !links.iter().any(is_there) {
            return;
        }
        match self.record_address(running, &member.node, spec.endpoint) {
            Ok(()) => tracing::info!(node = %member.node, "its new address is recorded"),
            Err(error) => tracing::debug!(node = %member.node, error, "its address is not recorded yet"),
        }
    }

    fn look_after_learners(&self, running: &Running) {
        // One step after the other: groups that still follow the last one count on their members.
        if !running.node.is_leader() || !running.node.lanes_follow() {
            return;
        }
        let membership = running.node.membership();
        let waiting = self.roster.members().into_iter();
        let waiting =
            waiting.filter(|member| member.voter && membership.learners.contains(&member.raft_id()));
        for member in waiting {
            let Ok(hello) = self.ask(&member) else { continue };
            let behind = running.node.commit_index().0.saturating_sub(hello.applied);
            // A node that has lost its disk and has no identity yet looks like a first life in a young cluster.
            let is_ours = hello.cluster_id[..] == running.cluster_id();
            if !is_ours || hello.incarnation != member.incarnation || behind > CAUGHT_UP_ENTRIES {
                continue;
            }
            match self.promote(running, &member) {
                Ok(()) => {
                    tracing::info!(node = %member.node, "the learner has caught up and votes from now on")
                }
                Err(error) => tracing::debug!(node = %member.node, error, "not promoted yet"),
            }
        }
    }
}
