//! A reader of server-sent events.

use reqwest::Response;
use serde_json::Value;

use super::{PATIENCE, header_of};

pub(crate) struct Events {
    response: Response,
    buffer: String,
}

impl Events {
    pub(crate) fn new(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(
            header_of(&response, "content-type"),
            Some("text/event-stream")
        );
        Self {
            response,
            buffer: String::new(),
        }
    }

    /// The next event's name and data; none when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                };
                let parsed = field("event").map(|name| {
                    let data = field("data").expect("data");
                    (name.to_owned(), serde_json::from_str(data).expect("JSON"))
                });
                self.buffer = rest.to_owned();
                if parsed.is_some() {
                    return parsed;
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk())
                .await
                .expect("an event in time")
                .expect("a sound stream")?;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The data of the next event of that name; others are passed over.
    pub(crate) async fn until(&mut self, wanted: &str) -> Value {
        loop {
            let (name, data) = self.next().await.expect("an open stream");
            if name == wanted {
                return data;
            }
        }
    }

    /// Passes over what is left; fails if the stream goes on.
    pub(crate) async fn ended(&mut self) -> Vec<(String, Value)> {
        let mut rest = Vec::new();
        while let Some(event) = self.next().await {
            rest.push(event);
        }
        rest
    }
}
