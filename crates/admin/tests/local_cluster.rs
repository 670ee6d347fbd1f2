//! What `generate-local-configs` writes is the same each time, secrets aside.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use quack_admin::Error;
use quack_admin::config::generate_local;

/// The text for node 1 of 3 from port 7000; `UPDATE=1` writes it anew.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/n1.yaml");

#[test]
fn the_text_of_a_configuration_is_as_agreed() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = generate_local(folder.path(), 3, 7000, false).unwrap();
    let text = fs::read_to_string(&cluster.configurations[1]).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(GOLDEN, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(GOLDEN).unwrap());
}

#[test]
fn two_runs_differ_in_secrets_only() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        generate_local(folder.path(), 3, 7000, false).unwrap();
    }
    let read = |index: usize, name: &str| fs::read(folders[index].path().join(name)).unwrap();
    for name in ["n0.yaml", "n1.yaml", "n2.yaml"] {
        assert_eq!(read(0, name), read(1, name), "{name}");
    }
    let mut names: Vec<_> = fs::read_dir(folders[0].path().join("certs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["ca.crt", "ca.key", "n0.crt", "n0.key", "n1.crt", "n1.key", "n2.crt", "n2.key", "token"]
    );
    for name in names {
        let name = format!("certs/{}", name.display());
        assert_ne!(read(0, &name), read(1, &name), "{name}");
        let mode = fs::metadata(folders[0].path().join(&name)).unwrap().permissions().mode() & 0o777;
        let secret = name.ends_with(".key") || name.ends_with("token");
        assert_eq!(mode, if secret { 0o600 } else { 0o644 }, "{name}");
    }
}

#[test]
fn what_exists_is_kept_unless_force_is_given() {
    let folder = tempfile::tempdir().unwrap();
    generate_local(folder.path(), 1, 7000, false).unwrap();
    fs::create_dir_all(folder.path().join("data/n0")).unwrap();
    fs::write(folder.path().join("data/n0/identity"), "x").unwrap();
    let token = || fs::read(folder.path().join("certs/token")).unwrap();
    let before = token();
    assert!(matches!(generate_local(folder.path(), 1, 7000, false), Err(Error::Exists(_))));
    assert_eq!(token(), before);
    generate_local(folder.path(), 1, 7000, true).unwrap();
    assert_ne!(token(), before);
    assert_eq!(fs::read_to_string(folder.path().join("data/n0/identity")).unwrap(), "x");
}

#[test]
fn impossible_numbers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (nodes, port) in [(0, 7000), (51, 7000), (3, 0), (3, 65_433)] {
        assert!(
            matches!(generate_local(folder.path(), nodes, port, false), Err(Error::Invalid(_))),
            "{nodes} {port}"
        );
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(generate_local(folder.path(), 3, 65_432, false).is_ok());
}
