//! What the applier keeps beside the tables, and how it is stored: in the same transaction as the rows.

use prost::Message;
use quack_proto::log::v1 as proto;
use quack_types::{GroupId, LogIndex, Mark, Place};

use crate::digest::Digest;
use crate::entry;
use crate::lanes::Lanes;
use crate::origins::Origins;
use crate::revisions::Revisions;

/// Stands for the table that a transaction makes itself, see `Rows.table_number`. No table has it, nor 0: see
/// [`State::numbers_behind`].
pub const TABLE_MADE_HERE: u64 = 1;

/// Most tables that one entry can give numbers to, as a power of two.
const TABLES_BITS: u32 = 20;

/// Why what is stored beside the tables cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("the applier's state is damaged: {0}")]
    Damaged(String),
    #[error("the store was {}", entry::OLDER)]
    Older,
    #[error(
        "the store was written by a newer release, in format {found}; this one reads format {}: install the newer release",
        entry::VERSION
    )]
    Newer { found: u32 },
}

/// Everything that decides about entries, at one place of the order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// The last entry of the root that is applied, all that it orders included.
    pub root: LogIndex,
    pub lanes: Lanes,
    pub origins: Origins,
    /// Whether SQL may place tables in groups.
    pub groups_enabled: bool,
    /// Counts the transactions that have changed the catalog, and the tables that have been given numbers.
    pub catalog_version: u64,
    /// When rows were changed last.
    pub revisions: Revisions,
    /// Of all outcomes up to here.
    pub digest: Digest,
    /// Bytes of the proposals that the log has brought so far, each with an overhead.
    pub log_bytes: u64,
}

impl State {
    /// Where in the order this is.
    pub fn place(&self) -> Place {
        Place { root: self.root, lanes: self.lanes.applied() }
    }

    /// The digest behind the last entry of the root. To be asked when that has just been applied: later on, entries of
    /// lanes may have come that the next one orders.
    pub(crate) fn mark(&self) -> Mark {
        Mark { root: self.root, digest: self.digest.0 }
    }

    /// Behind which number those of the tables begin that the last entry of the root makes: its position decides alone,
    /// so that a number says nothing of what became of the entries before.
    pub(crate) fn numbers_behind(&self) -> u64 {
        (self.root.0 << TABLES_BITS).saturating_sub(1)
    }

    /// Where the numbers of tables end that are there behind the last entry of the root.
    pub(crate) fn numbers_end(&self) -> u64 {
        self.root.0.saturating_add(1) << TABLES_BITS
    }

    /// Whether an entry can give so many numbers.
    pub(crate) fn can_number(tables: u64) -> bool {
        tables <= 1 << TABLES_BITS
    }

    /// The last entry of a group that is applied; `None` when there is no such group.
    pub(crate) fn applied(&self, group: GroupId) -> Option<LogIndex> {
        if group == GroupId::ROOT { Some(self.root) } else { self.lanes.get(group).map(|lane| lane.applied) }
    }

    /// An entry has been applied.
    pub(crate) fn advance(&mut self, group: GroupId, index: LogIndex) {
        if group == GroupId::ROOT { self.root = index } else { self.lanes.advance(group, index) }
    }

    /// The log has brought a proposal. A statement that has not gone on for long gives way.
    pub(crate) fn grow(&mut self, bytes: u64) {
        self.log_bytes += bytes;
        self.origins.expire(self.log_bytes);
    }

    /// As bytes. The root's position is stored beside them.
    pub fn encode(&self) -> Vec<u8> {
        let mut state = proto::ApplierState {
            groups_enabled: self.groups_enabled,
            version: entry::VERSION,
            digest: self.digest.0,
            catalog_version: self.catalog_version,
            log_bytes: self.log_bytes,
            ..proto::ApplierState::default()
        };
        self.origins.encode(&mut state);
        self.lanes.encode(&mut state);
        self.revisions.encode(&mut state);
        state.encode_to_vec()
    }

    /// Reads what [`encode`](Self::encode) has written at `root`; a store that is new holds nothing.
    ///
    /// # Errors
    /// The bytes are damaged, or of another format.
    pub fn decode(root: LogIndex, bytes: &[u8]) -> Result<Self, StateError> {
        if root == LogIndex(0) && bytes.is_empty() {
            return Ok(Self::default());
        }
        let damaged = |error: prost::DecodeError| StateError::Damaged(error.to_string());
        let mut state = proto::ApplierState::decode(bytes).map_err(damaged)?;
        match state.version {
            entry::VERSION => {}
            found if found > entry::VERSION => return Err(StateError::Newer { found }),
            _ => return Err(StateError::Older),
        }
        let (digest, catalog_version) = (Digest(state.digest), state.catalog_version);
        let log_bytes = state.log_bytes;
        let (lanes, groups_enabled) = (Lanes::decode(&state), state.groups_enabled);
        let revisions = Revisions::decode(&state);
        Ok(Self {
            root,
            lanes,
            origins: Origins::decode(&mut state),
            groups_enabled,
            catalog_version,
            revisions,
            digest,
            log_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_being_stored_and_another_format_is_refused_in_words() {
        let state = State {
            root: LogIndex(9),
            catalog_version: 3,
            digest: Digest(77),
            log_bytes: 5,
            ..State::default()
        };
        assert_eq!(State::decode(LogIndex(9), &state.encode()), Ok(state.clone()));
        assert_eq!(State::decode(LogIndex(0), &[]), Ok(State::default()));
        let of = |version| {
            let stored = proto::ApplierState { version, groups_enabled: true, ..Default::default() };
            State::decode(LogIndex(9), &stored.encode_to_vec()).unwrap_err().to_string()
        };
        for older in [of(0), of(entry::VERSION - 1), State::decode(LogIndex(9), &[]).unwrap_err().to_string()]
        {
            assert_eq!(older, "the store was written by an older release: start with an empty folder");
        }
        assert!(of(entry::VERSION + 1).ends_with("install the newer release"));
        assert!(matches!(State::decode(LogIndex(9), &[1]), Err(StateError::Damaged(_))));
    }

    #[test]
    fn numbers_of_tables_are_their_entrys_own() {
        let behind = |root| State { root: LogIndex(root), ..State::default() }.numbers_behind();
        assert!(behind(1) >= TABLE_MADE_HERE, "0 and 1 are no table's");
        assert_eq!(behind(2) - behind(1), 1 << TABLES_BITS);
        assert!(State::can_number(behind(2) - behind(1)) && !State::can_number(behind(2) - behind(1) + 1));
    }
}
