//! What viewers say of the packets they got: transport-wide feedback.

use std::time::{Duration, Instant};

use lightstick_sfu_core::bwe::{Estimator, Feedback, PACKETS_MAX};
use lightstick_types::Bitrate;

/// A feedback control information. What is read is whole, and no estimator minds it.
pub fn feedback(data: &[u8]) {
    let parsed = Feedback::parse(data);
    if let Ok(feedback) = parsed {
        assert!((1..=PACKETS_MAX).contains(&feedback.packet_count));
        assert!(feedback.reference_time < 1 << 24);
        let (mut next, mut count, mut time) = (feedback.base_sequence, 0, 0);
        for packet in feedback.packets() {
            assert_eq!(packet.sequence, next);
            next = next.wrapping_add(1);
            count += 1;
            if let Some(arrival) = packet.arrival {
                assert!((-0x8000..=0x7fff).contains(&(arrival - time)));
                time = arrival;
            }
        }
        assert_eq!(count, feedback.packet_count);
        // A header, a chunk at least, and a delta for each packet that came.
        let came = feedback.packets().filter(|packet| packet.arrival.is_some());
        assert!(data.len() >= 8 + 2 + came.count());
    }
    let start = Instant::now();
    let mut estimator = Estimator::new(start, Bitrate::kbps(1_000));
    // Twice, with packets in between: the second time some of it is known already.
    for round in 0..2_u32 {
        for n in 0..600 {
            estimator.sent(start + Duration::from_millis(2) * (round * 600 + n), 1_200);
        }
        let now = start + Duration::from_millis(2) * (round + 1) * 600;
        let heard = estimator.on_feedback(now, data);
        assert_eq!(heard.err(), parsed.err());
        if let Some(estimate) = estimator.estimate() {
            assert!((30_000..=100_000_000).contains(&estimate.bps()));
        }
        assert!(
            estimator
                .loss()
                .is_none_or(|loss| (0.0..=1.0).contains(&loss))
        );
    }
}
