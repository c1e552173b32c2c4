//! Signaling of Janus: as little of its HTTP API and its VideoRoom plugin as one publisher and
//! viewers of it need.
//!
//! The room must exist, its number is the room's name. A publisher offers, as everywhere; to a
//! viewer Janus offers, and the viewer answers. Each session here is one session there, and has no
//! keep-alive: Janus must be told not to time sessions out (`session_timeout = 0`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};

use crate::signal::{Opened, SignalError, http_client};

/// Longer than Janus holds a request for events back (30 s).
const TIMEOUT: Duration = Duration::from_secs(40);
/// Events that are waited for, at most, until the awaited one comes: others tell of ICE and media.
const EVENTS_MAX: u32 = 20;
/// The publisher's id in the room: viewers need not ask for it.
const FEED: u64 = 1;

static TRANSACTIONS: AtomicU64 = AtomicU64::new(0);

/// A client of one room. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Janus {
    client: Client,
    base: String,
    room: u64,
}

/// An offer that Janus made.
#[derive(Clone, Debug)]
pub struct Invited {
    pub offer: String,
    /// The session, for [`Janus::close`].
    pub url: String,
    handle: String,
}

impl Janus {
    /// A client of the API at `base` (`http://host:8088/janus`).
    #[must_use]
    pub fn new(base: &str, room: u64) -> Self {
        Self {
            client: http_client(TIMEOUT),
            base: base.to_owned(),
            room,
        }
    }

    /// Publishes an offer. Blocks.
    ///
    /// # Errors
    /// [`SignalError`].
    pub fn publish(&self, offer: &str) -> Result<Opened, SignalError> {
        let (url, handle) = self.attach()?;
        let join =
            json!({ "request": "join", "ptype": "publisher", "room": self.room, "id": FEED });
        self.ask(&url, &handle, &join, None)?;
        let jsep = json!({ "type": "offer", "sdp": offer });
        let event = self.ask(&url, &handle, &json!({ "request": "publish" }), Some(jsep))?;
        let answer = sdp(&event)?;
        Ok(Opened { answer, url })
    }

    /// Asks for an offer of the publisher's tracks. Blocks.
    ///
    /// # Errors
    /// [`SignalError`].
    pub fn watch(&self) -> Result<Invited, SignalError> {
        let (url, handle) = self.attach()?;
        let join = json!({
            "request": "join", "ptype": "subscriber", "room": self.room,
            "streams": [{ "feed": FEED }],
        });
        let offer = self
            .ask(&url, &handle, &join, None)
            .and_then(|event| sdp(&event));
        match offer {
            Ok(offer) => Ok(Invited { offer, url, handle }),
            Err(error) => {
                // Janus holds a session that nobody will use.
                let _ = self.close(&url);
                Err(error)
            }
        }
    }

    /// Answers, whereupon media starts. Blocks.
    ///
    /// # Errors
    /// [`SignalError`].
    pub fn start(&self, invited: &Invited, answer: &str) -> Result<(), SignalError> {
        let jsep = json!({ "type": "answer", "sdp": answer });
        let start = json!({ "request": "start" });
        self.ask(&invited.url, &invited.handle, &start, Some(jsep))?;
        Ok(())
    }

    /// Ends a session. Blocks.
    ///
    /// # Errors
    /// [`SignalError`].
    pub fn close(&self, url: &str) -> Result<(), SignalError> {
        self.post(url, json!({ "janus": "destroy" })).map(drop)
    }

    /// A session and a handle of the plugin in it, as URLs.
    fn attach(&self) -> Result<(String, String), SignalError> {
        let url = self.made(&self.base, json!({ "janus": "create" }))?;
        let plugin = json!({ "janus": "attach", "plugin": "janus.plugin.videoroom" });
        let handle = self.made(&url, plugin)?;
        Ok((url, handle))
    }

    fn made(&self, at: &str, request: Value) -> Result<String, SignalError> {
        let response = self.post(at, request)?;
        match response["data"]["id"].as_u64() {
            Some(id) => Ok(format!("{at}/{id}")),
            None => Err(unexpected(&response)),
        }
    }

    /// Sends a message to the plugin and waits for the event that answers it.
    fn ask(
        &self,
        session: &str,
        handle: &str,
        body: &Value,
        jsep: Option<Value>,
    ) -> Result<Value, SignalError> {
        let mut message = json!({ "janus": "message", "body": body });
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        let sent = self.post(handle, message)?;
        let transaction = &sent["transaction"];
        for _ in 0..EVENTS_MAX {
            let event = checked(self.client.get(format!("{session}?maxev=1")).send()?)?;
            if event["transaction"] == *transaction && event["janus"] == "event" {
                return answered(event);
            }
        }
        Err(SignalError::Transport("Janus does not answer".to_owned()))
    }

    fn post(&self, at: &str, mut request: Value) -> Result<Value, SignalError> {
        let number = TRANSACTIONS.fetch_add(1, Ordering::Relaxed);
        request["transaction"] = format!("t{number}").into();
        checked(self.client.post(at).body(request.to_string()).send()?)
    }
}

/// A successful response; Janus sends errors with status 200.
fn checked(response: Response) -> Result<Value, SignalError> {
    let status = response.status().as_u16();
    let text = response.text()?;
    let start = || text.chars().take(80).collect();
    let value: Value =
        serde_json::from_str(&text).map_err(|_| SignalError::Refused(status, start()))?;
    if value["janus"] == "error" {
        return Err(unexpected(&value));
    }
    Ok(value)
}

/// An event without an error of the plugin.
fn answered(event: Value) -> Result<Value, SignalError> {
    match event["plugindata"]["data"]["error"].as_str() {
        Some(error) => Err(SignalError::Refused(200, error.to_owned())),
        None => Ok(event),
    }
}

fn sdp(event: &Value) -> Result<String, SignalError> {
    let sdp = event["jsep"]["sdp"].as_str();
    sdp.map(str::to_owned).ok_or_else(|| unexpected(event))
}

fn unexpected(value: &Value) -> SignalError {
    let reason = value["error"]["reason"].as_str();
    let text = reason.map_or_else(|| value.to_string(), str::to_owned);
    SignalError::Refused(200, text.chars().take(80).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_janus_and_of_the_plugin_are_told() {
        let refused = |why: &str| SignalError::Refused(200, why.to_owned());
        let of_plugin = json!({ "plugindata": { "data": { "error": "No such room" } } });
        assert_eq!(answered(of_plugin), Err(refused("No such room")));
        let of_janus = json!({ "janus": "error", "error": { "reason": "No such session" } });
        assert_eq!(unexpected(&of_janus), refused("No such session"));
        let event = json!({ "jsep": { "sdp": "v=0" }, "plugindata": { "data": {} } });
        assert_eq!(sdp(&answered(event).unwrap()).unwrap(), "v=0");
        assert!(sdp(&json!({})).is_err());
    }
}
