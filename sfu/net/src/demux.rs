//! Temporary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    Junk,
}
pub(crate) fn classify(d: &[u8]) -> Kind {
    match d.first() {
        Some(0..=3) if d.len() >= 20 => Kind::Stun,
        Some(20..=63) if d.len() >= 13 => Kind::Dtls,
        Some(128..=191) if d.len() >= 8 => {
            if (192..=223).contains(&d[1]) {
                Kind::Rtcp
            } else if d.len() >= 12 {
                Kind::Rtp
            } else {
                Kind::Junk
            }
        }
        _ => Kind::Junk,
    }
}
pub(crate) struct U<'a> {
    pub(crate) local_ufrag: &'a str,
}
pub(crate) fn stun_username(d: &[u8]) -> Result<U<'_>, ()> {
    let mut at = 20;
    while at + 4 <= d.len() {
        let t = u16::from_be_bytes([d[at], d[at + 1]]);
        let l = usize::from(u16::from_be_bytes([d[at + 2], d[at + 3]]));
        if t == 6 {
            let s = d.get(at + 4..at + 4 + l).ok_or(())?;
            let s = std::str::from_utf8(s).map_err(|_| ())?;
            return Ok(U {
                local_ufrag: s.split(':').next().unwrap_or(""),
            });
        }
        at += 4 + l.div_ceil(4) * 4;
    }
    Err(())
}
#[derive(Default)]
pub(crate) struct Deframer(Vec<u8>);
impl Deframer {
    pub(crate) fn push(&mut self, b: &[u8]) {
        self.0.extend_from_slice(b);
    }
    pub(crate) fn next_frame(&mut self) -> Result<Option<Vec<u8>>, ()> {
        if self.0.len() < 2 {
            return Ok(None);
        }
        let l = usize::from(u16::from_be_bytes([self.0[0], self.0[1]]));
        if self.0.len() < 2 + l {
            return Ok(None);
        }
        let f = self.0[2..2 + l].to_vec();
        self.0.drain(..2 + l);
        Ok(Some(f))
    }
}
