//! `quackctl recover`.

use quack_offline::{Recovered, Survivor};

use crate::arguments::Recover;
use crate::output::{Output, group_json, group_line, left_out_json, left_out_line, line};
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
    lines.extend(recovered.left_out.as_ref().map(left_out_line));
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
        .with("left_out", left_out_json(recovered.left_out.as_ref()))
        .with("removed", recovered.removed.iter().map(String::as_str).collect())
}
