//! Compiles the C++ side of the extension against DuckDB's headers and tells the linker what a loadable extension
//! needs.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=extension/cpp");
    println!("cargo:rerun-if-env-changed=QUACK_DUCKDB_VERSION");
    let version = std::env::var("QUACK_DUCKDB_VERSION");
    let version = version.expect("QUACK_DUCKDB_VERSION names the DuckDB that is built for; `make` sets it");
    println!("cargo:rustc-env=QUACK_DUCKDB_VERSION=v{version}");
    let patch = version.strip_prefix("2.0.").filter(|patch| patch.parse::<u32>().is_ok());
    let patch = patch.unwrap_or_else(|| panic!("QUACK_DUCKDB_VERSION is {version}; 2.0.x is supported"));
    let include = PathBuf::from(std::env::var("DEP_DUCKDB_INCLUDE").unwrap_or_default());
    let mut sources: Vec<PathBuf> = std::fs::read_dir("extension/cpp")
        .expect("extension/cpp is part of the checkout")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "cpp"))
        .collect();
    sources.sort();
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .include(&include)
        .include("extension/cpp/include")
        .include("extension/cpp/include/headers_only")
        // DuckDB's own classes change layout with assertions, so this must match how it was compiled.
        .define("NDEBUG", None)
        .define("QUACK_DUCKDB_PATCH", patch)
        .define("QUACK_DUCKDB_VERSION", format!("\"v{version}\"").as_str())
        .flag("-ffunction-sections")
        .flag("-fdata-sections")
        .flag("-fvisibility=hidden")
        .flag_if_supported("-Wno-unused-parameter")
        .opt_level(2)
        .warnings(true);
    let headers = precompile(&build);
    build.flag("-include").flag(headers.as_os_str()).files(&sources).compile("quack_bridge");
    // Of this library only the entry point is for the host; its symbols never mix with the host's own DuckDB.
    for argument in
        ["-Wl,-Bsymbolic", "-Wl,--gc-sections", "-Wl,--exclude-libs,ALL", "-Wl,--wrap=__cxa_atexit"]
    {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
    println!("cargo:rustc-link-lib=dylib=stdc++");
    println!("cargo:rustc-link-lib=dylib=dl");
}

/// Compiles DuckDB's headers once for all files, which spend most of their time there; the header to include first.
fn precompile(build: &cc::Build) -> PathBuf {
    let folder = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    let header = folder.join("duckdb_headers.hpp");
    std::fs::copy("extension/cpp/include/duckdb_headers.hpp", &header).expect("OUT_DIR can be written");
    let mut compiler = build.get_compiler().to_command();
    compiler.args(["-x", "c++-header"]).arg(&header).arg("-o").arg(folder.join("duckdb_headers.hpp.gch"));
    let status = compiler.status().expect("there is a C++ compiler");
    assert!(status.success(), "DuckDB's headers do not compile");
    header
}
