//! Which layer each stream of a simulcast is.

use lightstick_types::Layer;

/// Which layer each simulcast id stands for.
///
/// The usual names speak for themselves, whatever their order; other names are in order of
/// preference, best first (RFC 8853 section 5.2). More than three: the rest have no layer.
#[must_use]
pub fn layers_of(rids: &[&str]) -> Vec<Option<Layer>> {
    let by_name: Vec<Option<u8>> = rids.iter().map(|rid| rank(rid, rids)).collect();
    let ranked = by_name.iter().all(Option::is_some)
        && (0..rids.len()).all(|i| (0..i).all(|j| by_name[i] != by_name[j]));
    let mut order: Vec<usize> = (0..rids.len()).collect();
    if ranked {
        order.sort_by_key(|&i| std::cmp::Reverse(by_name[i]));
    }
    let mut layers = vec![None; rids.len()];
    for (&i, layer) in order.iter().zip(ladder(rids.len())) {
        layers[i] = Some(*layer);
    }
    layers
}

/// Which layer each SSRC of a simulcast group is. They are listed lowest first; of more than three
/// the best are taken.
#[must_use]
pub fn layers_of_group(ssrcs: &[u32]) -> Vec<(u32, Layer)> {
    let best_first = ssrcs.iter().rev().zip(ladder(ssrcs.len()));
    best_first.map(|(ssrc, layer)| (*ssrc, *layer)).collect()
}

/// The layers of so many streams, best first.
fn ladder(streams: usize) -> &'static [Layer] {
    match streams {
        0 | 1 => &[Layer::High],
        2 => &[Layer::High, Layer::Low],
        _ => &[Layer::High, Layer::Medium, Layer::Low],
    }
}

fn rank(rid: &str, all: &[&str]) -> Option<u8> {
    let has = |name: &str| all.iter().any(|rid| rid.eq_ignore_ascii_case(name));
    match rid.to_ascii_lowercase().as_str() {
        "q" | "l" | "lo" | "low" | "quarter" => Some(0),
        "h" if has("f") || has("q") => Some(1),
        "half" | "m" | "mid" | "medium" => Some(1),
        "f" | "full" | "h" | "hi" | "high" => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use Layer::{High, Low, Medium};

    use super::*;

    #[test]
    fn layers_by_name_and_by_order() {
        let check =
            |rids: &[&str], want: &[Option<Layer>]| assert_eq!(layers_of(rids), want, "{rids:?}");
        check(&["l", "m", "h"], &[Some(Low), Some(Medium), Some(High)]);
        check(&["f", "h", "q"], &[Some(High), Some(Medium), Some(Low)]);
        check(&["q", "h", "f"], &[Some(Low), Some(Medium), Some(High)]);
        check(&["h", "l"], &[Some(High), Some(Low)]);
        check(&["0", "1", "2"], &[Some(High), Some(Medium), Some(Low)]);
        check(
            &["0", "1", "2", "3"],
            &[Some(High), Some(Medium), Some(Low), None],
        );
        check(&["x"], &[Some(High)]);
        check(&[], &[]);
    }

    #[test]
    fn groups_are_listed_from_the_lowest() {
        assert_eq!(
            layers_of_group(&[1, 3, 5]),
            [(5, High), (3, Medium), (1, Low)]
        );
        assert_eq!(layers_of_group(&[1, 3]), [(3, High), (1, Low)]);
        assert_eq!(
            layers_of_group(&[1, 3, 5, 7]),
            [(7, High), (5, Medium), (3, Low)]
        );
    }
}
