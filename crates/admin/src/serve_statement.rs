//! The SQL that starts a node: every value is a literal in quotes, so that none can become part of the statement.

use quack_net::PeerSpec;

use crate::config::Configuration;

/// A text as a SQL literal.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `CALL quack_serve(…)` with what the configuration says; what it does not say is left to the extension's defaults.
pub fn serve_statement(configuration: &Configuration) -> String {
    let path = |path: &std::path::Path| quote(&path.to_string_lossy());
    let mut arguments = vec![quote(&configuration.listen.to_string())];
    let mut add = |name: &str, value: String| arguments.push(format!("{name} := {value}"));
    add("data_dir", path(&configuration.data_dir));
    if let Some(token) = &configuration.token {
        add("token", quote(token.expose()));
    }
    if let Some(node_id) = &configuration.node_id {
        add("node_id", quote(node_id.as_str()));
    }
    if let Some(catalog) = &configuration.catalog {
        add("catalog", quote(catalog));
    }
    if !configuration.peers.is_empty() {
        let peers: Vec<_> =
            configuration.peers.iter().map(PeerSpec::to_string).map(|peer| quote(&peer)).collect();
        add("peers", format!("[{}]", peers.join(", ")));
    }
    if let Some(tls) = &configuration.tls {
        add("cert_file", path(&tls.certificate));
        add("key_file", path(&tls.key));
        add("client_ca_file", path(&tls.authority));
    }
    if configuration.allow_other_hostname {
        add("allow_other_hostname", "true".to_owned());
    }
    if configuration.require_tls {
        add("require_tls", "true".to_owned());
    }
    if configuration.allow_host_access {
        add("allow_host_access", "true".to_owned());
    }
    if !configuration.allow_origins.is_empty() {
        let origins: Vec<_> = configuration.allow_origins.iter().map(|origin| quote(origin)).collect();
        add("allow_origins", format!("[{}]", origins.join(", ")));
    }
    if let Some(consistency) = &configuration.consistency {
        add("consistency", quote(consistency));
    }
    for (name, number) in [
        ("max_connections", configuration.max_connections),
        ("idle_connection_timeout_secs", configuration.idle_connection_timeout_secs),
        ("idle_transaction_timeout_secs", configuration.idle_transaction_timeout_secs),
    ] {
        if let Some(number) = number {
            add(name, number.to_string());
        }
    }
    format!("CALL quack_serve({})", arguments.join(", "))
}

/// The statements that set up DuckDB before it serves.
pub fn setting_statements(configuration: &Configuration) -> Vec<String> {
    let threads = configuration.duckdb_threads.map(|threads| format!("SET threads = {threads}"));
    let memory = configuration.duckdb_memory_limit.as_deref();
    let memory = memory.map(|limit| format!("SET memory_limit = {}", quote(limit)));
    threads.into_iter().chain(memory).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::CertificateFiles;
    use crate::config::Secret;
    use quack_types::NodeId;

    fn minimal() -> Configuration {
        Configuration::new("/d".into(), "quack:127.0.0.1:1".parse().unwrap())
    }

    #[test]
    fn what_is_not_said_is_left_to_the_extension() {
        assert_eq!(serve_statement(&minimal()), "CALL quack_serve('quack:127.0.0.1:1', data_dir := '/d')");
        assert!(setting_statements(&minimal()).is_empty());
    }

    #[test]
    fn every_value_reaches_the_statement_in_quotes() {
        let mut configuration = minimal();
        configuration.data_dir = "/it's".into();
        configuration.token = Some(Secret::new("a'); DROP TABLE t; --"));
        configuration.node_id = Some(NodeId::new("n1").unwrap());
        configuration.catalog = Some("o'c".to_owned());
        configuration.peers =
            ["n0:voter=quack:h0:1", "n1:learner=quack:h1:2"].map(|peer| peer.parse().unwrap()).to_vec();
        configuration.tls = Some(CertificateFiles {
            certificate: "/c'rt".into(),
            key: "/key".into(),
            authority: "/ca".into(),
        });
        configuration.allow_other_hostname = true;
        configuration.require_tls = true;
        configuration.allow_host_access = true;
        configuration.allow_origins = vec!["https://a".to_owned()];
        configuration.consistency = Some("linearizable".to_owned());
        configuration.max_connections = Some(10);
        configuration.idle_connection_timeout_secs = Some(20);
        configuration.idle_transaction_timeout_secs = Some(30);
        let expected = "CALL quack_serve('quack:127.0.0.1:1', data_dir := '/it''s', token := 'a''); DROP TABLE t; --', \
                        node_id := 'n1', catalog := 'o''c', peers := ['n0:voter=quack:h0:1', 'n1:learner=quack:h1:2'], \
                        cert_file := '/c''rt', key_file := '/key', client_ca_file := '/ca', \
                        allow_other_hostname := true, require_tls := true, allow_host_access := true, \
                        allow_origins := ['https://a'], consistency := 'linearizable', max_connections := 10, \
                        idle_connection_timeout_secs := 20, idle_transaction_timeout_secs := 30)";
        assert_eq!(serve_statement(&configuration), expected);

        configuration.duckdb_threads = Some(3);
        configuration.duckdb_memory_limit = Some("1'GB".to_owned());
        assert_eq!(setting_statements(&configuration), ["SET threads = 3", "SET memory_limit = '1''GB'"]);
    }
}
