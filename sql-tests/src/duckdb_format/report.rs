//! What became of all files, and the table of it by area.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use super::differences::Verdict;
use super::world::Kind;

/// The slowest files that the report names.
const SLOWEST: usize = 3;

/// The verdicts of a run, by file and world.
#[derive(Debug, Default)]
pub struct Report {
    verdicts: BTreeMap<String, BTreeMap<Kind, (Verdict, Duration)>>,
    repeats: Vec<String>,
}

#[derive(Default)]
struct Counts {
    files: usize,
    passed: BTreeMap<Kind, usize>,
    skipped: usize,
    explained: usize,
    failed: usize,
}

impl Report {
    /// Takes note of a verdict.
    pub fn add(&mut self, file: &str, kind: Kind, verdict: Verdict, took: Duration) {
        self.verdicts.entry(file.to_owned()).or_default().insert(kind, (verdict, took));
    }

    /// Takes note of a failure for which the file is run again.
    pub fn add_repeat(&mut self, file: &str, kind: Kind, message: &str) {
        let message = message.replace('\n', " ");
        self.repeats.push(format!("run again: {file} ({kind}): {message}"));
    }

    /// What no single world can see: a file that is skipped in one world and runs in another.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (file, worlds) in &self.verdicts {
            let skipped = |(verdict, _): &&(Verdict, Duration)| matches!(verdict, Verdict::Skipped(_));
            let count = worlds.values().filter(skipped).count();
            if count != 0 && count != worlds.len() {
                problems.push(format!("{file} is skipped in some worlds only"));
            }
        }
        problems
    }

    /// The table by area, what is skipped or explained and why, and where the time went.
    pub fn text(&self) -> String {
        let mut text = self.table();
        for (file, worlds) in &self.verdicts {
            let mut said = BTreeSet::new();
            for (kind, (verdict, _)) in worlds {
                let line = match verdict {
                    Verdict::Skipped(reason) => format!("skipped {file}: {reason}"),
                    Verdict::Explained(reason) => format!("differs {file} ({kind}): {reason}"),
                    Verdict::Failed(_) => format!("FAILED  {file} ({kind})"),
                    Verdict::Passed => continue,
                };
                if said.insert(line.clone()) {
                    push(&mut text, &line);
                }
            }
        }
        for repeat in &self.repeats {
            push(&mut text, repeat);
        }
        for kind in Kind::ALL {
            push(&mut text, &self.times(kind));
        }
        text
    }

    fn table(&self) -> String {
        let mut areas: BTreeMap<&str, Counts> = BTreeMap::new();
        let mut all = Counts::default();
        for (file, worlds) in &self.verdicts {
            let area = areas.entry(file.split('/').next().unwrap_or_default()).or_default();
            for counts in [area, &mut all] {
                counts.add(worlds);
            }
        }
        let mut text = String::new();
        push(
            &mut text,
            "area                 files  passed: native    one  three  skipped  differ explained  unexplained",
        );
        for (area, counts) in areas.into_iter().chain([("all", all)]) {
            let passed = |kind| counts.passed.get(&kind).copied().unwrap_or(0);
            push(
                &mut text,
                &format!(
                    "{area:20} {:5}  {:14} {:6} {:6}  {:7}  {:16}  {:11}",
                    counts.files,
                    passed(Kind::Native),
                    passed(Kind::One),
                    passed(Kind::Three),
                    counts.skipped,
                    counts.explained,
                    counts.failed
                ),
            );
        }
        text
    }

    fn times(&self, kind: Kind) -> String {
        let mut times: Vec<(&Duration, &String)> =
            self.verdicts.iter().filter_map(|(file, worlds)| Some((&worlds.get(&kind)?.1, file))).collect();
        times.sort_by(|a, b| b.cmp(a));
        let sum: Duration = times.iter().map(|(took, _)| **took).sum();
        let slowest: Vec<String> = times
            .iter()
            .take(SLOWEST)
            .map(|(took, file)| format!("{file} {:.1} s", took.as_secs_f64()))
            .collect();
        format!("{kind:7} {:.1} s in all; slowest: {}", sum.as_secs_f64(), slowest.join(", "))
    }
}

impl Counts {
    fn add(&mut self, worlds: &BTreeMap<Kind, (Verdict, Duration)>) {
        let has = |wanted: fn(&Verdict) -> bool| worlds.values().any(|(verdict, _)| wanted(verdict));
        self.files += 1;
        self.skipped += usize::from(has(|verdict| matches!(verdict, Verdict::Skipped(_))));
        self.explained += usize::from(has(|verdict| matches!(verdict, Verdict::Explained(_))));
        self.failed += usize::from(has(|verdict| matches!(verdict, Verdict::Failed(_))));
        for (kind, (verdict, _)) in worlds {
            *self.passed.entry(*kind).or_default() += usize::from(*verdict == Verdict::Passed);
        }
    }
}

fn push(text: &mut String, line: &str) {
    // A text takes what is written to it.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[(&str, Kind, Verdict)]) -> Report {
        let mut report = Report::default();
        for (file, kind, verdict) in verdicts {
            let verdict = match verdict {
                Verdict::Passed => Verdict::Passed,
                Verdict::Skipped(text) => Verdict::Skipped(text.clone()),
                Verdict::Explained(text) => Verdict::Explained(text.clone()),
                Verdict::Failed(text) => Verdict::Failed(text.clone()),
            };
            report.add(file, *kind, verdict, Duration::from_millis(100));
        }
        report
    }

    #[test]
    fn files_are_counted_by_area() {
        let text = report(&[
            ("a/x", Kind::Native, Verdict::Passed),
            ("a/x", Kind::One, Verdict::Failed("no".to_owned())),
            ("a/x", Kind::Three, Verdict::Failed("no".to_owned())),
            ("a/y", Kind::Native, Verdict::Passed),
            ("a/y", Kind::One, Verdict::Explained("so it is".to_owned())),
            ("b/z", Kind::Native, Verdict::Skipped("require x".to_owned())),
        ])
        .text();
        let columns = |area: &str| {
            let line = text.lines().find(|line| line.starts_with(area)).unwrap();
            line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(columns("a "), ["2", "2", "0", "0", "0", "1", "1"]);
        assert_eq!(columns("b "), ["1", "0", "0", "0", "1", "0", "0"]);
        assert_eq!(columns("all "), ["3", "2", "0", "0", "1", "1", "1"]);
        assert!(text.contains("differs a/y (one): so it is"));
        assert!(text.contains("skipped b/z: require x"));
        assert!(text.contains("FAILED  a/x (three)"));
        let mut report = Report::default();
        report.add_repeat("a/x", Kind::Three, "no\nquorum");
        assert!(report.text().contains("run again: a/x (three): no quorum\n"));
    }

    #[test]
    fn a_file_that_is_skipped_in_one_world_only_is_a_problem() {
        let skipped = || Verdict::Skipped(String::new());
        let uneven = report(&[("a/x", Kind::Native, Verdict::Passed), ("a/x", Kind::One, skipped())]);
        assert_eq!(uneven.problems().len(), 1);
        let even = report(&[("a/x", Kind::Native, skipped()), ("a/x", Kind::One, skipped())]);
        assert!(even.problems().is_empty());
    }
}
