//! Secrets: drawn from the operating system, compared in constant time.

use std::io;

use quack_wire::SessionId;
use subtle::ConstantTimeEq;

/// 16 bytes that no client can guess.
pub(crate) fn random_bytes() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A token for a server that was given none: 32 upper-case hexadecimal digits, like
/// those of the stock server.
///
/// # Errors
/// The operating system has no randomness to give.
pub fn random_token() -> io::Result<String> {
    Ok(SessionId::from_random(random_bytes()?).as_str().to_owned())
}

/// Compares a token with the right one, in a time that depends on their lengths only.
pub fn tokens_equal(given: &str, right: &str) -> bool {
    given.as_bytes().ct_eq(right.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_tokens_have_128_bits_and_differ() {
        let (a, b) = (random_token().unwrap(), random_token().unwrap());
        assert_ne!(a, b);
        assert!(SessionId::parse(&a).is_ok());
    }

    #[test]
    fn tokens_are_equal_only_as_a_whole() {
        assert!(tokens_equal("secret", "secret"));
        for other in ["", "secre", "secrets", "Secret", "secreT"] {
            assert!(!tokens_equal(other, "secret"), "{other}");
        }
    }
}
