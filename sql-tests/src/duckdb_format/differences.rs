//! The list of files that are known to differ from plain DuckDB, with the reasons.
//!
//! An entry explains one failure in one or more worlds. It says what the failure shows, so that it explains no
//! other one. An entry that explains nothing any more is an error, and so is one for a file that is not there.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::run::Outcome;
use super::world::Kind;

/// The whole list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Differences {
    #[serde(default)]
    difference: Vec<Difference>,
}

/// An explained difference.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The file below `duckdb/`, without its extension.
    pub file: String,
    /// The worlds where it fails.
    pub worlds: Vec<String>,
    /// A part of the failure's text.
    pub shows: String,
    /// Why it differs, in words.
    pub reason: String,
    /// The document that tells users.
    pub documented: String,
}

/// What an outcome means, given the list.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Passed,
    /// Not run, and why.
    Skipped(String),
    /// It differs, for this reason.
    Explained(String),
    /// It must not stay like this.
    Failed(String),
}

impl Differences {
    /// Reads the list; `files` are the names of all files, `root` is where the documents are.
    pub fn read(path: &Path, files: &BTreeSet<String>, root: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let list = Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        for entry in &list.difference {
            let place = format!("{}: the entry for {}", path.display(), entry.file);
            if !files.contains(&entry.file) {
                return Err(format!("{place} names no file"));
            }
            let document = entry.documented.split('#').next().unwrap_or_default();
            if !root.join(document).is_file() {
                return Err(format!("{place}: there is no document {document}"));
            }
        }
        Ok(list)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let list: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut seen = BTreeSet::new();
        for entry in &list.difference {
            let empty = |text: &String| text.trim().is_empty();
            if [&entry.shows, &entry.reason, &entry.documented].into_iter().any(empty)
                || entry.worlds.is_empty()
            {
                return Err(format!(
                    "the entry for {} must say what it shows, why, and where it is documented",
                    entry.file
                ));
            }
            for world in &entry.worlds {
                match Kind::named(world) {
                    None | Some(Kind::Native) => {
                        return Err(format!("\"{world}\" cannot differ from native"));
                    }
                    Some(kind) if !seen.insert((entry.file.clone(), kind)) => {
                        return Err(format!("{} is listed twice for {kind}", entry.file));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(list)
    }

    /// What it means that `file` has had this outcome.
    pub fn judge(&self, file: &str, kind: Kind, outcome: Outcome) -> Verdict {
        let world = kind.to_string();
        let listed = self.difference.iter().find(|entry| entry.file == file && entry.worlds.contains(&world));
        match (outcome, listed) {
            (Outcome::Passed, None) => Verdict::Passed,
            (Outcome::Skipped(reason), None) => Verdict::Skipped(reason),
            (Outcome::Failed(message), None) => Verdict::Failed(message),
            (Outcome::Failed(message), Some(entry)) if message.contains(&entry.shows) => {
                Verdict::Explained(entry.reason.clone())
            }
            (Outcome::Failed(message), Some(entry)) => {
                Verdict::Failed(format!("{message}\n(the list explains only: {})", entry.shows))
            }
            (Outcome::Passed | Outcome::Skipped(_), Some(_)) => {
                Verdict::Failed("it does not differ any more: take it out of differences.toml".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "[[difference]]\nfile = 'a/b'\nworlds = ['one', 'three']\nshows = 'boom'\n\
        reason = 'because'\ndocumented = 'docs/x.md'\n";

    fn judge(file: &str, kind: Kind, outcome: Outcome) -> Verdict {
        Differences::parse(LIST).unwrap().judge(file, kind, outcome)
    }

    fn failed(message: &str) -> Outcome {
        Outcome::Failed(message.to_owned())
    }

    #[test]
    fn a_listed_failure_is_explained_in_its_worlds_only() {
        assert_eq!(judge("a/b", Kind::One, failed("line 3: boom")), Verdict::Explained("because".to_owned()));
        assert!(matches!(judge("a/b", Kind::Native, failed("boom")), Verdict::Failed(_)));
        assert!(matches!(judge("a/c", Kind::One, failed("boom")), Verdict::Failed(_)));
    }

    #[test]
    fn another_failure_is_not_explained() {
        assert!(matches!(judge("a/b", Kind::One, failed("bang")), Verdict::Failed(_)));
    }

    #[test]
    fn an_entry_that_explains_nothing_fails() {
        assert!(matches!(judge("a/b", Kind::Three, Outcome::Passed), Verdict::Failed(_)));
        assert!(matches!(judge("a/b", Kind::Three, Outcome::Skipped(String::new())), Verdict::Failed(_)));
        assert_eq!(judge("a/b", Kind::Native, Outcome::Passed), Verdict::Passed);
    }

    #[test]
    fn a_list_says_all_of_it_once() {
        assert!(Differences::parse(&LIST.replace("because", " ")).is_err());
        assert!(Differences::parse(&LIST.replace("'one', ", "'two', ")).is_err());
        assert!(Differences::parse(&LIST.replace("'one', ", "'native', ")).is_err());
        assert!(Differences::parse(&format!("{LIST}{LIST}")).unwrap_err().contains("twice"));
        assert!(Differences::parse(&LIST.replace("shows", "show")).is_err());
        assert!(Differences::parse("").is_ok());
    }

    #[test]
    fn the_file_and_the_document_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.toml");
        std::fs::write(&path, LIST).unwrap();
        let files = BTreeSet::from(["a/b".to_owned()]);
        let read = |files: &BTreeSet<String>| Differences::read(&path, files, folder.path());
        assert!(read(&files).unwrap_err().contains("docs/x.md"));
        std::fs::create_dir(folder.path().join("docs")).unwrap();
        std::fs::write(folder.path().join("docs/x.md"), "").unwrap();
        assert!(read(&files).is_ok());
        assert!(read(&BTreeSet::new()).unwrap_err().contains("names no file"));
    }
}
