//! Offers of nobody's making, over real HTTP and into the real WebRTC stack: each gets its answer
//! or a typed refusal, and takes nothing away from those who are there.

mod support;

use std::collections::BTreeMap;

use lightstick_signaling::SignalingConfig;
use reqwest::StatusCode;
use support::peer::Peer;
use support::{Server, location};

/// Damaged offers of each role.
const OFFERS: usize = 400;

/// A few changes to lines: gone, doubled, swapped, cut, mistyped, or from the other offer.
fn damage(random: &mut fastrand::Rng, offer: &str, other: &str) -> String {
    let mut lines: Vec<String> = offer.lines().map(str::to_owned).collect();
    let strange: Vec<&str> = other.lines().collect();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..lines.len());
        let elsewhere = random.usize(..lines.len());
        match random.u8(..6) {
            0 if lines.len() > 1 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => lines.swap(at, elsewhere),
            3 => lines.insert(at, strange[random.usize(..strange.len())].to_owned()),
            4 => {
                let end = random.usize(..=lines[at].len());
                lines[at].truncate(end);
            }
            _ => {
                let typo = *random.choice(b"09/ -=:;zA\t").expect("some") as char;
                let place = random.usize(..=lines[at].len());
                lines[at].insert(place, typo);
            }
        }
    }
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

#[tokio::test]
async fn damaged_offers_are_answered_or_refused_and_leave_nothing() {
    let mut config = SignalingConfig::default();
    config.limits.joins_per_address.per_minute = 0;
    config.limits.requests_per_address.per_minute = 0;
    config.limits.refused_offers_per_address.per_minute = 0;
    let server = Server::start(config).await;
    let (_, publish) = Peer::publisher();
    let (_, view) = Peer::viewer();
    let bystander = location(&server.whep("stage", &view).await);
    let mut random = fastrand::Rng::with_seed(8_866);
    let mut outcomes = BTreeMap::new();
    for n in 0..OFFERS {
        for (role, offer, other) in [("whip", &publish, &view), ("whep", &view, &publish)] {
            let offer = damage(&mut random, offer, other);
            let response = match role {
                "whip" => server.whip(&format!("room-{n}"), "idol", &offer).await,
                _ => server.whep("stage", &offer).await,
            };
            let status = response.status();
            *outcomes.entry((role, status.as_u16())).or_insert(0) += 1;
            if status == StatusCode::CREATED {
                let path = location(&response);
                let answer = response.text().await.unwrap();
                assert!(answer.starts_with("v=0\r\n"), "{answer}");
                assert_eq!(server.delete(&path).await.status(), StatusCode::OK);
            } else {
                let code = response.json::<serde_json::Value>().await.unwrap();
                let refusals = ["malformed_offer", "unacceptable_offer"];
                let typed = refusals.iter().any(|refusal| code["code"] == *refusal);
                assert!(typed, "{code} for {role}:\n{offer}");
            }
        }
    }
    let outcome = |role, status| outcomes.get(&(role, status)).copied().unwrap_or(0);
    for role in ["whip", "whep"] {
        for status in [201, 400, 422] {
            assert!(outcome(role, status) > 0, "{role} {status}: {outcomes:?}");
        }
    }
    let stats = server.signaling.stats().snapshot();
    assert_eq!((stats.publishers, stats.viewers, stats.rooms), (0, 1, 1));
    let there = server.get(&bystander).await;
    assert_eq!(there.status(), StatusCode::NO_CONTENT);
}
