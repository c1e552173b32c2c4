//! `plot` and `table`: what earlier sweeps wrote.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::cli::{Plot, Table};
use crate::plot::{self, Plotted};

pub(super) fn plot(args: &Plot) -> Result<()> {
    print!("{}", plot::draw(&read(&args.files)?, &args.title));
    Ok(())
}

pub(super) fn table(args: &Table) -> Result<()> {
    for Plotted { sweep, .. } in read(&args.files)? {
        println!("{sweep}");
    }
    Ok(())
}

fn read(files: &[PathBuf]) -> Result<Vec<Plotted>> {
    let read = |path: &PathBuf| {
        let name = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let value: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("{name} is no JSON"))?;
        if value["sweep"].is_null() {
            bail!("{name} is no result of a sweep");
        }
        serde_json::from_value(value).with_context(|| format!("{name} is of another version"))
    };
    files.iter().map(read).collect()
}
