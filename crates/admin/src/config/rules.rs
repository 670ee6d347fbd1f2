//! The rules that one node's configuration obeys by itself, and with the files that it names.

use std::collections::BTreeSet;

use quack_net::PeerRole;
use quack_types::limits::TOKEN_CHARS_MIN;

use super::Configuration;
use crate::certificate;
use crate::{Finding, Rule};

/// Checks a configuration at a time in seconds since 1970.
pub fn check(configuration: &Configuration, now: i64, findings: &mut Vec<Finding>) {
    let mut add = |rule, message: String| findings.push(Finding::new(rule, &configuration.file, message));
    check_peers(configuration, &mut add);
    check_own_place(configuration, &mut add);
    check_token(configuration, &mut add);
    check_reach(configuration, &mut add);
    if let Some(tls) = &configuration.tls {
        match &configuration.node_id {
            Some(node_id) => findings.extend(certificate::check(tls, node_id.as_str(), now)),
            // Which names the certificate must have cannot be told; that has its own finding.
            None => findings.extend(certificate::check_authority(&tls.authority, now)),
        }
    }
}

fn check_peers(configuration: &Configuration, add: &mut impl FnMut(Rule, String)) {
    let peers = &configuration.peers;
    let mut names = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for peer in peers {
        if !names.insert(&peer.node) {
            add(Rule::DuplicatePeerId, format!("two peers are called '{}': give each its own id", peer.node));
        }
        if !addresses.insert(&peer.endpoint) {
            let message = format!("two peers are at {}: give each its own host or port", peer.endpoint);
            add(Rule::DuplicatePeerAddress, message);
        }
    }
    if peers.is_empty() {
        return;
    }
    let voters = peers.iter().filter(|peer| peer.role == PeerRole::Voter).count();
    if voters == 0 {
        add(
            Rule::NoVoter,
            "no peer is a voter, so that nothing can be decided: make one or three voters".to_owned(),
        );
    } else if voters.is_multiple_of(2) {
        let message = format!(
            "{voters} voters stand no more failures than {}: make it an odd number, or make one of them a learner",
            voters - 1
        );
        add(Rule::EvenVoters, message);
    }
}

fn check_own_place(configuration: &Configuration, add: &mut impl FnMut(Rule, String)) {
    let Some(node_id) = &configuration.node_id else { return };
    if configuration.peers.is_empty() {
        return;
    }
    match configuration.own_peer() {
        None => {
            let message = format!(
                "cluster_mode.cp_metadata_peers does not name this node, '{node_id}': all nodes have the same list, \
                 themselves included"
            );
            add(Rule::OwnNodeMissing, message);
        }
        Some(peer) if peer.endpoint.port() != configuration.listen.port() => {
            let message = format!(
                "this node listens at port {} (cluster_mode.cp_metadata_port), and its peer entry says {}: make them equal",
                configuration.listen.port(),
                peer.endpoint.port()
            );
            add(Rule::OwnPortDiffers, message);
        }
        Some(_) => {}
    }
}

fn check_token(configuration: &Configuration, add: &mut impl FnMut(Rule, String)) {
    let Some(token) = &configuration.token else { return };
    let count = token.expose().chars().count();
    if count < TOKEN_CHARS_MIN {
        let message = format!(
            "the token has {count} characters: give at least {TOKEN_CHARS_MIN}, such as `openssl rand -hex 32` prints"
        );
        add(Rule::TokenTooShort, message);
    }
}

fn check_reach(configuration: &Configuration, add: &mut impl FnMut(Rule, String)) {
    if configuration.tls.is_none() {
        if configuration.has_others() {
            let message = "there are other nodes, and nodes speak to each other over TLS only: set \
                           cluster_mode.tls.cert_path, key_path and ca_cert_path (`quackctl cert` makes them)";
            add(Rule::TlsRequired, message.to_owned());
        } else if !configuration.listen.is_local() && !configuration.allow_other_hostname {
            let message = format!(
                "{} is reached by other machines, without TLS: set cluster_mode.tls, listen at 127.0.0.1, or say \
                 `allow_other_hostname: true` if something else protects the network",
                configuration.listen
            );
            add(Rule::PlainBeyondLoopback, message);
        } else if configuration.require_tls {
            let message = "require_tls switches plain HTTP off, and there is no TLS, so that no client could connect: set \
                           cluster_mode.tls.cert_path, key_path and ca_cert_path, or leave require_tls out";
            add(Rule::TlsRequired, message.to_owned());
        }
    }
    let Some(admin) = &configuration.admin else { return };
    if admin.port != 0 && admin.port == configuration.listen.port() {
        let message =
            format!("metrics.port and cluster_mode.cp_metadata_port are both {}: change one", admin.port);
        add(Rule::SamePort, message);
    }
    let local = quack_net::Endpoint::new(&admin.host, admin.port).is_ok_and(|endpoint| endpoint.is_local());
    if !local {
        let message = format!(
            "other machines can reach metrics.host {}, and health and metrics require no token: keep it inside a \
             protected network",
            admin.host
        );
        add(Rule::AdminBeyondLoopback, message);
    }
}
