//! Which stream of its publisher an RTP packet is of, when its SSRC is not known yet.
//!
//! RFC 9143 section 9.2: the section is told by the mid that the packet names, else by the offer's
//! `a=ssrc` lines, else by a payload type that only one section has. The layer is told by the
//! simulcast id that the packet names (RFC 8852), or by the offer's group of SSRCs. What sends
//! other packets again is told by its payload type (RFC 4588), and belongs to the layer that it
//! names or to the stream that the offer groups it with.

use lightstick_types::{Layer, StreamId, TrackId};

use crate::demux::{RtpView, extensions};
use crate::offer::{Extension, Offer, Track};
use crate::packet::Format;

/// A place among a publisher's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub stream: StreamId,
    /// It sends again what another SSRC of this stream has sent.
    pub repair: bool,
}

/// What a publisher has announced of its streams.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The header extensions that name a stream, under their ids. One may have several.
    names: Vec<(u8, Extension)>,
    tracks: Vec<Streams>,
}

/// One track's streams.
#[derive(Clone, Debug)]
struct Streams {
    id: TrackId,
    mid: Box<[u8]>,
    roles: [Payload; 128],
    encodings: Vec<(Box<[u8]>, Layer)>,
    /// SSRCs of a simulcast without ids.
    group: Vec<(u32, Layer)>,
    ssrcs: Vec<u32>,
    /// Which stream each of these sends again.
    repairs: Vec<(u32, u32)>,
}

/// What a payload type means in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    None,
    Media(Format),
    Repair,
}

impl Binding {
    /// What `offer` announces.
    #[must_use]
    pub fn new(offer: &Offer) -> Self {
        let is_name = |(_, extension): &(u8, Extension)| {
            use Extension::{Mid, RepairedRid, Rid};
            matches!(extension, Mid | Rid | RepairedRid)
        };
        let extensions = offer.tracks().flat_map(|track| track.extensions());
        let mut names: Vec<_> = extensions.filter(is_name).collect();
        names.sort_unstable_by_key(|(id, _)| *id);
        names.dedup();
        Self {
            names,
            tracks: offer.numbered().map(Streams::new).collect(),
        }
    }

    /// The place of a packet, as far as its header and the offer tell. `None`: of no stream that
    /// was offered, or it cannot be told.
    #[must_use]
    pub fn place(&self, packet: &[u8]) -> Option<Place> {
        let header = RtpView::parse(packet).ok()?;
        let (mut mid, mut rid, mut repaired) = (None, None, None);
        for (id, value) in extensions(packet) {
            match self.names.iter().find(|(known, _)| *known == id) {
                Some((_, Extension::Mid)) => mid = Some(value),
                Some((_, Extension::Rid)) => rid = Some(value),
                Some((_, Extension::RepairedRid)) => repaired = Some(value),
                _ => {}
            }
        }
        let payload_type = usize::from(header.payload_type);
        let track = self.track(mid, header.ssrc, payload_type)?;
        let (repair, layer) = match track.roles[payload_type] {
            Payload::None => return None,
            Payload::Media(_) => (false, track.layer(header.ssrc, rid)?),
            Payload::Repair => (true, track.repaired(header.ssrc, repaired.or(rid))?),
        };
        let stream = StreamId {
            track: track.id,
            layer,
        };
        Some(Place { stream, repair })
    }

    fn track(&self, mid: Option<&[u8]>, ssrc: u32, payload_type: usize) -> Option<&Streams> {
        if let Some(mid) = mid {
            return self.tracks.iter().find(|track| *track.mid == *mid);
        }
        if let Some(track) = self.tracks.iter().find(|track| track.announces(ssrc)) {
            return Some(track);
        }
        let has = |track: &&Streams| track.roles[payload_type] != Payload::None;
        let mut tracks = self.tracks.iter().filter(has);
        let track = tracks.next()?;
        tracks.next().is_none().then_some(track)
    }

    /// The format of a payload type in a track.
    #[must_use]
    pub fn format(&self, track: TrackId, payload_type: u8) -> Option<Format> {
        let track = self.tracks.iter().find(|known| known.id == track)?;
        match track.roles.get(usize::from(payload_type)) {
            Some(Payload::Media(format)) => Some(*format),
            _ => None,
        }
    }

    /// The stream that sends `ssrc` again, where the offer says so.
    #[must_use]
    pub fn repair_of(&self, ssrc: u32) -> Option<u32> {
        let mut repairs = self.tracks.iter().flat_map(|track| &track.repairs);
        let found = repairs.find(|(_, media)| *media == ssrc);
        found.map(|(repair, _)| *repair)
    }
}

impl Streams {
    fn new((id, track): (TrackId, &Track)) -> Self {
        let mut roles = [Payload::None; 128];
        for accepted in track.accepted() {
            roles[usize::from(accepted.payload_type)] = Payload::Media(accepted.format);
        }
        for resend in track.accepted().filter_map(|a| a.resend_payload_type) {
            let role = &mut roles[usize::from(resend)];
            if *role == Payload::None {
                *role = Payload::Repair;
            }
        }
        let encodings = track.encodings().iter();
        Self {
            id,
            mid: track.mid().unwrap_or("").as_bytes().into(),
            roles,
            encodings: encodings
                .map(|e| (e.rid.as_bytes().into(), e.layer))
                .collect(),
            group: track.group.clone(),
            ssrcs: track.ssrcs.clone(),
            repairs: track.repairs.clone(),
        }
    }

    fn announces(&self, ssrc: u32) -> bool {
        self.ssrcs.contains(&ssrc)
            || self.group.iter().any(|(of, _)| *of == ssrc)
            || self.repairs.iter().any(|(repair, _)| *repair == ssrc)
    }

    /// The layer of a stream of media.
    fn layer(&self, ssrc: u32, rid: Option<&[u8]>) -> Option<Layer> {
        match (&self.encodings[..], rid) {
            ([], _) if self.group.is_empty() => Some(Layer::High),
            // Which layer another SSRC is of, nothing says.
            ([], _) => self.grouped(ssrc),
            (encodings, Some(rid)) => {
                let found = encodings.iter().find(|(id, _)| **id == *rid);
                found.map(|(_, layer)| *layer)
            }
            ([(_, layer)], None) => Some(*layer),
            (_, None) => None,
        }
    }

    /// The layer of a stream that sends others again.
    fn repaired(&self, ssrc: u32, rid: Option<&[u8]>) -> Option<Layer> {
        let of = self.repairs.iter().find(|(repair, _)| *repair == ssrc);
        match of {
            Some((_, media)) if !self.group.is_empty() => self.grouped(*media),
            _ => self.layer(ssrc, rid),
        }
    }

    fn grouped(&self, ssrc: u32) -> Option<Layer> {
        let found = self.group.iter().find(|(of, _)| *of == ssrc);
        found.map(|(_, layer)| *layer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightstick_types::Role;

    const HEAD: &str = "v=0\r\na=group:BUNDLE 0 1\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:0123456789012345678901\r\n";
    const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\n\
        a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n";
    const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=sendonly\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
        a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n";

    fn binding(audio: &str, video: &str) -> Binding {
        let print = ["AB"; 32].join(":");
        let text = format!("{HEAD}a=fingerprint:sha-256 {print}\r\n{AUDIO}{audio}{VIDEO}{video}");
        Binding::new(&Offer::read(&text, Role::Publisher).expect("an offer"))
    }

    fn packet(payload_type: u8, ssrc: u32, elements: &[(u8, &str)]) -> Vec<u8> {
        let mut packet = vec![0x90, payload_type, 0, 1, 0, 0, 0, 0];
        packet.extend(ssrc.to_be_bytes());
        let mut block = Vec::new();
        for (id, value) in elements {
            block.push(id << 4 | (value.len() - 1) as u8);
            block.extend(value.bytes());
        }
        block.resize(block.len().next_multiple_of(4), 0);
        packet.extend([0xBE, 0xDE, 0, (block.len() / 4) as u8]);
        packet.extend(block);
        packet.push(1);
        packet
    }

    fn check(
        binding: &Binding,
        (payload_type, ssrc): (u8, u32),
        elements: &[(u8, &str)],
        want: Option<(TrackId, Layer, bool)>,
    ) {
        let want = want.map(|(track, layer, repair)| Place {
            stream: StreamId { track, layer },
            repair,
        });
        let found = binding.place(&packet(payload_type, ssrc, elements));
        assert_eq!(found, want, "{payload_type} {ssrc} {elements:?}");
    }

    use Layer::{High, Low, Medium};

    const AUDIO_ID: TrackId = TrackId::AUDIO;
    const VIDEO_ID: TrackId = TrackId::FIRST_VIDEO;

    #[test]
    fn a_payload_type_tells_where_nothing_else_does() {
        let plain = binding("", "");
        check(&plain, (111, 5), &[], Some((AUDIO_ID, High, false)));
        check(&plain, (96, 6), &[], Some((VIDEO_ID, High, false)));
        check(&plain, (97, 7), &[], Some((VIDEO_ID, High, true)));
        check(&plain, (98, 8), &[], None);
        // What the packet names goes first: of a section that was not offered it is nothing.
        check(&plain, (96, 6), &[(4, "1")], Some((VIDEO_ID, High, false)));
        check(&plain, (96, 6), &[(4, "x")], None);
        check(&plain, (96, 6), &[(4, "0")], None);
        assert_eq!(plain.place(&[0x80; 11]), None);
    }

    #[test]
    fn one_payload_type_of_two_sections() {
        let audio = AUDIO.replace("111", "96");
        let print = ["AB"; 32].join(":");
        let text = format!(
            "{HEAD}a=fingerprint:sha-256 {print}\r\n{audio}a=ssrc:5 cname:c\r\n{VIDEO}a=ssrc:6\r\n"
        );
        let binding = Binding::new(&Offer::read(&text, Role::Publisher).expect("an offer"));
        check(&binding, (96, 5), &[], Some((AUDIO_ID, High, false)));
        check(&binding, (96, 6), &[], Some((VIDEO_ID, High, false)));
        check(&binding, (96, 7), &[], None);
        check(
            &binding,
            (96, 7),
            &[(4, "0")],
            Some((AUDIO_ID, High, false)),
        );
        for id in [AUDIO_ID, VIDEO_ID] {
            let format = binding.format(id, 96);
            assert_eq!(format.map(|format| format.codec.kind()), Some(id.kind()));
        }
    }

    #[test]
    fn layers_by_rid() {
        let rids = binding(
            "",
            "a=rid:hi send\r\na=rid:lo send\r\na=simulcast:send hi;lo\r\n",
        );
        check(
            &rids,
            (96, 6),
            &[(4, "1"), (10, "hi")],
            Some((VIDEO_ID, High, false)),
        );
        check(&rids, (96, 7), &[(10, "lo")], Some((VIDEO_ID, Low, false)));
        check(&rids, (97, 8), &[(11, "lo")], Some((VIDEO_ID, Low, true)));
        check(&rids, (96, 9), &[(10, "mid")], None);
        check(&rids, (96, 9), &[(4, "1")], None);
        let one = binding("", "a=rid:x send\r\n");
        check(&one, (96, 9), &[], Some((VIDEO_ID, High, false)));
    }

    /// Tracks of one kind have their payload types and simulcast ids in common.
    #[test]
    fn several_video_tracks() {
        let print = ["AB"; 32].join(":");
        let simulcast = "a=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\n";
        let second = VIDEO.replace("a=mid:1", "a=mid:2");
        let third = VIDEO
            .replace("a=mid:1", "a=mid:3")
            .replace("extmap:4 ", "extmap:5 ");
        let head = HEAD.replace("BUNDLE 0 1", "BUNDLE 0 1 2 3");
        let text = format!(
            "{head}a=fingerprint:sha-256 {print}\r\n{AUDIO}{VIDEO}{simulcast}{second}{simulcast}\
             {third}a=ssrc-group:FID 7 8\r\na=ssrc:7 cname:c\r\na=ssrc:8 cname:c\r\n"
        );
        let binding = Binding::new(&Offer::read(&text, Role::Publisher).expect("an offer"));
        let [second, third] = [1, 2].map(|index| TrackId::video(index).expect("an id"));
        for (mid, track) in [("1", VIDEO_ID), ("2", second)] {
            for (rid, layer) in [("h", High), ("l", Low)] {
                let (media, repair) = ([(4, mid), (10, rid)], [(4, mid), (11, rid)]);
                check(&binding, (96, 6), &media, Some((track, layer, false)));
                check(&binding, (97, 6), &repair, Some((track, layer, true)));
            }
            // Without its id it could be of either layer.
            check(&binding, (96, 6), &[(4, mid)], None);
        }
        check(&binding, (96, 6), &[(10, "h")], None);
        check(&binding, (96, 6), &[(4, "4"), (10, "h")], None);
        check(&binding, (96, 7), &[], Some((third, High, false)));
        check(&binding, (97, 8), &[], Some((third, High, true)));
        check(&binding, (96, 9), &[(5, "3")], Some((third, High, false)));
    }

    #[test]
    fn layers_by_groups_of_ssrcs() {
        let group = binding(
            "",
            "a=ssrc-group:SIM 1 3 5\r\na=ssrc-group:FID 1 2\r\na=ssrc-group:FID 3 4\r\n\
             a=ssrc-group:FID 5 6\r\na=ssrc:1 cname:c\r\na=ssrc:2 cname:c\r\n",
        );
        for (ssrc, layer) in [(1, Low), (3, Medium), (5, High)] {
            check(&group, (96, ssrc), &[], Some((VIDEO_ID, layer, false)));
            check(&group, (97, ssrc + 1), &[], Some((VIDEO_ID, layer, true)));
            assert_eq!(group.repair_of(ssrc), Some(ssrc + 1));
        }
        check(&group, (96, 9), &[], None);
        check(&group, (97, 9), &[], None);
    }
}
