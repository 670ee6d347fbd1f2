//! Logs of the extension: only when the environment asks for them, because standard error is the host's.

use crate::barrier;
use crate::ffi::Error;
use crate::serve::invalid;

#[unsafe(no_mangle)]
extern "C" fn quack_rs_start_logging(error: *mut Error) {
    barrier::call(error, || {
        let settings = quack_logging::Settings::from_environment().map_err(invalid)?;
        match settings.directives {
            Some(directives) => {
                quack_logging::start(&directives, settings.format.unwrap_or_default()).map_err(invalid)
            }
            None => Ok(()),
        }
    });
}
