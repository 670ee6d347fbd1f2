//! `xtask dist`: from the release build to files that DuckDB and its users take.
//!
//! The library is copied, stripped (DuckDB's symbols are three quarters of its size), and gets DuckDB's
//! footer. The result is written to a new name and renamed, so that a process that has the old file
//! loaded keeps its pages.

use std::env::consts::{ARCH, OS};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::footer;

const EXTENSION_FILE: &str = "quack.duckdb_extension";
/// Programs for `dist/bin`.
const PROGRAMS: [&str; 2] = ["quackd", "quackctl"];

/// Makes `dist/` from what `cargo build --release` left in the target folder.
pub fn run() -> Result<(), String> {
    let root = workspace_root()?;
    let built = std::env::var_os("QUACK_BUILT").ok_or("QUACK_BUILT is not set: run `make dist`")?;
    let release = Path::new(&built).join("release");
    let dist = root.join("dist");
    let platform = platform()?;

    let plain = dist.join("extension").join(EXTENSION_FILE);
    make_extension(&release.join("libquack.so"), &plain)?;
    let packed =
        dist.join("repository").join(duckdb_version()?).join(platform).join(format!("{EXTENSION_FILE}.gz"));
    compress(&plain, &packed)?;
    let mut made = vec![plain, packed];
    for name in PROGRAMS {
        let program = dist.join("bin").join(name);
        replace(&program, &read(&release.join(name))?)?;
        make_executable(&program)?;
        made.push(program);
    }
    for path in &made {
        println!("{}", describe(&root, path)?);
    }
    write_manifest(&dist)
}

/// Writes `dist/manifest.json`: the path, bytes and SHA-256 of every file in `dist`.
fn write_manifest(dist: &Path) -> Result<(), String> {
    let manifest = dist.join("manifest.json");
    let mut files = Vec::new();
    let mut folders = vec![dist.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| about(&folder, &error))? {
            let path = entry.map_err(|error| about(&folder, &error))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path != manifest {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut rows = Vec::new();
    for path in files {
        let content = read(&path)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &content);
        let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let name = path.strip_prefix(dist).unwrap_or(&path);
        rows.push(json!({ "path": name.to_string_lossy(), "bytes": content.len(), "sha256": hash }));
    }
    let text = serde_json::to_string_pretty(&json!({ "version": env!("CARGO_PKG_VERSION"), "files": rows }));
    replace(&manifest, format!("{}\n", text.map_err(|error| error.to_string())?).as_bytes())
}

/// The root of the checkout from which cargo runs this program. Two checkouts may share what is built, so that the
/// folder at build time says nothing.
pub fn workspace_root() -> Result<PathBuf, String> {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").ok_or("run this program by `cargo run -p xtask`")?;
    let root = Path::new(&manifest).parent().map(Path::to_path_buf);
    root.ok_or_else(|| "xtask does not stand in a workspace".to_owned())
}

/// Where cargo builds: `CARGO_TARGET_DIR`, or `target` in the checkout.
pub fn target_dir(root: &Path) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root.join(folder),
        None => root.join("target"),
    }
}

/// The DuckDB that the extension is built for, such as `v2.0.1`.
fn duckdb_version() -> Result<String, String> {
    let version = std::env::var("QUACK_DUCKDB_VERSION");
    version
        .map(|version| format!("v{version}"))
        .map_err(|_| "QUACK_DUCKDB_VERSION is not set: run `make dist`".to_owned())
}

/// DuckDB's name for the platform that this program was built for.
fn platform() -> Result<&'static str, String> {
    match (OS, ARCH) {
        ("linux", "x86_64") => Ok("linux_amd64"),
        ("linux", "aarch64") => Ok("linux_arm64"),
        _ => Err(format!("{OS} on {ARCH} is not supported: build on Linux, x86-64 or arm64")),
    }
}

/// Makes a file that DuckDB loads, for this platform, from a library that was built.
pub fn make_extension(library: &Path, destination: &Path) -> Result<(), String> {
    let stripped = destination.with_extension("stripped");
    replace(&stripped, &read(library)?)?;
    let status = Command::new("strip")
        .arg("--strip-all")
        .arg(&stripped)
        .status()
        .map_err(|error| format!("cannot run `strip` (Debian package binutils): {error}"))?;
    if !status.success() {
        return Err(format!("`strip {}` ended with {status}", stripped.display()));
    }
    add_footer(&stripped, destination)?;
    fs::remove_file(&stripped).map_err(|error| about(&stripped, &error))
}

/// The same, with all symbols of the library.
pub fn add_footer(library: &Path, destination: &Path) -> Result<(), String> {
    let mut bytes = read(library)?;
    bytes.extend(footer::encode(platform()?, &duckdb_version()?, env!("CARGO_PKG_VERSION"))?);
    replace(destination, &bytes)
}

fn compress(source: &Path, destination: &Path) -> Result<(), String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let packed = encoder.write_all(&read(source)?).and_then(|()| encoder.finish());
    replace(destination, &packed.map_err(|error| about(destination, &error))?)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}; run `make build` first", about(path, &error)))
}

/// Writes `bytes` under a temporary name beside `path`, then renames.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let folder = path.parent().ok_or_else(|| format!("{} has no folder", path.display()))?;
    fs::create_dir_all(folder).map_err(|error| about(folder, &error))?;
    let temporary = path.with_extension("new");
    let written = File::create(&temporary).and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| about(&temporary, &error))?;
    fs::rename(&temporary, path).map_err(|error| about(path, &error))
}

fn make_executable(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(|error| about(path, &error))
}

fn describe(root: &Path, path: &Path) -> Result<String, String> {
    let bytes = fs::metadata(path).map_err(|error| about(path, &error))?.len();
    let name = path.strip_prefix(root).unwrap_or(path);
    Ok(format!("{:>7.1} MB  {}", bytes as f64 / 1e6, name.display()))
}

fn about(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
