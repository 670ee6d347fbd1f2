//! `quack_backup`: a copy of the store of a node that runs, consistent at one position.
//!
//! It is the copy that a node which joins is sent: what a checkpoint has left in the file, with the next ones kept away until
//! it is done. Statements go on meanwhile, in the log and in memory.

use std::path::Path;
use std::time::Duration;

use quack_apply::StoreError;
use quack_node::{Backup, BackupOrigin};

use super::{Running, Server, io};

/// How long a checkpoint may take, and then what keeps its copy from beginning.
const BEGIN_TIME: Duration = Duration::from_secs(60);

impl Server {
    /// Writes a backup into a new or an empty folder. Returns the folder, the position that it holds at least, and its bytes.
    pub fn backup(&self, to: &str) -> Result<Vec<Option<String>>, StoreError> {
        let Some(running) = self.running.get() else { return Err(self.not_ready()) };
        let Running { node, store_file, .. } = running;
        if let Some(reason) = node.degraded() {
            return Err(io(format!("this node is degraded and backs nothing up, use another one: {reason}")));
        }
        node.checkpoint(BEGIN_TIME, &|| false).map_err(io)?;
        let file = store_file.open().map_err(io)?;
        let hold = node.hold_checkpoints(&format!("a backup into '{to}'"), BEGIN_TIME).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let identity = node.identity();
        let origin = BackupOrigin {
            cluster_id: identity.cluster_id,
            node_id: identity.node_id.clone(),
            incarnation: identity.incarnation,
        };
        let backup = Backup::write(Path::new(to), origin, &file, length, &|| hold.is_over()).map_err(io)?;
        tracing::info!(folder = to, position = %hold.place.root, bytes = backup.length, "backup written");
        Ok(vec![Some(to.to_owned()), Some(hold.place.root.to_string()), Some(backup.length.to_string())])
    }
}
