//! The rules that the configurations of several nodes obey together.

use std::collections::BTreeSet;
use std::path::Path;

use quack_net::PeerSpec;

use super::Configuration;
use crate::{Finding, Rule, certificate, files};

/// Checks the files of one cluster against each other. The first file is what the others are compared with.
pub fn check(configurations: &[Configuration], findings: &mut Vec<Finding>) {
    let Some((first, others)) = configurations.split_first() else { return };
    for (index, node) in others.iter().enumerate() {
        check_agreement(first, node, findings);
        for earlier in &configurations[..=index] {
            check_distinct(earlier, node, findings);
        }
    }
    if !others.is_empty() {
        check_complete(configurations, findings);
    }
}

fn check_agreement(first: &Configuration, node: &Configuration, findings: &mut Vec<Finding>) {
    let mut add = |rule, message: String| findings.push(Finding::new(rule, &node.file, message));
    let reference = first.file.display();
    let (ours, theirs) = (peer_set(node), peer_set(first));
    if ours != theirs {
        let list = |peers: BTreeSet<String>| peers.into_iter().collect::<Vec<_>>().join(", ");
        let only_here = list(ours.difference(&theirs).cloned().collect());
        let only_there = list(theirs.difference(&ours).cloned().collect());
        let mut message = format!("cluster_mode.cp_metadata_peers is not that of {reference}:");
        if !only_here.is_empty() {
            message += &format!(" only here {only_here};");
        }
        if !only_there.is_empty() {
            message += &format!(" only there {only_there};");
        }
        add(Rule::PeersDiffer, message + " all nodes have the same list");
    }
    if let (Some(here), Some(there)) = (&node.token, &first.token)
        && here != there
    {
        add(Rule::TokenDiffers, format!("the token is not that of {reference}: all nodes have the same one"));
    }
    let catalog = |node: &Configuration| node.catalog.clone().unwrap_or_else(|| "cp".to_owned());
    if catalog(node) != catalog(first) {
        let message = format!(
            "the catalog is '{}', and in {reference} '{}': all nodes have the same one",
            catalog(node),
            catalog(first)
        );
        add(Rule::CatalogDiffers, message);
    }
    if let (Some(here), Some(there)) = (&node.tls, &first.tls)
        && differ(&here.authority, &there.authority)
    {
        let message = format!(
            "the authority in {} is not that of {reference}: all nodes trust the same one",
            here.authority.display()
        );
        add(Rule::CaDiffers, message);
    }
}

fn check_distinct(earlier: &Configuration, node: &Configuration, findings: &mut Vec<Finding>) {
    let mut add = |rule, message: String| findings.push(Finding::new(rule, &node.file, message));
    let reference = earlier.file.display();
    if let Some(node_id) = &node.node_id
        && earlier.node_id.as_ref() == Some(node_id)
    {
        add(
            Rule::DuplicateNodeId,
            format!("the node's id '{node_id}' is also that of {reference}: each node has its own"),
        );
    }
    // Names say nothing about machines, but equal hosts are one machine.
    let same_machine =
        node.listen.host() == earlier.listen.host() || (node.listen.is_local() && earlier.listen.is_local());
    let own_machines = |node: &Configuration| node.own_peer().map(|peer| peer.endpoint.host().to_owned());
    let advertised_apart = own_machines(node).is_some()
        && own_machines(earlier).is_some()
        && own_machines(node) != own_machines(earlier);
    if !same_machine || (advertised_apart && !node.listen.is_local()) {
        return;
    }
    for (name, port) in ports(node) {
        if let Some((other, _)) = ports(earlier).into_iter().find(|(_, taken)| *taken == port) {
            let message =
                format!("{name} is {port}, which is {other} in {reference}, on the same machine: change one");
            add(Rule::DuplicateAddress, message);
        }
    }
    if node.data_dir == earlier.data_dir {
        let message = format!(
            "data_dir {} is also that of {reference}, on the same machine: give each node its own folder",
            node.data_dir.display()
        );
        add(Rule::SharedDataDir, message);
    }
}

fn check_complete(configurations: &[Configuration], findings: &mut Vec<Finding>) {
    let named: BTreeSet<_> = configurations.iter().filter_map(|node| node.node_id.as_ref()).collect();
    let first = &configurations[0];
    for peer in first.peers.iter().filter(|peer| !named.contains(&peer.node)) {
        let message =
            format!("no file was given for peer '{}': give all files to check them together", peer.node);
        findings.push(Finding::new(Rule::PeerWithoutFile, &first.file, message));
    }
}

fn peer_set(node: &Configuration) -> BTreeSet<String> {
    node.peers.iter().map(PeerSpec::to_string).collect()
}

/// Ports that a node takes; 0 is any free one and collides with nothing.
fn ports(node: &Configuration) -> Vec<(&'static str, u16)> {
    let admin = node.admin.as_ref().map(|admin| ("metrics.port", admin.port));
    let all = [Some(("cluster_mode.cp_metadata_port", node.listen.port())), admin];
    all.into_iter().flatten().filter(|(_, port)| *port != 0).collect()
}

/// Whether both files hold authorities and none of them is in both. While one authority replaces another, files hold
/// the old one and the new one.
fn differ(left: &Path, right: &Path) -> bool {
    let (left, right) = (certificates(left), certificates(right));
    !left.is_empty() && !right.is_empty() && left.is_disjoint(&right)
}

fn certificates(path: &Path) -> BTreeSet<Vec<u8>> {
    files::read(path).map(|text| certificate::certificates(&text).into_iter().collect()).unwrap_or_default()
}
