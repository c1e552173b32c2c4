//! What another node says that it is the hop above.

use std::time::{Duration, Instant};

use lightstick_sfu_core::room::wire::{Inbound, Outbound, read_up, write_up};
use lightstick_sfu_core::room::{Down, Hop, HopConfig, PeerId, Tally};
use lightstick_types::{NodeId, TrackKind};

/// Messages, each behind its length in two bytes. What is read can be written and read again, and no
/// hop minds it.
pub fn wire(data: &[u8]) {
    walk(data);
}

/// How much was told.
fn walk(data: &[u8]) -> usize {
    let mut told = 0;
    let now = Instant::now();
    let above = PeerId(1);
    let config = HopConfig {
        node: NodeId(2),
        keyframe_interval: Duration::from_secs(1),
        pause_after: Duration::ZERO,
        frame_hold: Duration::ZERO,
        playout_delay: None,
    };
    let mut hop = Hop::new(config, Some(above), now);
    hop.handle_down(above, Down::Subscribed(Default::default()), now);
    let (mut inbound, mut again) = (Inbound::default(), Inbound::default());
    let mut outbound = Outbound::new(now);
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (message, after) = after.split_at(length);
        rest = after;
        if let Ok(up) = read_up(message.to_vec().into()) {
            assert_eq!(read_up(write_up(&up).into()), Ok(up.clone()));
            hop.handle_up(PeerId(2), up, now);
        }
        let _ = inbound.receive(message.to_vec().into(), now);
        while let Some(down) = inbound.poll() {
            told += 1;
            for message in outbound.encode(&down, now) {
                again
                    .receive(message.bytes.into(), now)
                    .expect("what was written");
            }
            let mut packets = Vec::new();
            while let Some(down) = again.poll() {
                if let Down::Media(batch) = down {
                    packets.extend(batch.packets.iter().cloned());
                }
            }
            if let Down::Media(batch) = &down {
                let mut batch: Vec<_> = batch.packets.iter().cloned().collect();
                assert!(!batch.is_empty() && packets.len() >= batch.len());
                // Of audio, each packet comes behind the one before it.
                if packets.len() > batch.len() {
                    assert_eq!(batch[0].kind(), TrackKind::Audio);
                    batch.drain(..batch.len() - 1);
                    packets.drain(..packets.len() - 1);
                }
                for (packet, again) in batch.iter().zip(&packets) {
                    assert!(packet.received_at <= now);
                    assert_eq!(packet.sequence, again.sequence);
                    assert_eq!(packet.payload, again.payload);
                    assert_eq!(packet.info, again.info);
                }
            }
            hop.handle_down(above, down, now);
        }
    }
    let mut tally = Tally::default();
    hop.release(now);
    hop.handle_timeout(now, &mut tally);
    while hop.poll().is_some() {}
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_gets_past_the_checks() {
        for (file, told) in [
            (
                &include_bytes!("../corpus/wire/subscription_and_frames")[..],
                3,
            ),
            (
                &include_bytes!("../corpus/wire/out_of_order_with_extensions")[..],
                3,
            ),
            (&include_bytes!("../corpus/wire/red")[..], 1),
            (&include_bytes!("../corpus/wire/past_audio")[..], 2),
        ] {
            assert_eq!(walk(file), told);
        }
    }
}
