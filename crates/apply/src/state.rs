//! What the applier keeps beside the tables, and how it is stored: in the same transaction as the rows.

use prost::Message;
use quack_proto::log::v1 as proto;
use quack_types::{GroupId, LogIndex, Place};

use crate::lanes::Lanes;
use crate::origins::Origins;

/// Stands for the table that a transaction makes itself, see `Rows.table_number`: the numbers of tables begin behind it.
pub const TABLE_MADE_HERE: u64 = 1;

/// Everything that decides about entries, at one place of the order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// The last entry of the root that is applied, all that it orders included.
    pub root: LogIndex,
    pub lanes: Lanes,
    pub origins: Origins,
    /// Whether SQL may place tables in groups.
    pub groups_enabled: bool,
    /// The last number that a table was given; 0 before tables are numbered.
    pub last_table: u64,
}

impl State {
    /// Where in the order this is.
    pub fn place(&self) -> Place {
        Place { root: self.root, lanes: self.lanes.applied() }
    }

    /// The last entry of a group that is applied; `None` when there is no such group.
    pub(crate) fn applied(&self, group: GroupId) -> Option<LogIndex> {
        if group == GroupId::ROOT { Some(self.root) } else { self.lanes.get(group).map(|lane| lane.applied) }
    }

    /// An entry has been applied.
    pub(crate) fn advance(&mut self, group: GroupId, index: LogIndex) {
        if group == GroupId::ROOT { self.root = index } else { self.lanes.advance(group, index) }
    }

    /// As bytes. The root's position is stored beside them.
    pub fn encode(&self) -> Vec<u8> {
        let (groups_enabled, last_table) = (self.groups_enabled, self.last_table);
        let mut state = proto::ApplierState { groups_enabled, last_table, ..proto::ApplierState::default() };
        self.origins.encode(&mut state);
        self.lanes.encode(&mut state);
        state.encode_to_vec()
    }

    /// Reads what [`encode`](Self::encode) has written at `root`.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn decode(root: LogIndex, bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let mut state = proto::ApplierState::decode(bytes)?;
        let lanes = Lanes::decode(&state);
        let (groups_enabled, last_table) = (state.groups_enabled, state.last_table);
        Ok(Self { root, lanes, origins: Origins::decode(&mut state), groups_enabled, last_table })
    }
}
