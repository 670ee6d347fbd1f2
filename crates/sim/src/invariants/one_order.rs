//! One order: what any two nodes apply is a prefix of the same sequence of entries of all groups; a lane's number is
//! given once, and nothing of a lane is applied before its creation or behind its drop.
//!
//! Source: this project's design of lanes; the idea of one order made of many logs by cuts is Scalog's (NSDI'20).

use std::collections::BTreeMap;

use quack_types::{GroupId, LogIndex};

use super::{Invariant, Seen};
use crate::failure::Failure;

#[derive(Default)]
pub struct OneOrder {
    /// What was applied first, second, and so on.
    sequence: Vec<(GroupId, LogIndex)>,
    lanes: BTreeMap<GroupId, Life>,
}

/// When a lane was there, in numbers of the order.
struct Life {
    created: u64,
    dropped: Option<u64>,
}

fn broken(what: String) -> Result<(), Failure> {
    Err(Failure::safety("one order", what))
}

impl OneOrder {
    fn place(&mut self, node: u64, order: u64, at: (GroupId, LogIndex)) -> Result<(), Failure> {
        let number = order.saturating_sub(1) as usize;
        if number == self.sequence.len() {
            self.sequence.push(at);
        }
        if self.sequence.get(number) != Some(&at) {
            let first = self.sequence.get(number);
            return broken(format!("n{node} applies {at:?} as number {order}, another node {first:?}"));
        }
        let group = at.0;
        if group == GroupId::ROOT {
            return Ok(());
        }
        match self.lanes.get(&group) {
            Some(lane) if lane.created < order && lane.dropped.is_none_or(|dropped| order <= dropped) => {
                Ok(())
            }
            Some(lane) => broken(format!(
                "n{node} applies {at:?} as number {order}, but the lane was created at {} and dropped at {:?}",
                lane.created, lane.dropped
            )),
            None => broken(format!("n{node} applies {at:?}, and there is no such lane")),
        }
    }

    fn follow(
        &mut self,
        node: u64,
        order: u64,
        created: &[GroupId],
        dropped: &[GroupId],
    ) -> Result<(), Failure> {
        for group in created {
            let life = self.lanes.entry(*group).or_insert(Life { created: order, dropped: None });
            if life.created != order {
                let first = life.created;
                return broken(format!("n{node} creates lane {group} at {order}, it was created at {first}"));
            }
        }
        for group in dropped {
            let known = self.lanes.get_mut(group);
            let Some(at) = known.map(|life| *life.dropped.get_or_insert(order)) else {
                return broken(format!("n{node} drops lane {group}, which was never created"));
            };
            if at != order {
                return broken(format!("n{node} drops lane {group} at {order}, it was dropped at {at}"));
            }
        }
        Ok(())
    }
}

impl Invariant for OneOrder {
    fn observe(&mut self, seen: &Seen) -> Result<(), Failure> {
        match seen {
            Seen::Applied { node, group, entry, state, .. } => {
                self.place(*node, state.order, (*group, entry.index))
            }
            Seen::Lanes { node, order, created, dropped } => self.follow(*node, *order, created, dropped),
            _ => Ok(()),
        }
    }
}
