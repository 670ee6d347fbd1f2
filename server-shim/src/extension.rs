//! Where the extension lies.

use std::path::{Path, PathBuf};

use quack_admin::quote;

/// The statement that loads the extension, as any user would: the `named` one, or the one beside this program.
pub fn load_statement(named: Option<&Path>) -> Result<String, String> {
    let file = match named {
        Some(file) => file.to_owned(),
        None => find()?,
    };
    Ok(format!("LOAD {}", quote(&file.to_string_lossy())))
}

fn find() -> Result<PathBuf, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
    let folder = program.parent().unwrap_or(&program);
    let name = "quack.duckdb_extension";
    let places = [folder.join(name), folder.join("../extension").join(name)];
    let found = places.into_iter().find(|place| place.exists());
    found.ok_or_else(|| {
        format!("{name} is not beside this program: name it with --extension, or extension_path in the configuration")
    })
}
