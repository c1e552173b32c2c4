//! Which pages may use a server in development mode.
//!
//! There, watching and chatting need no token, and the server listens on loopback only. But a page
//! from elsewhere, open in a browser on this machine, also comes from the loopback address: its
//! `Origin` gives it away, or, where it has pointed its own name at the loopback address, its
//! `Host`.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

/// Whether the request comes from this machine's own pages and programs, or from a page of an
/// origin that the configuration names.
pub(crate) fn is_local(uri: &Uri, headers: &HeaderMap, named: &[String]) -> bool {
    let host = headers.get(header::HOST).map(|value| value.to_str());
    // RFC 9112 section 3.2.2: in an absolute target the authority replaces the header's.
    let host = match (uri.authority(), host) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(Ok(host))) => host,
        (None, _) => return false,
    };
    let named_hosts = named.iter().filter_map(|origin| origin.split_once("://"));
    if !is_loopback(host) && !named_hosts.map(|(_, host)| host).any(|h| h == host) {
        return false;
    }
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        origin.to_str().is_ok_and(|origin| {
            named.iter().any(|named| named == origin)
                || origin
                    .split_once("://")
                    .is_some_and(|(_, host)| is_loopback(host))
        })
    })
}

/// The host of an authority that is nothing but a host and perhaps a port (RFC 9110 section 7.2).
pub(crate) fn host(authority: &str) -> Option<String> {
    let parsed = authority.parse::<Authority>().ok()?;
    // What follows the bracket of an IP literal is a port or nothing; the parser lets more pass.
    let after = authority.rsplit_once(']').map_or("", |(_, after)| after);
    let sound = !authority.contains('@') && (after.is_empty() || after.starts_with(':'));
    sound.then(|| parsed.host().to_owned())
}

fn is_loopback(authority: &str) -> bool {
    let Some(host) = host(authority) else {
        return false;
    };
    host.eq_ignore_ascii_case("localhost")
        || host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_pages_only() {
        let named = ["*".to_owned(), "https://dev.example".to_owned()];
        for (host, origin, local) in [
            (Some("localhost:8080"), None, true),
            (Some("127.0.0.1:8080"), None, true),
            (Some("[::1]:8080"), None, true),
            (Some("[::ffff:127.0.0.1]"), None, true),
            (Some("localhost:8080"), Some("http://localhost:8080"), true),
            (Some("127.0.0.1"), Some("http://[::1]:8080"), true),
            (Some("127.0.0.1"), Some("https://dev.example"), true),
            (Some("dev.example"), Some("https://dev.example"), true),
            (Some("dev.example"), None, true),
            (Some("localhost:8080"), Some("https://evil.example"), false),
            (Some("localhost"), Some("http://dev.example"), false),
            (
                Some("localhost"),
                Some("http://localhost.evil.example"),
                false,
            ),
            (Some("localhost"), Some("http://[::1].evil.example"), false),
            (
                Some("localhost"),
                Some("http://127.0.0.1@evil.example"),
                false,
            ),
            (
                Some("localhost"),
                Some("http://evil.example@127.0.0.1"),
                false,
            ),
            (Some("[::1].evil.example"), None, false),
            (Some("127.0.0.1.evil.example"), None, false),
            (Some("localhost:8080"), Some("null"), false),
            (Some("rebound.example:8080"), None, false),
            (Some("*"), None, false),
            (None, None, false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(header::HOST, host.parse().unwrap());
            }
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            let uri = Uri::from_static("/whep/stage");
            assert_eq!(
                is_local(&uri, &headers, &named),
                local,
                "{host:?} {origin:?}"
            );
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        let elsewhere = Uri::from_static("http://evil.example/whep/stage");
        assert!(!is_local(&elsewhere, &headers, &named));
    }
}
