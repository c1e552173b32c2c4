//! One client's back pressure: what it is sent of the room's ticks when its link does not carry all.
//!
//! A client whose link keeps up costs one comparison a tick and holds nothing. One that falls
//! behind gets its ticks joined; after [`LAG_MAX`] or [`OWED_BYTES_MAX`] it misses chosen messages
//! and is told how many; after [`COUNTS_ONLY_AFTER`] it gets counts only. What is never left out
//! waits; if there is too much of it, the client has to be brought up to date from the room's
//! history instead ([`Reader::take_resync`]).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lightstick_chat_proto::{Gap, part};

use crate::{Channel, FRAME_BYTES_MAX, Frame, Tick};

/// Unsent bytes of a link from which on ticks are joined.
pub const BUSY_BYTES: usize = 16 * 1024;
/// Bytes that wait for one client beside what its link holds. Messages go first, oldest first.
pub const OWED_BYTES_MAX: usize = 32 * 1024;
/// How long a chosen message may wait.
pub const LAG_MAX: Duration = Duration::from_secs(1);
/// How long a link may be busy before its client gets counts only.
pub const COUNTS_ONLY_AFTER: Duration = Duration::from_secs(5);

/// Where a client's frames go.
pub trait Link {
    /// Bytes that were written and are not sent yet.
    fn unsent_bytes(&mut self) -> usize;
    /// Writes one frame. False: it could not be taken, and nothing of it was.
    fn write(&mut self, channel: Channel, frame: &Frame) -> bool;
}

/// What was written of what was offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub frames: u32,
    pub bytes: u32,
    /// Messages that the client will not get.
    pub missed: u32,
}

#[derive(Clone, Debug)]
struct Owed {
    channel: Channel,
    frame: Frame,
    messages: u32,
    since: Instant,
}

/// The state of one client.
#[derive(Debug, Default)]
pub struct Reader {
    owed: VecDeque<Owed>,
    owed_bytes: usize,
    busy_since: Option<Instant>,
    missed: u32,
    counts_only: bool,
    resync: bool,
}

impl Reader {
    /// Offers a tick of the room.
    pub fn offer(&mut self, now: Instant, tick: &Tick, link: &mut impl Link) -> Written {
        self.offer_whole(now, tick, None, link)
    }

    /// The same for a link with one channel: while it keeps up, it gets `whole`, which is
    /// [`Tick::whole`], made once for all.
    pub fn offer_whole(
        &mut self,
        now: Instant,
        tick: &Tick,
        whole: Option<&Frame>,
        link: &mut impl Link,
    ) -> Written {
        let mut written = self.settle(now, link);
        if self.owed.is_empty() && self.busy_since.is_none() {
            // The way of nearly every client at nearly every time.
            if whole.is_some_and(|whole| write(link, Channel::Ctl, whole, &mut written)) {
                return written;
            }
            self.give(now, link, Channel::Ctl, tick.ctl.as_ref(), 0, &mut written);
            self.give(
                now,
                link,
                Channel::Chat,
                tick.chat.as_ref(),
                tick.messages,
                &mut written,
            );
            self.give(now, link, Channel::Fx, tick.fx.as_ref(), 0, &mut written);
            return written;
        }
        if let Some(frame) = &tick.ctl {
            self.owe(now, Channel::Ctl, frame, 0);
        }
        match &tick.chat {
            Some(_) if self.counts_only => self.miss(tick.messages, &mut written),
            Some(frame) => self.owe(now, Channel::Chat, frame, tick.messages),
            None => {}
        }
        if self.counts_only
            && let Some(fx) = &tick.fx
        {
            write(link, Channel::Fx, fx, &mut written);
        }
        self.shed(now, &mut written);
        written
    }

    /// Sends one client something of its own: never left out, in order with the rest of `ctl`.
    pub fn offer_own(&mut self, now: Instant, frame: &Frame, link: &mut impl Link) -> Written {
        let mut written = self.settle(now, link);
        if self.owed.is_empty() {
            self.give(now, link, Channel::Ctl, Some(frame), 0, &mut written);
        } else {
            self.owe(now, Channel::Ctl, frame, 0);
            self.shed(now, &mut written);
        }
        written
    }

    /// Sends what waits, as far as the link takes it. To be called when the link has drained.
    pub fn settle(&mut self, now: Instant, link: &mut impl Link) -> Written {
        let mut written = Written::default();
        if self.busy_since.is_none() && self.owed.is_empty() && link.unsent_bytes() < BUSY_BYTES {
            return written;
        }
        if link.unsent_bytes() >= BUSY_BYTES {
            let since = *self.busy_since.get_or_insert(now);
            let was = self.counts_only;
            self.counts_only |= now.saturating_duration_since(since) >= COUNTS_ONLY_AFTER;
            if self.counts_only && !was {
                let counts_only = Frame::new([part::Part::Gap(Gap {
                    messages: 0,
                    counts_only: true,
                })]);
                self.owe(now, Channel::Ctl, &counts_only, 0);
            }
            self.shed(now, &mut written);
            return written;
        }
        self.busy_since = None;
        self.counts_only = false;
        self.drain(link, &mut written);
        written
    }

    /// Whether something waits for the link.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Whether it gets counts only, until its link has recovered.
    #[must_use]
    pub fn is_counts_only(&self) -> bool {
        self.counts_only
    }

    /// True once after too much had to wait: what must not be left out was. The client is to be
    /// given what it missed from the room's history, or a new snapshot.
    pub fn take_resync(&mut self) -> bool {
        let ready = self.resync && self.busy_since.is_none();
        if ready {
            self.resync = false;
        }
        ready
    }

    fn give(
        &mut self,
        now: Instant,
        link: &mut impl Link,
        channel: Channel,
        frame: Option<&Frame>,
        messages: u32,
        written: &mut Written,
    ) {
        let Some(frame) = frame else { return };
        if !write(link, channel, frame, written) && channel != Channel::Fx {
            self.owe(now, channel, frame, messages);
        }
    }

    fn owe(&mut self, now: Instant, channel: Channel, frame: &Frame, messages: u32) {
        if self.resync {
            return;
        }
        self.owed_bytes += frame.len();
        self.owed.push_back(Owed {
            channel,
            frame: frame.clone(),
            messages,
            since: now,
        });
    }

    fn miss(&mut self, messages: u32, written: &mut Written) {
        self.missed += messages;
        written.missed += messages;
    }

    /// Leaves out what has waited too long, or is too much.
    fn shed(&mut self, now: Instant, written: &mut Written) {
        let counts_only = self.counts_only;
        let late = |owed: &Owed| counts_only || now.saturating_duration_since(owed.since) > LAG_MAX;
        let mut at = 0;
        while let Some(owed) = self.owed.get(at) {
            let over = self.owed_bytes > OWED_BYTES_MAX;
            if owed.channel == Channel::Chat && (over || late(owed)) {
                let messages = owed.messages;
                self.owed_bytes -= owed.frame.len();
                self.owed.remove(at);
                self.miss(messages, written);
            } else {
                at += 1;
            }
        }
        if self.owed_bytes > OWED_BYTES_MAX {
            self.owed = VecDeque::new();
            self.owed_bytes = 0;
            self.resync = true;
        }
    }

    fn drain(&mut self, link: &mut impl Link, written: &mut Written) {
        if self.missed != 0 {
            let gap = Frame::new([part::Part::Gap(Gap {
                messages: self.missed,
                counts_only: false,
            })]);
            if !write(link, Channel::Ctl, &gap, written) {
                return;
            }
            self.missed = 0;
        }
        while let Some(first) = self.owed.front() {
            let channel = first.channel;
            let (mut count, mut bytes) = (0, 0);
            // Frames of one channel that follow each other leave as one.
            for owed in &self.owed {
                let fits = count == 0 || bytes + owed.frame.len() <= FRAME_BYTES_MAX;
                if owed.channel != channel || !fits {
                    break;
                }
                count += 1;
                bytes += owed.frame.len();
            }
            let sent = if count == 1 {
                write(link, channel, &first.frame, written)
            } else {
                let joined = Frame::joined(self.owed.iter().take(count).map(|owed| &owed.frame));
                write(link, channel, &joined, written)
            };
            if !sent {
                return;
            }
            self.owed_bytes -= bytes;
            self.owed.drain(..count);
            if link.unsent_bytes() >= BUSY_BYTES && !self.owed.is_empty() {
                return;
            }
        }
        // A client that was behind once is no reason to hold its queue for ever.
        self.owed = VecDeque::new();
    }
}

fn write(link: &mut impl Link, channel: Channel, frame: &Frame, written: &mut Written) -> bool {
    let taken = link.write(channel, frame);
    if taken {
        written.frames += 1;
        written.bytes += frame.len() as u32;
    }
    taken
}

#[cfg(test)]
mod tests;
