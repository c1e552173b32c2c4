//! Session descriptions as text (RFC 8866): lines become sections with their attributes.
//!
//! It reads what peers write, which is more than the grammar allows: lines in any order, LF or
//! CRLF, lines and attributes that it does not know. What a description means for us is decided
//! in [`offer`](crate::offer).

mod section;

pub(crate) use section::{Described, FEEDBACK, Media, SsrcGroup, parameter};

/// Sections of a description. An offer is as long as its sender likes, and each section is
/// answered.
pub(crate) const SECTIONS_MAX: usize = 64;

/// Why a text is no session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct SdpError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// RFC 8866 section 5.1.
    #[error("a session description starts with \"v=0\"")]
    Version,
    /// RFC 8866 section 5.
    #[error("a line has the form <letter>=<value>")]
    Form,
    /// RFC 8866 section 5.14.
    #[error("an m= line has a media type, a port, a protocol and at least one format")]
    Media,
    /// RFC 8866 section 5.14.
    #[error("a port is a number from 0 to 65535")]
    Port,
    /// A NUL, an escape and the like in a line that has to be answered.
    #[error("an m= line has no control characters")]
    Control,
    /// More than `SECTIONS_MAX`.
    #[error("a session description has at most {SECTIONS_MAX} sections here")]
    Sections,
}

/// Who sends, as `a=sendrecv` and the like say it (RFC 8866 section 6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// Offerer to answerer.
    SendOnly,
    /// Answerer to offerer.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "sendrecv" => Some(Self::SendRecv),
            "sendonly" => Some(Self::SendOnly),
            "recvonly" => Some(Self::RecvOnly),
            "inactive" => Some(Self::Inactive),
            _ => None,
        }
    }

    /// Whether the offerer sends.
    pub(crate) fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the offerer receives.
    pub(crate) fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// What a level says about ICE and DTLS. A section's word goes before the session's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Transport<'a> {
    pub(crate) ufrag: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    pub(crate) setup: Option<&'a str>,
    /// There is a fingerprint, which [`fingerprint`](crate::fingerprint) reads.
    pub(crate) fingerprint: bool,
}

impl<'a> Transport<'a> {
    fn read(&mut self, name: &str, value: &'a str) {
        match name {
            "ice-ufrag" => self.ufrag = self.ufrag.or(Some(value)),
            "ice-pwd" => self.password = self.password.or(Some(value)),
            "setup" => self.setup = self.setup.or(Some(value)),
            "fingerprint" => self.fingerprint = true,
            _ => {}
        }
    }

    /// Fills what this level does not say with what another one does.
    pub(crate) fn or(self, other: &Self) -> Self {
        // The credentials belong together (RFC 8839 section 5.4).
        let credentials = match (self.ufrag, self.password) {
            (None, None) => (other.ufrag, other.password),
            own => own,
        };
        Self {
            ufrag: credentials.0,
            password: credentials.1,
            setup: self.setup.or(other.setup),
            fingerprint: self.fingerprint || other.fingerprint,
        }
    }
}

/// A description, borrowed from its text.
#[derive(Debug, Default)]
pub(crate) struct Sdp<'a> {
    /// The mids of each BUNDLE group (RFC 9143).
    pub(crate) bundles: Vec<&'a str>,
    pub(crate) transport: Transport<'a>,
    /// `a=extmap-allow-mixed` (RFC 8285 section 6).
    pub(crate) mixed: bool,
    pub(crate) ice_lite: bool,
    pub(crate) media: Vec<Media<'a>>,
}

impl<'a> Sdp<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, SdpError> {
        let mut sdp = Self::default();
        let mut direction = Direction::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text.lines().map(str::trim_end).zip(1..);
        let error = |line, fault| SdpError { line, fault };
        if lines.next().is_none_or(|(line, _)| line != "v=0") {
            return Err(error(1, Fault::Version));
        }
        for (line, number) in lines {
            if line.is_empty() {
                continue;
            }
            let Some((name, value)) = line.split_once('=').filter(|(name, _)| is_letter(name))
            else {
                return Err(error(number, Fault::Form));
            };
            if name == "m" {
                let media = Media::new(value, direction).map_err(|fault| error(number, fault))?;
                if sdp.media.len() == SECTIONS_MAX {
                    return Err(error(number, Fault::Sections));
                }
                sdp.media.push(media);
                continue;
            }
            // What of an attribute is said again in the answer must not break its lines.
            if name != "a" || value.contains(is_control) {
                continue;
            }
            let (name, value) = value.split_once(':').unwrap_or((value, ""));
            let value = value.trim_start();
            if let Some(media) = sdp.media.last_mut() {
                media.transport.read(name, value);
                media.read(name, value);
                continue;
            }
            sdp.transport.read(name, value);
            match name {
                "group" => sdp.bundles.extend(value.strip_prefix("BUNDLE ")),
                "extmap-allow-mixed" => sdp.mixed = true,
                "ice-lite" => sdp.ice_lite = true,
                _ => direction = Direction::named(name).unwrap_or(direction),
            }
        }
        Ok(sdp)
    }
}

fn is_letter(name: &str) -> bool {
    matches!(name.as_bytes(), [letter] if letter.is_ascii_alphabetic())
}

fn is_control(c: char) -> bool {
    c.is_control() && c != '\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_any_form_that_peers_write() {
        let text = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns= \r\ni=a talk\r\nb=AS:1\r\nb=TIAS:1000\r\n\
            t=0 0 \r\nr=604800 3600 0\r\nz=0 0\r\nk=clear:x\r\na=recvonly\r\na=group:LS 0\r\n\
            a=group:BUNDLE 0\r\na=what\r\n\r\nm=audio 9/2 RTP/SAVPF 0 8\r\ni=mic\r\nb=AS:1\r\n\
            b=TIAS:2\r\na=mid:0\r\n\r\n";
        let bom = format!("\u{feff}{text}");
        for text in [text, &text.replace("\r\n", "\n"), text.trim_end(), &bom] {
            let sdp = Sdp::parse(text).expect("a description");
            assert_eq!(sdp.bundles, ["0"]);
            let [audio] = &sdp.media[..] else {
                panic!("one section");
            };
            assert_eq!((audio.mid, audio.port), (Some("0"), 9));
            assert_eq!(audio.direction, Direction::RecvOnly);
        }
    }

    #[test]
    fn faults_name_their_line() {
        let check = |text: &str, line, fault| {
            let found = Sdp::parse(text).map(|_| ());
            assert_eq!(found, Err(SdpError { line, fault }), "{text}");
        };
        check("", 1, Fault::Version);
        check("hello", 1, Fault::Version);
        check("{\"sdp\":\"v=0\"}", 1, Fault::Version);
        check("v=0\r\ns=-\r\nnonsense\r\n", 3, Fault::Form);
        check("v=0\r\n=x\r\n", 2, Fault::Form);
        check("v=0\nm=audio 9 RTP/SAVPF\n", 2, Fault::Media);
        check("v=0\nm=audio\n", 2, Fault::Media);
        check("v=0\nm=audio x RTP/SAVPF 0\n", 2, Fault::Port);
        check("v=0\nm=audio 65536 RTP/SAVPF 0\n", 2, Fault::Port);
        check("v=0\nm=audio 9 RTP/SA\u{1b}VPF 0\n", 2, Fault::Control);
        let many = "m=audio 0 RTP/SAVPF 0\n".repeat(SECTIONS_MAX + 1);
        check(&format!("v=0\n{many}"), SECTIONS_MAX + 2, Fault::Sections);
        let error = Sdp::parse("v=0\nx\n").map(|_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2: a line has the form <letter>=<value>"
        );
    }
}
