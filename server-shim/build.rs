//! `quackd`, which hosts a prebuilt DuckDB, must link the constructor that registers its core functions. `quackctl` is a
//! binary of the same package and must not: it hosts no DuckDB, and would become fifty times as large.

fn main() {
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    if std::env::var_os("CARGO_FEATURE_BUNDLED").is_none()
        && let Some(folder) = std::env::var_os("DUCKDB_LIB_DIR")
    {
        let library = std::path::Path::new(&folder).join("libduckdb_static_extension_autoregister.a");
        for argument in ["-Wl,--whole-archive", &library.to_string_lossy(), "-Wl,--no-whole-archive"] {
            println!("cargo:rustc-link-arg-bin=quackd={argument}");
        }
    }
    println!("cargo:rustc-link-lib=dylib=stdc++");
    println!("cargo:rustc-link-lib=dylib=dl");
}
