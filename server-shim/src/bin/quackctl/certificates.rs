//! `quackctl cert`.

use std::path::Path;

use quack_admin::certificate::{self, Authority, CertificateFiles};
use quack_admin::{Error, NewFile, read_text, write_all};
use quack_types::NodeId;
use serde_json::Value;

use crate::arguments::{Check, Init, Issue};
use crate::output::Output;

/// Makes an authority.
pub fn init(arguments: &Init) -> Output {
    let made = Authority::new(arguments.days).and_then(|authority| {
        let files = authority.files();
        write_all(&arguments.out, &files, arguments.force)?;
        Ok(written(&arguments.out, &files))
    });
    made.unwrap_or_else(Output::from)
}

/// Makes certificates for nodes.
pub fn issue(arguments: &Issue) -> Output {
    let made = issue_files(arguments).and_then(|files| {
        write_all(&arguments.out, &files, arguments.force)?;
        Ok(written(&arguments.out, &files))
    });
    made.unwrap_or_else(Output::from)
}

fn issue_files(arguments: &Issue) -> Result<Vec<NewFile>, Error> {
    let authority = Authority::open(&arguments.ca)?;
    let mut files = Vec::new();
    for node in &arguments.node {
        let node = NodeId::new(node.as_str()).map_err(|error| Error::Invalid(format!("--node: {error}")))?;
        files.extend(authority.issue(&node, arguments.days)?);
    }
    let copy = authority.certificate_file();
    // The folder of the authority itself, or of earlier nodes, has it already.
    let present = read_text(&arguments.out.join(&copy.name)).is_ok_and(|text| text == copy.text);
    if !present {
        files.push(copy);
    }
    Ok(files)
}

/// Checks a node's files.
pub fn check(arguments: &Check) -> Output {
    let files = CertificateFiles {
        certificate: arguments.cert.clone(),
        key: arguments.key.clone(),
        authority: arguments.ca.clone(),
    };
    let findings = certificate::check(&files, &arguments.node, certificate::unix_seconds_now());
    Output::of_findings(&format!("certificate of {}", arguments.node), &findings)
}

fn written(folder: &Path, files: &[NewFile]) -> Output {
    let paths: Vec<String> = files.iter().map(|file| folder.join(&file.name).display().to_string()).collect();
    let json: Value = paths.iter().map(|path| Value::from(path.as_str())).collect();
    Output::done(format!("{} files written", paths.len())).lines(paths).with("files", json)
}
