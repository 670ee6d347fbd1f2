//! `xtask spec`: has the checker look at the model in `spec/`, and at each mistake that is planted in it.
//!
//! A configuration passes when no invariant is violated, and the states are reached that it says it is about.
//! A mutant passes when the invariant that `mutants.txt` names for it is violated.

mod checker;
mod plan;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::dist;
use checker::{Checker, Verdict};
use plan::{Expected, Plan, Run};

/// Checks the model and its mutants, one line each, and prints the sum as the last line.
///
/// Fails when the checker cannot be installed, the files in `spec/` are not as they should be, or a run
/// does not come out as expected.
pub fn run() -> Result<(), String> {
    let spec = dist::workspace_root()?.join("spec");
    let plan = Plan::read(&spec)?;
    let checker = Checker::install()?;
    let start = Instant::now();
    let sum = check_all(&spec, &plan, &checker)?;
    println!(
        "test result: {}. {} passed; {} failed; {} states; finished in {:.1} s",
        if sum.failed == 0 { "ok" } else { "FAILED" },
        sum.passed,
        sum.failed,
        sum.states,
        start.elapsed().as_secs_f64()
    );
    // The sum has said it, and is to be the last line.
    if sum.failed == 0 { Ok(()) } else { Err(String::new()) }
}

#[derive(Default)]
struct Sum {
    passed: u64,
    failed: u64,
    states: u64,
}

/// The checker uses one core: as many runs as there are cores go side by side.
fn check_all(spec: &Path, plan: &Plan, checker: &Checker) -> Result<Sum, String> {
    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(plan.runs.len()));
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let (next, sum) = (AtomicUsize::new(0), Mutex::new(Ok(Sum::default())));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(run) = plan.runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let verdict = checker.check(&spec.join(plan::MODEL), run, folder.path());
                    // Nothing panics while it holds the lock.
                    let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    report(run, verdict, start.elapsed(), &mut sum);
                    if sum.is_err() {
                        // What keeps one run from being checked keeps the others, too.
                        next.store(plan.runs.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn report(run: &Run, verdict: Result<Verdict, String>, elapsed: Duration, sum: &mut Result<Sum, String>) {
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(error) => {
            *sum = Err(error);
            return;
        }
    };
    let Ok(sum) = sum else { return };
    let complaint = complaint(&run.expected, &verdict);
    let (mark, words) = match &complaint {
        None => ("ok", verdict.to_string()),
        Some(complaint) => ("FAILED", format!("{verdict}: {complaint}; see spec/README.md")),
    };
    println!(
        "{mark:<7} {:<12} {:>6} states {:>6.1} s  {}{words}",
        run.configuration,
        verdict.states,
        elapsed.as_secs_f64(),
        run.mutant.as_ref().map_or(String::new(), |mutant| format!("\"{mutant}\": "))
    );
    sum.states += verdict.states;
    match complaint {
        None => sum.passed += 1,
        Some(_) => sum.failed += 1,
    }
}

/// What is wrong with what the checker found, in words.
fn complaint(expected: &Expected, verdict: &Verdict) -> Option<String> {
    match expected {
        Expected::Refuted { invariant } => {
            let refuted = verdict.violated.as_ref() == Some(invariant);
            (!refuted).then(|| format!("the mistake should have violated {invariant}"))
        }
        Expected::Holds { .. } if !verdict.is_complete() => {
            Some("the design should hold in every state, and be checked in every one".to_owned())
        }
        Expected::Holds { reached } => {
            let missing = reached.iter().find(|name| !verdict.reached.contains(name));
            missing.map(|name| format!("no state is like {name}, so it proves nothing about them"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: &str, violated: Option<&str>, reached: &[&str]) -> Verdict {
        Verdict {
            status: status.to_owned(),
            violated: violated.map(str::to_owned),
            reached: reached.iter().map(|name| (*name).to_owned()).collect(),
            states: 1,
        }
    }

    #[test]
    fn a_mutant_must_violate_the_invariant_that_is_named_for_it() {
        let expected = Expected::Refuted { invariant: "A".to_owned() };
        assert_eq!(complaint(&expected, &verdict("invariant_violation", Some("A"), &[])), None);
        assert!(complaint(&expected, &verdict("invariant_violation", Some("B"), &[])).is_some());
        assert!(complaint(&expected, &verdict("ok", None, &[])).is_some());
        assert!(complaint(&expected, &verdict("invariant_error", None, &[])).is_some());
    }

    #[test]
    fn the_design_must_hold_in_all_states_and_reach_what_it_is_about() {
        let expected = Expected::Holds { reached: vec!["A".to_owned()] };
        assert_eq!(complaint(&expected, &verdict("ok", None, &["A"])), None);
        assert!(complaint(&expected, &verdict("ok", None, &[])).is_some());
        assert!(complaint(&expected, &verdict("invariant_violation", Some("B"), &["A"])).is_some());
        assert!(complaint(&expected, &verdict("max_states_exceeded", None, &["A"])).is_some());
    }
}
