//! The admin face over HTTP, and the client that asks it.

mod client;
mod server;

pub use client::{Answer, get};
pub use server::AdminServer;
