//! The parameter sets of a stream, kept for keyframes that come without them.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::bits::Bits;
use super::{Aggregate, PPS, SPS, STAP_A};

/// Sets of one kind that are kept. Streams have one or two; the standard allows 32 and 256.
const SETS_MAX: usize = 8;
/// All sets together with their sizes, in bytes: they go into one packet. Usual ones have 10 to 60.
const BYTES_MAX: usize = 1_100;

/// In `sprop-parameter-sets` some leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The last sequence and picture parameter sets of each id.
#[derive(Clone, Debug, Default)]
pub struct ParameterSets {
    sps: Vec<Set>,
    pps: Vec<Set>,
    /// All of them as one STAP-A, sequence parameter sets first.
    payload: Option<Bytes>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    id: u32,
    /// Of a picture parameter set: the sequence parameter set that it refers to.
    of: Option<u32>,
    nal: Box<[u8]>,
}

impl ParameterSets {
    /// Reads the sets that an offer gives as `sprop-parameter-sets` of its formats.
    #[must_use]
    pub fn offered<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sets = Self::default();
        for value in values.into_iter().take(SETS_MAX) {
            sets.sprop(value);
        }
        sets.pack();
        sets
    }

    /// Takes what sets begin in a payload, a single NAL unit or a STAP-A. Allocates only where one is
    /// new or has changed.
    pub fn read(&mut self, payload: &[u8]) {
        let Some((&first, rest)) = payload.split_first() else {
            return;
        };
        let mut changed = false;
        if first & 0x1f == STAP_A {
            let mut aggregate = Aggregate(rest);
            while let Some(Some(nal)) = aggregate.next() {
                changed |= self.learn(nal);
            }
        } else {
            changed = self.learn(payload);
        }
        if changed {
            self.pack();
        }
    }

    /// Every set in one payload, where a decoder could start with them.
    #[must_use]
    pub fn payload(&self) -> Option<&Bytes> {
        self.payload.as_ref()
    }

    /// Takes the value of `sprop-parameter-sets` (RFC 6184 section 8.1): NAL units in base64. What is
    /// no parameter set is skipped.
    fn sprop(&mut self, value: &str) {
        for word in value.split(',').take(2 * SETS_MAX) {
            if let Ok(nal) = BASE64.decode(word) {
                self.learn(&nal);
            }
        }
    }

    fn learn(&mut self, nal: &[u8]) -> bool {
        let Some(set) = Self::identify(nal) else {
            return false;
        };
        let sets = match set.1 {
            None => &mut self.sps,
            Some(_) => &mut self.pps,
        };
        if let Some(known) = sets.iter_mut().find(|known| known.id == set.0) {
            if *known.nal == *nal {
                return false;
            }
            (known.of, known.nal) = (set.1, nal.into());
            return true;
        }
        if sets.len() == SETS_MAX {
            sets.remove(0);
        }
        sets.push(Set {
            id: set.0,
            of: set.1,
            nal: nal.into(),
        });
        true
    }

    /// The id of a parameter set, and of a picture parameter set the one that it refers to (H.264
    /// sections 7.3.2.1.1 and 7.3.2.2).
    fn identify(nal: &[u8]) -> Option<(u32, Option<u32>)> {
        let (&header, body) = nal.split_first()?;
        match header & 0x9f {
            // Profile, constraints and level come before the id.
            SPS => Some((Bits::new(body.get(3..)?).unsigned()?, None)),
            PPS => {
                let mut bits = Bits::new(body);
                let id = bits.unsigned()?;
                Some((id, Some(bits.unsigned()?)))
            }
            _ => None,
        }
    }

    fn pack(&mut self) {
        let refers = |pps: &Set| self.sps.iter().any(|sps| pps.of == Some(sps.id));
        if !self.pps.iter().any(refers) {
            self.payload = None;
            return;
        }
        let mut payload = vec![0x60 | STAP_A];
        for set in self.sps.iter().chain(&self.pps) {
            if payload.len() + 2 + set.nal.len() <= BYTES_MAX {
                payload.extend((set.nal.len() as u16).to_be_bytes());
                payload.extend(&set.nal);
            }
        }
        self.payload = Some(payload.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS_0: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0x95, 0xa0];
    const PPS_0: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
    /// With id 1, for the same sequence parameter set: `010 1`.
    const PPS_1: &[u8] = &[0x68, 0b0101_1110, 0x3c, 0x80];

    fn stap(nals: &[&[u8]]) -> Vec<u8> {
        let mut payload = vec![0x78];
        for nal in nals {
            payload.extend([0, nal.len() as u8]);
            payload.extend(*nal);
        }
        payload
    }

    #[test]
    fn sets_are_kept_by_id_and_the_last_one_counts() {
        let mut sets = ParameterSets::default();
        sets.read(PPS_0);
        assert_eq!(sets.payload(), None, "it refers to nothing yet");
        sets.read(SPS_0);
        let payload = |sets: &ParameterSets| sets.payload().unwrap().to_vec();
        assert_eq!(payload(&sets), stap(&[SPS_0, PPS_0]));
        sets.read(&stap(&[SPS_0, PPS_1]));
        assert_eq!(payload(&sets), stap(&[SPS_0, PPS_0, PPS_1]));
        let before = sets.payload().unwrap().clone();
        sets.read(&stap(&[SPS_0, PPS_0]));
        assert_eq!(
            before.as_ptr(),
            sets.payload().unwrap().as_ptr(),
            "nothing new"
        );
        let other: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0x95, 0xb0];
        sets.read(other);
        assert_eq!(payload(&sets), stap(&[other, PPS_0, PPS_1]));
    }

    #[test]
    fn the_offers_value_is_read_with_or_without_padding() {
        let offered = |value| ParameterSets::offered([value]);
        let whole = offered("Z0LAHpWg,aM48gA==");
        assert_eq!(**whole.payload().unwrap(), *stap(&[SPS_0, PPS_0]));
        assert_eq!(offered("Z0LAHpWg,aM48gA").payload(), whole.payload());
        for broken in ["", ",", "Z0LAHpWg", "!!!,aM48gA==", "AAAA,AAAA"] {
            assert_eq!(offered(broken).payload(), None, "{broken}");
        }
    }

    #[test]
    fn what_they_take_is_bounded() {
        let mut sets = ParameterSets::default();
        sets.read(SPS_0);
        for id in 0..200_u32 {
            let mut nal = vec![0x68];
            // Codes of 15 bits: seven zeros, the value plus one, and `1` for the reference.
            let code = (id + 129) << 1 | 1;
            nal.extend((code as u16).to_be_bytes());
            nal.resize(400, 0xff);
            sets.read(&nal);
        }
        sets.read(PPS_0);
        assert!(sets.pps.len() <= SETS_MAX);
        assert!(sets.payload().unwrap().len() <= BYTES_MAX);
    }
}
