//! `application/trickle-ice-sdpfrag`: the ICE part of an SDP on its own (RFC 8840 section 9).
//!
//! All media of a session is bundled on one transport, so a fragment speaks of one ICE session:
//! its credentials may stand at the session level or in the first media section, or in every
//! section if they agree.

use std::fmt::Write as _;

/// The media type of a fragment.
pub const CONTENT_TYPE: &str = "application/trickle-ice-sdpfrag";

/// Longest fragment, in bytes.
pub const FRAGMENT_BYTES_MAX: usize = 16 * 1_024;
/// Longest line, in bytes.
pub const LINE_BYTES_MAX: usize = 1_024;
/// Most candidates in one fragment.
pub const CANDIDATES_MAX: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// `ice-ufrag`, 4 to 256 `ice-char`.
    pub ufrag: Option<String>,
    /// `ice-pwd`, 22 to 256 `ice-char`.
    pub pwd: Option<String>,
    /// The value of `a=group:BUNDLE` as it stands, for repeating it in the answer.
    pub bundle: Option<String>,
    pub media: Option<MediaSection>,
    /// Candidate attributes in order, each from `candidate:` on.
    pub candidates: Vec<String>,
    /// Whether the sender has no more candidates.
    pub end_of_candidates: bool,
}

/// The media section that carries the ICE session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaSection {
    /// All of the `m=` line after `m=`.
    pub line: String,
    /// `a=mid:`.
    pub mid: Option<String>,
}

/// Why a body is no fragment that we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// Longer than [`FRAGMENT_BYTES_MAX`], a line than [`LINE_BYTES_MAX`], or more candidates than
    /// [`CANDIDATES_MAX`].
    #[error("the fragment is too large")]
    TooLarge,
    /// Not UTF-8, or with control characters.
    #[error("line {line} of the fragment is not printable text")]
    Text {
        /// Counted from 1.
        line: usize,
    },
    /// No line of SDP.
    #[error("line {line} of the fragment is not an SDP line")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// A user fragment or password outside the grammar of RFC 8839 section 5.4.
    #[error("the ICE credentials in line {line} are malformed")]
    Credentials {
        /// Counted from 1.
        line: usize,
    },
    /// Sections with different credentials: not one bundled transport.
    #[error("line {line} names a second ICE session, but all media shares one")]
    SecondSession {
        /// Counted from 1.
        line: usize,
    },
    #[error("the fragment is empty")]
    Empty,
}

impl Fragment {
    /// Reads a PATCH body.
    ///
    /// Lines end with CRLF or LF. What says nothing about ICE is skipped, attributes as RFC 8840
    /// section 9.2 wants.
    ///
    /// # Errors
    /// [`FragmentError`].
    pub fn parse(body: &[u8]) -> Result<Self, FragmentError> {
        if body.len() > FRAGMENT_BYTES_MAX {
            return Err(FragmentError::TooLarge);
        }
        let mut fragment = Self::default();
        let mut sections = 0;
        let mut seen = false;
        for (index, raw) in body.split(|b| *b == b'\n').enumerate() {
            let line = index + 1;
            let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
            if raw.is_empty() {
                continue;
            }
            if raw.len() > LINE_BYTES_MAX {
                return Err(FragmentError::TooLarge);
            }
            let text = std::str::from_utf8(raw).map_err(|_| FragmentError::Text { line })?;
            if text.chars().any(char::is_control) {
                return Err(FragmentError::Text { line });
            }
            seen = true;
            match text.split_once('=') {
                Some(("a", attribute)) => fragment.attribute(line, sections, attribute)?,
                Some(("m", media)) => {
                    sections += 1;
                    fragment.media.get_or_insert_with(|| MediaSection {
                        line: media.to_owned(),
                        mid: None,
                    });
                }
                // Libraries cut fragments out of a whole SDP (RFC 8866 section 5), and leave
                // lines of it in.
                Some((
                    "v" | "o" | "s" | "i" | "u" | "e" | "p" | "c" | "b" | "t" | "r" | "z" | "k",
                    _,
                )) => {}
                _ => return Err(FragmentError::Line { line }),
            }
        }
        if seen {
            Ok(fragment)
        } else {
            Err(FragmentError::Empty)
        }
    }

    fn attribute(
        &mut self,
        line: usize,
        sections: usize,
        attribute: &str,
    ) -> Result<(), FragmentError> {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "ice-ufrag" => set_credential(&mut self.ufrag, value, 4, line)?,
            "ice-pwd" => set_credential(&mut self.pwd, value, 22, line)?,
            "group" if self.bundle.is_none() => {
                self.bundle = value.strip_prefix("BUNDLE").map(|mids| mids.trim().into());
            }
            "mid" if sections == 1 => {
                if let Some(media) = &mut self.media {
                    media.mid.get_or_insert_with(|| value.into());
                }
            }
            // Browsers mark the end with an empty candidate, RFC 8840 with an attribute.
            "candidate" if value.trim().is_empty() => self.end_of_candidates = true,
            "candidate" => {
                if self.candidates.len() == CANDIDATES_MAX {
                    return Err(FragmentError::TooLarge);
                }
                self.candidates.push(attribute.into());
            }
            "end-of-candidates" => self.end_of_candidates = true,
            _ => {}
        }
        Ok(())
    }

    /// The fragment as a body: session-level attributes, then the media section where there is
    /// one, every line ended by CRLF. Says `ice-lite`, since our side is.
    #[must_use]
    pub fn write_lite(&self) -> String {
        let mut out = String::from("a=ice-lite\r\n");
        let mut line = |text: std::fmt::Arguments<'_>| {
            // Writing into a String cannot fail.
            let _ = out.write_fmt(text);
            out.push_str("\r\n");
        };
        if let Some(mids) = &self.bundle {
            line(format_args!("a=group:BUNDLE {mids}"));
        }
        if let Some(media) = &self.media {
            line(format_args!("m={}", media.line));
            if let Some(mid) = &media.mid {
                line(format_args!("a=mid:{mid}"));
            }
        }
        if let Some(ufrag) = &self.ufrag {
            line(format_args!("a=ice-ufrag:{ufrag}"));
        }
        if let Some(pwd) = &self.pwd {
            line(format_args!("a=ice-pwd:{pwd}"));
        }
        for candidate in &self.candidates {
            line(format_args!("a={candidate}"));
        }
        if self.end_of_candidates {
            line(format_args!("a=end-of-candidates"));
        }
        out
    }
}

fn set_credential(
    slot: &mut Option<String>,
    value: &str,
    len_min: usize,
    line: usize,
) -> Result<(), FragmentError> {
    let ice_char = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    // RFC 8839 section 5.4: 4 to 256 and 22 to 256 of ice-char.
    if !(len_min..=256).contains(&value.len()) || !value.bytes().all(ice_char) {
        return Err(FragmentError::Credentials { line });
    }
    match slot {
        Some(known) if known != value => Err(FragmentError::SecondSession { line }),
        _ => {
            *slot = Some(value.into());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PWD: &str = "P2uYro0UCOQ4zxjKXaWCBui1";

    /// The shape of Chromium's fragment for one candidate, as the WHIP examples send it.
    fn chromium() -> String {
        format!(
            "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
             a=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:{PWD}\r\n\
             a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\n\
             a=candidate:1 1 udp 2122260223 8f1b.local 61765 typ host\r\na=end-of-candidates\r\n"
        )
    }

    #[test]
    fn reads_a_browsers_fragment() {
        let fragment = Fragment::parse(chromium().as_bytes()).unwrap();
        assert_eq!(fragment.ufrag.as_deref(), Some("EsAw"));
        assert_eq!(fragment.pwd.as_deref(), Some(PWD));
        assert_eq!(fragment.bundle.as_deref(), Some("0 1"));
        let media = fragment.media.unwrap();
        assert_eq!(media.line, "audio 9 UDP/TLS/RTP/SAVPF 111");
        assert_eq!(media.mid.as_deref(), Some("0"));
        assert_eq!(fragment.candidates.len(), 2);
        assert!(fragment.candidates[0].starts_with("candidate:1387637174 1 udp"));
        assert!(fragment.end_of_candidates);
    }

    #[test]
    fn what_it_writes_it_reads() {
        let fragment = Fragment::parse(chromium().as_bytes()).unwrap();
        let written = fragment.write_lite();
        assert!(written.starts_with("a=ice-lite\r\n"));
        assert!(written.lines().all(|l| l.len() > 2));
        assert_eq!(Fragment::parse(written.as_bytes()).unwrap(), fragment);
    }

    #[test]
    fn refusals() {
        let section = format!("m=video 9 X 96\na=ice-ufrag:EsAw\na=ice-pwd:{PWD}\n");
        let too_many = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\n".repeat(CANDIDATES_MAX + 1);
        for (body, expected) in [
            (String::new(), Err(FragmentError::Empty)),
            ("\r\n\n".into(), Err(FragmentError::Empty)),
            ("x=0\r\n".into(), Err(FragmentError::Line { line: 1 })),
            (
                "v=0\r\nva=mid:0".into(),
                Err(FragmentError::Line { line: 2 }),
            ),
            (
                "a=mid:0\nnonsense".into(),
                Err(FragmentError::Line { line: 2 }),
            ),
            ("a=x\u{0}\n".into(), Err(FragmentError::Text { line: 1 })),
            (
                "a=ice-ufrag:abc".into(),
                Err(FragmentError::Credentials { line: 1 }),
            ),
            (
                "a=ice-ufrag:ab cd".into(),
                Err(FragmentError::Credentials { line: 1 }),
            ),
            (
                "a=ice-pwd:short".into(),
                Err(FragmentError::Credentials { line: 1 }),
            ),
            (
                format!("a=ice-ufrag:{}", "x".repeat(257)),
                Err(FragmentError::Credentials { line: 1 }),
            ),
            (
                format!("{section}m=audio 9 X 0\na=ice-ufrag:Other\n"),
                Err(FragmentError::SecondSession { line: 5 }),
            ),
            (too_many, Err(FragmentError::TooLarge)),
            (
                format!("a={}", "x".repeat(LINE_BYTES_MAX)),
                Err(FragmentError::TooLarge),
            ),
            (
                "a\n".repeat(FRAGMENT_BYTES_MAX),
                Err(FragmentError::TooLarge),
            ),
            // The same credentials in every section are one session.
            (format!("{section}{section}"), Ok(())),
            ("a=unknown-thing".into(), Ok(())),
        ] {
            let got = Fragment::parse(body.as_bytes()).map(drop);
            assert_eq!(got, expected, "{:.60}", body);
        }
        assert_eq!(
            Fragment::parse(b"a=\xff\n"),
            Err(FragmentError::Text { line: 1 })
        );
        assert!(
            Fragment::parse(b"a=candidate:\r\n")
                .unwrap()
                .end_of_candidates
        );
    }

    /// Bytes at random and damaged fragments: a value or an error, and whatever is read can be
    /// written and read again.
    #[test]
    fn never_panics() {
        let whole = chromium();
        let mut random = fastrand::Rng::with_seed(8_840);
        for _ in 0..20_000 {
            let mut bytes = whole.clone().into_bytes();
            for _ in 0..random.usize(1..12) {
                let at = random.usize(..bytes.len());
                match random.u8(..3) {
                    0 => bytes[at] = random.u8(..),
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, *random.choice(b"\r\n=:a m\x00\xff").unwrap()),
                }
            }
            if let Ok(fragment) = Fragment::parse(&bytes) {
                let again = Fragment::parse(fragment.write_lite().as_bytes()).unwrap();
                assert_eq!(again.candidates, fragment.candidates);
                assert_eq!(again.ufrag, fragment.ufrag);
            }
        }
    }
}
