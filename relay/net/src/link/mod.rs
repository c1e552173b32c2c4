//! One link: what it sends, what it receives, and how it ends.

mod control;
mod frames;
mod receive;

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{Connection, VarInt};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::config::LinkConfig;
use crate::event::{Channel, CloseReason, DownReason, LinkId, Outgoing, RelayEvent};
use crate::refused::down_reason;
use crate::stats::LinkCounters;
use control::{ControlReader, ControlSender};
use frames::FrameSender;
use receive::FrameReceiver;

/// Commands that wait for a link at most. Full: frames and datagrams are dropped, and for a control
/// message the link is closed.
pub(crate) const COMMANDS_MAX: usize = 4_096;

/// Received messages of a link that wait for the transport's owner. Full: nothing more is read of the
/// link, and flow control holds the peer back.
const INBOUND_MAX: usize = 64;

/// A backlog is told this often.
const BACKLOG_EVERY: Duration = Duration::from_millis(100);

pub(crate) enum LinkCommand {
    Send(Outgoing),
    Close(CloseReason),
}

/// A link whose peer has been checked.
pub(crate) struct Link {
    id: LinkId,
    connection: Connection,
    commands: mpsc::Receiver<LinkCommand>,
    counters: Arc<LinkCounters>,
    control_in: ControlReader,
    control_out: ControlSender,
    frames_in: FrameReceiver,
    frames_out: FrameSender,
    inbound: VecDeque<RelayEvent>,
    /// When the backlog is to be looked at; `None`: with the next frame.
    backlog_at: Option<Instant>,
    has_backlog: bool,
}

/// The control streams of a connection: there is a link as soon as the peer's has begun.
pub(crate) struct Opened {
    control_in: ControlReader,
    control_out: ControlSender,
}

/// Opens this end's control stream and waits for that of the peer, which a node begins only after it has
/// accepted the other's certificate.
pub(crate) async fn open(connection: &Connection, config: &LinkConfig) -> Result<Opened, Fault> {
    let control_out = ControlSender::open(connection, config.control_bytes_max).await?;
    let control_in = ControlReader::accept(connection).await?;
    Ok(Opened {
        control_in,
        control_out,
    })
}

/// Why a link cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This end closes it.
    Close(CloseReason),
    /// It is closed: the connection knows why.
    Closed,
}

impl From<CloseReason> for Fault {
    fn from(reason: CloseReason) -> Self {
        Self::Close(reason)
    }
}

impl Link {
    pub(crate) fn new(
        id: LinkId,
        connection: Connection,
        opened: Opened,
        config: &LinkConfig,
        commands: mpsc::Receiver<LinkCommand>,
        counters: Arc<LinkCounters>,
    ) -> Self {
        Self {
            id,
            commands,
            control_in: opened.control_in,
            control_out: opened.control_out,
            frames_in: FrameReceiver::new(config),
            frames_out: FrameSender::new(connection.clone(), config, Arc::clone(&counters)),
            inbound: VecDeque::new(),
            backlog_at: None,
            has_backlog: false,
            counters,
            connection,
        }
    }

    /// Runs until the link is down. What is received goes to `events`.
    pub(crate) async fn run(mut self, events: &mpsc::Sender<RelayEvent>) -> DownReason {
        loop {
            match self.turn(events).await {
                Ok(()) => {}
                Err(Fault::Close(reason)) => {
                    close(&self.connection, &reason);
                    return DownReason::ClosedHere(reason);
                }
                Err(Fault::Closed) => return down_reason(&self.connection.closed().await),
            }
        }
    }

    /// One thing that happens. Each branch is safe to cancel.
    async fn turn(&mut self, events: &mpsc::Sender<RelayEvent>) -> Result<(), Fault> {
        let deadline = self.frames_out.next_deadline();
        let may_read = self.inbound.len() < INBOUND_MAX;
        tokio::select! {
            command = self.commands.recv() => match command {
                Some(LinkCommand::Send(message)) => self.send(message)?,
                Some(LinkCommand::Close(reason)) => return Err(reason.into()),
                // The transport is gone.
                None => return Err(CloseReason::Shutdown.into()),
            },
            written = self.control_out.write(), if self.control_out.is_waiting() => written?,
            Some(settled) = self.frames_out.next_settled() => self.frames_out.settle(settled),
            () = wait_until(self.backlog_at) => self.tell_backlog(Instant::now()),
            () = wait_until(deadline) => self.frames_out.expire(Instant::now()),
            permit = events.reserve(), if !self.inbound.is_empty() => {
                let permit = permit.map_err(|_| CloseReason::Shutdown)?;
                if let Some(event) = self.inbound.pop_front() {
                    permit.send(event);
                }
            }
            message = self.control_in.next(), if may_read => {
                self.counters.messages.control_received.add(1);
                self.receive(Channel::Control, message?);
            }
            Some(frame) = self.frames_in.next(), if may_read => match frame? {
                Some(frame) => {
                    self.counters.frames.received.add(1);
                    self.receive(Channel::Frame, frame);
                }
                None => self.counters.frames.received_resets.add(1),
            },
            stream = self.connection.accept_uni(), if may_read => {
                self.frames_in.accept(stream.map_err(|_| Fault::Closed)?)?;
            }
            datagram = self.connection.read_datagram(), if may_read => {
                let datagram = datagram.map_err(|_| Fault::Closed)?;
                self.counters.messages.datagrams_received.add(1);
                self.receive(Channel::Datagram, datagram);
            }
            _ = self.connection.closed() => return Err(Fault::Closed),
        }
        Ok(())
    }

    fn receive(&mut self, channel: Channel, bytes: Bytes) {
        let link = self.id;
        self.inbound.push_back(RelayEvent::Message {
            link,
            channel,
            bytes,
        });
    }

    fn tell_backlog(&mut self, now: Instant) {
        let (link, age) = (self.id, self.frames_out.backlog());
        if self.has_backlog || !age.is_zero() {
            self.inbound.push_back(RelayEvent::Backlog { link, age });
        }
        self.has_backlog = !age.is_zero();
        let goes_on = self.has_backlog || !self.frames_out.is_empty();
        self.backlog_at = goes_on.then_some(now + BACKLOG_EVERY);
    }

    fn send(&mut self, message: Outgoing) -> Result<(), Fault> {
        match message {
            Outgoing::Control(message) => {
                self.control_out.push(message)?;
                self.counters.messages.control_sent.add(1);
            }
            Outgoing::Frame(frame, payload) => {
                let now = Instant::now();
                self.frames_out.send(frame, payload, now);
                self.backlog_at.get_or_insert(now + BACKLOG_EVERY);
            }
            Outgoing::Datagram(payload) => self.send_datagram(payload.into_bytes()),
        }
        Ok(())
    }

    /// A full buffer drops its oldest: what is as late as that is of no use.
    fn send_datagram(&self, bytes: Bytes) {
        let counters = &self.counters.messages;
        let drops = self.connection.datagram_send_buffer_space() < bytes.len();
        let sent = self.connection.send_datagram(bytes).is_ok();
        if sent {
            counters.datagrams_sent.add(1);
        }
        if drops || !sent {
            counters.datagrams_dropped.add(1);
        }
    }
}

pub(crate) fn close(connection: &Connection, reason: &CloseReason) {
    let code = VarInt::from_u64(reason.code()).unwrap_or(VarInt::MAX);
    connection.close(code, reason.to_string().as_bytes());
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
