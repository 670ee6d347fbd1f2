//! A service that comes later than its server.
//!
//! A node that joins a cluster answers its peers long before its catalog is open. Until then clients are told what
//! they wait for, in the first answer of the protocol, so that they know that the node lives and may come again.

use std::sync::Arc;
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;

use crate::{Opening, Prepared, Service, ServiceError};

/// Answers `connect` with an error until the real service is there. No session can exist before.
pub(crate) struct LateService {
    service: OnceLock<Arc<dyn Service>>,
    waiting_for: Mutex<String>,
}

impl LateService {
    pub(crate) fn new() -> Self {
        Self { service: OnceLock::new(), waiting_for: Mutex::new("its catalog is being opened".to_owned()) }
    }

    /// From now on the service answers. A second one is dropped.
    pub(crate) fn open(&self, service: Arc<dyn Service>) {
        if self.service.set(service).is_err() {
            tracing::error!("a server was given a second service; it keeps the first");
        }
    }

    pub(crate) fn wait_for(&self, what: &str) {
        what.clone_into(&mut self.waiting_for.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn service(&self) -> Result<&dyn Service, ServiceError> {
        if let Some(service) = self.service.get() {
            return Ok(service.as_ref());
        }
        let what = self.waiting_for.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(ServiceError::new(
            "Connection",
            format!("this node is not ready yet: {what}; try again in a moment"),
        ))
    }
}

impl Service for LateService {
    fn connect(&self, session: &str, opening: &Opening) -> Result<(), ServiceError> {
        self.service()?.connect(session, opening)
    }

    fn prepare(&self, session: &str, sql: &str) -> Result<Prepared, ServiceError> {
        self.service()?.prepare(session, sql)
    }

    fn fetch(&self, session: &str) -> Result<Vec<Bytes>, ServiceError> {
        self.service()?.fetch(session)
    }

    fn append(&self, session: &str, schema: &str, table: &str, chunk: Bytes) -> Result<(), ServiceError> {
        self.service()?.append(session, schema, table, chunk)
    }

    fn is_in_transaction(&self, session: &str) -> bool {
        self.service.get().is_some_and(|service| service.is_in_transaction(session))
    }

    fn disconnect(&self, session: &str) -> Result<(), ServiceError> {
        self.service()?.disconnect(session)
    }

    fn interrupt(&self, session: &str) {
        if let Some(service) = self.service.get() {
            service.interrupt(session);
        }
    }
}
