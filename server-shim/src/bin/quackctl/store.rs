//! Reading a node's store, a DuckDB file, without changing it.

use std::path::Path;

use quack_admin::quote;
use quack_host::duckdb::Connection;
use quack_offline::Stored;

/// Reads what the store holds beside the tables; nothing when no checkpoint was written yet.
pub fn read(path: &Path) -> Result<Option<Stored>, String> {
    let connection = Connection::open()?;
    let path = path.to_str().ok_or("the path must be UTF-8")?;
    connection.execute(&format!("ATTACH {} AS store (READ_ONLY)", quote(path)))?;
    let text = |sql: &str| -> Result<Option<String>, String> {
        let rows = connection.query(sql)?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    };
    let own = "FROM duckdb_tables() WHERE database_name = 'store' AND schema_name = 'quack_internal'";
    if text(&format!("SELECT count(*) {own} AND table_name IN ('owner', 'applied')"))?.as_deref() != Some("2")
    {
        return match text("SELECT table_name FROM duckdb_tables() WHERE database_name = 'store' LIMIT 1")? {
            None => Ok(None),
            Some(table) => Err(format!("it holds the table '{table}', but is no node's store")),
        };
    }
    let owner = "SELECT identity FROM store.quack_internal.owner";
    let owner = text(owner)?.ok_or("it does not say whose it is")?;
    // Commits in the midst of a cut have one position; the last one counts.
    let last = "FROM store.quack_internal.applied ORDER BY log_index DESC, rowid DESC LIMIT 1";
    let position = text(&format!("SELECT log_index {last}"))?;
    let position =
        position.map_or(Ok(0), |position| position.parse()).map_err(|_| "its position is no number")?;
    let state = text(&format!("SELECT hex(state) {last}"))?.unwrap_or_default();
    let state = bytes(&state).ok_or("its state is not in hexadecimal digits")?;
    Ok(Some(Stored { owner, position, state }))
}

/// The bytes that hexadecimal digits stand for.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_become_bytes() {
        assert_eq!(bytes("00ff7A"), Some(vec![0, 255, 122]));
        assert_eq!(bytes(""), Some(Vec::new()));
        assert_eq!(bytes("0g"), None);
    }
}
