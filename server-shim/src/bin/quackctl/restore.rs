//! `quackctl restore`.

use quack_net::Endpoint;
use quack_offline::Restored;
use quack_types::NodeId;

use crate::arguments::Restore;
use crate::output::{Output, line};
use crate::store;

/// Makes a new cluster out of a backup.
pub fn restore(arguments: &Restore) -> Output {
    let node = match arguments.node_id.as_deref().map(NodeId::new).transpose() {
        Ok(node) => node,
        Err(error) => return Output::invalid(format!("--node-id: {error}")),
    };
    let endpoint = match arguments.endpoint.as_deref().map(str::parse::<Endpoint>).transpose() {
        Ok(endpoint) => endpoint.map(|endpoint| endpoint.to_string()),
        Err(error) => return Output::invalid(format!("--endpoint: {error}")),
    };
    let (from, to) = (&arguments.from, &arguments.data_dir);
    match quack_offline::restore(from, to, node.as_ref(), endpoint.as_deref(), store::read) {
        Ok(restored) => describe(&restored),
        Err(error) => error.into(),
    }
}

fn describe(restored: &Restored) -> Output {
    let Restored { origin, identity, position, removed } = restored;
    let mut lines = vec![
        line("cluster", &format!("{:032x}, out of {:032x}", identity.cluster_id, origin.cluster_id)),
        line("node", &format!("{}, incarnation {}, the only voter", identity.node_id, identity.incarnation)),
        line("position", position),
    ];
    if !removed.is_empty() {
        lines.push(line("removed", &removed.join(", ")));
    }
    let message = format!(
        "'{}' is a cluster of its own: start it. Start other nodes with empty folders, and add them with quack_add_node",
        identity.node_id
    );
    Output::done(message)
        .lines(lines)
        .with("cluster_id", format!("{:032x}", identity.cluster_id).into())
        .with("former_cluster_id", format!("{:032x}", origin.cluster_id).into())
        .with("node_id", identity.node_id.as_str().into())
        .with("incarnation", identity.incarnation.into())
        .with("position", position.0.into())
        .with("removed", removed.iter().map(String::as_str).collect())
}
