//! What a server tells about itself: the rows of SQL functions.

use std::time::SystemTime;

use quack_apply::StoreError;
use quack_cluster::Contract;
use quack_net::SessionInfo;
use time::OffsetDateTime;

use super::{DUCKDB_VERSION, Server, invalid, io, lock};

impl Server {
    /// The row that `quack_serve` returns. A token that the caller gave is not shown: rows land in logs and notebooks.
    pub fn serve_row(&self) -> Vec<Option<String>> {
        vec![Some(self.uri()), Some(self.network.url()), self.token_is_drawn.then(|| self.token.clone())]
    }

    /// The row of `quack_server_list`.
    pub fn list_row(&self) -> Vec<Option<String>> {
        vec![
            Some(self.uri()),
            Some(self.network.url()),
            Some(self.endpoint.host().to_owned()),
            Some(self.endpoint.port().to_string()),
            Some(self.network.active_connections().to_string()),
            self.running.get().map(|running| running.store.catalog()),
            Some(self.own.to_string()),
            Some(self.data_dir.display().to_string()),
            Some(self.network.sessions_max().to_string()),
            Some(self.network.accepts_connections().to_string()),
        ]
    }

    /// Rows of `quack_active_connections`: the sessions of clients.
    pub fn session_rows(&self) -> Vec<Vec<Option<String>>> {
        let row = |session: SessionInfo| {
            let state = match (session.is_active, session.in_transaction) {
                (true, _) => "active",
                (false, true) => "idle in transaction",
                (false, false) => "idle",
            };
            let (statement, began) = session.statement.unzip();
            vec![
                Some(self.uri()),
                Some(session.number.to_string()),
                statement,
                Some(state.to_owned()),
                began.map(timestamp),
                Some(session.from.to_string()),
                Some(timestamp(session.opened)),
                Some(session.silent_for.as_secs().to_string()),
            ]
        };
        self.network.sessions().into_iter().map(row).collect()
    }

    /// Closes the session of a client by its number; false when there is none.
    pub fn close_session(&self, number: u64) -> bool {
        self.network.close_session(number)
    }

    /// Rows of `quack_raft_status`: one for each group, or one that says what the node waits for.
    pub fn raft_rows(&self) -> Vec<Vec<Option<String>>> {
        let Some(running) = self.running.get() else {
            let failed = lock(&self.failed).as_ref().map(|error| error.message.clone());
            return vec![crate::status::waiting_row(&self.own, failed, &self.waiting_for())];
        };
        let roster = self.cluster.as_ref().map(|cluster| cluster.roster().clone());
        let name = |id| Some(roster.as_ref()?.node_of(id)?.to_string());
        let refusing = lock(&self.refusing).clone();
        let row = |status| crate::status::raft_row(status, refusing.as_deref());
        running.node.status(name).iter().map(row).collect()
    }

    /// Rows of `quack_group_status`.
    pub fn group_rows(&self) -> Vec<Vec<Option<String>>> {
        let Some(running) = self.running.get() else { return Vec::new() };
        let roster = self.cluster.as_ref().map(|cluster| cluster.roster().clone());
        let name = |id| Some(roster.as_ref()?.node_of(id)?.to_string());
        running.node.group_infos(name).iter().map(crate::status::group_row).collect()
    }

    /// Rows of `quack_metrics`.
    pub fn metric_rows(&self) -> Vec<Vec<Option<String>>> {
        let mut samples =
            crate::status::session_samples(&self.network.session_counts(), self.network.strangers_closed());
        samples.extend(self.cluster.iter().flat_map(|cluster| cluster.metrics()));
        samples.extend(self.running.get().iter().flat_map(|running| running.node.metrics()));
        samples.iter().map(|sample| crate::status::metric_row(&self.own, sample)).collect()
    }

    /// Rows of `quack_outcomes`.
    pub fn outcome_rows(&self) -> Vec<Vec<Option<String>>> {
        let Some(running) = self.running.get() else { return Vec::new() };
        let records = running.node.outcome_records();
        records.iter().map(|record| crate::status::outcome_row(&self.own, record)).collect()
    }

    /// Rows of `quack_nodes`.
    pub fn node_rows(&self) -> Vec<Vec<Option<String>>> {
        let Some(running) = self.running.get() else { return Vec::new() };
        match &self.cluster {
            Some(cluster) => {
                let committed = running.node.commit_index().0;
                cluster.nodes().iter().map(|view| crate::status::node_row(view, committed)).collect()
            }
            None => vec![crate::status::lone_row(&self.own, &self.endpoint, &running.node, DUCKDB_VERSION)],
        }
    }

    /// Rows of `quack_verify`: the nodes compared.
    pub fn verify_rows(&self) -> Result<Vec<Vec<Option<String>>>, StoreError> {
        let Some(cluster) = &self.cluster else {
            return Err(invalid("this node is alone: there is nothing to compare it with"));
        };
        let verdicts = cluster.verify().map_err(io)?;
        Ok(verdicts.iter().map(crate::status::verdict_row).collect())
    }

    /// Rows of `quack_multiraft_sql_contract_status`.
    pub fn contract_rows(&self) -> Vec<Vec<Option<String>>> {
        let Some(running) = self.running.get() else { return Vec::new() };
        let contract = match &self.cluster {
            Some(cluster) => cluster.contract(),
            None => Contract::alone(self.own.clone(), quack_apply::entry::VERSION, DUCKDB_VERSION),
        };
        crate::status::contract_rows(&running.store.catalog(), &contract, running.node.groups_enabled())
    }

    /// The row of `quack_state_hash`.
    pub fn hash_row(&self) -> Result<Vec<Option<String>>, StoreError> {
        let running = self.running.get().ok_or_else(|| self.not_ready())?;
        // What the store has been told of before the snapshot, and does not note by itself, has changed nothing in it.
        let applied = running.node.applied();
        let snapshot = running.store.snapshot_for_hash()?;
        let index = snapshot.position.max(applied);
        let hash = snapshot.run()?;
        Ok(vec![Some(running.store.catalog()), Some(index.to_string()), Some(hash)])
    }
}

/// A TIMESTAMP of DuckDB, in UTC.
fn timestamp(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let (date, (hour, minute, second, micros)) = (at.date(), at.time().as_hms_micro());
    format!("{date} {hour:02}:{minute:02}:{second:02}.{micros:06}")
}
