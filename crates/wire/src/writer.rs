//! Writes the encoding of DuckDB's `BinarySerializer`.
//!
//! Objects are sequences of a field id (u16, little endian) and a value, closed by
//! 0xFFFF; integers are LEB128. Long opaque strings are not copied: the output is
//! a list of segments, to be sent one after the other.

use bytes::{BufMut, Bytes, BytesMut};

use crate::ResultId;

/// Field id that closes an object.
pub(crate) const OBJECT_END: u16 = 0xffff;

/// An opaque string of at least this many bytes becomes a segment of its own. Below
/// it, copying costs less than one more buffer in the socket's write call.
const SEGMENT_BYTES_MIN: usize = 4096;

/// Collects one message.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    segments: Vec<Bytes>,
    tail: BytesMut,
}

impl Writer {
    pub(crate) fn field(&mut self, id: u16) {
        self.tail.put_u16_le(id);
    }

    pub(crate) fn end(&mut self) {
        self.tail.put_u16_le(OBJECT_END);
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.tail.put_u8(value);
    }

    pub(crate) fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.tail.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.tail.put_u8(value as u8);
    }

    pub(crate) fn signed(&mut self, mut value: i64) {
        loop {
            let bits = (value & 0x7f) as u8;
            value >>= 7;
            // Done when what is left is nothing but the sign that the last group already shows.
            if (value == 0 && bits & 0x40 == 0) || (value == -1 && bits & 0x40 != 0) {
                return self.tail.put_u8(bits);
            }
            self.tail.put_u8(bits | 0x80);
        }
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.unsigned(value.len() as u64);
        self.tail.put_slice(value.as_bytes());
    }

    /// A text field, left out when it is empty, as the serializer does with default values.
    pub(crate) fn text_field(&mut self, id: u16, value: &str) {
        if !value.is_empty() {
            self.field(id);
            self.text(value);
        }
    }

    /// A number field, left out when it is zero.
    pub(crate) fn unsigned_field(&mut self, id: u16, value: u64) {
        if value != 0 {
            self.field(id);
            self.unsigned(value);
        }
    }

    pub(crate) fn result_id(&mut self, id: ResultId) {
        self.signed(id.upper);
        self.unsigned(id.lower);
    }

    /// Bytes that are already encoded.
    pub(crate) fn raw(&mut self, bytes: &Bytes) {
        if bytes.len() < SEGMENT_BYTES_MIN {
            return self.tail.put_slice(bytes);
        }
        self.cut();
        self.segments.push(bytes.clone());
    }

    fn cut(&mut self) {
        if !self.tail.is_empty() {
            self.segments.push(self.tail.split().freeze());
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        self.cut();
        self.segments
    }
}
