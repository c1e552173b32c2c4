use super::*;
use lightstick_types::Layer::{High, Low, Medium};

/// Three temporal layers as Chromium's encoder divides them: two fifths, a fifth, two fifths of the
/// bits; a quarter, a quarter and a half of the pictures.
fn l1t3(bps: u64, frames: f32) -> [(u64, f32); TEMPORAL_LAYERS] {
    [
        (bps * 4 / 10, frames / 4.0),
        (bps * 2 / 10, frames / 4.0),
        (bps * 4 / 10, frames / 2.0),
        (0, 0.0),
    ]
}

fn rates(layers: &[(Layer, [(u64, f32); TEMPORAL_LAYERS])]) -> LayerRates {
    let mut rates = LayerRates::default();
    for (layer, own) in layers {
        rates.set(*layer, *own);
    }
    rates
}

fn live(layers: &[Layer]) -> LayerSet {
    layers.iter().copied().collect()
}

fn ladder(layers: &[(Layer, [(u64, f32); TEMPORAL_LAYERS])]) -> Vec<(Layer, u8)> {
    let present: Vec<Layer> = layers.iter().map(|(layer, _)| *layer).collect();
    Ladder::new(&rates(layers), live(&present))
        .steps()
        .map(|step| (step.layer, step.temporal))
        .collect()
}

#[test]
fn steps_of_streams() {
    let one = |bps| [(bps, 30.0), (0, 0.0), (0, 0.0), (0, 0.0)];
    let l1t2 = |frames: f32| {
        let half = frames / 2.0;
        [(600_000, half), (400_000, half), (0, 0.0), (0, 0.0)]
    };
    assert_eq!(ladder(&[(High, one(900))]), [(High, 3)]);
    assert_eq!(
        ladder(&[(Low, one(1)), (High, one(9))]),
        [(Low, 3), (High, 3)]
    );
    // Alone, a layer goes down as far as it can; above others, to half of its pictures.
    assert_eq!(
        ladder(&[(High, l1t3(1_000_000, 30.0))]),
        [(High, 0), (High, 1), (High, 3)]
    );
    assert_eq!(
        ladder(&[(Low, one(100)), (High, l1t3(1_000_000, 30.0))]),
        [(Low, 3), (High, 1), (High, 3)]
    );
    // Half of few is too few, and one that saves next to nothing is no step.
    assert_eq!(
        ladder(&[(Low, one(100)), (High, l1t2(12.0))]),
        [(Low, 3), (High, 3)]
    );
    let skewed = [(950, 15.0), (50, 15.0), (0, 0.0), (0, 0.0)];
    assert_eq!(ladder(&[(High, skewed)]), [(High, 3)]);
    // A layer that was never measured is one step.
    assert_eq!(
        ladder(&[(Low, one(100)), (High, [(0, 0.0); 4])]),
        [(Low, 3), (High, 3)]
    );
}

#[test]
fn down_by_pictures_then_by_layer_and_back() {
    let start = Instant::now();
    let rates = rates(&[
        (Low, l1t3(150_000, 30.0)),
        (Medium, l1t3(500_000, 30.0)),
        (High, l1t3(1_500_000, 30.0)),
    ]);
    let live = live(&Layer::ALL);
    let mut cap = NetworkCap::default();
    let mut at = |ms, link| {
        cap.judge(
            start + Duration::from_millis(ms),
            Bitrate(link),
            &rates,
            live,
        );
        let better = cap.better(&rates, live).map(|better| better.bps());
        (cap.cap.layer, cap.cap.temporal, better)
    };
    assert_eq!(at(0, 1_500_000), (High, 3, None));
    assert_eq!(at(100, 1_400_000), (High, 1, Some(1_620_000)));
    assert_eq!(at(200, 900_000), (High, 1, Some(1_620_000)));
    assert_eq!(at(300, 890_000), (Medium, 3, Some(972_000)));
    assert_eq!(at(400, 400_000), (Medium, 1, Some(540_000)));
    assert_eq!(at(500, 200_000), (Low, 3, Some(324_000)));
    assert_eq!(at(600, 120_000), (Low, 1, Some(162_000)));
    assert_eq!(at(700, 70_000), (Low, 0, Some(97_200)));
    assert_eq!(at(800, 10_000), (Low, 0, Some(97_200)), "the least");
    assert_eq!(at(2_600, 1_000_000), (Low, 0, Some(97_200)), "too soon");
    assert_eq!(at(2_700, 100_000), (Low, 1, Some(162_000)));
    assert_eq!(at(2_800, 971_999), (Medium, 3, Some(972_000)));
    assert_eq!(at(2_900, 972_000), (High, 1, Some(1_620_000)));
    assert_eq!(at(3_000, 1_619_999), (High, 1, Some(1_620_000)));
    assert_eq!(at(3_100, 1_620_000), (High, 3, None));
    // A sharp fall goes at once to a smaller picture that leaves room for what was lost.
    assert_eq!(at(3_200, 380_000), (Medium, 1, Some(540_000)));
}

#[test]
fn a_layer_that_is_left_is_thinned_out_meanwhile() {
    let mut cap = NetworkCap::default();
    let rates = rates(&[
        (Low, [(150_000, 30.0), (0, 0.0), (0, 0.0), (0, 0.0)]),
        (High, l1t3(1_500_000, 30.0)),
    ]);
    assert_eq!(cap.temporal(High), temporal::ALL);
    cap.judge(Instant::now(), Bitrate(200_000), &rates, live(&[Low, High]));
    assert_eq!(cap.layer(), Low);
    assert_eq!(cap.temporal(High), 1);
    assert_eq!(cap.temporal(Low), temporal::ALL);
}

#[test]
fn a_stream_that_loses_its_temporal_layers_is_judged_whole() {
    let start = Instant::now();
    let mut cap = NetworkCap::default();
    let low = (Low, [(150_000, 30.0), (0, 0.0), (0, 0.0), (0, 0.0)]);
    let before = rates(&[low, (High, l1t3(1_500_000, 30.0))]);
    let live = live(&[Low, High]);
    cap.judge(start, Bitrate(1_250_000), &before, live);
    assert_eq!((cap.layer(), cap.temporal(High)), (High, 1));
    let after = LayerRates::whole([150_000, 0, 1_500_000]);
    cap.judge(start, Bitrate(1_000_000), &after, live);
    assert_eq!(cap.layer(), Low);
}
