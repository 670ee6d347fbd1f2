//! Every key of `node.yaml`. `docs/configuration.md` describes each, and a test compares the two.

/// A key that may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its place: sections and name, with dots.
    pub path: &'static str,
    /// Why it is refused, for a key that has its meaning elsewhere and none here.
    pub unsupported: Option<&'static str>,
}

const fn key(path: &'static str) -> Key {
    Key { path, unsupported: None }
}

const fn unsupported(path: &'static str, reason: &'static str) -> Key {
    Key { path, unsupported: Some(reason) }
}

const NO_ROLES: &str =
    "cluster roles that are elected through an object store are not part of this version: leave it out";
const NO_PGWIRE: &str = "the PostgreSQL wire protocol is not part of this version: leave it out";

/// All keys, in the order of the page that describes them.
pub const KEYS: &[Key] = &[
    key("data_dir"),
    key("catalog"),
    key("listen_host"),
    key("allow_other_hostname"),
    key("require_tls"),
    key("allow_host_access"),
    key("allow_origins"),
    key("consistency"),
    key("max_connections"),
    key("idle_connection_timeout_secs"),
    key("idle_transaction_timeout_secs"),
    key("extension_path"),
    key("shutdown_timeout_secs"),
    key("cluster_mode.enabled"),
    key("cluster_mode.node_id"),
    key("cluster_mode.node_id_path"),
    key("cluster_mode.advertised_host"),
    key("cluster_mode.cp_metadata_enabled"),
    key("cluster_mode.cp_metadata_port"),
    key("cluster_mode.cp_metadata_peers"),
    key("cluster_mode.cp_metadata_token"),
    key("cluster_mode.cp_metadata_token_path"),
    key("cluster_mode.tls.enabled"),
    key("cluster_mode.tls.cert_path"),
    key("cluster_mode.tls.key_path"),
    key("cluster_mode.tls.ca_cert_path"),
    key("cluster_mode.tls.require_client_cert"),
    key("metrics.enabled"),
    key("metrics.host"),
    key("metrics.port"),
    key("metrics.flush_interval_ms"),
    key("metrics.stale_after_ms"),
    key("logging.format"),
    key("logging.level"),
    key("duckdb.threads"),
    key("duckdb.memory_limit"),
    unsupported("cluster_mode.public_host", NO_ROLES),
    unsupported("cluster_mode.public_tcp_port", NO_PGWIRE),
    unsupported("cluster_mode.internal_api_port", NO_ROLES),
    unsupported("cluster_mode.leader_heartbeat_interval_secs", NO_ROLES),
    unsupported("cluster_mode.leader_stale_threshold_secs", NO_ROLES),
    unsupported("cluster_mode.broker_heartbeat_interval_secs", NO_ROLES),
    unsupported("cluster_mode.broker_stale_threshold_secs", NO_ROLES),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_describes_every_key_and_no_other() {
        let page = include_str!("../../../../docs/configuration.md");
        let described: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(key, _)| key))
            .collect();
        let known: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
        assert_eq!(described, known);
    }
}
