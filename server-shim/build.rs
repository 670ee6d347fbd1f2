//! A program that hosts a prebuilt DuckDB must link the constructor that registers its core functions.

fn main() {
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    if std::env::var_os("CARGO_FEATURE_BUNDLED").is_none()
        && let Some(folder) = std::env::var_os("DUCKDB_LIB_DIR")
    {
        println!("cargo:rustc-link-search=native={}", folder.to_string_lossy());
        println!("cargo:rustc-link-lib=static:+whole-archive=duckdb_static_extension_autoregister");
    }
    println!("cargo:rustc-link-lib=dylib=stdc++");
    println!("cargo:rustc-link-lib=dylib=dl");
}
