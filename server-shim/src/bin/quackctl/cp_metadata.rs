//! `quackctl cp-metadata`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use quack_admin::config::{self, AdminFace};
use quack_admin::status::Verdict;
use quack_admin::{Error, ExitCode, certificate, exit_code_of, http};
use serde_json::{Value, json};

use crate::arguments::{GenerateLocalConfigs, Status};
use crate::output::{Output, table};

/// Columns of a group that the text shows, in this order. JSON has all of them.
const COLUMNS: [&str; 9] = [
    "group_name",
    "role",
    "leader_id",
    "term",
    "last_index",
    "commit_index",
    "applied_index",
    "snapshot_index",
    "state",
];

/// Checks configurations, alone and together.
pub fn validate_config(files: &[PathBuf]) -> Output {
    let (configurations, findings) = config::validate(files, certificate::unix_seconds_now());
    let nodes: Value =
        configurations.iter().map(|node| json!({"file": node.file, "node_id": node.name()})).collect();
    Output::of_findings(&format!("{} files", files.len()), &findings).with("nodes", nodes)
}

/// Writes configurations and certificates for a local cluster.
pub fn generate_local_configs(arguments: &GenerateLocalConfigs) -> Output {
    let made = config::generate_local(&arguments.out, arguments.nodes, arguments.base_port, arguments.force);
    let cluster = match made {
        Ok(cluster) => cluster,
        Err(error) => return error.into(),
    };
    let path = |path: &PathBuf| path.display().to_string();
    let starts =
        cluster.configurations.iter().map(|file| format!("quackd serve --config {}", file.display()));
    let files: Value = cluster.configurations.iter().map(path).collect();
    let message =
        format!("{} nodes; certificates and the token are in {}", arguments.nodes, path(&cluster.secrets));
    Output::done(message)
        .lines(starts)
        .with("configurations", files)
        .with("secrets", path(&cluster.secrets).into())
        .with("token_path", path(&cluster.secrets.join("token")).into())
}

/// Asks a node.
pub fn status(arguments: &Status) -> Output {
    let base = match (&arguments.url, &arguments.config) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(file)) => match url_of(file) {
            Ok(url) => url,
            Err(output) => return *output,
        },
        (None, None) => format!("http://{}:{}", AdminFace::HOST, AdminFace::PORT),
    };
    let url = format!("{base}/status");
    let answer = match http::get(&url, Duration::from_secs(arguments.timeout)) {
        Ok(answer) => answer,
        Err(error) => return error.into(),
    };
    // A node that is stuck says so with status 503, and says the rest as well.
    let status = serde_json::from_str::<Value>(&answer.text).ok();
    let verdict = status.as_ref().and_then(|status| status.get("verdict")).cloned();
    let verdict = verdict.and_then(|verdict| serde_json::from_value::<Verdict>(verdict).ok());
    match (status, verdict, answer.status) {
        (Some(status), Some(verdict), 200 | 503) => describe(&url, &status, &verdict),
        _ if answer.status == 200 => {
            Error::Unreachable { url, reason: "this is not a node's admin face".to_owned() }.into()
        }
        _ => {
            let text = answer.text.chars().take(200).collect::<String>().trim().to_owned();
            Error::Refused { url, status: answer.status, text }.into()
        }
    }
}

/// The admin address in a configuration. Other mistakes in the file do not matter here.
fn url_of(file: &Path) -> Result<String, Box<Output>> {
    let (configuration, findings) = config::read(file);
    let Some(configuration) = configuration else {
        let code = exit_code_of(&findings);
        return Err(Box::new(Output::of_findings(&file.display().to_string(), &findings).ending(code)));
    };
    let Some(admin) = configuration.admin else {
        let message = format!(
            "{}: metrics.enabled is false, so that quackctl cannot query this node: set it to true",
            file.display()
        );
        return Err(Box::new(Output::invalid(message)));
    };
    let host = match admin.host.as_str() {
        // Listening at every address includes the loopback one.
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        ipv6 if ipv6.contains(':') => format!("[{ipv6}]"),
        host => host.to_owned(),
    };
    Ok(format!("http://{host}:{}", admin.port))
}

fn describe(url: &str, status: &Value, verdict: &Verdict) -> Output {
    let yes = |flag: bool| if flag { "yes" } else { "no" };
    let leader = match &verdict.leader_id {
        Some(leader) if verdict.is_leader => format!("{leader} (this node)"),
        Some(leader) => leader.clone(),
        None => "none".to_owned(),
    };
    let mut lines = vec![
        format!("enabled                {}", yes(verdict.enabled)),
        format!("ok                     {}", yes(verdict.ok)),
        format!("leader_id              {leader}"),
        format!("is_leader              {}", yes(verdict.is_leader)),
        format!("linearizable_read_safe {}", yes(verdict.linearizable_read_safe)),
        String::new(),
    ];
    let groups = status.get("groups").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    lines.extend(groups_table(groups));
    let node = verdict.node_id.as_deref().unwrap_or("the node");
    let message = match (&verdict.reason, verdict.ok) {
        (_, true) => format!("{node} is well"),
        (Some(reason), false) => format!("{node} is not well: {reason}"),
        (None, false) => format!("{node} is not well"),
    };
    let mut output =
        Output::done(message).lines(lines).with("url", url.into()).with("status", status.clone());
    output = output.with("verdict", json!(verdict));
    output.ending(if verdict.ok { ExitCode::Ok } else { ExitCode::Failed })
}

fn groups_table(groups: &[Value]) -> Vec<String> {
    let cell = |group: &Value, column: &str| match group.get(column) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(groups.iter().map(|group| COLUMNS.map(|column| cell(group, column))));
    table(&rows).into_iter().chain([String::new()]).collect()
}
