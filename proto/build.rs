//! Generates the message types from `quack/**/*.proto` with a compiler written in Rust, so that no
//! `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=quack");
    let descriptors = protox::compile(["quack/log/v1/entry.proto", "quack/peer/v1/peer.proto"], ["."])?;
    prost_build::Config::new().bytes(["."]).btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}
