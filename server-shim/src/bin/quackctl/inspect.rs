//! `quackctl inspect`.

use std::path::Path;

use quack_admin::ExitCode;
use quack_node::{FolderView, Identity};
use quack_offline::{GroupView, Inspection, LogView, MemberView};
use serde_json::{Value, json};

use crate::output::{Output, line, table};
use crate::store;

/// Says what a data folder is.
pub fn inspect(data_dir: &Path) -> Output {
    match quack_offline::inspect(data_dir, store::read) {
        Ok(found) => describe(&found),
        Err(error) => error.into(),
    }
}

/// What a folder is: for scripts, and in words.
fn kind(folder: &FolderView) -> (&'static str, &'static str) {
    match folder {
        FolderView { is_being_refounded: true, .. } => {
            ("recovering", "becoming a new cluster's; the next start brings that to its end")
        }
        FolderView { identity: Some(_), is_to_be_rebuilt: true, .. } => {
            ("to_be_rebuilt", "a member that its cluster rebuilds at the next start")
        }
        FolderView { identity: Some(_), has_foreign_store: true, .. } => {
            ("unsettled", "a member that has not run with its present store to the end of its log yet")
        }
        FolderView { identity: Some(_), .. } => ("member", "a member of a cluster"),
        FolderView { former: Some(_), .. } => {
            ("being_rebuilt", "being rebuilt from its cluster; what it had is in 'superseded'")
        }
        FolderView { promised: Some(_), .. } => ("founding", "a node that is about to found a cluster"),
        FolderView { .. } => ("empty", "no member of a cluster"),
    }
}

fn describe(found: &Inspection) -> Output {
    let folder = &found.folder;
    let (kind, words) = kind(folder);
    let mut lines = vec![line("folder", &folder.path.display()), line("is", &words)];
    lines.extend(folder.identity.iter().flat_map(identity_lines));
    if let Some(former) = &folder.former {
        lines.push(line("was", &format!("{}, incarnation {}", former.node_id, former.incarnation)));
    }
    if let Some(checkpoint) = &found.checkpoint {
        lines.push(line("checkpoint", &format!("entry {}", checkpoint.state.root)));
    }
    lines.extend(found.log.iter().flat_map(log_lines));
    lines.extend(member_lines(&found.members));
    lines.extend(found.damage.iter().map(|damage| line("damage", damage)));
    let (message, code) = match found.damage.len() {
        0 => ("no damage found".to_owned(), ExitCode::Ok),
        count => (
            format!("the folder is damaged, in {count} ways: docs/operations.md says what to do"),
            ExitCode::Failed,
        ),
    };
    let output = Output::done(message).lines(lines).ending(code);
    let output = output.with("data_dir", folder.path.display().to_string().into()).with("kind", kind.into());
    output
        .with("identity", folder.identity.as_ref().map_or(Value::Null, identity_json))
        .with("former", folder.former.as_ref().map_or(Value::Null, identity_json))
        .with("promised_cluster_id", folder.promised.map(|id| format!("{id:032x}")).into())
        .with("checkpoint", found.checkpoint.as_ref().map(|checkpoint| checkpoint.state.root.0).into())
        .with("log", found.log.as_ref().map_or(Value::Null, log_json))
        .with("members", found.members.iter().map(member_json).collect())
        .with("damage", found.damage.iter().map(|damage| Value::from(damage.as_str())).collect())
}

fn identity_lines(identity: &Identity) -> Vec<String> {
    let Identity { cluster_id, node_id, incarnation, boot } = identity;
    let node = format!("{node_id}, incarnation {incarnation}, started {boot} times");
    vec![line("cluster", &format!("{cluster_id:032x}")), line("node", &node)]
}

fn identity_json(identity: &Identity) -> Value {
    let Identity { cluster_id, node_id, incarnation, boot } = identity;
    json!({
        "cluster_id": format!("{cluster_id:032x}"),
        "node_id": node_id.as_str(),
        "incarnation": incarnation,
        "starts": boot,
    })
}

fn log_lines(log: &LogView) -> Vec<String> {
    let files = &log.files;
    let mut lines = vec![line(
        "log",
        &format!(
            "format {}, {} segments, {} unfinished bytes at its end",
            files.format, files.segments, files.bytes_cut
        ),
    )];
    let head = ["group", "first", "last", "term", "committed", "in_store", "vote", "voters", "learners"];
    let row = |group: &GroupView| {
        let voters = match &group.voters_outgoing[..] {
            [] => group.voters.join(","),
            outgoing => format!("{} instead of {}", group.voters.join(","), outgoing.join(",")),
        };
        [
            group.name.clone().unwrap_or_else(|| group.group.to_string()),
            group.floor.next().to_string(),
            group.last.to_string(),
            group.state.term.to_string(),
            group.state.commit.to_string(),
            or_dash(group.applied.map(|index| index.to_string())),
            or_dash(group.vote.clone()),
            voters,
            or_dash(Some(group.learners.join(",")).filter(|names| !names.is_empty())),
        ]
    };
    let rows: Vec<[String; 9]> =
        std::iter::once(head.map(str::to_owned)).chain(log.groups.iter().map(row)).collect();
    lines.push(String::new());
    lines.extend(table(&rows));
    lines.push(String::new());
    lines
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn log_json(log: &LogView) -> Value {
    let group = |group: &GroupView| {
        json!({
            "group": group.group.0,
            "name": group.name,
            "first": group.floor.next().0,
            "last": group.last.0,
            "last_term": group.last_term.0,
            "term": group.state.term.0,
            "vote": group.vote,
            "committed": group.state.commit.0,
            "in_store": group.applied.map(|index| index.0),
            "voters": group.voters,
            "voters_outgoing": group.voters_outgoing,
            "learners": group.learners,
        })
    };
    json!({
        "format": log.files.format,
        "segments": log.files.segments,
        "unfinished_bytes": log.files.bytes_cut,
        "groups": log.groups.iter().map(group).collect::<Value>(),
    })
}

fn role(member: &MemberView) -> &'static str {
    match member {
        MemberView { is_removed: true, .. } => "removed",
        MemberView { is_voter: true, .. } => "voter",
        MemberView { .. } => "learner",
    }
}

fn member_lines(members: &[MemberView]) -> Vec<String> {
    if members.is_empty() {
        return Vec::new();
    }
    let head = ["member", "incarnation", "role", "endpoint"];
    let row = |member: &MemberView| {
        let role = role(member).to_owned();
        [member.node.clone(), member.incarnation.to_string(), role, member.endpoint.clone()]
    };
    let rows: Vec<[String; 4]> =
        std::iter::once(head.map(str::to_owned)).chain(members.iter().map(row)).collect();
    table(&rows).into_iter().chain([String::new()]).collect()
}

fn member_json(member: &MemberView) -> Value {
    json!({
        "node_id": member.node,
        "incarnation": member.incarnation,
        "role": role(member),
        "endpoint": member.endpoint,
    })
}
