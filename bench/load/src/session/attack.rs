//! Viewers who misuse their data channels.

use std::time::{Duration, Instant};

use lightstick_chat_proto::{ClientFrame, Hello, Send, client_frame};
use prost::Message as _;
use str0m::Rtc;
use str0m::channel::{ChannelConfig, ChannelId};

use super::text::text;
use crate::tally::ChatTally;

/// How a viewer misuses its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Writes a thousand messages a second.
    Flood,
    /// Says hello a hundred times a second: each is answered with all that the room shows.
    Hello,
    /// Writes the same message again and again.
    Replay,
    /// Writes what is no frame: random bytes, too many of them, text.
    Junk,
    /// Writes texts that turn round, pile up, hide or swell.
    Texts,
    /// Opens channels that nobody knows, and those that are there, for ever.
    Channels,
    /// Acknowledges nothing from its welcome on.
    Deaf,
}

impl Attack {
    /// Who does what among many.
    #[must_use]
    pub fn of(index: usize) -> Self {
        const ALL: [Attack; 7] = [
            Attack::Flood,
            Attack::Hello,
            Attack::Replay,
            Attack::Junk,
            Attack::Texts,
            Attack::Channels,
            Attack::Deaf,
        ];
        ALL[index % ALL.len()]
    }

    /// Between two times that it does harm.
    #[must_use]
    pub fn every(self) -> Duration {
        Duration::from_millis(match self {
            Self::Flood | Self::Replay => 1,
            Self::Hello | Self::Junk | Self::Texts => 10,
            Self::Channels => 50,
            Self::Deaf => 1_000,
        })
    }
}

pub(super) struct Attacker {
    attack: Attack,
    count: u64,
    seed: u16,
    is_welcome: bool,
}

impl Attacker {
    pub(super) fn new(attack: Attack, seed: u16) -> Self {
        Self {
            attack,
            count: 0,
            seed,
            is_welcome: false,
        }
    }

    pub(super) fn welcomed(&mut self) {
        self.is_welcome = true;
    }

    pub(super) fn is_deaf(&self) -> bool {
        self.attack == Attack::Deaf && self.is_welcome
    }

    /// Does harm once. Gives when to do it again.
    pub(super) fn act(
        &mut self,
        now: Instant,
        ctl: ChannelId,
        rtc: &mut Rtc,
        within: bool,
        tally: &mut ChatTally,
    ) -> Instant {
        self.count += 1;
        let written = match self.attack {
            Attack::Deaf => false,
            Attack::Channels => {
                let labels = ["ctl", "chat", "fx", "admin", "\u{202E}ltc", ""];
                let label = labels[self.count as usize % labels.len()];
                let config = ChannelConfig {
                    label: label.to_owned(),
                    ..ChannelConfig::default()
                };
                rtc.direct_api().create_data_channel(config);
                true
            }
            attack => {
                let (binary, bytes) = harm(attack, self.count, self.seed);
                let channel = rtc.channel(ctl);
                channel.is_some_and(|mut it| matches!(it.write(binary, &bytes), Ok(true)))
            }
        };
        if within {
            match written {
                true => tally.written += 1,
                false => tally.blocked += u64::from(self.attack != Attack::Deaf),
            }
        }
        now + self.attack.every()
    }
}

/// What an attacker writes: whether it is binary, and the bytes.
pub(crate) fn harm(attack: Attack, count: u64, seed: u16) -> (bool, Vec<u8>) {
    let frame = |frame| ClientFrame { frame: Some(frame) }.encode_to_vec();
    let send = |nonce, text| {
        frame(client_frame::Frame::Send(Send {
            nonce,
            text,
            reply_to: 0,
        }))
    };
    let nonce = count << 16 | u64::from(seed);
    let bytes = match attack {
        Attack::Hello => frame(client_frame::Frame::Hello(Hello::default())),
        Attack::Replay => send(1, text(u64::from(seed))),
        Attack::Texts => send(nonce, evil_text(count)),
        Attack::Junk => {
            let mut random = fastrand::Rng::with_seed(nonce);
            let bytes = [16, 300, 4_096, 5_000, 15_000][count as usize % 5];
            let junk = (0..bytes).map(|_| random.u8(..)).collect();
            return (!count.is_multiple_of(3), junk);
        }
        Attack::Flood | Attack::Channels | Attack::Deaf => send(nonce, text(nonce)),
    };
    (true, bytes)
}

/// Texts that turn round, pile up, hide or swell.
fn evil_text(count: u64) -> String {
    match count % 6 {
        0 => format!("\u{202E}{}\u{2066}", text(count)),
        1 => format!("{}{}", text(count), "\u{0301}\u{0489}\u{20DD}".repeat(60)),
        2 => "\u{200B}\u{2060}\u{FEFF}\u{3164}".repeat(40),
        3 => "\u{FDFA}".repeat(400),
        4 => format!("{}\r\n\0\u{1B}[2J{}", text(count), text(count + 1)),
        _ => "\u{1F468}\u{200D}".repeat(200),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harm_is_what_it_is_called() {
        for count in 1..50 {
            let read = |attack| {
                let (binary, bytes) = harm(attack, count, 7);
                assert!(binary);
                ClientFrame::decode(&*bytes).unwrap().frame.unwrap()
            };
            assert!(matches!(read(Attack::Hello), client_frame::Frame::Hello(_)));
            assert_eq!(read(Attack::Replay), read(Attack::Replay));
            assert_ne!(read(Attack::Flood), read(Attack::Replay));
            let client_frame::Frame::Send(evil) = read(Attack::Texts) else {
                panic!("a message");
            };
            assert!(!evil.text.is_ascii() || evil.text.contains('\0'));
        }
        let longest = (1..50)
            .map(|count| harm(Attack::Junk, count, 7).1.len())
            .max();
        assert_eq!(longest, Some(15_000));
    }
}
