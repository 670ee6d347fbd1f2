//! `quackd`, which serves, and `quackctl`, which reads and writes the stores of nodes that do not run, host a DuckDB: both must
//! link the constructor that registers its core functions, where that DuckDB was compiled before. From DuckDB 2.0.1 on they
//! also bring what opens the extension's file.

fn main() {
    println!("cargo:rerun-if-env-changed=QUACK_DUCKDB_VERSION");
    println!("cargo:rerun-if-changed=src/open_libraries.cpp");
    let version = std::env::var("QUACK_DUCKDB_VERSION").unwrap_or_default();
    let patch = version.rsplit('.').next().filter(|patch| patch.parse::<u32>().is_ok());
    let patch = patch.expect("QUACK_DUCKDB_VERSION names the DuckDB that is built for; `make` sets it");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .include(std::env::var("DEP_DUCKDB_INCLUDE").unwrap_or_default())
        // DuckDB's own classes change layout with assertions, so this must match how it was compiled.
        .define("NDEBUG", None)
        .define("QUACK_DUCKDB_PATCH", patch)
        .flag_if_supported("-Wno-unused-parameter")
        .file("src/open_libraries.cpp")
        .compile("quackd_libraries");
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
