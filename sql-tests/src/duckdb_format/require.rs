//! What `require` asks for, and whether it is there.

use super::world::World;

/// A vector of this build of DuckDB.
const VECTOR_SIZE: u64 = 2048;
/// A block of a new database file.
const BLOCK_SIZE: u64 = 262_144;

/// Why the file cannot run, or nothing when the requirement is met.
///
/// Fails when it is written wrongly.
pub fn check(world: &World, words: &[String]) -> Result<Option<String>, String> {
    let words: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let met = match words.as_slice() {
        // Properties of a build, of its options and of the system.
        [
            "notmusl" | "notmingw" | "notwindows" | "longdouble" | "64bit" | "noforcestorage" | "nothreadsan",
        ]
        | ["strinline" | "skip_reload" | "no_alternative_verify" | "no_latest_storage"]
        | ["no_vector_verification" | "no_block_verification" | "allow_unsigned_extensions"] => true,
        ["mingw" | "windows"] => false,
        ["no_extension_autoloading", reason, ..] if reason.starts_with('"') => true,
        ["vector_size", number] => VECTOR_SIZE >= parse(number)?,
        ["exact_vector_size", number] => VECTOR_SIZE == parse(number)?,
        ["block_size", number] => BLOCK_SIZE == parse(number)?,
        ["ram" | "disk_space", _] => {
            return Ok(Some(format!("require {}: the runner does not measure it", words.join(" "))));
        }
        [extension] => return extension_loaded(world, extension),
        _ => return Err(format!("`require {}` is not known", words.join(" "))),
    };
    Ok((!met).then(|| format!("require {}", words.join(" "))))
}

fn parse(number: &str) -> Result<u64, String> {
    number.parse().map_err(|_| format!("`{number}` is no number"))
}

/// Only what is part of the build counts: a test does not depend on the network.
fn extension_loaded(world: &World, name: &str) -> Result<Option<String>, String> {
    let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !valid {
        return Err(format!("`{name}` is no name of an extension"));
    }
    let loaded = world.loaded_extensions().map_err(|error| error.to_string())?;
    if loaded.iter().any(|extension| extension == name) {
        return Ok(None);
    }
    Ok(Some(format!("require {name}: the extension is not part of DuckDB's Python package")))
}
