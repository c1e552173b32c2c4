//! Makes sure that the folder of the built pages exists, so that the server builds without Node.

use std::path::Path;

fn main() {
    let dist = Path::new("../web/dist");
    println!("cargo::rerun-if-changed=../web/dist");
    if !dist.exists()
        && let Err(error) = std::fs::create_dir_all(dist)
    {
        println!("cargo::warning=cannot create web/dist: {error}");
    }
}
