//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use lightstick_types::{ChatRole, NodeName, NodeRole, Region, duration};
use serde_json::{Value, json};

use crate::config::LogFormat;

/// A low-latency WebRTC media server for idol live sessions.
///
/// Settings are read from lightstick.toml, from the environment (LIGHTSTICK_HTTP__BIND sets `http.bind`)
/// and from flags; later sources override earlier ones. lightstick.example.toml documents them all.
#[derive(Clone, Debug, Parser)]
#[command(name = "lightstick", version)]
pub struct Cli {
    /// Configuration file [default: lightstick.toml in the working directory, if it exists].
    #[arg(
        long,
        short,
        global = true,
        env = "LIGHTSTICK_CONFIG",
        value_name = "FILE"
    )]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM or SIGINT.
    Serve(ServeFlags),
    /// Check the configuration and exit.
    CheckConfig,
    /// Print a token (JWT) signed with a configured key.
    Token(TokenRequest),
    /// Make certificates for links between nodes.
    Cert {
        #[command(subcommand)]
        command: CertCommand,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub enum CertCommand {
    /// Make a private CA: ca.pem for every node, ca.key for nobody but you.
    Ca(CaRequest),
    /// Make a node's certificate by such a CA: ca.pem, node.pem and node.key.
    Node(NodeRequest),
}

/// Where a CA goes.
#[derive(Args, Clone, Debug)]
pub struct CaRequest {
    /// Folder to write to. Nothing is overwritten.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Days until the CA expires, with all certificates that it made.
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: u32,
}

/// What a node's certificate shall say.
#[derive(Args, Clone, Debug)]
pub struct NodeRequest {
    /// Name of the node, unlike any other's: 1 to 63 of a-z 0-9 . -
    #[arg(long)]
    pub name: NodeName,
    /// What the node may do: origin, hub, edge or all.
    #[arg(long)]
    pub role: NodeRole,
    /// Where the node is, such as kr.
    #[arg(long)]
    pub region: Region,
    /// Folder of `lightstick cert ca`.
    #[arg(long, value_name = "DIR")]
    pub ca: PathBuf,
    /// Folder to write to. Nothing is overwritten.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Days until the certificate expires. A running node takes over a new one without a restart.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: u32,
}

/// Settings that are often wanted on the command line.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeFlags {
    /// Address of the public listener: pages, WHIP, WHEP, API [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR")]
    pub http_bind: Option<SocketAddr>,
    /// Address of the operations listener: metrics, health [default: 127.0.0.1:9464].
    #[arg(long, value_name = "ADDR")]
    pub operations_bind: Option<SocketAddr>,
    /// Address to receive media on; can be repeated [default: 127.0.0.1 and ::1].
    #[arg(long, value_name = "IP")]
    pub media_bind: Vec<IpAddr>,
    /// Address that clients send media to, if it differs; at most one each of IPv4 and IPv6.
    #[arg(long, value_name = "IP")]
    pub media_advertise: Vec<IpAddr>,
    /// First media port, UDP and TCP; 0 uses free ports [default: 7700].
    #[arg(long, value_name = "PORT")]
    pub media_port: Option<u16>,
    /// Media threads; 0 uses one per core [default: 0].
    #[arg(long, value_name = "N")]
    pub shards: Option<u16>,
    /// Log format [default: pretty].
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
    /// Log filter, such as info or lightstick_sfu=debug [default: info].
    #[arg(long, value_name = "FILTER")]
    pub log_level: Option<String>,
}

impl ServeFlags {
    /// The settings that were given, as paths into the configuration.
    #[must_use]
    pub fn overrides(&self) -> Vec<(&'static str, Value)> {
        let mut set = Vec::new();
        if let Some(addr) = self.http_bind {
            set.push(("http.bind", json!(addr)));
        }
        if let Some(addr) = self.operations_bind {
            set.push(("operations.bind", json!(addr)));
        }
        if !self.media_bind.is_empty() {
            set.push(("media.bind", json!(self.media_bind)));
        }
        if !self.media_advertise.is_empty() {
            set.push(("media.advertise", json!(self.media_advertise)));
        }
        if let Some(port) = self.media_port {
            set.push(("media.port", json!(port)));
        }
        if let Some(shards) = self.shards {
            set.push(("media.shards", json!(shards)));
        }
        if let Some(format) = self.log_format {
            set.push(("log.format", json!(format)));
        }
        if let Some(level) = &self.log_level {
            set.push(("log.level", json!(level)));
        }
        set
    }
}

/// What a token shall say.
#[derive(Args, Clone, Debug)]
pub struct TokenRequest {
    /// Room, a prefix of rooms such as "idol-*", or "*" for every room.
    #[arg(long)]
    pub room: String,
    /// Id of the participant, the same over reconnects.
    #[arg(long, default_value = "cli")]
    pub name: String,
    /// Name shown in the chat, if it differs from --name.
    #[arg(long)]
    pub display_name: Option<String>,
    /// Role in the chat: guest, member, bot, moderator, lead-moderator or idol
    /// [default: derived from the grants].
    #[arg(long, value_parser = parse_role)]
    pub role: Option<ChatRole>,
    /// Lifetime, such as 90m, 12h or 30d.
    #[arg(long, default_value = "12h", value_parser = parse_ttl)]
    pub ttl: Duration,
    /// Key of [auth.keys] to sign with; required if there are several.
    #[arg(long)]
    pub kid: Option<String>,
    /// Allow publishing.
    #[arg(long)]
    pub publish: bool,
    /// Allow watching.
    #[arg(long)]
    pub watch: bool,
    /// Allow writing in the chat.
    #[arg(long)]
    pub chat: bool,
    /// Allow moderating the chat.
    #[arg(long)]
    pub moderate: bool,
    /// Allow the JSON API.
    #[arg(long)]
    pub admin: bool,
    /// Allow replacing another publisher.
    #[arg(long)]
    pub takeover: bool,
}

fn parse_role(text: &str) -> Result<ChatRole, String> {
    let name = text.replace('-', "_");
    serde_json::from_value(Value::String(name)).map_err(|_| {
        "write guest, member, bot, moderator, lead-moderator, idol or server".to_owned()
    })
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration::parse(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=Duration::from_secs(366 * 86_400)).contains(&ttl) {
        Ok(ttl)
    } else {
        Err("write 1s to 366d".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lifetimes() {
        assert_eq!(parse_ttl("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_ttl("2h"), Ok(Duration::from_secs(7_200)));
        for bad in ["", "h", "90", "0s", "999ms", "367d", "-1s"] {
            assert!(parse_ttl(bad).is_err(), "{bad}");
        }
    }
}
