//! A viewer's part in the chat: three data channels, what comes on them, and what it writes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lightstick_chat_proto::{
    Batch, ClientFrame, Hello, Message, Send, ServerFrame, client_frame, entry, part,
};
use prost::Message as _;
use str0m::Rtc;
use str0m::change::SdpApi;
use str0m::channel::{ChannelConfig, ChannelData, ChannelId, Reliability};

use super::attack::{Attack, Attacker};
use super::text::text;
use crate::tally::ChatTally;

/// How a viewer takes part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ChatConfig {
    /// It reads, and writes so many messages in a second.
    Fan(f64),
    Attack(Attack),
}

/// A viewer's channels.
pub(super) struct Chat {
    ctl: ChannelId,
    every: Option<Duration>,
    /// When it writes next; none before it has been welcomed.
    pub(super) due: Option<Instant>,
    written: u64,
    /// Spreads the writers over their interval, and tells their messages apart.
    seed: u16,
    attacker: Option<Attacker>,
}

impl Chat {
    pub(super) fn offer(changes: &mut SdpApi<'_>, config: ChatConfig, seed: u16) -> Self {
        let mut channel = |label: &str, ordered, reliability| {
            changes.add_channel_with_config(ChannelConfig {
                label: label.to_owned(),
                ordered,
                reliability,
                ..ChannelConfig::default()
            })
        };
        let ctl = channel("ctl", true, Reliability::Reliable);
        channel("chat", false, Reliability::Reliable);
        channel("fx", false, Reliability::MaxRetransmits { retransmits: 0 });
        let (rate, attack) = match config {
            ChatConfig::Fan(rate) => (rate, None),
            ChatConfig::Attack(attack) => (0.0, Some(attack)),
        };
        Self {
            ctl,
            every: (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate)),
            due: None,
            written: 0,
            seed,
            attacker: attack.map(|attack| Attacker::new(attack, seed)),
        }
    }

    /// Whether it leaves what comes on its channels unheard.
    pub(super) fn is_deaf(&self) -> bool {
        self.attacker.as_ref().is_some_and(Attacker::is_deaf)
    }

    /// A channel has opened: on `ctl`, it says hello.
    pub(super) fn opened(&mut self, id: ChannelId, now: Instant, rtc: &mut Rtc) {
        if id == self.ctl {
            self.due = self.attacker.as_ref().map(|_| now);
            let hello = client_frame::Frame::Hello(Hello::default());
            // A refusal shows in the figures: nobody is welcomed.
            let _ = self.write(rtc, hello);
        }
    }

    /// Takes what came. Counts it if it came `within` the window.
    pub(super) fn data(
        &mut self,
        data: &ChannelData,
        now: Instant,
        within: bool,
        tally: &mut ChatTally,
    ) {
        let Ok(frame) = ServerFrame::decode(&*data.data) else {
            tally.unreadable += u64::from(within);
            return;
        };
        let at_ms = unix_ms();
        if within {
            tally.frames += 1;
            tally.bytes += data.data.len() as u64;
        }
        for part in frame.parts.into_iter().filter_map(|part| part.part) {
            if let part::Part::Welcome(_) = part {
                tally.welcomed += 1;
                if let Some(attacker) = &mut self.attacker {
                    attacker.welcomed();
                }
                if let Some(every) = self.every {
                    let share = f64::from(self.seed) / f64::from(u16::MAX);
                    self.due = Some(now + every.mul_f64(share));
                }
            }
            if within {
                count(part, at_ms, tally);
            }
        }
    }

    pub(super) fn write_due(
        &mut self,
        now: Instant,
        within: bool,
        rtc: &mut Rtc,
        tally: &mut ChatTally,
    ) {
        if let (Some(_), Some(attacker)) = (self.due.filter(|due| *due <= now), &mut self.attacker)
        {
            self.due = Some(attacker.act(now, self.ctl, rtc, within, tally));
            return;
        }
        let (Some(due), Some(every)) = (self.due.filter(|due| *due <= now), self.every) else {
            return;
        };
        self.due = Some((due + every).max(now));
        self.written += 1;
        let (seed, number) = (self.seed, self.written);
        let send = Send {
            nonce: number << 16 | u64::from(seed),
            text: text(u64::from(seed) << 32 | number),
            reply_to: 0,
        };
        if self.write(rtc, client_frame::Frame::Send(send)) {
            tally.written += u64::from(within);
        } else {
            tally.blocked += u64::from(within);
        }
    }

    fn write(&self, rtc: &mut Rtc, frame: client_frame::Frame) -> bool {
        let frame = ClientFrame { frame: Some(frame) }.encode_to_vec();
        let channel = rtc.channel(self.ctl);
        channel.is_some_and(|mut channel| matches!(channel.write(true, &frame), Ok(true)))
    }
}

/// Counts what a frame brought.
pub(crate) fn count(part: part::Part, at_ms: u64, tally: &mut ChatTally) {
    match part {
        part::Part::Batch(Batch {
            entries, skipped, ..
        }) => {
            tally.skipped += u64::from(skipped);
            for entry in entries.into_iter().filter_map(|entry| entry.entry) {
                if let entry::Entry::Message(Message { at_ms: sent, .. }) = entry {
                    tally.messages += 1;
                    tally.delay.record_us(at_ms.saturating_sub(sent) * 1_000);
                }
            }
        }
        part::Part::Gap(gap) => tally.missed += u64::from(gap.messages),
        part::Part::Ack(_) => tally.acknowledged += 1,
        part::Part::Refusal(refusal) => *tally.refused.entry(refusal.code).or_default() += 1,
        _ => {}
    }
}

/// Milliseconds of the Unix time: what messages are stamped with.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use lightstick_chat_proto::{Ack, Entry, Gap, Part, Refusal};

    use super::*;

    #[test]
    fn what_comes_is_counted_by_its_kind() {
        let message = |at_ms| Entry {
            entry: Some(entry::Entry::Message(Message {
                at_ms,
                ..Message::default()
            })),
        };
        let batch = Batch {
            entries: vec![message(1_000), message(900), Entry::default()],
            skipped: 5,
            ..Batch::default()
        };
        let gap = Gap {
            messages: 7,
            ..Gap::default()
        };
        let mut tally = ChatTally::default();
        for part in [
            part::Part::Batch(batch),
            part::Part::Gap(gap),
            part::Part::Ack(Ack::default()),
            part::Part::Refusal(Refusal {
                code: "slow".to_owned(),
                ..Refusal::default()
            }),
        ] {
            count(part, 1_050, &mut tally);
        }
        let ChatTally {
            messages,
            skipped,
            missed,
            acknowledged,
            ref refused,
            ref delay,
            ..
        } = tally;
        assert_eq!((messages, skipped, missed), (2, 5, 7));
        assert_eq!((acknowledged, refused["slow"]), (1, 1));
        assert!((149.0..151.0).contains(&delay.max_ms()), "{delay:?}");
        tally.welcomed = 3;
        tally.begin_window();
        assert_eq!(
            (tally.welcomed, tally.messages, tally.delay.len()),
            (3, 0, 0)
        );
    }

    #[test]
    fn a_viewer_counts_frames_within_the_window_only_and_writes_when_welcomed() {
        let now = Instant::now();
        let mut rtc = Rtc::new(now);
        let mut changes = rtc.sdp_api();
        let config = ChatConfig::Fan(10.0);
        let mut chat = Chat::offer(&mut changes, config, u16::MAX);
        let welcome = ServerFrame {
            parts: vec![Part {
                part: Some(part::Part::Welcome(Default::default())),
            }],
        };
        let mut data = ChannelData {
            id: chat.ctl,
            binary: true,
            data: welcome.encode_to_vec(),
        };
        let mut tally = ChatTally::default();
        assert_eq!(chat.due, None);
        chat.data(&data, now, false, &mut tally);
        assert_eq!(chat.due, Some(now + Duration::from_millis(100)));
        assert_eq!((tally.welcomed, tally.frames), (1, 0));
        data.data = vec![0xff; 3];
        chat.data(&data, now, true, &mut tally);
        assert_eq!((tally.frames, tally.unreadable), (0, 1));
        // Nothing is connected: it is not taken, and tried again in its time.
        let later = now + Duration::from_millis(250);
        chat.write_due(later, true, &mut rtc, &mut tally);
        assert_eq!((tally.written, tally.blocked), (0, 1));
        assert_eq!(chat.due, Some(later));
    }
}
