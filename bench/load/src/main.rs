//! Loads a WHIP/WHEP server and measures it: see `lightstick-bench --help`.

use std::process::ExitCode;

use clap::Parser;
use lightstick_bench::cli::Cli;
use lightstick_bench::scenario;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match scenario::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lightstick-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
