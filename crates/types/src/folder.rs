//! Names in a node's data folder that more than one crate looks for.

/// There while the node must not work with what it has: the next start has it rebuilt from its cluster.
pub const REBUILD: &str = "rebuild";

/// What the node has heard of its peers.
pub const WITNESSED: &str = "witnessed";
