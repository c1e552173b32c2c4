//! A PostgreSQL server of one's own, in a folder of its own, on a free port of the loopback interface.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sqlx::Connection as _;
use tempfile::TempDir;

/// A running server; dropped, it ends.
pub struct Server {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Makes the folder and starts the server.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("lightstick-pg")
            .tempdir()
            .unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        if let Some((user, group)) = unprivileged() {
            chown(&data, Some(user), Some(group)).unwrap();
        }
        let made = command("initdb", folder.path())
            .args([
                "--auth=trust",
                "--no-sync",
                "--username=chat",
                "--encoding=UTF8",
                "--pgdata",
            ])
            .arg(&data)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut server = Self {
            folder,
            port,
            child: None,
        };
        server.resume();
        server
    }

    pub fn url(&self) -> String {
        format!("postgres://chat@127.0.0.1:{}/postgres", self.port)
    }

    /// A new database in it.
    pub async fn database(&self, name: &str) -> String {
        let mut connection = sqlx::PgConnection::connect(&self.url()).await.unwrap();
        let sql = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        format!("postgres://chat@127.0.0.1:{}/{name}", self.port)
    }

    /// Ends it at once, as when the machine goes.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // SIGQUIT: the immediate shutdown, which also ends its children.
            signal(child.id(), "QUIT");
            child.wait().unwrap();
        }
    }

    /// Starts it again, and waits until it takes connections.
    pub fn resume(&mut self) {
        let mut child = command("postgres", self.folder.path())
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .args([
                "-p",
                &self.port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
            ])
            .args([
                "-c",
                "unix_socket_directories=",
                "-c",
                "logging_collector=off",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("ready to accept connections") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server ended");
        }
        // A full pipe would hold it up.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        self.child = Some(child);
    }

    /// Holds every process of it still: connections stay open, and nothing answers.
    pub fn freeze(&self) {
        self.signal_all("STOP");
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, name: &str) {
        let postmaster = self.child.as_ref().unwrap().id();
        signal(postmaster, name);
        for child in children(postmaster) {
            signal(child, name);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.thaw();
        }
        self.stop();
    }
}

fn children(parent: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

fn signal(pid: u32, name: &str) {
    // A child that has ended meanwhile is no matter.
    let _ = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

fn command(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(binaries().join(name));
    // initdb and postgres look at the working folder, which others may not enter.
    command
        .current_dir(folder)
        .env_remove("PGDATA")
        .env("LC_ALL", "C");
    if let Some((user, group)) = unprivileged() {
        command.gid(group).uid(user);
    }
    command
}

/// The newest installed version.
fn binaries() -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let bin = entry.path().join("bin");
            Some((entry.file_name().to_str()?.parse().ok()?, bin))
        })
        .filter(|(_, bin)| bin.join("postgres").exists())
        .collect();
    versions.sort();
    versions
        .pop()
        .expect("PostgreSQL is missing: ./dev test installs it")
        .1
}

/// PostgreSQL refuses to run as root; then it runs as nobody.
fn unprivileged() -> Option<(u32, u32)> {
    // The owner of this process's folder in /proc is who we are.
    let us = std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap());
    (us == 0).then_some((65_534, 65_534))
}
