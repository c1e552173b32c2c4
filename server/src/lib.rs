//! The server: configuration, wiring and shutdown around the crates that do the work.
//!
//! [`serve::serve`] builds everything from a [`config::Config`]; the binary only parses its
//! arguments.

mod cert;
pub mod cli;
pub mod config;
mod descriptors;
#[cfg(debug_assertions)]
mod faults;
pub mod keys;
mod logging;
pub mod metrics;
mod operations;
mod pages;
pub mod serve;
mod supervise;
mod token;

use anyhow::Context as _;
use rustix::process::{getpriority_process, setpriority_process};

use crate::cli::{Cli, Command};

/// Does what the command line says.
///
/// # Errors
/// Whatever made it impossible, ready to be shown to whoever typed it.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let overrides = match &cli.command {
        Command::Serve(flags) => flags.overrides(),
        Command::CheckConfig | Command::Token(_) => Vec::new(),
        Command::Cert { command } => {
            println!("{}", cert::run(command)?);
            return Ok(());
        }
    };
    let config = config::load(cli.config.as_deref(), &overrides)?;
    match cli.command {
        Command::CheckConfig => {
            keys::load(&config.auth)?;
            println!("the configuration is valid");
            if config.auth.keys.is_empty() {
                println!("no keys are configured: the server would run in development mode");
            }
            Ok(())
        }
        Command::Token(request) => {
            println!("{}", token::mint(&config.auth, &request)?);
            Ok(())
        }
        // Needs no configuration, and was done before it was read.
        Command::Cert { .. } => Ok(()),
        Command::Serve(_) => {
            logging::start(&config.log)?;
            descriptors::raise(config.descriptors());
            // Sessions are many and small: in huge pages, what lies between them stays resident.
            if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
                tracing::warn!(%error, "cannot disable transparent huge pages: memory use will be higher");
            }
            let priority =
                getpriority_process(None).context("cannot read the process's priority")?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .on_thread_start(move || after_media(priority))
                .build()
                .context("cannot start the async runtime")?;
            runtime.block_on(serve::serve_until_signal(config))
        }
    }
}

/// How much nicer than media threads the calling thread is, so that it gets about a third of a core
/// that both want: a flood of HTTP or chat must not hold up the video.
const NICE: i32 = 5;

/// Not by what it inherits: threads start one another.
fn after_media(priority: i32) {
    if let Err(error) = setpriority_process(None, priority + NICE) {
        tracing::debug!(%error, "cannot lower the priority of a thread");
    }
}
