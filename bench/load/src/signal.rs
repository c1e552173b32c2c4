//! The HTTP side of WHIP (RFC 9725) and WHEP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header;
use reqwest::redirect::Policy;

/// Longer than any server should take to answer an offer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A client of one endpoint's server. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Signal {
    client: Client,
    endpoint: String,
    token: Option<String>,
}

/// A session that the server opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub answer: String,
    /// Where the session can be changed and ended.
    pub url: String,
}

/// Why there is no session, or why it could not be ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// The server said no; the text is its problem's code, or the start of its body.
    #[error("HTTP {0} {1}")]
    Refused(u16, String),
    #[error("HTTP 201 without Location")]
    NoLocation,
    /// No answer, or none that is HTTP.
    #[error("{0}")]
    Transport(String),
}

impl From<reqwest::Error> for SignalError {
    fn from(error: reqwest::Error) -> Self {
        // The first text names the URL only; the cause says what went wrong.
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            text += ": ";
            text += &inner.to_string();
            cause = inner.source();
        }
        Self::Transport(text)
    }
}

/// An HTTP client that sends requests straight to the server and gives back any response as it is.
///
/// # Panics
/// When the system has no resources for its thread.
#[must_use]
pub(crate) fn http_client(timeout: Duration) -> Client {
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .timeout(timeout)
        .pool_max_idle_per_host(64)
        .build()
        .expect("a thread for the HTTP client")
}

impl Signal {
    /// A client that posts offers to `endpoint` (`http://host:port/whip/room`).
    #[must_use]
    pub fn new(endpoint: &str, token: Option<&str>) -> Self {
        Self {
            client: http_client(TIMEOUT),
            endpoint: endpoint.to_owned(),
            token: token.map(|t| format!("Bearer {t}")),
        }
    }

    /// Posts an offer. Blocks.
    ///
    /// # Errors
    /// [`SignalError`]; nothing is open then, unless the answer was lost on its way.
    pub fn open(&self, offer: &str) -> Result<Opened, SignalError> {
        let request = self
            .client
            .post(&self.endpoint)
            .header(header::CONTENT_TYPE, "application/sdp")
            .body(offer.to_owned());
        let response = accepted(self.authorized(request).send()?)?;
        let location = response
            .headers()
            .get(header::LOCATION)
            .and_then(|l| l.to_str().ok())
            .ok_or(SignalError::NoLocation)?;
        let url = resolve(&self.endpoint, location);
        let answer = response.text()?;
        Ok(Opened { answer, url })
    }

    /// Ends a session. Blocks.
    ///
    /// # Errors
    /// [`SignalError`].
    pub fn close(&self, url: &str) -> Result<(), SignalError> {
        let response = accepted(self.authorized(self.client.delete(url)).send()?)?;
        // Read to its end, or the connection is not used again.
        response.bytes()?;
        Ok(())
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, token),
            None => request,
        }
    }
}

fn accepted(response: Response) -> Result<Response, SignalError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.text()?;
    let code = serde_json::from_str::<serde_json::Value>(&body)
        .ok()
        .and_then(|problem| Some(problem.get("code")?.as_str()?.to_owned()))
        .unwrap_or_else(|| body.chars().take(80).collect());
    Err(SignalError::Refused(status.as_u16(), code))
}

/// `location` as an absolute URL (RFC 3986 section 5.3, without the forms that no server sends).
fn resolve(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let authority = base.find("://").map_or(0, |at| at + 3);
    let path = base[authority..]
        .find('/')
        .map_or(base.len(), |at| authority + at);
    if location.starts_with('/') {
        return format!("{}{location}", &base[..path]);
    }
    let folder = base[path..].rfind('/').map_or(base.len(), |at| path + at);
    format!("{}/{location}", &base[..folder])
}

/// The local address that media to `url`'s host leaves from.
///
/// # Errors
/// When the host cannot be resolved, or there is no way to it.
pub fn local_address(url: &str) -> std::io::Result<IpAddr> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let with_port = if authority.ends_with(']') || !authority.contains(':') {
        format!("{authority}:80")
    } else {
        authority.to_owned()
    };
    let unknown = || std::io::Error::other(format!("{authority} has no address"));
    let to: SocketAddr = with_port.to_socket_addrs()?.next().ok_or_else(unknown)?;
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn locations_resolve() {
        let base = "http://a:80/whep/room";
        for (location, url) in [
            ("/whep/room/1", "http://a:80/whep/room/1"),
            ("room/1", "http://a:80/whep/room/1"),
            ("http://b/1", "http://b/1"),
        ] {
            assert_eq!(resolve(base, location), url);
        }
        assert_eq!(resolve("http://a:80", "/x"), "http://a:80/x");
    }

    #[test]
    fn loopback_stays_on_loopback() {
        let v4 = local_address("http://127.0.0.1:8080/whep/x").unwrap();
        assert_eq!(v4, IpAddr::from(Ipv4Addr::LOCALHOST));
        assert_eq!(local_address("http://127.0.0.1").unwrap(), v4);
        assert!(local_address("http://host.invalid/").is_err());
    }

    /// Serves one connection: for each response, reads a request and gives back its head and body.
    fn serve(responses: Vec<&'static str>) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/whep/room", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let mut requests = Vec::new();
            for response in responses {
                let (mut head, mut len) = (String::new(), 0);
                while !head.ends_with("\r\n\r\n") {
                    let mut line = String::new();
                    assert!(stream.read_line(&mut line).unwrap() > 0);
                    let line = line.to_lowercase();
                    if let Some(value) = line.strip_prefix("content-length:") {
                        len = value.trim().parse().unwrap();
                    }
                    head += &line;
                }
                let mut body = vec![0; len];
                stream.read_exact(&mut body).unwrap();
                requests.push(head + std::str::from_utf8(&body).unwrap());
                stream.get_mut().write_all(response.as_bytes()).unwrap();
            }
            requests
        });
        (url, server)
    }

    #[test]
    fn opens_closes_and_reports_refusals_over_one_connection() {
        let (url, server) = serve(vec![
            "HTTP/1.1 201 Created\r\nLocation: /whep/room/7\r\nContent-Length: 3\r\n\r\nv=0",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 409 Conflict\r\nContent-Length: 20\r\n\r\n{\"code\":\"room_busy\"}",
            "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
        ]);
        let signal = Signal::new(&url, Some("t"));
        let opened = signal.open("offer").unwrap();
        assert_eq!(opened.answer, "v=0");
        assert_eq!(opened.url, url.clone() + "/7");
        signal.close(&opened.url).unwrap();
        let busy = SignalError::Refused(409, "room_busy".into());
        assert_eq!(signal.open("offer"), Err(busy));
        assert_eq!(signal.open("offer"), Err(SignalError::NoLocation));
        let requests = server.join().unwrap();
        assert!(requests[0].starts_with("post /whep/room http/1.1\r\n"));
        assert!(requests[0].contains("content-type: application/sdp\r\n"));
        assert!(requests[0].contains("authorization: bearer t\r\n"));
        assert!(requests[0].ends_with("\r\n\r\noffer"));
        assert!(requests[1].starts_with("delete /whep/room/7 http/1.1\r\n"));
    }
}
