//! A client that writes and reads HTTP/1.1 as it stands on the wire.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PATIENCE, Server};

pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Wire {
    pub(crate) async fn open(server: &Server) -> Self {
        Self {
            stream: TcpStream::connect(server.addr).await.unwrap(),
            read: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Sends as much as the server takes.
    pub(crate) async fn try_send(&mut self, bytes: &str) {
        // It may have closed: what it said before is still to be read.
        let _ = self.stream.write_all(bytes.as_bytes()).await;
    }

    /// Reads one response, its body included.
    pub(crate) async fn response(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(
                self.more().await,
                "the connection has ended: {:?}",
                self.read
            );
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = Answer { status, head };
        let length = answer.header("content-length");
        let length = length.map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            assert!(self.more().await, "the body has broken off");
        }
        self.read.drain(..length);
        answer
    }

    /// Waits for the end of the connection; nothing more may come before it.
    pub(crate) async fn ended(&mut self) {
        while self.more().await {}
        assert_eq!(String::from_utf8_lossy(&self.read), "");
    }

    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        match read.expect("bytes, or the end, in time") {
            Ok(bytes) => bytes > 0,
            Err(error) => panic!("the connection was reset: {error}"),
        }
    }
}
