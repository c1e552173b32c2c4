//! One section of a session description: its m= line and the attributes below it.

use super::{Direction, Fault, Transport, is_control};

/// Formats of a section that are read: as many as there are payload types.
const FORMATS_MAX: usize = 128;
/// Header extensions of a section that are read.
const EXTENSIONS_MAX: usize = 64;
/// Simulcast ids of a section that are read; more than three have no layer anyhow.
pub(crate) const RIDS_MAX: usize = 8;
/// SSRCs of a section that are read: three layers, each sent again, and what came before.
const SSRCS_MAX: usize = 32;
/// Groups of SSRCs that are read.
const GROUPS_MAX: usize = 16;

/// RTCP feedback that we act on, as `a=rtcp-fb` names it.
pub(crate) const FEEDBACK: [&str; 5] = ["transport-cc", "goog-remb", "ccm fir", "nack", "nack pli"];

/// What a section says about one payload type.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Described<'a> {
    pub(crate) payload_type: u8,
    /// `VP8/90000`; empty where there is no `a=rtpmap`.
    pub(crate) name: &'a str,
    pub(crate) parameters: &'a str,
    /// A bit for each of [`FEEDBACK`].
    pub(crate) feedback: u8,
}

impl<'a> Described<'a> {
    /// A parameter of `a=fmtp`. Names are compared without case.
    pub(crate) fn parameter(&self, key: &str) -> Option<&'a str> {
        parameter(self.parameters, key)
    }
}

/// The value of `key` in `a=1; b=2`.
pub(crate) fn parameter<'a>(parameters: &'a str, key: &str) -> Option<&'a str> {
    let pairs = parameters.split(';').map(str::trim);
    let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(name, value)| name.eq_ignore_ascii_case(key).then_some(value))
}

/// `a=extmap` (RFC 8285 section 5).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension<'a> {
    pub(crate) id: u16,
    /// Of the offerer; `None`: as its section.
    pub(crate) direction: Option<Direction>,
    pub(crate) uri: &'a str,
}

/// `a=rid` of a stream that the offerer sends (RFC 8851 section 4).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rid<'a> {
    pub(crate) id: &'a str,
    /// `pt=96;max-width=1280`
    pub(crate) restrictions: &'a str,
}

/// `a=ssrc-group` (RFC 5576 section 4.2), of the kinds that we act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SsrcGroup {
    /// A stream, and the one that sends it again (RFC 4588 section 5.3).
    Repair { media: u32, repair: u32 },
    /// Simulcast without rids, the lowest layer first.
    Simulcast(Vec<u32>),
}

/// A section.
#[derive(Debug)]
pub(crate) struct Media<'a> {
    /// `audio`, `video`, `application`, ...
    pub(crate) kind: &'a str,
    pub(crate) port: u16,
    pub(crate) protocol: &'a str,
    /// As they stand in the m= line.
    pub(crate) formats: &'a str,
    pub(crate) mid: Option<&'a str>,
    pub(crate) direction: Direction,
    pub(crate) transport: Transport<'a>,
    pub(crate) bundle_only: bool,
    pub(crate) rtcp_mux: bool,
    pub(crate) rtcp_rsize: bool,
    pub(crate) mixed: bool,
    /// The first two MediaStreams that it is in: a second one is one too many.
    pub(crate) streams: [Option<&'a str>; 2],
    pub(crate) described: Vec<Described<'a>>,
    /// Feedback for all formats.
    pub(crate) feedback: u8,
    pub(crate) extensions: Vec<Extension<'a>>,
    pub(crate) rids: Vec<Rid<'a>>,
    pub(crate) simulcast: Option<&'a str>,
    pub(crate) ssrcs: Vec<u32>,
    pub(crate) groups: Vec<SsrcGroup>,
    /// Where in `described` a payload type is.
    places: [u8; 128],
}

impl<'a> Media<'a> {
    /// Reads `<media> <port>[/<ports>] <proto> <fmt> ...` (RFC 8866 section 5.14).
    pub(super) fn new(line: &'a str, direction: Direction) -> Result<Self, Fault> {
        if line.contains(is_control) {
            return Err(Fault::Control);
        }
        let (kind, rest) = word(line);
        let (port, rest) = word(rest);
        let (protocol, formats) = word(rest);
        if formats.is_empty() {
            return Err(Fault::Media);
        }
        let port = port.split_once('/').map_or(port, |(port, _)| port);
        let port = port.parse().map_err(|_| Fault::Port)?;
        let mut section = Self {
            kind,
            port,
            protocol,
            formats,
            mid: None,
            direction,
            transport: Transport::default(),
            bundle_only: false,
            rtcp_mux: false,
            rtcp_rsize: false,
            mixed: false,
            streams: [None; 2],
            described: Vec::new(),
            feedback: 0,
            extensions: Vec::new(),
            rids: Vec::new(),
            simulcast: None,
            ssrcs: Vec::new(),
            groups: Vec::new(),
            places: [u8::MAX; 128],
        };
        for format in formats.split_ascii_whitespace() {
            section.add_format(format);
        }
        Ok(section)
    }

    fn add_format(&mut self, format: &str) {
        let Some(payload_type) = format.parse::<u8>().ok().filter(|pt| *pt < 128) else {
            return;
        };
        let place = &mut self.places[usize::from(payload_type)];
        if *place == u8::MAX && self.described.len() < FORMATS_MAX {
            *place = self.described.len() as u8;
            self.described.push(Described {
                payload_type,
                ..Described::default()
            });
        }
    }

    fn described(&mut self, payload_type: &str) -> Option<&mut Described<'a>> {
        let payload_type: usize = payload_type.parse().ok()?;
        let place = usize::from(*self.places.get(payload_type)?);
        self.described.get_mut(place)
    }

    pub(super) fn read(&mut self, name: &str, value: &'a str) {
        match name {
            "mid" => self.mid = Some(word(value).0).filter(|mid| !mid.is_empty()),
            "bundle-only" => self.bundle_only = true,
            // Exclusive multiplexing is multiplexing (RFC 8858 section 3).
            "rtcp-mux" | "rtcp-mux-only" => self.rtcp_mux = true,
            "rtcp-rsize" => self.rtcp_rsize = true,
            "extmap-allow-mixed" => self.mixed = true,
            "rtpmap" => {
                let (payload_type, name) = word(value);
                if let Some(described) = self.described(payload_type) {
                    described.name = word(name).0;
                }
            }
            "fmtp" => {
                let (payload_type, parameters) = word(value);
                if let Some(described) = self.described(payload_type) {
                    described.parameters = parameters;
                }
            }
            "rtcp-fb" => self.read_feedback(value),
            "extmap" => self.read_extension(value),
            "msid" => self.read_stream(word(value).0),
            "rid" => self.read_rid(value),
            "simulcast" => self.simulcast = Some(value),
            "ssrc" => {
                let ssrc = word(value).0.parse();
                if let Ok(ssrc) = ssrc
                    && self.ssrcs.len() < SSRCS_MAX
                    && !self.ssrcs.contains(&ssrc)
                {
                    self.ssrcs.push(ssrc);
                }
            }
            "ssrc-group" => self.read_group(value),
            _ => self.direction = Direction::named(name).unwrap_or(self.direction),
        }
    }

    fn read_feedback(&mut self, value: &str) {
        let (payload_type, feedback) = word(value);
        let Some(at) = FEEDBACK.iter().position(|known| *known == feedback) else {
            return;
        };
        if payload_type == "*" {
            self.feedback |= 1 << at;
        } else if let Some(described) = self.described(payload_type) {
            described.feedback |= 1 << at;
        }
    }

    /// Reads `<id>[/<direction>] <uri> [<attributes>]`.
    fn read_extension(&mut self, value: &'a str) {
        let (id, rest) = word(value);
        let (id, direction) = match id.split_once('/') {
            Some((id, direction)) => (id, Direction::named(direction)),
            None => (id, None),
        };
        if let Ok(id) = id.parse()
            && self.extensions.len() < EXTENSIONS_MAX
        {
            let uri = word(rest).0;
            self.extensions.push(Extension { id, direction, uri });
        }
    }

    fn read_stream(&mut self, stream: &'a str) {
        // "-" is none (RFC 8830 section 2).
        let known = self.streams.contains(&Some(stream));
        if stream != "-"
            && !known
            && let Some(place) = self.streams.iter_mut().find(|place| place.is_none())
        {
            *place = Some(stream);
        }
    }

    /// Reads `<id> send [<restrictions>]`; what the offerer would receive is of no interest.
    fn read_rid(&mut self, value: &'a str) {
        let (id, rest) = word(value);
        let (direction, restrictions) = word(rest);
        let known = self.rids.iter().any(|rid| rid.id == id);
        if direction == "send" && !id.is_empty() && !known && self.rids.len() < RIDS_MAX {
            self.rids.push(Rid { id, restrictions });
        }
    }

    fn read_group(&mut self, value: &str) {
        if self.groups.len() == GROUPS_MAX {
            return;
        }
        let (semantics, rest) = word(value);
        let ids = rest.split_ascii_whitespace();
        let ids: Vec<u32> = ids.take(SSRCS_MAX).flat_map(str::parse).collect();
        match (semantics, &ids[..]) {
            ("FID", &[media, repair]) => self.groups.push(SsrcGroup::Repair { media, repair }),
            ("SIM", [_, _, ..]) => self.groups.push(SsrcGroup::Simulcast(ids)),
            _ => {}
        }
    }

    /// Port 0 rejects a section (RFC 3264 section 6) that is not there for its bundle only
    /// (RFC 9143 section 6).
    pub(crate) fn is_offered(&self) -> bool {
        self.port != 0 || self.bundle_only
    }

    /// Whether it is RTP, whichever profile its offerer names (RFC 9429 section 5.1.2).
    pub(crate) fn is_rtp(&self) -> bool {
        let profile = self
            .protocol
            .rsplit_once("RTP/")
            .map(|(_, profile)| profile);
        matches!(profile, Some("AVP" | "AVPF" | "SAVP" | "SAVPF"))
    }

    /// The rids of its streams in the order of `a=simulcast`, or of `a=rid` where there is none.
    /// `None`: it is simulcast of a form that has no rids.
    pub(crate) fn sent_rids(&self) -> Option<Vec<&'a str>> {
        let Some(list) = self.simulcast.and_then(sent_list) else {
            return Some(self.rids.iter().map(|rid| rid.id).collect());
        };
        // Drafts of RFC 8853 wrote `send rid=a;b`, and `send pt=96;97` for simulcast by payload type.
        if list.starts_with("pt=") {
            return None;
        }
        let list = list.strip_prefix("rid=").unwrap_or(list);
        let mut rids: Vec<&str> = Vec::new();
        // RFC 8853 section 5.1: of alternatives the first is preferred; "~" is paused at first.
        let firsts = list.split(';').filter_map(|one| one.split(',').next());
        for rid in firsts.map(|rid| rid.trim_start_matches('~')) {
            if !rid.is_empty() && !rids.contains(&rid) && rids.len() < RIDS_MAX {
                rids.push(rid);
            }
        }
        Some(rids)
    }
}

/// `recv x send a,b;~c` (RFC 8853 section 5.1)
fn sent_list(value: &str) -> Option<&str> {
    let mut words = value.split_ascii_whitespace();
    words.find(|word| *word == "send")?;
    words.next()
}

/// The first word, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    match text.split_once([' ', '\t']) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(lines: &str) -> Media<'_> {
        let mut lines = lines.lines();
        let line = lines.next().expect("an m= line");
        let mut media = Media::new(line, Direction::default()).expect("a section");
        for line in lines {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            media.read(name, value);
        }
        media
    }

    #[test]
    fn simulcast_in_each_form_of_it() {
        let check = |lines: &str, want: Option<&[&str]>| {
            let lines = format!("video 9 UDP/TLS/RTP/SAVPF 96\n{lines}");
            assert_eq!(section(&lines).sent_rids().as_deref(), want, "{lines}");
        };
        check("simulcast:send l;~m,x;h", Some(&["l", "m", "h"]));
        check("simulcast:recv a send l;h", Some(&["l", "h"]));
        check("simulcast: send rid=1,4;2", Some(&["1", "2"]));
        check("simulcast: send pt=96;97", None);
        check("simulcast:recv a;b", Some(&[]));
        check("rid:1 send\nrid:2 recv", Some(&["1"]));
        check("", Some(&[]));
        let many: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let lines = format!("video 9 RTP/SAVPF 96\nsimulcast:send {}", many.join(";"));
        let rids = section(&lines).sent_rids().expect("rids");
        assert_eq!(rids.len(), RIDS_MAX);
    }

    #[test]
    fn streams_by_their_lines() {
        let media = section(
            "video 9 UDP/TLS/RTP/SAVPF 96\nssrc:1 cname:c\nssrc:1 msid:s v\nssrc:2\nssrc:x\n\
             ssrc-group:SIM 1 3 5\nssrc-group:FID 1 2\nssrc-group:FEC-FR 1 9\nssrc-group:FID 7\n\
             msid:s v\nmsid:- v\nmsid:t v\nmsid:u v",
        );
        assert_eq!(media.ssrcs, [1, 2]);
        let (media_ssrc, repair) = (1, 2);
        let fid = SsrcGroup::Repair {
            media: media_ssrc,
            repair,
        };
        assert_eq!(media.groups, [SsrcGroup::Simulcast(vec![1, 3, 5]), fid]);
        assert_eq!(media.streams, [Some("s"), Some("t")]);
        let endless = (0..5_000).map(|n| format!("\nssrc:{n} cname:c\nssrc-group:FID {n} 1"));
        let lines: String = std::iter::once("video 9 RTP/AVP 96".to_owned())
            .chain(endless)
            .collect();
        let media = section(&lines);
        assert_eq!(
            (media.ssrcs.len(), media.groups.len()),
            (SSRCS_MAX, GROUPS_MAX)
        );
    }

    #[test]
    fn formats_once_each_and_any_profile_of_rtp() {
        let media = section(
            "video 9 TCP/DTLS/RTP/SAVP  96 97\t96 200 x\nrtpmap: 97  rtx/90000 \nfmtp:97 apt=96",
        );
        let types: Vec<u8> = media.described.iter().map(|d| d.payload_type).collect();
        assert_eq!(types, [96, 97]);
        assert_eq!(media.described[1].name, "rtx/90000");
        assert_eq!(media.described[1].parameter("APT"), Some("96"));
        assert!(media.is_rtp());
        assert!(!section("video 9 UDP/TLS/RTP/XAVPF 96").is_rtp());
        assert!(!section("application 9 UDP/DTLS/SCTP webrtc-datachannel").is_rtp());
    }
}
