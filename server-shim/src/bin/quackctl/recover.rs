//! `quackctl recover`.

use quack_offline::{Recovered, RecoveredGroup, Survivor};
use serde_json::{Value, json};

use crate::arguments::Recover;
use crate::output::{Output, line};
use crate::store;

/// Makes a new cluster out of a survivor.
pub fn recover(arguments: &Recover) -> Output {
    if !arguments.force_new_cluster {
        return Output::invalid(
            "recover makes the folder that of a new cluster, with this node alone: add --force-new-cluster if that is meant"
                .to_owned(),
        );
    }
    let recovered = Survivor::take(&arguments.data_dir)
        .and_then(|survivor| survivor.recover(store::read, &arguments.lost));
    match recovered {
        Ok(recovered) => describe(&recovered),
        Err(error) => error.into(),
    }
}

fn describe(recovered: &Recovered) -> Output {
    let (former, identity) = (&recovered.former, &recovered.identity);
    let mut lines = vec![
        line("cluster", &format!("{:032x}, before {:032x}", identity.cluster_id, former.cluster_id)),
        line("node", &format!("{}, incarnation {}, the only voter", identity.node_id, identity.incarnation)),
    ];
    lines.extend(recovered.groups.iter().map(group_line));
    if let Some(left_out) = &recovered.left_out {
        lines.push(line(
            "left out",
            &format!(
                "entries {} to {} of 'default': they order entries of group {} that never reached this node",
                left_out.first, left_out.last, left_out.group
            ),
        ));
    }
    if !recovered.removed.is_empty() {
        lines.push(line("removed", &recovered.removed.join(", ")));
    }
    lines.push(line(
        "missing",
        &"what the old cluster acknowledged behind the entries above, if it did, and transactions that were not complete",
    ));
    let message = format!(
        "'{}' is a cluster of its own now: start it. Give other nodes empty folders, and add them with quack_add_node; \
         their old folders belong to the old cluster",
        identity.node_id
    );
    Output::done(message)
        .lines(lines)
        .with("cluster_id", format!("{:032x}", identity.cluster_id).into())
        .with("former_cluster_id", format!("{:032x}", former.cluster_id).into())
        .with("node_id", identity.node_id.as_str().into())
        .with("incarnation", identity.incarnation.into())
        .with("groups", recovered.groups.iter().map(group_json).collect())
        .with(
            "left_out",
            recovered.left_out.as_ref().map_or(Value::Null, |left_out| {
                json!({"first": left_out.first.0, "last": left_out.last.0, "group": left_out.group.0})
            }),
        )
        .with("removed", recovered.removed.iter().map(String::as_str).collect())
}

fn group_line(group: &RecoveredGroup) -> String {
    let name = group.name.clone().unwrap_or_else(|| group.group.to_string());
    let unknown = if group.last > group.committed {
        format!(
            "; entries {} to {} were not known to be committed, and are taken",
            group.committed.next(),
            group.last
        )
    } else {
        String::new()
    };
    line("group", &format!("{name}: taken through entry {}{unknown}", group.last))
}

fn group_json(group: &RecoveredGroup) -> Value {
    json!({
        "group": group.group.0,
        "name": group.name,
        "committed": group.committed.0,
        "last": group.last.0,
    })
}
