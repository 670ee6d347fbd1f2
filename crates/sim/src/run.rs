//! One run from its seed, with panics caught and classed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::event_log::EventLog;
use crate::failure::Failure;
use crate::sabotage::Sabotage;
use crate::scenario::Scenario;
use crate::world::{Summary, World};

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub result: Result<Summary, Failure>,
    /// What happened, if it was kept.
    pub lines: Vec<String>,
}

/// Runs a seed. Nothing but the seed and the sabotage decides what happens.
pub fn run(seed: u64, sabotage: Option<Sabotage>, keeps_log: bool) -> Outcome {
    run_scenario(Scenario::new(seed, sabotage), keeps_log)
}

/// Runs a scenario. Nothing else decides what happens.
pub fn run_scenario(scenario: Scenario, keeps_log: bool) -> Outcome {
    let mut world = World::new(scenario, EventLog::new(keeps_log));
    let result = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a text");
        Err(Failure::crash("nothing panics", text))
    });
    Outcome { result, lines: world.log.lines().to_vec() }
}
