//! Certificates of the relay, for development and small set-ups.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use lightstick_relay::{CertificateFiles, Credentials, issue_ca, issue_node};
use lightstick_types::NodeIdentity;

use crate::cli::{CaRequest, CertCommand, NodeRequest};

const DAY: Duration = Duration::from_secs(86_400);

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const NODE: &str = "node.pem";
const NODE_KEY: &str = "node.key";

/// Makes what is asked for, and says where it is.
pub(crate) fn run(command: &CertCommand) -> anyhow::Result<String> {
    match command {
        CertCommand::Ca(request) => ca(request),
        CertCommand::Node(request) => node(request),
    }
}

fn ca(request: &CaRequest) -> anyhow::Result<String> {
    let (certificate, key) = (request.out.join(CA), request.out.join(CA_KEY));
    prepare(&request.out, &[&certificate, &key])?;
    let issued = issue_ca(SystemTime::now().into(), DAY * request.days)?;
    write(&key, &issued.key, PRIVATE)?;
    write(&certificate, &issued.certificate, PUBLIC)?;
    Ok(format!(
        "{}: the CA's certificate, for every node\n\
         {}: its key, for nobody but you: whoever has it can be any node\n\
         valid for {} days",
        certificate.display(),
        key.display(),
        request.days
    ))
}

fn node(request: &NodeRequest) -> anyhow::Result<String> {
    let read = |name: &str| {
        let path = request.ca.join(name);
        fs::read_to_string(&path).with_context(|| {
            format!(
                "cannot read {}: `lightstick cert ca --out {}` makes a CA",
                path.display(),
                request.ca.display()
            )
        })
    };
    let (ca, ca_key) = (read(CA)?, read(CA_KEY)?);
    let identity = NodeIdentity {
        name: request.name.clone(),
        role: request.role,
        region: request.region.clone(),
    };
    let files = CertificateFiles {
        ca: request.out.join(CA),
        certificate: request.out.join(NODE),
        key: request.out.join(NODE_KEY),
    };
    prepare(&request.out, &[&files.certificate, &files.key])?;
    let issued = issue_node(
        &ca_key,
        &identity,
        SystemTime::now().into(),
        DAY * request.days,
    )
    .with_context(|| format!("in {}", request.ca.display()))?;
    match fs::read_to_string(&files.ca) {
        Ok(there) if there == ca => {}
        Ok(_) => bail!(
            "{} is another CA's: choose an empty folder with --out",
            files.ca.display()
        ),
        Err(_) => write(&files.ca, &ca, PUBLIC)?,
    }
    write(&files.key, &issued.key, PRIVATE)?;
    write(&files.certificate, &issued.certificate, PUBLIC)?;
    // What other nodes would say of it.
    Credentials::load(&files).context(
        "other nodes would refuse the new certificate: does ca.key belong to ca.pem, and is the CA still valid?",
    )?;
    Ok(format!(
        "{}: the certificate of {identity}, valid for {} days\n\
         {}: its key, for this node only\n\
         {}: the CA's certificate",
        files.certificate.display(),
        request.days,
        files.key.display(),
        files.ca.display()
    ))
}

/// Makes the folder, and sees to it that nothing is overwritten.
fn prepare(folder: &Path, files: &[&PathBuf]) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for file in files {
        if file.exists() {
            bail!(
                "{} is there already: move it away, or choose another folder with --out",
                file.display()
            );
        }
    }
    Ok(())
}

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let open = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn cert(folder: &Path, arguments: &str) -> anyhow::Result<String> {
        let arguments = arguments.replace("DIR", folder.to_str().unwrap());
        let words = ["lightstick", "cert"]
            .into_iter()
            .chain(arguments.split(' '));
        match Cli::try_parse_from(words)?.command {
            Command::Cert { command } => run(&command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_ca_and_a_node_that_others_accept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        cert(folder, "ca --out DIR/ca").unwrap();
        let said = cert(
            folder,
            "node --name hub-1 --role hub --region kr --ca DIR/ca --out DIR/relay --days 30",
        )
        .unwrap();
        assert!(
            said.contains("lightstick://hub-1?role=hub&region=kr, valid for 30 days"),
            "{said}"
        );
        for key in ["ca/ca.key", "relay/node.key"] {
            let mode = fs::metadata(folder.join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
        let files = CertificateFiles {
            ca: folder.join("relay/ca.pem"),
            certificate: folder.join("relay/node.pem"),
            key: folder.join("relay/node.key"),
        };
        let identity = Credentials::load(&files).unwrap().identity().to_string();
        assert_eq!(identity, "lightstick://hub-1?role=hub&region=kr");
    }

    #[test]
    fn nothing_is_overwritten_and_errors_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let node = "node --name a --role edge --region kr --ca DIR/ca --out DIR/a";
        let error = |arguments| format!("{:#}", cert(folder, arguments).unwrap_err());
        assert!(error(node).contains("`lightstick cert ca --out"));
        cert(folder, "ca --out DIR/ca").unwrap();
        let before = fs::read(folder.join("ca/ca.key")).unwrap();
        assert!(error("ca --out DIR/ca").contains("ca.pem is there already: move it away"));
        assert_eq!(fs::read(folder.join("ca/ca.key")).unwrap(), before);
        cert(folder, node).unwrap();
        assert!(error(node).contains("node.pem is there already"));
        // A folder with another CA's certificate, and a key that is not the CA's.
        cert(folder, "ca --out DIR/ca-2").unwrap();
        fs::remove_file(folder.join("a/node.pem")).unwrap();
        fs::remove_file(folder.join("a/node.key")).unwrap();
        assert!(
            error("node --name a --role edge --region kr --ca DIR/ca-2 --out DIR/a")
                .contains("is another CA's")
        );
        fs::copy(folder.join("ca-2/ca.key"), folder.join("ca/ca.key")).unwrap();
        assert!(error(node).contains("does ca.key belong to ca.pem"));
        for bad in [
            "node --name A --role edge --region kr --ca DIR/ca --out DIR/b",
            "node --name a --role artist --region kr --ca DIR/ca --out DIR/b",
            "node --name a --role edge --region kr --ca DIR/ca --out DIR/b --days 0",
        ] {
            cert(folder, bad).unwrap_err();
        }
    }
}
