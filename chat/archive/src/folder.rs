//! The folder that the archive keeps everything in.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Makes the folder where there is none: for its owner alone, and ignored by git, since a server
/// that is tried out in a working copy would leave its key among the sources.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::write(path.join(".gitignore"), "*\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_is_ignored_and_an_old_one_left_alone() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("data/chat");
        make(&path).unwrap();
        let ignore = path.join(".gitignore");
        assert_eq!(fs::read_to_string(&ignore).unwrap(), "*\n");
        fs::remove_file(&ignore).unwrap();
        make(&path).unwrap();
        assert!(!ignore.exists());
    }
}
