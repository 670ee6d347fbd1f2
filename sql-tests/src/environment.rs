//! Where the programs under test are; `make` sets these variables, with defaults for a build in place.

use std::path::{Path, PathBuf};

/// The files that every test needs.
#[derive(Clone, Debug)]
pub struct Environment {
    /// A Python with DuckDB 2.0.
    pub python: PathBuf,
    /// A Python with DuckDB 1.5 and the stock client.
    pub python_stock: PathBuf,
    /// The extension, with its footer.
    pub extension: PathBuf,
    /// The folder that `INSTALL quack FROM` takes.
    pub repository: PathBuf,
    /// The program that makes certificates; the differential runs need it.
    pub quackctl: PathBuf,
    /// The program that hosts DuckDB in either Python.
    pub worker: PathBuf,
}

impl Environment {
    /// Reads the environment variables.
    ///
    /// Fails when one of the files does not exist, with the target of `make` that makes it.
    pub fn read() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let file = |variable: &str, default: &str, target: &str| {
            let path = std::env::var_os(variable).map_or_else(|| root.join(default), PathBuf::from);
            match path.exists() {
                true => Ok(path),
                false => {
                    Err(format!("{} does not exist: run `make {target}`, or set {variable}", path.display()))
                }
            }
        };
        let extension = file("QUACK_EXTENSION", "dist/extension/quack.duckdb_extension", "dist")?;
        let quackctl = std::env::var_os("QUACK_CTL").map_or_else(
            || extension.parent().unwrap_or(Path::new("")).join("../bin/quackctl"),
            PathBuf::from,
        );
        Ok(Self {
            python: file("QUACK_PYTHON", ".venv-duckdb/bin/python", "venv")?,
            python_stock: file("QUACK_STOCK_PYTHON", ".venv-stock/bin/python", "venv")?,
            extension,
            quackctl,
            repository: file("QUACK_REPOSITORY", "dist/repository", "dist")?,
            worker: Path::new(env!("CARGO_MANIFEST_DIR")).join("python/quack_testing/worker.py"),
        })
    }
}
