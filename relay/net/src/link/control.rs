//! The ordered stream of a link, one in each direction: the first that a node opens.

use std::collections::VecDeque;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};

use crate::event::{CloseReason, Payload};
use crate::framing::{FramingError, MessageReader, PREAMBLE, header};
use crate::link::Fault;

/// Read at once, in bytes.
const CHUNK: usize = 64 << 10;

pub(super) struct ControlSender {
    stream: SendStream,
    queue: VecDeque<Bytes>,
    bytes: usize,
    bytes_max: usize,
}

impl ControlSender {
    pub(super) async fn open(connection: &Connection, bytes_max: usize) -> Result<Self, Fault> {
        let stream = connection.open_uni().await.map_err(|_| Fault::Closed)?;
        // Before every frame.
        stream.set_priority(i32::MAX).map_err(|_| Fault::Closed)?;
        let mut sender = Self {
            stream,
            queue: VecDeque::from([Bytes::from_static(&PREAMBLE)]),
            bytes: PREAMBLE.len(),
            bytes_max,
        };
        while sender.is_waiting() {
            sender.write().await?;
        }
        Ok(sender)
    }

    pub(super) fn push(&mut self, message: Payload) -> Result<(), CloseReason> {
        let header = header(message.len()).ok_or(CloseReason::Oversized)?;
        let bytes = self.bytes + header.len() + message.len();
        if bytes > self.bytes_max {
            return Err(CloseReason::PeerDoesNotRead);
        }
        self.bytes = bytes;
        let chunks = [header, message.head, message.body];
        self.queue
            .extend(chunks.into_iter().filter(|chunk| !chunk.is_empty()));
        Ok(())
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Writes as much as flow control allows. Safe to cancel: what is written is written at once.
    pub(super) async fn write(&mut self) -> Result<(), Fault> {
        let queue = self.queue.make_contiguous();
        let written = self.stream.write_chunks(queue).await;
        let written = written.map_err(|_| Fault::Closed)?;
        self.bytes -= written.bytes;
        self.queue.drain(..written.chunks);
        Ok(())
    }
}

pub(super) struct ControlReader {
    stream: RecvStream,
    messages: MessageReader,
}

impl ControlReader {
    /// Waits until the peer's has begun.
    pub(super) async fn accept(connection: &Connection) -> Result<Self, Fault> {
        let stream = connection.accept_uni().await.map_err(|_| Fault::Closed)?;
        if stream.id().index() != 0 {
            return Err(CloseReason::Protocol.into());
        }
        let mut reader = Self {
            stream,
            messages: MessageReader::default(),
        };
        loop {
            let bytes = reader.read().await?;
            reader.messages.push(&bytes);
            // Without its length no message is read.
            if reader.messages.begin().map_err(close_reason)? {
                return Ok(reader);
            }
        }
    }

    /// The next message. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Bytes, Fault> {
        loop {
            if let Some(message) = self.messages.next_message().map_err(close_reason)? {
                return Ok(message);
            }
            let bytes = self.read().await?;
            self.messages.push(&bytes);
        }
    }

    async fn read(&mut self) -> Result<Bytes, Fault> {
        match self.stream.read_chunk(CHUNK, true).await {
            Ok(Some(chunk)) => Ok(chunk.bytes),
            // A control stream lasts as long as its link.
            Ok(None) => Err(CloseReason::Protocol.into()),
            Err(quinn::ReadError::Reset(_)) => Err(CloseReason::Protocol.into()),
            Err(_) => Err(Fault::Closed),
        }
    }
}

fn close_reason(error: FramingError) -> CloseReason {
    match error {
        FramingError::Preamble => CloseReason::Protocol,
        FramingError::Oversized(_) => CloseReason::Oversized,
    }
}
