//! A viewer's video sections: which track each carries, and what of the link each may take.

use std::time::{Duration, Instant};

use lightstick_types::{Bitrate, LayerChoice, StreamId, TrackId, VIDEO_TRACKS_MAX};

use crate::downtrack::{DownTrack, KeyframeWanted};
use crate::egress::StreamConfig;
use crate::history::{History, Start};
use crate::keyframe::RequestPace;
use crate::paced::PacedTrack;
use crate::room::rates::RoomRates;
use crate::sections::Sections;
use crate::streams::StreamSet;
use crate::watched::Supply;

/// A track that the link had no room for comes back when it has this much more than the track's
/// least, in percent, and no sooner than this.
const RETURN_HEADROOM: u64 = 15;
const RETURN_AFTER: Duration = Duration::from_secs(5);

/// A video section of a viewer.
#[derive(Debug)]
pub(in crate::room) struct Section {
    pub(in crate::room) track: PacedTrack,
    /// How often its requests for keyframes are passed on.
    requests: RequestPace,
    /// Until when a newcomer waits for the keyframe that it is to start from.
    patient_until: Option<Instant>,
    /// The link has no room for it: since then.
    held_since: Option<Instant>,
}

impl Section {
    fn new(place: usize, config: &StreamConfig, choice: LayerChoice, now: Instant) -> Self {
        // Until the room's tracks are known, each section is for its own.
        let id = TrackId::video(place).unwrap_or(TrackId::FIRST_VIDEO);
        let track = DownTrack::new(id, config.clock_rate, choice);
        Self {
            // SSRCs are random: as good a number as any to tell viewers apart.
            track: PacedTrack::new(track, config.clock_rate, config.ssrc, now),
            requests: RequestPace::default(),
            patient_until: None,
            held_since: None,
        }
    }

    fn down(&self) -> &DownTrack {
        self.track.track()
    }

    /// The keyframe that it waits for.
    pub(in crate::room) fn wanted(&self) -> Option<StreamId> {
        self.down().wanted().map(|wanted| wanted.0)
    }

    /// The stream that it carries, or waits for.
    fn stream(&self) -> Option<StreamId> {
        self.down().stream().or(self.wanted())
    }

    /// What the least of its track takes.
    fn least(&self, rates: &RoomRates) -> u64 {
        let track = self.down();
        track.least(&rates.of(track.id())).bps()
    }

    fn is_held(&self) -> bool {
        self.held_since.is_some()
    }

    fn is_patient(&self, now: Instant) -> bool {
        self.patient_until.is_some_and(|at| now < at)
    }

    pub(in crate::room) fn start_from(
        &mut self,
        stream: StreamId,
        start: Start,
        history: &History,
        now: Instant,
    ) {
        self.patient_until = None;
        self.track.start(stream, start, history, now);
    }

    /// Waits for a keyframe.
    pub(in crate::room) fn wait_until(&mut self, at: Option<Instant>) {
        self.patient_until = at;
    }
}

/// All video sections of a viewer.
#[derive(Debug)]
pub(in crate::room) struct VideoSections {
    sections: Sections<Section>,
    /// The track that the viewer wants to see first. `None`: the room's main one.
    main: Option<TrackId>,
    supply: Supply,
}

impl VideoSections {
    pub(super) fn new<'a>(
        configs: impl Iterator<Item = &'a StreamConfig>,
        choice: LayerChoice,
        now: Instant,
    ) -> Self {
        let configs = configs.take(VIDEO_TRACKS_MAX).enumerate();
        let section = |(place, config)| Section::new(place, config, choice, now);
        Self {
            sections: configs.map(section).collect(),
            main: None,
            supply: Supply::default(),
        }
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Section> {
        self.sections.get_mut(place)
    }

    /// A section that has shown no picture yet, and to which none is on its way.
    pub(in crate::room) fn fresh_mut(&mut self, place: usize) -> Option<&mut Section> {
        let section = self.get_mut(place);
        section.filter(|section| section.track.is_fresh())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter()
    }

    #[inline]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Section> {
        self.sections.iter_mut()
    }

    /// Hears which streams can be had. The keyframes that are wanted then.
    pub(in crate::room) fn set_supply(&mut self, supply: Supply) -> StreamSet {
        self.supply = supply;
        let mut wanted = StreamSet::default();
        for (place, section) in self.sections.iter_mut().enumerate() {
            let track = section.track.track_mut();
            if let Some(id) = supply.track_at(place, self.main)
                && track.turn_to(id)
            {
                section.held_since = None;
            }
            track.set_asleep(supply.asleep.of(track.id()));
            let live = supply.available.of(track.id());
            wanted = wanted.or(keyframe(track.set_live(live)));
        }
        wanted
    }

    /// The viewer wants to see this track first.
    pub(in crate::room) fn choose_main(&mut self, main: Option<TrackId>) -> StreamSet {
        self.main = main;
        self.set_supply(self.supply)
    }

    /// The viewer asks for another layer. Whoever wants the best whatever the network says wants it
    /// of the first section.
    pub(in crate::room) fn choose(&mut self, choice: LayerChoice) -> StreamSet {
        let mut wanted = StreamSet::default();
        for (place, section) in self.sections.iter_mut().enumerate() {
            let choice = match choice {
                LayerChoice::High if place > 0 => LayerChoice::Auto,
                choice => choice,
            };
            wanted = wanted.or(keyframe(section.track.track_mut().choose(choice)));
        }
        wanted
    }

    /// Divides what the link carries without audio: the first section comes first, but the least of
    /// every other one is set aside as long as the link has room for it. The keyframes that are
    /// wanted then, and what the next step up takes of all.
    pub(super) fn on_estimate(
        &mut self,
        now: Instant,
        link: Bitrate,
        rates: &RoomRates,
    ) -> (StreamSet, Option<Bitrate>) {
        let mut wanted = self.set_aside(now, link, rates);
        let others = self
            .sections
            .iter()
            .skip(1)
            .filter(|section| !section.is_held());
        let mut others: u64 = others.map(|section| section.least(rates)).sum();
        let (mut left, mut sent) = (link.bps(), 0);
        // What the section takes that would be better first, and what it would take then.
        let mut better: Option<(u64, Bitrate)> = None;
        for (place, section) in self.sections.iter_mut().enumerate() {
            let least = section.least(rates);
            let layers = rates.of(section.down().id());
            if section.is_held() {
                continue;
            }
            if place > 0 {
                others = others.saturating_sub(least);
            }
            let share = left.saturating_sub(others).max(left.min(least));
            let track = &mut section.track;
            wanted = wanted.or(keyframe(track.on_estimate(now, Bitrate(share), &layers)));
            let cost = track.track().cost(&layers).bps();
            left = left.saturating_sub(cost);
            sent += cost;
            better = better.or_else(|| Some((cost, track.track().better(&layers)?)));
        }
        let known = Some(Bitrate(sent)).filter(|sent| sent.bps() > 0);
        for section in self.sections.iter_mut() {
            section.track.set_pace(link, known);
        }
        let better = better.map(|(cost, better)| Bitrate(sent - cost + better.bps()));
        (wanted, better)
    }

    /// Decides which sections show anything: the first one, and of the others those for whose least
    /// the link has room besides. The keyframes that are wanted then.
    fn set_aside(&mut self, now: Instant, link: Bitrate, rates: &RoomRates) -> StreamSet {
        let mut wanted = StreamSet::default();
        let mut left = link.bps();
        for (place, section) in self.sections.iter_mut().enumerate() {
            let least = section.least(rates);
            if place > 0 {
                wanted = wanted.or(section.hold(now, left, least));
            }
            if !section.is_held() {
                left = left.saturating_sub(least);
            }
        }
        wanted
    }

    /// The streams that the publisher must send for this viewer.
    pub(in crate::room) fn watched(&self) -> StreamSet {
        let watched = self.iter().map(|section| section.down().watched());
        watched.fold(StreamSet::default(), StreamSet::or)
    }

    /// The stream that each section carries.
    #[inline]
    pub(in crate::room) fn sent(&self) -> [Option<StreamId>; VIDEO_TRACKS_MAX] {
        let mut sent = [None; VIDEO_TRACKS_MAX];
        for (sent, section) in sent.iter_mut().zip(self.iter()) {
            *sent = section.down().stream();
        }
        sent
    }

    /// The stream that each section carries, or waits for.
    pub(super) fn streams(&self) -> [Option<StreamId>; VIDEO_TRACKS_MAX] {
        let mut streams = [None; VIDEO_TRACKS_MAX];
        for (stream, section) in streams.iter_mut().zip(self.iter()) {
            *stream = section.stream();
        }
        streams
    }

    /// The keyframes that are waited for.
    pub(super) fn wanted(&self) -> StreamSet {
        self.iter().filter_map(Section::wanted).collect()
    }

    /// The same, without those that newcomers wait for patiently: they are on their way.
    pub(in crate::room) fn impatient(&self, now: Instant) -> StreamSet {
        let impatient = self.iter().filter(|section| !section.is_patient(now));
        impatient.filter_map(Section::wanted).collect()
    }

    /// Packets have been lost on their way to the viewer.
    pub(super) fn lost(&mut self) {
        for section in self.sections.iter_mut() {
            section.requests.lost();
        }
    }

    /// The viewer asks for keyframes of these sections. Those that are passed on at once.
    pub(super) fn request(&mut self, of: [bool; VIDEO_TRACKS_MAX], now: Instant) -> StreamSet {
        let asked = self.sections.iter_mut().zip(of).filter(|(_, asked)| *asked);
        let passed = asked.filter_map(|(section, _)| {
            let passes = section.requests.request(now);
            section.stream().filter(|_| passes)
        });
        passed.collect()
    }

    /// The streams of which a keyframe is asked for, because a request that was held back is due.
    pub(super) fn held_requests(&mut self, now: Instant, history: &History) -> StreamSet {
        let due = self.sections.iter_mut().filter_map(|section| {
            let stream = section.stream();
            let keyframe_at = stream.and_then(|stream| history.keyframe_at(stream));
            let due = section.requests.poll(now, keyframe_at);
            stream.filter(|_| due)
        });
        due.collect()
    }

    /// Whether a keyframe that was to be started from has not come in time.
    pub(super) fn has_waited(&mut self, now: Instant) -> bool {
        let mut has_waited = false;
        for section in self.sections.iter_mut() {
            if section.patient_until.is_some_and(|at| at <= now) {
                section.patient_until = None;
                has_waited |= section.track.is_fresh();
            }
        }
        has_waited
    }

    /// When a section that is behind may have its next run.
    #[inline]
    pub(super) fn behind_until(&self) -> Option<Instant> {
        self.iter()
            .filter_map(|section| section.track.deadline())
            .min()
    }

    /// When one is to be looked at: it is behind, has asked too often, or what it was to start from
    /// has not come.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = self.iter().flat_map(|section| {
            let (track, requests) = (&section.track, &section.requests);
            [track.deadline(), requests.deadline(), section.patient_until]
        });
        deadlines.flatten().min()
    }
}

impl Section {
    /// Sends nothing while the link has no room for the least of the track. The keyframe that is
    /// wanted then.
    fn hold(&mut self, now: Instant, room: u64, least: u64) -> StreamSet {
        let track = self.track.track_mut();
        match self.held_since {
            None if room < least => {
                self.held_since = Some(now);
                track.set_held(true);
            }
            Some(since)
                if now.saturating_duration_since(since) >= RETURN_AFTER
                    && room * 100 >= least * (100 + RETURN_HEADROOM) =>
            {
                self.held_since = None;
                track.set_held(false);
                return keyframe(track.wanted());
            }
            None | Some(_) => {}
        }
        StreamSet::default()
    }
}

fn keyframe(wanted: Option<KeyframeWanted>) -> StreamSet {
    wanted.map(|wanted| wanted.0).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use lightstick_types::{Layer, TrackKind};

    use super::*;
    use crate::egress::ExtensionIds;
    use crate::layers::LayerRates;

    fn config(place: u32) -> StreamConfig {
        StreamConfig {
            kind: TrackKind::Video,
            mid: place.to_string(),
            cname: "show".into(),
            ssrc: place,
            resend_ssrc: None,
            clock_rate: 90_000,
            accepted: Vec::new(),
            extensions: ExtensionIds::default(),
        }
    }

    /// A viewer of a camera in three layers and of a screen in one, both of which it waits for.
    struct Viewer {
        now: Instant,
        video: VideoSections,
        rates: RoomRates,
    }

    const CAMERA: TrackId = TrackId::FIRST_VIDEO;

    fn screen() -> TrackId {
        TrackId::video(1).unwrap()
    }

    impl Viewer {
        fn new() -> Self {
            let now = Instant::now();
            let configs = [config(0), config(1)];
            let mut video = VideoSections::new(configs.iter(), LayerChoice::Auto, now);
            let streams = Layer::ALL.map(|layer| CAMERA.layer(layer));
            let screen = screen().layer(Layer::High);
            video.set_supply(Supply {
                available: streams.into_iter().chain([screen]).collect(),
                video_tracks: 2,
                ..Supply::default()
            });
            let mut rates = RoomRates::default();
            rates.video[0] = LayerRates::whole([200_000, 600_000, 2_500_000]);
            rates.video[1] = LayerRates::whole([0, 0, 1_000_000]);
            Self { now, video, rates }
        }

        /// What it waits for once its link has carried so much for ten seconds.
        fn link(&mut self, kbps: u64) -> Vec<StreamId> {
            for _ in 0..20 {
                self.now += Duration::from_millis(500);
                let link = Bitrate::kbps(kbps);
                self.video.on_estimate(self.now, link, &self.rates);
            }
            self.video.wanted().iter().collect()
        }
    }

    #[test]
    fn the_first_section_grows_while_the_others_keep_their_least() {
        let screen = screen().layer(Layer::High);
        let mut viewer = Viewer::new();
        for (kbps, camera, with_screen) in [
            (5_000, Layer::High, true),
            // 2.5 Mbit/s alone would fit.
            (3_000, Layer::Medium, true),
            (1_250, Layer::Low, true),
            // Not even the least of both: the first one is all that is left.
            (1_000, Layer::Medium, false),
            (150, Layer::Low, false),
            (5_000, Layer::High, true),
        ] {
            let mut expected = vec![CAMERA.layer(camera)];
            expected.extend(with_screen.then_some(screen));
            assert_eq!(viewer.link(kbps), expected, "{kbps} kbit/s");
        }
    }

    #[test]
    fn what_comes_first_is_the_viewers_choice() {
        let mut viewer = Viewer::new();
        viewer.video.choose_main(Some(screen()));
        // The screen has one layer, and the camera takes what that leaves.
        let camera = |layer| vec![CAMERA.layer(layer), screen().layer(Layer::High)];
        assert_eq!(viewer.link(5_000), camera(Layer::High));
        assert_eq!(viewer.link(2_000), camera(Layer::Medium));
        assert_eq!(viewer.link(1_300), camera(Layer::Low));
        assert_eq!(viewer.link(1_000), [screen().layer(Layer::High)]);
    }

    #[test]
    fn the_next_step_of_the_first_section_is_probed_for_first() {
        let mut viewer = Viewer::new();
        viewer.link(1_700);
        let link = Bitrate::kbps(1_700);
        let (_, better) = viewer.video.on_estimate(viewer.now, link, &viewer.rates);
        // The camera's best with room to spare, and the screen.
        assert_eq!(better, Some(Bitrate(2_700_000 + 1_000_000)));
        viewer.link(5_000);
        let link = Bitrate::kbps(5_000);
        let (_, better) = viewer.video.on_estimate(viewer.now, link, &viewer.rates);
        assert_eq!(better, None);
    }
}
