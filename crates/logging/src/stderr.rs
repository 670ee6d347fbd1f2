//! Standard error without a lock, and without waiting.
//!
//! The lock of the standard library's would stay locked in a child that is forked while another thread writes a line.
//! Lines come whole, so that there is nothing to keep together: one line is one `write`.
//!
//! The threads that write lines are those that serve. Where standard error is a pipe that its reader does not empty, a line
//! is dropped.

use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags};

/// The offset that stands for where the file is.
const CURRENT: u64 = u64::MAX;

pub(crate) struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // `as_fd` does not lock.
        write_or_drop(io::stderr().as_fd(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what there is room for, at once; without room it says that all is written.
fn write_or_drop(file: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let mut polled = [PollFd::new(&file, PollFlags::OUT)];
    if poll(&mut polled, Some(&Timespec::default())) == Ok(0) {
        return Ok(bytes.len());
    }
    // Another thread may have taken the room since.
    match rustix::io::pwritev2(file, &[IoSlice::new(bytes)], CURRENT, ReadWriteFlags::NOWAIT) {
        Err(Errno::AGAIN) => Ok(bytes.len()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) => {
            Ok(rustix::io::write(file, bytes)?)
        }
        written => Ok(written?),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::write_or_drop;

    #[test]
    fn a_pipe_that_is_not_read_takes_what_there_is_room_for() {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let line = [b'x'; 1000];
        for _ in 0..1000 {
            assert_eq!(write_or_drop(writer.as_fd(), &line).expect("nothing fails"), line.len());
        }
        drop(writer);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("what was written");
        assert!(read.len() >= line.len() && read.len() < 1000 * line.len(), "{}", read.len());
    }

    #[test]
    fn a_file_takes_every_line() {
        let file = tempfile();
        for _ in 0..1000 {
            assert_eq!(write_or_drop(file.as_fd(), b"a line\n").expect("there is room"), 7);
        }
        assert_eq!(file.metadata().expect("a file").len(), 7000);
    }

    fn tempfile() -> std::fs::File {
        let path = std::env::temp_dir().join(format!("quack-logging-{}", std::process::id()));
        let file = std::fs::File::create(&path).expect("a folder for temporary files");
        std::fs::remove_file(&path).expect("it is there");
        file
    }
}
