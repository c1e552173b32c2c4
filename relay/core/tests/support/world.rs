//! Nodes, the connections between them, and time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_relay_core::{
    Channel, CloseReason, Direction, Event, LinkId, Local, Output, Relay, RelayConfig,
};
use lightstick_types::{NodeId, NodeIdentity, NodeRole, RoomName};

use crate::owner::{Owner, bytes};
use crate::wire::Wire;

pub(crate) const FRAME: Duration = Duration::from_millis(40);

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) struct Node {
    pub(crate) identity: NodeIdentity,
    pub(crate) parents: Vec<usize>,
    pub(crate) run: Option<Run>,
    /// Shows that are watched here, over restarts.
    pub(crate) watches: Vec<RoomName>,
}

pub(crate) struct Run {
    pub(crate) relay: Relay,
    pub(crate) id: NodeId,
    pub(crate) owner: Owner,
    next_link: u32,
    links: BTreeMap<LinkId, usize>,
    pub(crate) is_drained: bool,
}

/// A connection: end 0 is the child's.
pub(crate) struct Pipe {
    pub(crate) ends: [usize; 2],
    pub(crate) ids: [NodeId; 2],
    links: [LinkId; 2],
    open: [bool; 2],
    delay: Duration,
    cut_until: Instant,
    control_at: [Instant; 2],
    wire: Wire,
}

pub(crate) struct Show {
    pub(crate) name: RoomName,
    pub(crate) at: Option<usize>,
    pub(crate) epoch: u64,
    frame: u64,
    pub(crate) version: u64,
}

enum Happening {
    Deliver {
        pipe: usize,
        end: usize,
        channel: Channel,
        bytes: Bytes,
    },
    Closed {
        pipe: usize,
        end: usize,
        reason: CloseReason,
    },
    Dial {
        child: usize,
        parent: usize,
    },
    Start(usize),
    Stop(usize),
    Frames,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) random: fastrand::Rng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) pipes: Vec<Pipe>,
    pub(crate) shows: Vec<Show>,
    /// Percent of frames and datagrams.
    pub(crate) loss: u8,
    pub(crate) delay: Duration,
    queue: BTreeMap<(Instant, u64), Happening>,
    happened: u64,
    /// Links were closed because of what a peer has sent: only where somebody lies.
    pub(crate) has_liars: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut world = Self {
            now,
            random: fastrand::Rng::with_seed(seed),
            nodes: Vec::new(),
            pipes: Vec::new(),
            shows: Vec::new(),
            loss: 0,
            delay: ms(20),
            queue: BTreeMap::new(),
            happened: 0,
            has_liars: false,
        };
        world.push(now + FRAME, Happening::Frames);
        world
    }

    pub(crate) fn add(&mut self, name: &str, role: NodeRole, parents: &[usize]) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node {
            identity: NodeIdentity {
                name: name.parse().expect("a name"),
                role,
                region: ["kr", "us"][index % 2].parse().expect("a region"),
            },
            parents: parents.to_vec(),
            run: None,
            watches: Vec::new(),
        });
        self.push(self.now, Happening::Start(index));
        index
    }

    pub(crate) fn show(&mut self, name: &str) -> RoomName {
        let name: RoomName = name.parse().expect("a name");
        self.shows.push(Show {
            name: name.clone(),
            at: None,
            epoch: 0,
            frame: 0,
            version: 0,
        });
        name
    }

    fn push(&mut self, at: Instant, happening: Happening) {
        self.happened += 1;
        self.queue.insert((at, self.happened), happening);
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = self.nodes.iter().enumerate().filter_map(|(index, node)| {
                Some((node.run.as_ref()?.relay.poll_timeout()?, index))
            });
            let timer = timers.min();
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            let at = [timer.map(|(at, _)| at), next].into_iter().flatten().min();
            let Some(at) = at.filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(at);
            match timer {
                Some((due, index)) if next.is_none_or(|next| due < next) => {
                    let now = self.now;
                    let relay = self.relay(index);
                    relay.handle_timeout(now);
                    let timeout = relay.poll_timeout();
                    assert!(timeout.is_none_or(|at| at > now), "a timer that stays due");
                    self.drain_outputs(index);
                }
                _ => {
                    let (_, happening) = self.queue.pop_first().expect("there is one");
                    self.happen(happening);
                }
            }
        }
    }

    fn relay(&mut self, node: usize) -> &mut Relay {
        &mut self.nodes[node].run.as_mut().expect("alive").relay
    }

    pub(crate) fn is_alive(&self, node: usize) -> bool {
        self.nodes[node].run.is_some()
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Deliver {
                pipe,
                end,
                channel,
                bytes,
            } => {
                let at = &mut self.pipes[pipe];
                if !at.open[end] {
                    return;
                }
                if channel == Channel::Control {
                    at.wire.delivered(1 - end, &bytes);
                }
                let (node, link) = (at.ends[end], at.links[end]);
                self.relay(node).handle_message(link, channel, bytes, now);
                self.drain_outputs(node);
            }
            Happening::Closed { pipe, end, reason } => {
                let at = &mut self.pipes[pipe];
                if !std::mem::take(&mut at.open[end]) {
                    return;
                }
                let (node, link) = (at.ends[end], at.links[end]);
                self.relay(node).handle_closed(link, Some(reason), now);
                self.drain_outputs(node);
                self.redial(pipe, end);
            }
            Happening::Dial { child, parent } => self.dial(child, parent),
            Happening::Start(node) => self.start(node),
            Happening::Stop(node) => self.stop(node),
            Happening::Frames => {
                self.frames();
                self.push(now + FRAME, Happening::Frames);
            }
        }
    }

    fn start(&mut self, index: usize) {
        if self.is_alive(index) {
            return;
        }
        let id = NodeId(self.random.u32(..));
        let node = &mut self.nodes[index];
        let mut config = RelayConfig::new(node.identity.clone(), id);
        config.linger = ms(2_000);
        config.dwell = ms(5_000);
        node.run = Some(Run {
            relay: Relay::new(config),
            id,
            owner: Owner::default(),
            next_link: 0,
            links: BTreeMap::new(),
            is_drained: false,
        });
        for parent in node.parents.clone() {
            let wait = ms(self.random.u64(0..50));
            let child = index;
            self.push(self.now + wait, Happening::Dial { child, parent });
        }
        for name in self.nodes[index].watches.clone() {
            self.set_watch(index, &name, true);
        }
    }

    fn dial(&mut self, child: usize, parent: usize) {
        let is_linked = |pipe: &Pipe| pipe.ends == [child, parent] && pipe.open[0];
        if !self.is_alive(child) || self.pipes.iter().any(is_linked) {
            return;
        }
        if !self.is_alive(parent) {
            let wait = ms(self.random.u64(300..800));
            self.push(self.now + wait, Happening::Dial { child, parent });
            return;
        }
        let pipe = self.pipes.len();
        let ends = [child, parent];
        let identities = ends.map(|node| self.nodes[node].identity.clone());
        let (mut links, mut ids) = ([LinkId(0); 2], [NodeId(0); 2]);
        for (end, node) in ends.into_iter().enumerate() {
            let run = self.nodes[node].run.as_mut().expect("alive");
            run.next_link += 1;
            links[end] = LinkId(run.next_link);
            run.links.insert(links[end], pipe);
            ids[end] = run.id;
        }
        self.pipes.push(Pipe {
            ends,
            ids,
            links,
            open: [true; 2],
            delay: self.delay + ms(self.random.u64(0..10)),
            cut_until: self.now,
            control_at: [self.now; 2],
            wire: Wire::default(),
        });
        let now = self.now;
        for (end, direction) in [Direction::ToParent, Direction::ToChild]
            .into_iter()
            .enumerate()
        {
            let other = identities[1 - end].clone();
            let relay = self.relay(ends[end]);
            relay.handle_connected(links[end], direction, other, now);
            self.drain_outputs(ends[end]);
        }
    }

    fn redial(&mut self, pipe: usize, end: usize) {
        let [child, parent] = self.pipes[pipe].ends;
        if end == 0 {
            let wait = ms(self.random.u64(300..800));
            self.push(self.now + wait, Happening::Dial { child, parent });
        }
    }

    /// Does what a relay wants done.
    pub(crate) fn drain_outputs(&mut self, index: usize) {
        let now = self.now;
        while let Some(run) = &mut self.nodes[index].run
            && let Some(output) = run.relay.poll()
        {
            match output {
                Output::Send(send) => {
                    let pipe = run.links[&send.link];
                    let body = send.to_bytes();
                    assert_eq!(body.len(), send.len());
                    self.send(pipe, index, send.link, send.channel, body);
                }
                Output::Close { link, reason } => {
                    let pipe = run.links.remove(&link).expect("a link");
                    self.close(pipe, index, link, reason);
                }
                Output::ToRoom { room, message } => {
                    run.owner.handle_message(&mut run.relay, room, message, now);
                }
                Output::Event(Event::Drained) => {
                    assert!(!std::mem::replace(&mut run.is_drained, true));
                }
                Output::Event(event) => run.owner.handle_event(&mut run.relay, &event, now),
            }
        }
    }

    fn send(&mut self, pipe: usize, node: usize, link: LinkId, channel: Channel, bytes: Bytes) {
        let at = &mut self.pipes[pipe];
        let end = usize::from(at.ends[0] != node);
        assert_eq!(at.links[end], link);
        let mut deliver_at = self.now + at.delay;
        if channel == Channel::Control {
            at.wire.sent(end, &bytes, at.ids);
            deliver_at = deliver_at
                .max(at.control_at[end])
                .max(at.cut_until + at.delay);
            at.control_at[end] = deliver_at;
        } else {
            if at.cut_until > self.now || self.random.u8(0..100) < self.loss {
                return;
            }
            deliver_at += ms(self.random.u64(0..5));
        }
        let end = 1 - end;
        self.push(
            deliver_at,
            Happening::Deliver {
                pipe,
                end,
                channel,
                bytes,
            },
        );
    }

    fn close(&mut self, pipe: usize, node: usize, link: LinkId, reason: CloseReason) {
        use CloseReason::{Flooded, Malformed, Protocol, TooManyRooms};
        let is_fault = [Flooded, Malformed, Protocol, TooManyRooms].contains(&reason);
        let name = &self.nodes[node].identity.name;
        assert!(self.has_liars || !is_fault, "{name}: {reason}");
        let at = &mut self.pipes[pipe];
        let end = usize::from(at.ends[0] != node);
        assert_eq!(at.links[end], link);
        at.open[end] = false;
        let deliver_at = (self.now + at.delay).max(at.control_at[end]);
        if at.cut_until <= self.now {
            let other = 1 - end;
            self.push(
                deliver_at,
                Happening::Closed {
                    pipe,
                    end: other,
                    reason,
                },
            );
        }
        self.redial(pipe, end);
    }

    fn frames(&mut self) {
        let now = self.now;
        for show in &mut self.shows {
            let Some(node) = show.at else {
                continue;
            };
            let Some(run) = self.nodes[node].run.as_mut() else {
                continue;
            };
            show.frame += 1;
            let id = run.owner.open(&mut run.relay, &show.name, now);
            run.owner.pass_on(&mut run.relay, id, show.frame, now);
            if show.frame.is_multiple_of(10) {
                show.version += 1;
                let version = show.version;
                let state = bytes(version);
                let local = Local::Show { version, state };
                run.relay.handle_local(id, local, now).expect("published");
            }
        }
        for node in 0..self.nodes.len() {
            self.drain_outputs(node);
        }
    }

    // What tests do.

    pub(crate) fn set_watch(&mut self, index: usize, name: &RoomName, watch: bool) {
        let node = &mut self.nodes[index];
        node.watches.retain(|known| known != name);
        if watch {
            node.watches.push(name.clone());
        }
        if let Some(run) = &mut node.run {
            run.owner.watch(&mut run.relay, name, watch, self.now);
        }
        self.drain_outputs(index);
    }

    /// The publisher goes to this node, under the next epoch, or away.
    pub(crate) fn publish(&mut self, show: usize, at: Option<usize>) {
        let old = std::mem::replace(&mut self.shows[show].at, at);
        self.shows[show].epoch += 1;
        let (name, epoch) = (self.shows[show].name.clone(), self.shows[show].epoch);
        for (node, epoch) in [(old, None), (at, Some(epoch))] {
            let Some(node) = node.filter(|node| self.is_alive(*node)) else {
                continue;
            };
            let run = self.nodes[node].run.as_mut().expect("alive");
            run.owner.publish(&mut run.relay, &name, epoch, self.now);
            self.drain_outputs(node);
        }
    }

    pub(crate) fn chat(&mut self, index: usize, name: &RoomName) {
        if let Some(run) = &mut self.nodes[index].run {
            run.owner.chat(&mut run.relay, name, self.now);
        }
        self.drain_outputs(index);
    }

    /// The process is gone, and says nothing.
    pub(crate) fn kill(&mut self, index: usize, restart_after: Option<Duration>) {
        self.nodes[index].run = None;
        for pipe in 0..self.pipes.len() {
            for end in 0..2 {
                if self.pipes[pipe].ends[end] == index {
                    self.pipes[pipe].open[end] = false;
                }
            }
        }
        for show in &mut self.shows {
            if show.at == Some(index) {
                show.at = None;
            }
        }
        if let Some(after) = restart_after {
            self.push(self.now + after, Happening::Start(index));
        }
    }

    /// The process ends in order.
    pub(crate) fn stop(&mut self, index: usize) {
        for pipe in 0..self.pipes.len() {
            let at = &self.pipes[pipe];
            for end in 0..2 {
                if at.ends[end] == index && at.open[end] && at.cut_until <= self.now {
                    let closed = Happening::Closed {
                        pipe,
                        end: 1 - end,
                        reason: CloseReason::Shutdown,
                    };
                    self.push(self.now + self.pipes[pipe].delay, closed);
                    break;
                }
            }
        }
        self.kill(index, None);
    }

    pub(crate) fn drain(&mut self, index: usize, after: Duration, restart_after: Duration) {
        let now = self.now;
        self.relay(index).drain(after, now);
        self.drain_outputs(index);
        self.push(now + after + ms(100), Happening::Stop(index));
        self.push(now + restart_after, Happening::Start(index));
    }

    /// Nothing passes for a while.
    pub(crate) fn cut(&mut self, pipe: usize, time: Duration) {
        self.pipes[pipe].cut_until = self.now + time;
    }

    pub(crate) fn open_pipes(&self) -> Vec<usize> {
        let open = |pipe: &usize| self.pipes[*pipe].open == [true; 2];
        (0..self.pipes.len()).filter(open).collect()
    }

    /// The pipe between two nodes.
    pub(crate) fn pipe(&self, child: usize, parent: usize) -> usize {
        let open = self.open_pipes();
        let between = |pipe: &&usize| self.pipes[**pipe].ends == [child, parent];
        *open.iter().find(between).expect("they are linked")
    }

    /// Somebody in the place of an end of a link sends this.
    pub(crate) fn inject(&mut self, pipe: usize, end: usize, channel: Channel, bytes: Bytes) {
        let (node, link) = (self.pipes[pipe].ends[end], self.pipes[pipe].links[end]);
        let now = self.now;
        self.relay(node).handle_message(link, channel, bytes, now);
        self.drain_outputs(node);
    }
}
