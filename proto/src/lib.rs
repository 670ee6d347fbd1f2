//! Messages that are stored or cross the network, generated from the `.proto` files beside this folder.
//!
//! No logic lives here. What the fields mean is written in the `.proto` files.

/// Log entries and their outcomes: `quack/log/v1/entry.proto`.
pub mod log {
    #[allow(missing_docs)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/quack.log.v1.rs"));
    }
}

/// What nodes say to each other: `quack/peer/v1/peer.proto`.
pub mod peer {
    #[allow(missing_docs)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/quack.peer.v1.rs"));
    }
}
