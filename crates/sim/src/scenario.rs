//! The shape of one run, drawn from its seed: sizes, speeds, and how bad the world is.
//!
//! Every kind of fault is absent in some runs, so that a bug which needs calm is found
//! too, and present at very different rates, because rates hide one another.

use crate::random::Random;
use crate::sabotage::Sabotage;

/// One run. Times are in virtual microseconds, chances in parts per million.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Everything follows from it.
    pub seed: u64,
    /// A bug on purpose.
    pub sabotage: Option<Sabotage>,
    /// Nodes of the cluster: three, five, or one that is alone.
    pub nodes: u64,
    /// Clients, each with one operation at a time.
    pub clients: u64,
    /// Mean pause of a client between two operations.
    pub think_us: u64,
    /// A client looks after this time whether it goes on waiting.
    pub patience_us: u64,
    /// Share of operations that are reads.
    pub reads: u64,
    /// Share of appends that say how many lanes there are to be; 0 for a cluster without lanes.
    pub reshards: u64,
    /// Share of the other appends that take a lane, when there is one.
    pub lane_share: u64,
    /// Bytes of entries in a message, of uncommitted ones in a leader's log, of a node's own
    /// proposals that it keeps, and of those that are on their way to the leader.
    pub message_bytes_max: u64,
    pub uncommitted_bytes_max: u64,
    pub proposals_bytes_max: u64,
    pub forwarded_bytes_max: u64,
    /// Largest padding of a proposal in bytes.
    pub padding_bytes_max: u64,
    /// Length of a tick; each node's clock is off by up to a tenth.
    pub tick_us: u64,
    /// Whether clocks run up to twice as fast, or half as fast, as they should.
    pub skews_clocks: bool,
    /// Fastest and slowest delivery of a packet.
    pub delay_us: (u64, u64),
    /// Chance that a packet is lost.
    pub loss: u64,
    /// Chance that a packet arrives twice.
    pub duplication: u64,
    /// Chance that a packet is held up for up to `late_us_max`.
    pub late: u64,
    /// Longest time that a packet is held up: longer than a restart.
    pub late_us_max: u64,
    /// Chance that a sender hears of a lost packet, as of a connection that broke.
    pub reports: u64,
    /// Fastest and slowest write with fsync.
    pub sync_us: (u64, u64),
    /// Chance that an fsync takes up to `stall_us_max` more.
    pub stalls: u64,
    /// Longest stall of a disk.
    pub stall_us_max: u64,
    /// Chance that an fsync fails.
    pub sync_errors: u64,
    /// Slowest application of a batch.
    pub apply_us_max: u64,
    /// Most entries in a batch of the state machine.
    pub batch_max: u64,
    /// Mean time between checkpoints of a node.
    pub checkpoint_us: u64,
    /// Most applied entries that a log keeps for members that are behind.
    pub log_entries_max: u64,
    /// Mean time that a snapshot takes.
    pub snapshot_us: u64,
    /// Segment size of the log in bytes.
    pub segment_bytes: u64,
    /// Mean time between crashes of a node; 0 for none.
    pub crash_us: u64,
    /// Chance that a crash is a power failure of all nodes.
    pub power_failures: u64,
    /// Chance that a node crashes right after it has written a vote.
    pub vote_crashes: u64,
    /// Mean time that a node is down.
    pub down_us: u64,
    /// Mean time between partitions; 0 for none.
    pub partition_us: u64,
    /// Mean length of a partition.
    pub partition_length_us: u64,
    /// Mean time between leadership transfers; 0 for none.
    pub transfer_us: u64,
    /// Mean time between membership changes; 0 for none.
    pub membership_us: u64,
    /// Mean time between pauses of a node; 0 for none.
    pub pause_us: u64,
    /// Mean length of a pause.
    pub pause_length_us: u64,
    /// Mean time between losses of a disk, of which not each is bearable; 0 for none.
    pub disk_loss_us: u64,
    /// Length of the safety phase.
    pub safety_us: u64,
    /// Longest time that the cluster may take to recover afterwards.
    pub liveness_us: u64,
    /// A node that stays down when the faults end, unless membership changes or disks are
    /// lost in this run.
    pub lost_node: Option<u64>,
}

impl Scenario {
    /// Draws a scenario.
    pub fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let mut random = Random::new(seed).fork("scenario");
        let random = &mut random;
        let tick_us = random.between(20, 60) * 1000;
        let delay_us_min = random.between(50, 2_000);
        let nodes = [1, 3, 3, 3, 3, 5][random.below(6) as usize];
        let membership_us = if nodes > 1 { maybe(random, 300_000, 2_000_000, 6_000_000) } else { 0 };
        let disk_loss_us = if nodes > 1 { maybe(random, 500_000, 500_000, 5_000_000) } else { 0 };
        let is_stable = membership_us == 0 && disk_loss_us == 0;
        let loses_node = nodes > 1 && is_stable && random.chance(700_000);
        let message_bytes_max = [2_000, 20_000, 1 << 20][random.below(3) as usize];
        let lost = loses_node.then(|| random.between(1, nodes));
        Self {
            seed,
            sabotage,
            nodes,
            clients: random.between(2, 8),
            think_us: [5, 30, 100, 300][random.below(4) as usize] * 1000,
            patience_us: random.between(500, 3_000) * 1000,
            reads: random.between(100_000, 500_000),
            reshards: maybe(random, 800_000, 5_000, 100_000),
            lane_share: [300_000, 700_000, 950_000][random.below(3) as usize],
            message_bytes_max,
            uncommitted_bytes_max: message_bytes_max + random.between(0, 20_000),
            proposals_bytes_max: [700, 5_000, 1 << 20][random.below(3) as usize],
            forwarded_bytes_max: [300, 2_000, 1 << 20][random.below(3) as usize],
            padding_bytes_max: [20, 300, 3_000][random.below(3) as usize],
            tick_us,
            skews_clocks: random.chance(300_000),
            delay_us: (delay_us_min, delay_us_min + random.between(100, tick_us)),
            loss: maybe(random, 600_000, 1_000, 150_000),
            duplication: maybe(random, 600_000, 1_000, 150_000),
            late: maybe(random, 500_000, 1_000, 50_000),
            late_us_max: random.between(100, 3_000) * 1000,
            sync_us: (random.between(100, 1_000), random.between(1_000, tick_us)),
            stalls: maybe(random, 400_000, 500, 20_000),
            stall_us_max: random.between(100, 3_000) * 1000,
            sync_errors: maybe(random, 200_000, 100, 1_000),
            apply_us_max: random.between(1_000, 200_000),
            batch_max: random.between(1, 20),
            checkpoint_us: random.between(500, 4_000) * 1000,
            log_entries_max: [u64::MAX, 100, 20, 5][random.below(4) as usize],
            snapshot_us: random.between(10, 1_000) * 1000,
            segment_bytes: random.between(8, 64) << 10,
            crash_us: maybe(random, 750_000, 400_000, 8_000_000),
            power_failures: maybe(random, 600_000, 100_000, 600_000),
            vote_crashes: maybe(random, 400_000, 10_000, 400_000),
            down_us: [20, 200, 1_000, 3_000][random.below(4) as usize] * 1000,
            partition_us: maybe(random, 700_000, 500_000, 8_000_000),
            partition_length_us: [100, 500, 2_000, 4_000][random.below(4) as usize] * 1000,
            transfer_us: maybe(random, 400_000, 1_000_000, 5_000_000),
            membership_us,
            pause_us: maybe(random, 500_000, 1_000_000, 8_000_000),
            pause_length_us: [100, 1_000, 3_000][random.below(3) as usize] * 1000,
            disk_loss_us,
            safety_us: 30_000_000,
            liveness_us: 90_000_000,
            lost_node: lost,
            reports: maybe(random, 500_000, 10_000, 1_000_000),
        }
    }

    /// The same world, in which a large share of the appends change the lanes, under a load that keeps all roads busy.
    #[must_use]
    pub fn with_many_reshards(self) -> Self {
        let mut random = Random::new(self.seed).fork("many reshards");
        Self {
            clients: self.clients + 4,
            think_us: self.think_us.min(100_000),
            reads: random.between(50_000, 200_000),
            reshards: random.between(100_000, 500_000),
            lane_share: 900_000,
            ..self
        }
    }
}

/// With this chance something between `low` and `high`, otherwise 0.
fn maybe(random: &mut Random, chance: u64, low: u64, high: u64) -> u64 {
    let value = random.between(low, high);
    if random.chance(chance) { value } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_is_absent_in_some_runs_and_present_in_others() {
        let all: Vec<Scenario> = (0..200).map(|seed| Scenario::new(seed, None)).collect();
        let faults: [fn(&Scenario) -> u64; 16] = [
            |s| s.loss,
            |s| s.reshards,
            |s| s.late,
            |s| s.vote_crashes,
            |s| s.duplication,
            |s| s.sync_errors,
            |s| s.crash_us,
            |s| s.power_failures,
            |s| s.partition_us,
            |s| s.transfer_us,
            |s| s.membership_us,
            |s| s.stalls,
            |s| s.reports,
            |s| s.pause_us,
            |s| s.disk_loss_us,
            |s| u64::from(s.skews_clocks),
        ];
        for (number, fault) in faults.into_iter().enumerate() {
            let present = all.iter().filter(|scenario| fault(scenario) > 0).count();
            assert!((20..190).contains(&present), "fault {number} is in {present} of 200 runs");
        }
        let is_stable = |s: &Scenario| s.membership_us == 0 && s.disk_loss_us == 0 && s.nodes > 1;
        assert!(all.iter().all(|s| s.lost_node.is_none() || is_stable(s)));
        for nodes in [1, 5] {
            assert!((10..60).contains(&all.iter().filter(|s| s.nodes == nodes).count()));
        }
    }
}
