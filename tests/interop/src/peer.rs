//! A publisher and a viewer on the `webrtc` crate.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lightstick_bench::source::MediaPacket;
use lightstick_types::{Codec, TrackKind};
use rtc::interceptor::Slot;
use rtc::media_stream::MediaStreamTrack;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters,
    RTCRtpEncodingParameters, RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use webrtc::data_channel::{DataChannel, RTCDataChannelInit};
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, Registry,
    register_default_interceptors,
};

use crate::requests::{KeyframeRequests, asks_for_keyframe};

/// For anything that happens between two peers of one machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Packets that wait to be looked at. Full: the test is behind and would see a gap, so it waits.
const RECEIVED_MAX: usize = 8_192;
/// The interceptor's place: behind those of the stack.
const LAST: usize = 14_000;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const AUDIO_SSRC: u32 = 0x0A0A_0001;
const VIDEO_SSRC: u32 = 0x0B0B_0001;
const RTX_SSRC: u32 = 0x0B0B_0002;
/// Of retransmissions, where they are a stream of their own.
const RTX_PAYLOAD_TYPE: u8 = 120;
/// The stack sends what it is given, so sequence numbers start somewhere of our choice: close
/// enough to the roll-over that every run passes it.
const FIRST_SEQ: u16 = 65_500;

/// How lost video packets are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// As a stream of their own (RFC 4588), as browsers do.
    Rtx,
    /// As they were, as peers do that have no RTX.
    Same,
}

/// One RTP packet as a viewer got it.
#[derive(Clone, Debug)]
pub struct Received {
    pub kind: TrackKind,
    pub packet: rtp::Packet,
}

struct Handler {
    gathered: watch::Sender<bool>,
    state: watch::Sender<RTCPeerConnectionState>,
    received: mpsc::Sender<Received>,
    video: watch::Sender<Option<Arc<dyn TrackRemote>>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let received = self.received.clone();
        let kind = match track.kind().await {
            RtpCodecKind::Audio => TrackKind::Audio,
            _ => TrackKind::Video,
        };
        if kind == TrackKind::Video {
            self.video.send_replace(Some(Arc::clone(&track)));
        }
        // Ends with the track: the stack ends all of them when the peer is closed.
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event
                    && received.send(Received { kind, packet }).await.is_err()
                {
                    return;
                }
            }
        });
    }
}

struct Peer {
    connection: Arc<dyn PeerConnection>,
    gathered: watch::Receiver<bool>,
    state: watch::Receiver<RTCPeerConnectionState>,
    received: mpsc::Receiver<Received>,
    video: watch::Receiver<Option<Arc<dyn TrackRemote>>>,
}

impl Peer {
    async fn new(local: IpAddr, video: Codec, repair: Repair) -> Result<Self> {
        let mut media = MediaEngine::default();
        media.register_codec(opus(), RtpCodecKind::Audio)?;
        media.register_codec(video_codec(video)?, RtpCodecKind::Video)?;
        if repair == Repair::Rtx {
            media.register_codec(rtx_codec(video)?, RtpCodecKind::Video)?;
        }
        let registry = register_default_interceptors(Registry::new(), &mut media)?
            .with(Slot::from(LAST), KeyframeRequests::default());
        let (gathered_tx, gathered) = watch::channel(false);
        let (state_tx, state) = watch::channel(RTCPeerConnectionState::New);
        let (received_tx, received) = mpsc::channel(RECEIVED_MAX);
        let (video_tx, video) = watch::channel(None);
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(media)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(Handler {
                gathered: gathered_tx,
                state: state_tx,
                received: received_tx,
                video: video_tx,
            }))
            .with_udp_addrs(vec![SocketAddr::new(local, 0).to_string()])
            .build()
            .await?;
        Ok(Self {
            connection: Arc::new(connection),
            gathered,
            state,
            received,
            video,
        })
    }

    /// An offer with all of its candidates.
    async fn offer(&mut self) -> Result<String> {
        let offer = self.connection.create_offer(None).await?;
        self.connection.set_local_description(offer).await?;
        let gathered = self.gathered.wait_for(|done| *done);
        timeout(PATIENCE, gathered)
            .await
            .context("candidates are not gathered in time")??;
        let local = self.connection.local_description().await;
        Ok(local.context("there is no local description")?.sdp)
    }

    async fn accept(&mut self, answer: &str) -> Result<()> {
        let answer = RTCSessionDescription::answer(answer.to_owned())?;
        self.connection.set_remote_description(answer).await?;
        use RTCPeerConnectionState::{Closed, Connected, Failed};
        let settled = |s: &RTCPeerConnectionState| [Connected, Failed, Closed].contains(s);
        let state = *timeout(PATIENCE, self.state.wait_for(settled))
            .await
            .context("the peer does not connect in time")??;
        if state != Connected {
            bail!("the peer is {state} instead of connected");
        }
        Ok(())
    }

    async fn ended(&mut self) -> Result<()> {
        use RTCPeerConnectionState::{Closed, Disconnected, Failed};
        let ended = |s: &RTCPeerConnectionState| [Closed, Disconnected, Failed].contains(s);
        timeout(PATIENCE, self.state.wait_for(ended))
            .await
            .context("the connection goes on")??;
        Ok(())
    }
}

/// Publishes packets as they are given to it.
pub struct Publisher {
    peer: Peer,
    codec: Codec,
    audio: Arc<TrackLocalStaticRTP>,
    video: Arc<TrackLocalStaticRTP>,
}

impl Publisher {
    /// A publisher of Opus and `codec`, and its offer.
    ///
    /// # Errors
    /// When the stack refuses, or gathers no candidates.
    pub async fn offer(codec: Codec, repair: Repair) -> Result<(Self, String)> {
        Self::offer_from(LOOPBACK, codec, repair).await
    }

    /// The same from another address of this machine.
    ///
    /// # Errors
    /// When the stack refuses, or gathers no candidates.
    pub async fn offer_from(local: IpAddr, codec: Codec, repair: Repair) -> Result<(Self, String)> {
        let mut peer = Peer::new(local, codec, repair).await?;
        let audio = track(RtpCodecKind::Audio, AUDIO_SSRC, None, opus().rtp_codec);
        let video = track(
            RtpCodecKind::Video,
            VIDEO_SSRC,
            (repair == Repair::Rtx).then_some(RTX_SSRC),
            video_codec(codec)?.rtp_codec,
        );
        for track in [&audio, &video] {
            peer.connection
                .add_track(Arc::clone(track) as Arc<dyn TrackLocal>)
                .await?;
        }
        let offer = peer.offer().await?;
        let publisher = Self {
            peer,
            codec,
            audio,
            video,
        };
        Ok((publisher, offer))
    }

    /// Takes the answer and waits for the connection.
    ///
    /// # Errors
    /// When the stack does not like the answer, or does not connect.
    pub async fn accept(&mut self, answer: &str) -> Result<()> {
        self.peer.accept(answer).await
    }

    /// Sends a packet under its own number and time.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&self, packet: &MediaPacket) -> Result<()> {
        let (track, ssrc, payload_type) = match packet.kind {
            TrackKind::Audio => (&self.audio, AUDIO_SSRC, opus().payload_type),
            TrackKind::Video => (
                &self.video,
                VIDEO_SSRC,
                video_codec(self.codec)?.payload_type,
            ),
        };
        let packet = rtp::Packet {
            header: rtp::header::Header {
                version: 2,
                marker: packet.marker,
                payload_type,
                sequence_number: FIRST_SEQ.wrapping_add(packet.seq as u16),
                timestamp: packet.rtp_time,
                ssrc,
                ..Default::default()
            },
            payload: packet.payload.clone().into(),
        };
        Ok(track.write_rtp(packet).await?)
    }

    /// Waits until a PLI or FIR comes for the video.
    ///
    /// # Errors
    /// When the connection goes.
    pub async fn keyframe_asked(&self) -> Result<()> {
        while let Some(event) = self.video.poll().await {
            if let TrackLocalEvent::OnRtcpPacket(packets) = event
                && packets.iter().any(|p| asks_for_keyframe(&**p))
            {
                return Ok(());
            }
        }
        bail!("the track ended")
    }

    /// Waits until the server has ended the connection.
    ///
    /// # Errors
    /// When it goes on.
    pub async fn ended(&mut self) -> Result<()> {
        self.peer.ended().await
    }

    /// Closes the connection.
    ///
    /// # Errors
    /// When the stack says so.
    pub async fn close(self) -> Result<()> {
        Ok(self.peer.connection.close().await?)
    }
}

/// Receives audio and video.
pub struct Viewer {
    peer: Peer,
}

impl Viewer {
    /// A viewer of Opus and `codec`, and its offer.
    ///
    /// # Errors
    /// When the stack refuses, or gathers no candidates.
    pub async fn offer(codec: Codec, repair: Repair) -> Result<(Self, String)> {
        Self::offer_from(LOOPBACK, codec, repair).await
    }

    /// The same from another address of this machine.
    ///
    /// # Errors
    /// When the stack refuses, or gathers no candidates.
    pub async fn offer_from(local: IpAddr, codec: Codec, repair: Repair) -> Result<(Self, String)> {
        let (viewer, offer, _) = Self::offer_with(local, codec, repair, &[]).await?;
        Ok((viewer, offer))
    }

    /// The same with data channels: a label each, whether its messages come in order, and how often
    /// a lost one is sent again at most.
    ///
    /// # Errors
    /// When the stack refuses, or gathers no candidates.
    pub async fn offer_with_channels(
        codec: Codec,
        repair: Repair,
        channels: &[(&str, bool, Option<u16>)],
    ) -> Result<(Self, String, Vec<Arc<dyn DataChannel>>)> {
        Self::offer_with(LOOPBACK, codec, repair, channels).await
    }

    async fn offer_with(
        local: IpAddr,
        codec: Codec,
        repair: Repair,
        channels: &[(&str, bool, Option<u16>)],
    ) -> Result<(Self, String, Vec<Arc<dyn DataChannel>>)> {
        let mut peer = Peer::new(local, codec, repair).await?;
        let mut open = Vec::new();
        for &(label, ordered, max_retransmits) in channels {
            let init = RTCDataChannelInit {
                ordered,
                max_retransmits,
                ..Default::default()
            };
            let channel = peer.connection.create_data_channel(label, Some(init));
            open.push(channel.await?);
        }
        for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Recvonly,
                ..Default::default()
            };
            peer.connection
                .add_transceiver_from_kind(kind, Some(init))
                .await?;
        }
        let offer = peer.offer().await?;
        Ok((Self { peer }, offer, open))
    }

    /// Takes the answer and waits for the connection.
    ///
    /// # Errors
    /// When the stack does not like the answer, or does not connect.
    pub async fn accept(&mut self, answer: &str) -> Result<()> {
        self.peer.accept(answer).await
    }

    /// The next packet of either track.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn next(&mut self) -> Result<Received> {
        timeout(PATIENCE, self.peer.received.recv())
            .await
            .context("no packet comes")?
            .context("the tracks ended")
    }

    /// Sends a PLI for the video.
    ///
    /// # Errors
    /// When there is no video, or the connection is gone.
    pub async fn ask_for_keyframe(&self, media_ssrc: u32) -> Result<()> {
        let video = self.peer.video.borrow().clone();
        let video = video.context("no video has come yet")?;
        let ask = PictureLossIndication {
            sender_ssrc: 0,
            media_ssrc,
        };
        Ok(video.write_rtcp(vec![Box::new(ask)]).await?)
    }

    /// Waits until the server has ended the connection.
    ///
    /// # Errors
    /// When it goes on.
    pub async fn ended(&mut self) -> Result<()> {
        self.peer.ended().await
    }

    /// The packets that are here already, and no others.
    pub fn drain(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.peer.received.try_recv().ok()).collect()
    }

    /// Closes the connection.
    ///
    /// # Errors
    /// When the stack says so.
    pub async fn close(self) -> Result<()> {
        Ok(self.peer.connection.close().await?)
    }
}

/// The payload type that a peer gives to its video.
///
/// # Errors
/// When there is no peer for the codec.
pub fn payload_type(codec: Codec) -> Result<u8> {
    Ok(video_codec(codec)?.payload_type)
}

fn track(
    kind: RtpCodecKind,
    ssrc: u32,
    rtx: Option<u32>,
    codec: RTCRtpCodec,
) -> Arc<TrackLocalStaticRTP> {
    let track = MediaStreamTrack::new(
        "stream".to_owned(),
        format!("{kind}"),
        format!("{kind}"),
        kind,
        vec![RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc),
                rtx: rtx.map(|ssrc| RTCRtpRtxParameters { ssrc }),
                ..Default::default()
            },
            codec,
            ..Default::default()
        }],
    );
    Arc::new(TrackLocalStaticRTP::new(track))
}

fn opus() -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: "audio/opus".to_owned(),
            clock_rate: 48_000,
            channels: 2,
            sdp_fmtp_line: "minptime=10;useinbandfec=1;stereo=1".to_owned(),
            rtcp_feedback: vec![],
        },
        payload_type: 111,
    }
}

fn video_codec(codec: Codec) -> Result<RTCRtpCodecParameters> {
    let (mime_type, fmtp, payload_type) = match codec {
        Codec::Vp8 => ("video/VP8", "", 96),
        Codec::H264 => (
            "video/H264",
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            102,
        ),
        other => bail!("no peer for {other:?}"),
    };
    let feedback = |typ: &str, parameter: &str| RTCPFeedback {
        typ: typ.to_owned(),
        parameter: parameter.to_owned(),
    };
    Ok(RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: mime_type.to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: fmtp.to_owned(),
            rtcp_feedback: vec![
                feedback("ccm", "fir"),
                feedback("nack", ""),
                feedback("nack", "pli"),
            ],
        },
        payload_type,
    })
}

fn rtx_codec(codec: Codec) -> Result<RTCRtpCodecParameters> {
    Ok(RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: "video/rtx".to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: format!("apt={}", video_codec(codec)?.payload_type),
            rtcp_feedback: vec![],
        },
        payload_type: RTX_PAYLOAD_TYPE,
    })
}
