//! Randomness of the operating system: for what must differ between nodes and starts.

use std::fs::File;
use std::io::Read;

use crate::Error;

/// Sixteen random bytes as a number.
pub(crate) fn draw() -> Result<u128, Error> {
    let path = "/dev/urandom";
    let mut bytes = [0; 16];
    File::open(path).and_then(|mut file| file.read_exact(&mut bytes)).map_err(Error::io("read", path))?;
    Ok(u128::from_le_bytes(bytes))
}
