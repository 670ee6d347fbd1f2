//! `xtask planted`: puts known faults back, and has the tests find each of them.
//!
//! A fault is a patch in `sql-tests/planted`, named after the fault; in front of the diff stands the test that finds it:
//! `Found by: pytest test_file.py -k words`. All patches are applied to a copy of the checkout, which is built once; a
//! fault is active where `QUACK_PLANTED` names it. The test must fail with the fault and pass without one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::dist;

const PATCHES: &str = "sql-tests/planted";
const SWITCH: &str = "planted.hpp";
const FOUND_BY: &str = "Found by: pytest ";
/// pytest's exit code when tests have failed; any other means that it could not run them.
const TESTS_FAILED: i32 = 1;

/// A fault that can be put back.
struct Fault {
    name: String,
    patch: PathBuf,
    /// Arguments of pytest.
    test: Vec<String>,
}

/// Plants the faults called `names`, or all, and prints which were found.
pub fn run(names: &[String]) -> Result<(), String> {
    let root = dist::workspace_root()?;
    let faults = faults(&root)?;
    if let Some(unknown) = names.iter().find(|name| !faults.iter().any(|fault| fault.name == **name)) {
        let known: Vec<_> = faults.iter().map(|fault| fault.name.as_str()).collect();
        return Err(format!("there is no planted fault \"{unknown}\"; they are {}", known.join(", ")));
    }
    let folder = dist::target_dir(&root).join("planted");
    let extension = build(&root, &folder, &faults)?;
    let mut missed = Vec::new();
    for fault in faults.iter().filter(|fault| names.is_empty() || names.contains(&fault.name)) {
        let (without, with) =
            (test(&root, &extension, fault, "")?, test(&root, &extension, fault, &fault.name)?);
        let verdict = match (without, with) {
            (Some(0), Some(TESTS_FAILED)) => "found",
            (Some(0), Some(0)) => "NOT FOUND",
            (Some(0), _) => "the test could not run with the fault",
            _ => "the test fails without the fault",
        };
        println!("{:<32}{verdict}", fault.name);
        if verdict != "found" {
            missed.push(fault.name.as_str());
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(format!("not found as planted: {}", missed.join(", "))) }
}

fn faults(root: &Path) -> Result<Vec<Fault>, String> {
    let folder = root.join(PATCHES);
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut patches: Vec<PathBuf> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    patches.into_iter().map(fault).collect()
}

fn fault(patch: PathBuf) -> Result<Fault, String> {
    let text =
        fs::read_to_string(&patch).map_err(|error| format!("cannot read {}: {error}", patch.display()))?;
    let test = text
        .lines()
        .find_map(|line| line.strip_prefix(FOUND_BY))
        .ok_or_else(|| format!("{} does not say by which test it is found", patch.display()))?;
    Ok(Fault {
        name: patch.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        test: test.split_whitespace().map(str::to_owned).collect(),
        patch,
    })
}

/// Builds the extension with all faults in it; returns its file.
fn build(root: &Path, folder: &Path, faults: &[Fault]) -> Result<PathBuf, String> {
    let tree = folder.join("tree");
    copy_checkout(root, &tree)?;
    for fault in faults {
        apply(&tree, &fault.patch, &[])?;
    }
    let target = folder.join("target");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "-p", "quack"]).current_dir(&tree);
    cargo.env("CARGO_TARGET_DIR", &target).env_remove("CARGO_MANIFEST_DIR");
    // Every file sees the switch, so that patches need not include it.
    cargo.env("CXXFLAGS", format!("-include {}", root.join(PATCHES).join(SWITCH).display()));
    if std::env::var_os("DUCKDB_LIB_DIR").is_some() {
        cargo.arg("--no-default-features");
    }
    succeed(&mut cargo)?;
    let extension = folder.join("quack.duckdb_extension");
    dist::make_extension(&target.join("release/libquack.so"), &extension)?;
    Ok(extension)
}

/// Copies what git knows of, or would; what has not changed keeps its time, so that it is not built again.
fn copy_checkout(root: &Path, tree: &Path) -> Result<(), String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    for name in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
        let (from, to) = (root.join(name), tree.join(name));
        // A file that was deleted is listed until that is committed.
        let Ok(content) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|known| known == content) {
            continue;
        }
        let write = || {
            fs::create_dir_all(to.parent().unwrap_or(tree))?;
            fs::write(&to, &content)
        };
        write().map_err(|error| format!("cannot write {}: {error}", to.display()))?;
    }
    Ok(())
}

fn apply(tree: &Path, patch: &Path, options: &[&str]) -> Result<(), String> {
    let mut git = Command::new("git");
    git.arg("apply").args(options).arg(patch).current_dir(tree);
    // A tree within another repository is none of its own.
    git.env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree));
    succeed(&mut git)
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}")) }
}

/// Runs a fault's test; returns the exit code.
fn test(root: &Path, extension: &Path, fault: &Fault, active: &str) -> Result<Option<i32>, String> {
    let python = std::env::var("QUACK_PYTHON").map_err(|_| "QUACK_PYTHON is not set: run `make planted`")?;
    let (file, rest) = fault.test.split_first().ok_or("a fault names no test")?;
    let status = Command::new(python)
        .args(["-m", "pytest", "-q", "-x"])
        .arg(root.join("sql-tests/process").join(file))
        .args(rest)
        .env("QUACK_EXTENSION", extension)
        .env("QUACK_PLANTED", active)
        .current_dir(root)
        .stdout(Stdio::null())
        .status();
    Ok(status.map_err(|error| format!("cannot run pytest: {error}"))?.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_planted_fault_fits_the_code_and_names_a_test() {
        let root = dist::workspace_root().expect("tests run by cargo");
        let faults = faults(&root).expect("there are patches");
        assert!(!faults.is_empty());
        for fault in &faults {
            apply(&root, &fault.patch, &["--check"])
                .expect("the patch fits; make it anew where the code has moved");
            let file = root.join("sql-tests/process").join(&fault.test[0]);
            let text = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{} is a test", file.display()));
            if let Some(word) = fault.test.iter().skip_while(|word| *word != "-k").nth(1) {
                assert!(text.contains(word.as_str()), "{}: no test is called {word}", fault.name);
            }
        }
    }
}
