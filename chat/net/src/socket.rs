//! A WebSocket's place in a room, whatever carries its bytes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use lightstick_chat_core::room::ClientKey;
use lightstick_chat_proto::client_frame::Frame as Request;
use lightstick_chat_wire::{Frame, Link, Reader, Written};
use lightstick_types::ChatMember;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use crate::address::AddressHasher;
use crate::command::{OWN_FRAMES_MAX, RoomCommand, Route, Shown};
use crate::config::ChatConfig;
use crate::hub::{NoRoom, RoomHandle};
use crate::stats::PlaneStats;

/// Why a WebSocket gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many as there may be.
    #[error("too many WebSockets")]
    TooMany,
    /// As many as one address may have.
    #[error("too many WebSockets from this address")]
    TooManyOfAddress,
    #[error(transparent)]
    Room(#[from] NoRoom),
}

/// Counts WebSockets, all and by address, from the upgrade on.
#[derive(Clone, Debug)]
pub(crate) struct Sockets {
    max: usize,
    per_address_max: usize,
    addresses: AddressHasher,
    open: Arc<Mutex<HashMap<u64, usize>>>,
    stats: Arc<PlaneStats>,
}

/// A place among the WebSockets; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    sockets: Sockets,
    pub(crate) address: u64,
}

impl Sockets {
    pub(crate) fn new(
        config: &ChatConfig,
        addresses: AddressHasher,
        stats: Arc<PlaneStats>,
    ) -> Self {
        Self {
            max: config.sockets_max,
            per_address_max: config.sockets_per_address_max,
            addresses,
            open: Arc::default(),
            stats,
        }
    }

    pub(crate) fn take(&self, address: IpAddr) -> Result<Place, Refused> {
        let address = self.addresses.hash(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stats.sockets.get() as usize >= self.max {
            return Err(Refused::TooMany);
        }
        let count = open.entry(address).or_default();
        if *count >= self.per_address_max {
            return Err(Refused::TooManyOfAddress);
        }
        *count += 1;
        self.stats.sockets.add(1);
        Ok(Place {
            sockets: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let open = &self.sockets.open;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
        self.sockets.stats.sockets.sub(1);
    }
}

/// What a room has for a WebSocket.
#[derive(Debug)]
pub enum SocketEvent {
    Tick(Shown),
    Own(Frame),
    /// It was so far behind that ticks are gone: the room brings it up to date.
    Resync,
    /// The room is gone, or has closed this one: why, as a close's reason.
    Closed(&'static str),
}

/// A WebSocket in a room. Dropping it leaves.
#[derive(Debug)]
pub struct Socket {
    room: RoomHandle,
    client: ClientKey,
    ticks: broadcast::Receiver<Shown>,
    own: mpsc::Receiver<Frame>,
    reader: Reader,
    place: Place,
}

impl Socket {
    pub(crate) async fn open(
        room: RoomHandle,
        client: ClientKey,
        member: Arc<ChatMember>,
        place: Place,
    ) -> Result<Self, Refused> {
        let (sender, own) = mpsc::channel(OWN_FRAMES_MAX);
        let ticks = room.ticks.subscribe();
        let route = Route::Socket(sender);
        let connect = RoomCommand::Connect {
            client,
            member,
            address: place.address,
            route,
        };
        room.commands
            .send(connect)
            .await
            .map_err(|_| NoRoom::Closing)?;
        Ok(Self {
            room,
            client,
            ticks,
            own,
            reader: Reader::default(),
            place,
        })
    }

    /// Passes a request on; waits where the room is behind. False: the room is gone.
    pub async fn request(&self, request: Request) -> bool {
        let client = self.client;
        self.room
            .commands
            .send(RoomCommand::Request { client, request })
            .await
            .is_ok()
    }

    /// Passes on that a frame could not be read, with its nonce as far as that is known. False: the
    /// room is gone.
    pub async fn malformed(&self, nonce: u64) -> bool {
        let malformed = RoomCommand::Malformed {
            client: self.client,
            nonce,
        };
        self.room.commands.send(malformed).await.is_ok()
    }

    /// The next thing to be sent. Safe to cancel.
    pub async fn next_event(&mut self) -> SocketEvent {
        tokio::select! {
            biased;
            // Its end is dropped by a room that ends, and by one whose frames wait here unread.
            own = self.own.recv() => own.map_or_else(|| SocketEvent::Closed(self.why_closed()), SocketEvent::Own),
            tick = self.ticks.recv() => match tick {
                Ok(tick) => SocketEvent::Tick(tick),
                Err(RecvError::Lagged(_)) => SocketEvent::Resync,
                Err(RecvError::Closed) => SocketEvent::Closed("closing"),
            },
        }
    }

    /// Writes an event to the link, as far as it takes it. False: the room is gone.
    pub async fn give(&mut self, now: Instant, event: SocketEvent, link: &mut impl Link) -> bool {
        let mut resync = false;
        let written = match event {
            SocketEvent::Tick(shown) => {
                let whole = shown.whole.as_ref();
                self.reader.offer_whole(now, &shown.tick, whole, link)
            }
            SocketEvent::Own(frame) => self.reader.offer_own(now, &frame, link),
            SocketEvent::Resync => {
                resync = true;
                Written::default()
            }
            SocketEvent::Closed(_) => return false,
        };
        self.note(written);
        self.resync(resync).await
    }

    /// Sends what waits. To be called when the link has drained. False: the room is gone.
    pub async fn settle(&mut self, now: Instant, link: &mut impl Link) -> bool {
        let written = self.reader.settle(now, link);
        self.note(written);
        self.resync(false).await
    }

    fn why_closed(&self) -> &'static str {
        match self.room.commands.is_closed() {
            true => "closing",
            false => "unread",
        }
    }

    async fn resync(&mut self, also: bool) -> bool {
        if !(self.reader.take_resync() || also) {
            return true;
        }
        let resync = RoomCommand::Resync {
            client: self.client,
        };
        self.room.commands.send(resync).await.is_ok()
    }

    fn note(&self, written: Written) {
        let stats = &self.place.sockets.stats;
        stats.socket_frames.add(written.frames.into());
        stats.socket_missed.add(written.missed.into());
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let disconnect = RoomCommand::Disconnect {
            client: self.client,
        };
        let sent = self.room.commands.try_send(disconnect);
        if let Err(mpsc::error::TrySendError::Full(_)) = sent {
            // The room is behind. It looks for those who have closed.
            self.own.close();
            self.room.gone.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_address() {
        let config = ChatConfig {
            sockets_per_address_max: 1,
            ..ChatConfig::default()
        };
        let stats = Arc::<PlaneStats>::default();
        let sockets = Sockets::new(&config, AddressHasher::new(&[7; 32]), Arc::clone(&stats));
        let take = |address: &str| sockets.take(address.parse().unwrap());
        let first = take("2001:db8:1:2::1").unwrap();
        assert_eq!(
            take("2001:db8:1:2::2").err(),
            Some(Refused::TooManyOfAddress)
        );
        let other = take("2001:db8:1:3::1").unwrap();
        drop(first);
        let again = take("2001:db8:1:2::2").unwrap();
        drop((other, again));
        assert_eq!(stats.sockets.get(), 0);
    }
}
