//! The answers of the admin face: is the process alive, does the node serve, and everything that it knows.

use serde_json::{Value, json};

use super::verdict::any_degraded;
use super::{Phase, Table, Verdict, View};

/// A yes, or a no with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The answer.
    pub ok: bool,
    /// Why not, or what the node is doing.
    pub reason: String,
}

impl Probe {
    fn yes(reason: &str) -> Self {
        Self { ok: true, reason: reason.to_owned() }
    }

    fn no(reason: impl Into<String>) -> Self {
        Self { ok: false, reason: reason.into() }
    }
}

/// Whether the process should be left alone: it starts, serves or stops, answers about itself, and is not degraded.
pub fn health(view: &View) -> Probe {
    if let Some(reason) = any_degraded(&view.raft) {
        return Probe::no(reason);
    }
    if view.stale {
        return Probe::no(stale_reason(view));
    }
    Probe::yes(view.phase.as_str())
}

/// Whether clients should be sent here: the node is healthy, serves, and knows a leader.
pub fn ready(view: &View) -> Probe {
    let health = health(view);
    if !health.ok {
        return health;
    }
    match view.phase {
        Phase::Starting => return Probe::no("starting: the database opens and the log is read"),
        Phase::Stopping => return Probe::no("stopping"),
        Phase::Serving => {}
    }
    if view.age.is_none() {
        return Probe::no("starting: the node has not said anything about itself yet");
    }
    if view.servers.rows.is_empty() {
        return Probe::no("no server is running in this process");
    }
    let verdict = Verdict::of(&view.raft);
    if verdict.leader_id.is_none() {
        let reason = verdict.reason.unwrap_or_else(|| "no leader is known".to_owned());
        return Probe::no(format!("waiting for a leader: {reason}"));
    }
    match verdict.state.as_deref() {
        None | Some("ok") => match without_room(&view.servers) {
            Some(reason) => Probe::no(reason),
            None => Probe::yes("serving"),
        },
        Some(state) => Probe::no(format!("{state}: {}", verdict.reason.unwrap_or_default())),
    }
}

/// What keeps new clients out of a node that serves.
fn without_room(servers: &Table) -> Option<String> {
    let full = servers.rows.iter().find(|row| servers.value(row, "accepts_connections") == Some("false"))?;
    let number = |column| servers.number(full, column).unwrap_or_default();
    let (open, most) = (number("active_connections"), number("max_connections"));
    Some(format!("{open} of {most} connections are in use, and none is idle: raise max_connections"))
}

fn stale_reason(view: &View) -> String {
    let failure = view.failure.as_ref().map(|failure| format!("; the last attempt failed: {failure}"));
    let failure = failure.unwrap_or_default();
    match view.age {
        Some(age) => format!("the database has not answered for {} s{failure}", age.as_secs()),
        None => format!("the database has not answered since it began to serve{failure}"),
    }
}

/// Everything, as JSON: the verdict, both probes, the age of the figures, and all rows.
pub fn status_json(view: &View) -> Value {
    let (health, ready, mut verdict) = (health(view), ready(view), Verdict::of(&view.raft));
    // Old figures are no ground for a verdict.
    verdict.ok &= health.ok && view.phase == Phase::Serving;
    if verdict.reason.is_none() && !ready.ok {
        verdict.reason = Some(ready.reason.clone());
    }
    json!({
        "verdict": verdict,
        "phase": view.phase.as_str(),
        "health": {"ok": health.ok, "reason": health.reason},
        "ready": {"ok": ready.ok, "reason": ready.reason},
        "age_ms": view.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        "stale": view.stale,
        "failure": view.failure,
        "version": env!("CARGO_PKG_VERSION"),
        "groups": view.raft.to_json(),
        "servers": view.servers.to_json(),
    })
}
