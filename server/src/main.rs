//! The `lightstick` binary: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;
use lightstick::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match lightstick::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lightstick: {error:#}");
            ExitCode::FAILURE
        }
    }
}
