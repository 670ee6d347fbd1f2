//! The figures in Prometheus's text format (version 0.0.4). `docs/metrics.md` describes each name.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::UNIX_EPOCH;

use super::measured::measured_metrics;
use super::process::ProcessFigures;
use super::report::{health, ready};
use super::{Kind, Phase, Table, Verdict, View};

/// Roles that a node may have in a group; each is a series, so that a change of role is seen in two of them.
const ROLES: [&str; 5] = ["leader", "follower", "candidate", "pre-candidate", "learner"];
/// Columns that are labels, or that have a metric of their own below.
const KNOWN_COLUMNS: [&str; 16] = [
    "group_name",
    "group_id",
    "node_id",
    "role",
    "leader_id",
    "term",
    "last_index",
    "commit_index",
    "applied_index",
    "snapshot_index",
    "voters",
    "learners",
    "initialized",
    "linearizable_read_safe",
    "state",
    "reason",
];
/// Most groups and servers that become series. More than this many lanes would overwhelm a scraper.
const ROWS_MAX: usize = 1000;

/// All metrics of a node.
pub fn metrics(view: &View) -> String {
    let mut text = Text::default();
    node_metrics(view, &mut text);
    // Old figures look like a node that is well: the series stop instead, and the age tells why.
    if !view.stale && view.age.is_some() {
        raft_metrics(&view.raft, &mut text);
        server_metrics(&view.servers, &mut text);
        measured_metrics(&view.measured, &mut text);
    }
    process_metrics(view, &mut text);
    text.0
}

fn node_metrics(view: &View, text: &mut Text) {
    let verdict = Verdict::of(&view.raft);
    let node = verdict.node_id.as_deref().unwrap_or_default();
    text.family("quack_node_info", "gauge", "The node's name and version.");
    text.sample("quack_node_info", &[("node", node), ("version", env!("CARGO_PKG_VERSION"))], 1);
    text.one("quack_node_healthy", "gauge", "1 when /health answers 200.", u8::from(health(view).ok));
    text.one("quack_node_ready", "gauge", "1 when /ready answers 200.", u8::from(ready(view).ok));
    text.one(
        "quack_node_ok",
        "gauge",
        "1 when the verdict of /status is ok.",
        u8::from(verdict.ok && !view.stale),
    );
    text.family("quack_node_phase", "gauge", "1 for what the process is doing.");
    for phase in [Phase::Starting, Phase::Serving, Phase::Stopping] {
        text.sample("quack_node_phase", &[("phase", phase.as_str())], u8::from(phase == view.phase));
    }
    if let Some(age) = view.age {
        text.one("quack_status_age_seconds", "gauge", "Age of the figures of this page.", age.as_secs_f64());
    }
    let help = "Times that the node did not answer about itself.";
    text.one("quack_status_failures_total", "counter", help, view.failures);
}

fn raft_metrics(raft: &Table, text: &mut Text) {
    let rows: Vec<_> = raft.rows.iter().take(ROWS_MAX).collect();
    let group = |row: &[Option<String>]| raft.value(row, "group_name").unwrap_or("?").to_owned();
    let mut each = |name: &str, help: &str, value: &dyn Fn(&[Option<String>]) -> Option<u64>| {
        text.family(name, "gauge", help);
        for row in &rows {
            if let Some(value) = value(row) {
                text.sample(name, &[("group", &group(row))], value);
            }
        }
    };
    let number = |column| move |row: &[Option<String>]| raft.number(row, column);
    each("quack_raft_term", "Current term.", &number("term"));
    each("quack_raft_last_index", "Last entry of the log.", &number("last_index"));
    each("quack_raft_commit_index", "Last entry known to be committed.", &number("commit_index"));
    each("quack_raft_applied_index", "Last entry applied on this node.", &number("applied_index"));
    each("quack_raft_snapshot_index", "The log starts behind this entry.", &number("snapshot_index"));
    each("quack_raft_apply_lag_entries", "Entries committed and not applied yet on this node.", &|row| {
        Some(raft.number(row, "commit_index")?.saturating_sub(raft.number(row, "applied_index")?))
    });
    each("quack_raft_leader_known", "1 when a leader is known.", &|row| {
        Some(raft.value(row, "leader_id").is_some().into())
    });
    each("quack_raft_is_leader", "1 when this node is the leader.", &|row| {
        let leader = raft.value(row, "leader_id");
        Some((leader.is_some() && leader == raft.value(row, "node_id")).into())
    });
    let flag = |column| move |row: &[Option<String>]| Some(raft.is_true(row, column).into());
    each("quack_raft_initialized", "1 when the group has members.", &flag("initialized"));
    let help = "1 when a linearizable read can be answered now.";
    each("quack_raft_linearizable_read_safe", help, &flag("linearizable_read_safe"));
    each("quack_raft_degraded", "1 when a local error has latched the node.", &|row| {
        Some((raft.value(row, "state") == Some("degraded")).into())
    });
    let count = |column| move |row: &[Option<String>]| Some(raft.list(row, column).len() as u64);
    each("quack_raft_voters", "Members whose majority decides.", &count("voters"));
    each("quack_raft_learners", "Members that only receive.", &count("learners"));
    role_metrics(raft, text);
    further_metrics(raft, text);
}

fn role_metrics(raft: &Table, text: &mut Text) {
    text.family("quack_raft_role", "gauge", "1 for the role of this node in the group.");
    for row in raft.rows.iter().take(ROWS_MAX) {
        let group = raft.value(row, "group_name").unwrap_or("?");
        let role = raft.value(row, "role").unwrap_or_default();
        let other = (!role.is_empty() && !ROLES.contains(&role)).then_some(role);
        for name in ROLES.into_iter().chain(other) {
            text.sample("quack_raft_role", &[("group", group), ("role", name)], u8::from(name == role));
        }
    }
}

/// Numbers and flags in columns that this version does not know: `quack_raft_<column>`.
fn further_metrics(raft: &Table, text: &mut Text) {
    let mut seen = BTreeSet::new();
    for (index, column) in raft.columns.iter().enumerate() {
        let plain = column
            .name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        let measured = matches!(column.kind, Kind::Number | Kind::Boolean);
        if KNOWN_COLUMNS.contains(&column.name.as_str()) || !plain || !measured || !seen.insert(&column.name)
        {
            continue;
        }
        let name = format!("quack_raft_{}", column.name);
        let kind = if column.name.ends_with("_total") { "counter" } else { "gauge" };
        text.family(&name, kind, "A column of quack_raft_status().");
        for row in raft.rows.iter().take(ROWS_MAX) {
            let value = match row.get(index).and_then(Option::as_deref) {
                Some("true") => 1.0,
                Some("false") => 0.0,
                Some(number) => match number.parse::<f64>() {
                    Ok(number) => number,
                    Err(_) => continue,
                },
                None => continue,
            };
            text.sample(&name, &[("group", raft.value(row, "group_name").unwrap_or("?"))], value);
        }
    }
}

fn server_metrics(servers: &Table, text: &mut Text) {
    text.family("quack_server_connections", "gauge", "Sessions of clients that are open.");
    for row in servers.rows.iter().take(ROWS_MAX) {
        if let Some(count) = servers.number(row, "active_connections") {
            let catalog = servers.value(row, "catalog").unwrap_or_default();
            text.sample("quack_server_connections", &[("catalog", catalog)], count);
        }
    }
}

fn process_metrics(view: &View, text: &mut Text) {
    let figures = ProcessFigures::take();
    let start = view.started.duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    text.one("quack_process_start_time_seconds", "gauge", "When the process started, since 1970.", start);
    if let Some(seconds) = figures.cpu_seconds {
        text.one("quack_process_cpu_seconds_total", "counter", "Time on the processors.", seconds);
    }
    for (name, help, value) in [
        ("quack_process_resident_memory_bytes", "Memory that is in RAM.", figures.resident_bytes),
        ("quack_process_virtual_memory_bytes", "Address space.", figures.virtual_bytes),
        ("quack_process_threads", "Threads.", figures.threads),
        ("quack_process_open_fds", "Open file descriptors.", figures.open_files),
        ("quack_process_max_fds", "Most file descriptors that may be open.", figures.open_files_max),
    ] {
        if let Some(value) = value {
            text.one(name, "gauge", help, value);
        }
    }
}

/// The page that is being written.
#[derive(Default)]
pub(super) struct Text(pub(super) String);

impl Text {
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}")
            .expect("writing to a text cannot fail");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<_> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(self.0, "{name}{labels} {value}").expect("writing to a text cannot fail");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        writeln!(self.0, "{name} {value}").expect("writing to a text cannot fail");
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
