//! Standard error without a lock.
//!
//! The lock of the standard library's would stay locked in a child that is forked while another thread writes a line.
//! Lines come whole, so that there is nothing to keep together: one line is one `write`.

use std::io::{self, Write};
use std::os::fd::AsFd;

pub(crate) struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // `as_fd` does not lock.
        Ok(rustix::io::write(io::stderr().as_fd(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
