//! Generates the messages and their JSON from the schema, without a protoc.

use std::error::Error;

const SCHEMA: &str = "lightstick/chat/v1/chat.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={SCHEMA}");
    let descriptors = protox::compile([SCHEMA], ["."])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]).compile_fds(descriptors.clone())?;
    let encoded = prost::Message::encode_to_vec(&descriptors);
    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .ignore_unknown_fields()
        .build(&[".lightstick.chat.v1"])?;
    Ok(())
}
