//! The footer that makes a shared library a DuckDB extension.
//!
//! DuckDB reads the last 512 bytes of the file before it loads it: eight text fields of 32 bytes in
//! reverse order, then 256 bytes of signature. An unsigned extension has zeroes there. Source:
//! `ParsedExtensionMetaData` in DuckDB's `extension_load.cpp`.

/// Bytes of one field; shorter values are padded with zeroes.
const FIELD_BYTES: usize = 32;
/// Fields in a footer, of which the last three are unused.
const FIELD_COUNT: usize = 8;
/// Bytes of the signature that follows the fields.
const SIGNATURE_BYTES: usize = 256;
/// Bytes that [`encode`] returns.
pub const FOOTER_BYTES: usize = FIELD_BYTES * FIELD_COUNT + SIGNATURE_BYTES;

/// The value of the first field, by which DuckDB recognises its extensions.
const MAGIC: &str = "4";
/// The extension uses DuckDB's C++ interface, so it fits exactly one version of DuckDB.
const ABI: &str = "CPP";

/// Returns the footer for an extension of `version` for DuckDB `duckdb_version` on `platform`.
///
/// Fails when a value is longer than a field, because DuckDB would read a cut-off value.
pub fn encode(platform: &str, duckdb_version: &str, version: &str) -> Result<Vec<u8>, String> {
    let fields = [MAGIC, platform, duckdb_version, version, ABI, "", "", ""];
    let mut footer = Vec::with_capacity(FOOTER_BYTES);
    for field in fields.iter().rev() {
        if field.len() > FIELD_BYTES {
            return Err(format!("the footer field \"{field}\" is longer than {FIELD_BYTES} bytes"));
        }
        footer.extend_from_slice(field.as_bytes());
        footer.resize(footer.len() + FIELD_BYTES - field.len(), 0);
    }
    footer.resize(FOOTER_BYTES, 0);
    Ok(footer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_in_reverse_order_before_an_empty_signature() {
        let footer = encode("linux_amd64", "v2.0.0", "0.1.0").unwrap();
        assert_eq!(footer.len(), 512);
        let field = |number: usize| {
            let text = String::from_utf8(footer[number * 32..(number + 1) * 32].to_vec()).unwrap();
            text.trim_end_matches('\0').to_owned()
        };
        assert_eq!(
            [field(7), field(6), field(5), field(4), field(3)],
            ["4", "linux_amd64", "v2.0.0", "0.1.0", "CPP"]
        );
        assert!(footer[256..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused() {
        let message = encode("linux_amd64", "v2.0.0", &"9".repeat(33)).unwrap_err();
        assert!(message.contains("longer than 32 bytes"), "{message}");
    }
}
