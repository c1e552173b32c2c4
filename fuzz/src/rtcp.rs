//! What viewers report.

use lightstick_sfu_core::ntp::Ntp;
use lightstick_sfu_core::rtcp::{self, Feedback};
use lightstick_sfu_core::srtp::{self, End, Profile};

/// RTCP as it is after opening. Lists stay within what the datagram can hold.
pub fn rtcp(data: &[u8]) {
    let mut things = 0;
    let _ = rtcp::read(data, |feedback| {
        things += 1;
        match feedback {
            Feedback::Nack { lost, .. } => {
                assert!(lost.iter().count() <= 17 * data.len() / 4);
            }
            Feedback::Report(block) => {
                let _ = block.round_trip(Ntp(u64::from(block.delay) << 20));
                assert!((-(1 << 23)..1 << 23).contains(&block.lost));
            }
            Feedback::TransportWide(information) => assert!(information.len() <= data.len()),
            Feedback::KeyframeRequest { .. } | Feedback::Remb(_) => {}
        }
    });
    assert!(things <= data.len() / 4);
}

/// SRTCP as it comes off the socket: nobody without the keys gets anything opened.
pub fn srtcp(data: &[u8]) {
    for profile in [
        Profile::Aes128CmSha1_80,
        Profile::Aes128Gcm,
        Profile::Aes256Gcm,
    ] {
        let material: Vec<u8> = (0..profile.material_len() as u8).collect();
        let Ok((mut sealer, mut opener)) = srtp::keys(&material, profile, End::Server) else {
            panic!("the keys are of the right length");
        };
        assert!(opener.open(&mut data.to_vec()).is_err());
        // What we seal ourselves is under other keys than what we open.
        if data.len() >= 8 {
            let mut sealed = data.to_vec();
            assert!(sealer.seal_rtcp(&mut sealed, 0).is_ok());
            assert!(sealed.len() <= data.len() + srtp::RTCP_OVERHEAD_MAX);
            assert!(opener.open(&mut sealed).is_err());
        }
    }
}
