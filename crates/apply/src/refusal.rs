//! Refusals: outcomes of entries that had no effect, the same on every node.

use quack_proto::log::v1 as proto;

use crate::store::{ErrorKind, StoreError};

/// Longest message that is kept. DuckDB quotes values in its messages, and each refusal is written with every
/// transaction of the store until its origin has heard it.
const MESSAGE_BYTES_MAX: usize = 2048;

/// The refusal that a deterministic error of the store is.
pub(crate) fn of_error(error: &StoreError, conflict: bool) -> proto::Refused {
    let error_kind = u32::try_from(error.kind.0).unwrap_or_default();
    let mut message = error.message.clone();
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message.push_str(" ...");
    }
    proto::Refused { error_kind, message, conflict }
}

/// The refusal of a transaction, for a reason that does not depend on the content of the store.
pub(crate) fn of_transaction(message: impl Into<String>) -> proto::Refused {
    of_error(&StoreError::new(ErrorKind::TRANSACTION, message), false)
}

/// The refusal of a statement that has sent no rows for too long.
pub(crate) fn late() -> proto::Refused {
    of_transaction(
        "the statement was given up, and nothing of it has happened: since it last sent rows, 1 GiB of other writes have come, \
         and the log of every node cannot be released before it ends. Run it again, with rows that are at hand",
    )
}

/// The refusal of an entry whose commit has broken off more than once.
pub(crate) fn broken() -> proto::Refused {
    let message = "DuckDB cannot commit this: the commit has broken off on this node, before and after a restart. Report it \
                   with the statement";
    of_error(&StoreError::new(ErrorKind::INTERNAL, message), false)
}

/// A row that a transaction changes is not there any more.
pub(crate) fn conflict() -> proto::Refused {
    let message = "Conflict: a row that the statement changes has been changed or deleted since it was read";
    of_error(&StoreError::new(ErrorKind::TRANSACTION, message), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let error = StoreError::new(ErrorKind::CONSTRAINT, format!("a{}", "ü".repeat(MESSAGE_BYTES_MAX)));
        let refused = of_error(&error, false);
        assert_eq!(refused.message.len(), MESSAGE_BYTES_MAX - 1 + " ...".len());
        assert_eq!(of_error(&StoreError::new(ErrorKind::CONSTRAINT, "short"), false).message, "short");
    }
}
