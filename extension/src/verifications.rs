//! Hashes of the store at the positions of verifications.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quack_node::STACK_BYTES;

use crate::store::StateHasher;

/// Verifications that are remembered.
const KEPT: usize = 16;

/// What this node has found at each verification, by its number: `None` while it is being hashed.
#[derive(Default)]
pub struct Verifications(Mutex<BTreeMap<u64, Option<Result<String, String>>>>);

impl Verifications {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Option<Result<String, String>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, number: u64, found: Option<Result<String, String>>) {
        let mut known = self.lock();
        while known.len() >= KEPT {
            known.pop_first();
        }
        known.insert(number, found);
    }

    /// Notes that there is nothing to hash.
    pub fn fail(&self, number: u64, reason: String) {
        tracing::warn!(number, reason, "a verification could not begin");
        self.remember(number, Some(Err(reason)));
    }

    /// Hashes a snapshot on a thread of its own: applying goes on meanwhile.
    pub fn begin(self: &Arc<Self>, number: u64, snapshot: StateHasher) {
        self.remember(number, None);
        let this = self.clone();
        let run = move || {
            let position = snapshot.position;
            let found = snapshot.run().map_err(|error| error.message);
            tracing::info!(number, %position, ?found, "verification");
            if let Some(result) = this.lock().get_mut(&number) {
                *result = Some(found);
            }
        };
        if let Err(error) =
            std::thread::Builder::new().name("quack-verify".to_owned()).stack_size(STACK_BYTES).spawn(run)
        {
            self.lock().insert(number, Some(Err(format!("no thread to verify on: {error}"))));
        }
    }

    /// The hash of a verification; `None` while it is not known.
    pub fn get(&self, number: u64) -> Result<Option<String>, String> {
        self.lock().get(&number).cloned().flatten().transpose()
    }
}
