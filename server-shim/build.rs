//! `quackd`, which serves, and `quackctl`, which reads and writes the stores of nodes that do not run, host a DuckDB: both must
//! link the constructor that registers its core functions, where that DuckDB was compiled before.

fn main() {
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    if std::env::var_os("CARGO_FEATURE_BUNDLED").is_none()
        && let Some(folder) = std::env::var_os("DUCKDB_LIB_DIR")
    {
        let library = std::path::Path::new(&folder).join("libduckdb_static_extension_autoregister.a");
        for argument in ["-Wl,--whole-archive", &library.to_string_lossy(), "-Wl,--no-whole-archive"] {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
    }
    println!("cargo:rustc-link-lib=dylib=stdc++");
    println!("cargo:rustc-link-lib=dylib=dl");
}
