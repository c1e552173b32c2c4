//! A viewer's side: it notes when packets come, and writes feedback.

use std::collections::BTreeMap;

/// A receiver with a clock of its own.
pub(super) struct Receiver {
    /// Its clock is so many microseconds ahead of the link's.
    pub(super) clock_offset: i64,
    /// By unwrapped sequence number, what came since the last feedback.
    came: BTreeMap<i64, i64>,
    highest: i64,
    next: Option<i64>,
    number: u8,
    pub(super) received: u32,
}

impl Receiver {
    pub(super) fn new(clock_offset: i64) -> Self {
        Self {
            clock_offset,
            came: BTreeMap::new(),
            highest: 0,
            next: None,
            number: 0,
            received: 0,
        }
    }

    pub(super) fn receive(&mut self, at: i64, sequence: u16) {
        let step = i64::from(sequence.wrapping_sub(self.highest as u16).cast_signed());
        let index = self.highest + step;
        self.highest = self.highest.max(index);
        self.came.insert(index, at + self.clock_offset);
        self.received += 1;
    }

    /// The feedback control information for what came since the last feedback.
    pub(super) fn feedback(&mut self) -> Option<Vec<u8>> {
        let (&first, _) = self.came.first_key_value()?;
        let (&last, _) = self.came.last_key_value()?;
        // Loss before the first packet is reported; packets that come late are reported again.
        let base = self.next.map_or(first, |next| next.min(first));
        let came = std::mem::take(&mut self.came);
        self.next = Some(self.next.map_or(last + 1, |next| next.max(last + 1)));
        let arrivals: Vec<Option<i64>> = (base..=last)
            .map(|index| came.get(&index).copied())
            .collect();
        self.number = self.number.wrapping_add(1);
        Some(write(base as u16, self.number, &arrivals))
    }
}

/// Writes a feedback; arrivals are in microseconds of the receiver's clock.
pub(super) fn write(base: u16, number: u8, arrivals: &[Option<i64>]) -> Vec<u8> {
    let first = arrivals.iter().flatten().next().copied().unwrap_or(0);
    let reference = first.div_euclid(64_000);
    let mut time = reference * 256;
    let deltas: Vec<Option<i64>> = arrivals
        .iter()
        .map(|arrival| {
            arrival.map(|at| {
                let delta = at.div_euclid(250) - time;
                time += delta;
                delta
            })
        })
        .collect();
    let mut fci = Vec::new();
    fci.extend(base.to_be_bytes());
    fci.extend((arrivals.len() as u16).to_be_bytes());
    fci.extend(&(reference as u32).to_be_bytes()[1..]);
    fci.push(number);
    let symbol = |delta: &Option<i64>| match delta {
        None => 0_u16,
        Some(0..=255) => 1,
        Some(_) => 2,
    };
    let symbols: Vec<u16> = deltas.iter().map(symbol).collect();
    let mut rest = symbols.as_slice();
    while let Some(first) = rest.first() {
        let run = rest.iter().take_while(|symbol| *symbol == first).count();
        let taken = if run >= 14 {
            let run = run.min(0x1fff);
            fci.extend((first << 13 | run as u16).to_be_bytes());
            run
        } else if rest.iter().take(14).all(|symbol| *symbol < 2) {
            let bits = vector(rest, 14, 1);
            fci.extend((0x8000 | bits).to_be_bytes());
            14
        } else {
            let bits = vector(rest, 7, 2);
            fci.extend((0xc000 | bits).to_be_bytes());
            7
        };
        rest = &rest[taken.min(rest.len())..];
    }
    for delta in deltas.into_iter().flatten() {
        match delta {
            0..=255 => fci.push(delta as u8),
            _ => fci.extend((delta as i16).to_be_bytes()),
        }
    }
    while fci.len() % 4 != 0 {
        fci.push(0);
    }
    fci
}

fn vector(symbols: &[u16], count: usize, width: usize) -> u16 {
    (0..count).fold(0, |bits, n| {
        bits << width | symbols.get(n).copied().unwrap_or(0)
    })
}
