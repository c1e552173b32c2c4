//! Two endpoints and the path between them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use lightstick_types::NodeRole;
use quinn_proto::{
    Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, ReadError,
    StreamEvent, StreamId, VarInt,
};

use super::path::Path;
use crate::config::{CongestionControl, LinkConfig};
use crate::tests::Cluster;
use crate::transport::settings;

/// A frame has to arrive within this time of being sent; then it is given up.
const ON_TIME: Duration = Duration::from_millis(600);
const INTERVAL: Duration = Duration::from_micros(33_333);

/// Frames of three layers, at 30 a second.
pub(super) struct Source {
    /// Bytes of a frame and its priority, the base layer first.
    layers: [(usize, i32); 3],
    keyframe_every: u32,
}

impl Source {
    /// The layers have 7.5, 25 and 67.5 % of the rate.
    pub(super) fn layers(rate: u32) -> Self {
        // A keyframe of 5 frames in 60 makes the mean 64/60 of a frame.
        let frame = f64::from(rate) / 8.0 / 30.0 * 60.0 / 64.0;
        let bytes = |part: f64| (frame * part) as usize;
        Self {
            layers: [(bytes(0.075), 5), (bytes(0.25), 3), (bytes(0.675), 2)],
            keyframe_every: 60,
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) frames: u32,
    pub(super) on_time: u32,
    base: (u32, u32),
    pub(super) queue_mean: Duration,
    /// Bits a second, of whole frames.
    pub(super) delivered_rate: f64,
}

impl Outcome {
    pub(super) fn part(&self) -> f64 {
        f64::from(self.on_time) / f64::from(self.frames)
    }

    pub(super) fn base_part(&self) -> f64 {
        f64::from(self.base.0) / f64::from(self.base.1)
    }
}

struct Node {
    endpoint: Endpoint,
    address: SocketAddr,
    connection: Option<(ConnectionHandle, Connection)>,
    /// Datagrams on their way to this node, in the order of their arrival.
    inbound: BTreeMap<(Instant, u64), Vec<u8>>,
}

pub(super) struct Pair {
    client: Node,
    server: Node,
    there: Path,
    back: Path,
    now: Instant,
    sent: u64,
}

impl Pair {
    /// The client sends.
    pub(super) fn new(congestion: CongestionControl, there: Path) -> Self {
        let cluster = Cluster::new();
        let link = LinkConfig {
            congestion,
            ..LinkConfig::default()
        };
        let parent = cluster.credentials("hub", NodeRole::Hub);
        let child = cluster.credentials("edge", NodeRole::Edge);
        let config = || {
            let mut config = EndpointConfig::default();
            config.rng_seed(Some([7; 32]));
            Arc::new(config)
        };
        let node = |server, port| Node {
            endpoint: Endpoint::new(config(), server, true, Some([port as u8; 32])),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            connection: None,
            inbound: BTreeMap::new(),
        };
        let server = Arc::new(settings::server(&parent, &link));
        let mut pair = Self {
            client: node(None, 1),
            server: node(Some(server), 2),
            back: there.back(),
            there,
            now: Instant::now(),
            sent: 0,
        };
        let client = settings::client(&child, &link);
        let to = pair.server.address;
        let connection = pair
            .client
            .endpoint
            .connect(pair.now, client, to, "node.lightstick");
        pair.client.connection = Some(connection.unwrap());
        pair
    }

    pub(super) fn run(mut self, source: Source, span: Duration) -> Outcome {
        while self
            .server
            .connection
            .as_ref()
            .is_none_or(|(_, c)| c.is_handshaking())
        {
            self.turn(None);
        }
        let began = self.now;
        let mut outcome = Outcome::default();
        let mut under_way = HashMap::new();
        let mut deadlines = BTreeSet::new();
        let mut reading = HashMap::new();
        let (mut tick, mut age, mut delivered) = (0, 0, 0);
        while self.now < began + span + ON_TIME {
            let due = began + INTERVAL * tick;
            if self.now >= due && self.now < began + span {
                for (layer, (bytes, priority)) in source.layers.iter().enumerate() {
                    let is_keyframe = tick % source.keyframe_every == 0;
                    let bytes = if is_keyframe { bytes * 5 } else { *bytes };
                    outcome.frames += 1;
                    outcome.base.1 += u32::from(layer == 0);
                    age += 1;
                    if let Some(id) = self.send(bytes, (priority << 28) | ((1 << 28) - age)) {
                        under_way.insert(id, (layer, self.now, bytes));
                        deadlines.insert((self.now + ON_TIME, id));
                    }
                }
                tick += 1;
            }
            while let Some(&(deadline, id)) = deadlines.first()
                && deadline <= self.now
            {
                deadlines.pop_first();
                if under_way.contains_key(&id) {
                    let (_, connection) = self.client.connection.as_mut().unwrap();
                    let _ = connection.send_stream(id).reset(VarInt::from_u32(1));
                }
            }
            self.turn(Some(due.max(self.now)));
            for id in self.read(&mut reading) {
                if let Some((layer, at, bytes)) = under_way.remove(&id)
                    && self.now <= at + ON_TIME
                {
                    outcome.on_time += 1;
                    outcome.base.0 += u32::from(layer == 0);
                    delivered += bytes;
                }
            }
        }
        outcome.queue_mean = self.there.queued / self.there.packets.max(1);
        outcome.delivered_rate = delivered as f64 * 8.0 / span.as_secs_f64();
        outcome
    }

    fn send(&mut self, bytes: usize, priority: i32) -> Option<StreamId> {
        let (_, connection) = self.client.connection.as_mut().unwrap();
        let id = connection.streams().open(Dir::Uni)?;
        let mut stream = connection.send_stream(id);
        stream.set_priority(priority).unwrap();
        if stream
            .write(&vec![0; bytes])
            .is_ok_and(|written| written == bytes)
        {
            stream.finish().unwrap();
            return Some(id);
        }
        stream.reset(VarInt::from_u32(1)).unwrap();
        None
    }

    /// Streams that are complete.
    fn read(&mut self, reading: &mut HashMap<StreamId, ()>) -> Vec<StreamId> {
        let (_, connection) = self.server.connection.as_mut().unwrap();
        while let Some(event) = connection.poll() {
            match event {
                Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => {}
                Event::ConnectionLost { reason } => panic!("{reason}"),
                _ => {}
            }
        }
        while let Some(id) = connection.streams().accept(Dir::Uni) {
            reading.insert(id, ());
        }
        let mut complete = Vec::new();
        reading.retain(|id, ()| {
            let mut stream = connection.recv_stream(*id);
            let Ok(mut chunks) = stream.read(true) else {
                return false;
            };
            let goes_on = loop {
                match chunks.next(usize::MAX) {
                    Ok(Some(_)) => {}
                    Ok(None) => {
                        complete.push(*id);
                        break false;
                    }
                    Err(ReadError::Blocked) => break true,
                    Err(_) => break false,
                }
            };
            let _ = chunks.finalize();
            goes_on
        });
        complete
    }

    /// Lets both nodes do what is due, and goes on to the next time at which there is something to do.
    fn turn(&mut self, until: Option<Instant>) {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        self.client
            .drive(self.now, self.server.address, &mut to_server);
        self.server
            .drive(self.now, self.client.address, &mut to_client);
        for (datagrams, path, node) in [
            (to_server, &mut self.there, &mut self.server),
            (to_client, &mut self.back, &mut self.client),
        ] {
            for datagram in datagrams {
                self.sent += 1;
                if let Some(at) = path.send(datagram.len() + 28, self.now) {
                    node.inbound.insert((at, self.sent), datagram);
                }
            }
        }
        let times = [
            self.client.next(),
            self.server.next(),
            until.filter(|at| *at > self.now),
        ];
        let next = times
            .into_iter()
            .flatten()
            .min()
            .expect("something happens");
        self.now = next.max(self.now + Duration::from_micros(1));
    }
}

impl Node {
    fn next(&mut self) -> Option<Instant> {
        let timer = self
            .connection
            .as_mut()
            .and_then(|(_, connection)| connection.poll_timeout());
        let arrival = self.inbound.first_key_value().map(|((at, _), _)| *at);
        [timer, arrival].into_iter().flatten().min()
    }

    fn drive(&mut self, now: Instant, remote: SocketAddr, out: &mut Vec<Vec<u8>>) {
        let mut buffer = Vec::new();
        while let Some(entry) = self.inbound.first_entry()
            && entry.key().0 <= now
        {
            let data = BytesMut::from(&entry.remove()[..]);
            buffer.clear();
            match self
                .endpoint
                .handle(now, remote, None, None, data, &mut buffer)
            {
                Some(DatagramEvent::ConnectionEvent(_, event)) => {
                    self.connection.as_mut().unwrap().1.handle_event(event);
                }
                Some(DatagramEvent::NewConnection(incoming)) => {
                    let accepted = self.endpoint.accept(incoming, now, &mut buffer, None);
                    self.connection = accepted.ok().or(self.connection.take());
                }
                _ => {}
            }
        }
        let Some((handle, connection)) = &mut self.connection else {
            return;
        };
        if connection.poll_timeout().is_some_and(|at| at <= now) {
            connection.handle_timeout(now);
        }
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        loop {
            buffer.clear();
            let Some(transmit) = connection.poll_transmit(now, 10, &mut buffer) else {
                break;
            };
            let segment = transmit.segment_size.unwrap_or(transmit.size);
            out.extend(buffer[..transmit.size].chunks(segment).map(<[u8]>::to_vec));
        }
    }
}
