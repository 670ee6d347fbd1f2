//! Reads the encoding of DuckDB's `BinarySerializer`, strictly and within bounds.
//!
//! Invariants: the position never passes the end; no method allocates more than
//! the bytes that it has already seen are long; no input makes a method panic.

use bytes::Bytes;

use crate::writer::OBJECT_END;
use crate::{Error, ResultId};

/// A position in the bytes of one message.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    bytes: Bytes,
    position: usize,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The bytes between two positions, without a copy.
    pub(crate) fn slice(&self, from: usize, to: usize) -> Bytes {
        self.bytes.slice(from..to)
    }

    /// Everything that is left, without a copy.
    pub(crate) fn rest(&self) -> Bytes {
        self.bytes.slice(self.position..)
    }

    /// Passes over `count` bytes and returns them.
    pub(crate) fn take(&mut self, count: u64) -> Result<&[u8], Error> {
        if count > self.remaining() as u64 {
            return Err(Error::Truncated);
        }
        let from = self.position;
        self.position += count as usize;
        Ok(&self.bytes[from..self.position])
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        let byte = *self.bytes.get(self.position).ok_or(Error::Truncated)?;
        self.position += 1;
        Ok(byte)
    }

    fn peek_field(&self) -> Result<u16, Error> {
        match self.bytes.get(self.position..self.position + 2) {
            Some(&[low, high]) => Ok(u16::from_le_bytes([low, high])),
            _ => Err(Error::Truncated),
        }
    }

    /// Passes over the id of a field that must come next.
    pub(crate) fn field(&mut self, expected: u16) -> Result<(), Error> {
        let found = self.peek_field()?;
        if found != expected {
            return Err(Error::FieldMismatch { expected, found });
        }
        self.position += 2;
        Ok(())
    }

    /// Passes over the id of a field that may come next; says whether it did.
    pub(crate) fn optional_field(&mut self, id: u16) -> Result<bool, Error> {
        let present = self.peek_field()? == id;
        if present {
            self.position += 2;
        }
        Ok(present)
    }

    /// Passes over the end of an object.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        let found = self.peek_field()?;
        if found != OBJECT_END {
            return Err(Error::UnknownField { found });
        }
        self.position += 2;
        Ok(())
    }

    /// Checks that the message is over.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(Error::TrailingBytes { count }),
        }
    }

    /// Unsigned LEB128 of at most 64 bits.
    pub(crate) fn unsigned(&mut self, what: &'static str) -> Result<u64, Error> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Error::NumberOutOfRange { what });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::NumberOutOfRange { what })
    }

    /// Signed LEB128 of at most 64 bits.
    pub(crate) fn signed(&mut self, what: &'static str) -> Result<i64, Error> {
        let mut value = 0_i64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = i64::from(byte & 0x7f);
            // The tenth group has one bit of the value; the rest of it must repeat the sign.
            if shift == 63 && bits != 0 && bits != 0x7f {
                return Err(Error::NumberOutOfRange { what });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if shift < 63 && byte & 0x40 != 0 {
                    value |= -1 << (shift + 7);
                }
                return Ok(value);
            }
        }
        Err(Error::NumberOutOfRange { what })
    }

    pub(crate) fn boolean(&mut self, what: &'static str) -> Result<bool, Error> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::Invalid { what }),
        }
    }

    /// A length or count, checked against its own limit and against what is left of
    /// the message: an item takes a byte at least.
    pub(crate) fn length(&mut self, what: &'static str, max: usize) -> Result<usize, Error> {
        let found = self.unsigned(what)?;
        if found > max as u64 {
            return Err(Error::TooLong { what, found, max: max as u64 });
        }
        if found > self.remaining() as u64 {
            return Err(Error::Truncated);
        }
        Ok(found as usize)
    }

    /// A text of at most `bytes_max` bytes.
    pub(crate) fn text(&mut self, what: &'static str, bytes_max: usize) -> Result<String, Error> {
        let length = self.length(what, bytes_max)?;
        let bytes = self.take(length as u64)?;
        let text = std::str::from_utf8(bytes).map_err(|_| Error::NotUtf8)?;
        Ok(text.to_owned())
    }

    /// A text field that is left out when it is empty.
    pub(crate) fn text_field(
        &mut self,
        id: u16,
        what: &'static str,
        bytes_max: usize,
    ) -> Result<String, Error> {
        if self.optional_field(id)? { self.text(what, bytes_max) } else { Ok(String::new()) }
    }

    /// A number field that is left out when it is zero.
    pub(crate) fn unsigned_field(&mut self, id: u16, what: &'static str) -> Result<u64, Error> {
        if self.optional_field(id)? { self.unsigned(what) } else { Ok(0) }
    }

    pub(crate) fn result_id(&mut self, what: &'static str) -> Result<ResultId, Error> {
        Ok(ResultId { upper: self.signed(what)?, lower: self.unsigned(what)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Writer;

    fn reader(bytes: &[u8]) -> Reader {
        Reader::new(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn numbers_at_every_edge_come_back() {
        let mut edges = vec![0_u64, u64::MAX];
        edges.extend((0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]));
        for value in edges {
            for signed in [value as i64, (value as i64).wrapping_neg()] {
                let mut writer = Writer::default();
                writer.unsigned(value);
                writer.signed(signed);
                let mut reader = reader(&writer.finish()[0]);
                assert_eq!(reader.unsigned("n"), Ok(value));
                assert_eq!(reader.signed("n"), Ok(signed));
                assert_eq!(reader.finish(), Ok(()));
            }
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let out_of_range = Err(Error::NumberOutOfRange { what: "n" });
        let nine = [0xff_u8; 9];
        assert_eq!(reader(&[&nine[..], &[0x02]].concat()).unsigned("n"), out_of_range);
        assert_eq!(reader(&[0xff; 20]).unsigned("n"), out_of_range);
        assert_eq!(reader(&[0xff; 9]).unsigned("n"), Err(Error::Truncated));
        let out_of_range = Err(Error::NumberOutOfRange { what: "n" });
        assert_eq!(reader(&[&nine[..], &[0x01]].concat()).signed("n"), out_of_range);
        assert_eq!(reader(&[&nine[..], &[0xff, 0]].concat()).signed("n"), out_of_range);
    }

    #[test]
    fn a_length_is_checked_against_its_limit_and_against_the_input() {
        assert_eq!(
            reader(&[5, b'a']).text("name", 4),
            Err(Error::TooLong { what: "name", found: 5, max: 4 })
        );
        assert_eq!(reader(&[4, b'a']).text("name", 4), Err(Error::Truncated));
        assert_eq!(reader(&[1, 0xff]).text("name", 4), Err(Error::NotUtf8));
    }
}
