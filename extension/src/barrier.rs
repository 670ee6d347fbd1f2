//! No panic leaves Rust for C++.

use std::panic::{AssertUnwindSafe, catch_unwind};

use quack_apply::StoreError;
use quack_apply::store::ErrorKind;

use crate::ffi;

/// Runs `body` for C++. Its error, or its panic, is reported through `error`, and `T::default()` returned instead.
pub fn call<T: Default>(error: *mut ffi::Error, body: impl FnOnce() -> Result<T, StoreError>) -> T {
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(StoreError::new(ErrorKind::INTERNAL, format!("the extension has a bug: {message}")))
    });
    match result {
        Ok(value) => value,
        Err(failure) => {
            // SAFETY: C++ passes a valid pointer; a failed call leaves it unused when it is null.
            if let Some(error) = unsafe { error.as_mut() } {
                error.set(&failure);
            }
            T::default()
        }
    }
}
