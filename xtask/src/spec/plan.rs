//! What there is to check: the configurations in `spec/`, and the mutants that `mutants.txt` names.
//!
//! The files are read strictly: a mutant that no run uses, or an invariant that no mutant violates, is a mistake.

use std::collections::BTreeSet;
use std::path::Path;

/// The model, in the folder of the specification.
pub const MODEL: &str = "Lanes.tla";
const MUTANTS: &str = "mutants.txt";
/// How a configuration names what it must reach; a comment for checkers.
const REACHED: &str = "\\* Reached:";
const NO_MUTANT: &str = "Mutant = \"none\"";
/// The line after which a configuration names its invariants, indented.
const INVARIANTS: &str = "INVARIANTS";

/// All runs of the checker.
pub struct Plan {
    /// Configurations first, then mutants.
    pub runs: Vec<Run>,
}

/// One run of the checker.
pub struct Run {
    /// The configuration's name, without `.cfg`.
    pub configuration: String,
    /// The mistake that is planted in it.
    pub mutant: Option<String>,
    /// What the checker reads.
    pub text: String,
    /// What it must say.
    pub expected: Expected,
}

/// What the checker must say.
pub enum Expected {
    /// No invariant is violated, and some state is like each of these.
    Holds { reached: Vec<String> },
    /// This invariant is violated.
    Refuted { invariant: String },
}

impl Plan {
    /// Reads the folder `spec`.
    pub fn read(spec: &Path) -> Result<Self, String> {
        let read = |name: &str| {
            std::fs::read_to_string(spec.join(name))
                .map_err(|error| format!("cannot read spec/{name}: {error}"))
        };
        let configurations = names(spec)?
            .into_iter()
            .map(|name| read(&format!("{name}.cfg")).map(|text| (name, text)))
            .collect::<Result<Vec<_>, _>>()?;
        Self::of(&read(MODEL)?, &configurations, &read(MUTANTS)?)
    }

    fn of(model: &str, configurations: &[(String, String)], mutants: &str) -> Result<Self, String> {
        let mut runs =
            configurations.iter().map(|(name, text)| design(name, text)).collect::<Result<Vec<_>, _>>()?;
        let mut untested: BTreeSet<&str> = planted(model);
        let mut unviolated: BTreeSet<&str> =
            configurations.iter().flat_map(|(_, text)| invariants(text)).collect();
        for line in mutants.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            let [name, invariant, mutant] = fields[..] else {
                return Err(format!("spec/{MUTANTS}: \"{line}\" is not: configuration | invariant | mutant"));
            };
            let Some((_, text)) = configurations.iter().find(|(known, _)| known == name) else {
                return Err(format!("spec/{MUTANTS} names the configuration {name}, which is not there"));
            };
            if !planted(model).contains(mutant) {
                return Err(format!(
                    "spec/{MUTANTS} names the mutant \"{mutant}\", which {MODEL} does not have"
                ));
            }
            untested.remove(mutant);
            unviolated.remove(invariant);
            runs.push(mutated(name, text, invariant, mutant)?);
        }
        if let Some(mutant) = untested.first() {
            return Err(format!("{MODEL} has the mutant \"{mutant}\", which spec/{MUTANTS} does not name"));
        }
        if let Some(invariant) = unviolated.first() {
            return Err(format!("nothing in spec/{MUTANTS} violates {invariant}: perhaps nothing can"));
        }
        Ok(Self { runs })
    }
}

/// The configurations in the folder, in the order of their names.
fn names(spec: &Path) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    let entries =
        std::fs::read_dir(spec).map_err(|error| format!("cannot list {}: {error}", spec.display()))?;
    for entry in entries {
        let entry = entry.map_err(|error| format!("cannot list {}: {error}", spec.display()))?;
        if let Some(name) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".cfg")) {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

fn design(name: &str, text: &str) -> Result<Run, String> {
    let Some(reached) = text.lines().find_map(|line| line.strip_prefix(REACHED)) else {
        return Err(format!("spec/{name}.cfg has no line \"{REACHED} …\" that says what it is about"));
    };
    if !text.contains(NO_MUTANT) || invariants(text).next().is_none() {
        return Err(format!("spec/{name}.cfg has no invariants, or no line {NO_MUTANT}"));
    }
    let reached = reached.split(',').map(|word| word.trim().to_owned()).collect();
    Ok(Run {
        configuration: name.to_owned(),
        mutant: None,
        text: text.to_owned(),
        expected: Expected::Holds { reached },
    })
}

/// The configuration with a mistake in it, and with no other invariant than the one that must notice.
fn mutated(name: &str, text: &str, invariant: &str, mutant: &str) -> Result<Run, String> {
    if !invariants(text).any(|known| known == invariant) {
        return Err(format!(
            "spec/{name}.cfg does not have the invariant {invariant}, which spec/{MUTANTS} names"
        ));
    }
    let others: BTreeSet<&str> = invariants(text).filter(|known| *known != invariant).collect();
    let kept: Vec<&str> = text.lines().filter(|line| !others.contains(line.trim())).collect();
    Ok(Run {
        configuration: name.to_owned(),
        mutant: Some(mutant.to_owned()),
        text: kept.join("\n").replace(NO_MUTANT, &format!("Mutant = \"{mutant}\"")),
        expected: Expected::Refuted { invariant: invariant.to_owned() },
    })
}

/// The invariants that a configuration names, one a line.
fn invariants(text: &str) -> impl Iterator<Item = &str> {
    let behind = text.lines().skip_while(|line| *line != INVARIANTS).skip(1);
    behind.take_while(|line| line.starts_with(' ')).map(str::trim)
}

/// The mistakes that the model has a place for.
fn planted(model: &str) -> BTreeSet<&str> {
    let tests = ["Mutant = \"", "Mutant # \""];
    let behind = tests.iter().flat_map(|test| model.split(test).skip(1));
    behind.filter_map(|rest| rest.split('"').next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL_TEXT: &str = "A == IF Mutant = \"no wait\" THEN 1 ELSE 2\nB == Mutant # \"no ids\"";
    const CONFIGURATION: &str = "\\* Reached: Waits, Ends\nCONSTANTS\n    Mutant = \"none\"\nINVARIANTS\n    \
        First\n    Second\nCHECK_DEADLOCK FALSE";
    const TABLE: &str = "# comment\n\nSmall | First | no wait\nSmall | Second | no ids\n";

    fn plan(model: &str, configuration: &str, table: &str) -> Result<Plan, String> {
        Plan::of(model, &[("Small".to_owned(), configuration.to_owned())], table)
    }

    #[test]
    fn a_configuration_is_checked_as_it_stands_and_a_mutant_with_one_invariant() {
        let plan = plan(MODEL_TEXT, CONFIGURATION, TABLE).expect("the files are as they should be");
        assert_eq!(plan.runs.len(), 3);
        assert_eq!(plan.runs[0].text, CONFIGURATION);
        assert!(
            matches!(&plan.runs[0].expected, Expected::Holds { reached } if reached == &["Waits", "Ends"])
        );
        let mutant = &plan.runs[1];
        assert!(mutant.text.contains("Mutant = \"no wait\"\nINVARIANTS\n    First\nCHECK_DEADLOCK"));
        assert!(matches!(&mutant.expected, Expected::Refuted { invariant } if invariant == "First"));
    }

    #[test]
    fn a_mutant_that_no_run_uses_is_refused() {
        let error = plan(MODEL_TEXT, CONFIGURATION, "Small | First | no wait").err().expect("one is missing");
        assert!(error.contains("no ids"), "{error}");
    }

    #[test]
    fn an_invariant_that_nothing_violates_is_refused() {
        let table = "Small | First | no wait\nSmall | First | no ids";
        let error = plan(MODEL_TEXT, CONFIGURATION, table).err().expect("one is missing");
        assert!(error.contains("Second"), "{error}");
    }

    #[test]
    fn names_that_are_nowhere_else_are_refused() {
        for line in
            ["Small | First | other", "Large | First | no ids", "Small | Third | no ids", "Small | First"]
        {
            assert!(plan(MODEL_TEXT, CONFIGURATION, &format!("{TABLE}{line}")).is_err(), "{line}");
        }
    }
}
