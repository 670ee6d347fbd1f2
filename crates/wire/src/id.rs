//! The two identities of the protocol: a session and a result.

use std::fmt;

/// Names a session (the protocol calls it a connection): 32 upper-case hexadecimal
/// digits, drawn by the server. A client that knows it may use the session, so it is a
/// secret: `Debug` shows its first digits only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

/// Why a text is not a [`SessionId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session id has 32 upper-case hexadecimal digits")]
pub struct InvalidSessionId;

impl SessionId {
    /// Makes an id from 16 random bytes. They must come from a source that cannot be guessed.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("{:032X}", u128::from_be_bytes(bytes)))
    }

    /// Checks a text that a client has sent.
    pub fn parse(text: &str) -> Result<Self, InvalidSessionId> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
        if text.len() != 32 || !text.bytes().all(digit) {
            return Err(InvalidSessionId);
        }
        Ok(Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}…)", &self.0[..6])
    }
}

/// Names one result of one session: a UUID as DuckDB holds it, a 128-bit integer in two halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultId {
    /// The upper 64 bits, signed.
    pub upper: i64,
    /// The lower 64 bits.
    pub lower: u64,
}

impl ResultId {
    /// Makes a random UUID (RFC 9562, version 4) from 16 random bytes, in DuckDB's form:
    /// its highest bit is flipped, so that UUIDs sort like their text.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        let mut value = u128::from_be_bytes(bytes);
        value = (value & !(0xf << 76)) | (0x4 << 76);
        value = (value & !(0x3 << 62)) | (0x2 << 62);
        value ^= 1 << 127;
        Self { upper: (value >> 64) as u64 as i64, lower: value as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_keeps_leading_zeros_and_is_refused_in_any_other_form() {
        let id = SessionId::from_random([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]);
        assert_eq!(id.as_str(), "000102030405060708090A0B0C0D0EFF");
        assert_eq!(SessionId::parse(id.as_str()), Ok(id.clone()));
        for bad in
            ["", "000102030405060708090a0b0c0d0eff", "0", &"G".repeat(32), &"A".repeat(33), &"é".repeat(16)]
        {
            assert_eq!(SessionId::parse(bad), Err(InvalidSessionId), "{bad}");
        }
        assert_eq!(format!("{id:?}"), "SessionId(000102…)");
    }

    #[test]
    fn a_result_id_is_a_version_4_uuid_with_duckdbs_flipped_bit() {
        let id = ResultId::from_random([0xff; 16]);
        assert_eq!(id, ResultId { upper: 0x7fff_ffff_ffff_4fff, lower: 0xbfff_ffff_ffff_ffff });
        let id = ResultId::from_random([0; 16]);
        assert_eq!(id, ResultId { upper: i64::MIN | 0x4000, lower: 0x8000_0000_0000_0000 });
    }
}
