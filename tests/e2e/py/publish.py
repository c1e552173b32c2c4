"""Publishes a moving picture and a tone with aiortc until standard input is closed."""

import argparse
import asyncio
import fractions

import av
from aiortc import MediaStreamTrack, RTCRtpSender, VideoStreamTrack

from aiortc_peer import BUNDLE_POLICIES, connection, join, leave
from signal_http import told_to_stop

SAMPLE_RATE = 48_000
SAMPLES = SAMPLE_RATE // 50


class MovingPicture(VideoStreamTrack):
    """Grey bands that wander down, so that every frame differs from the last."""

    def __init__(self, width: int, height: int):
        super().__init__()
        self.width, self.height, self.sent = width, height, 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame(self.width, self.height, "yuv420p")
        luma = frame.planes[0]
        rows = bytearray()
        for y in range(self.height):
            rows += bytes([(y + 4 * self.sent) & 0xFF]) * luma.line_size
        luma.update(bytes(rows))
        for plane in frame.planes[1:]:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, time_base
        self.sent += 1
        return frame


class Tone(MediaStreamTrack):
    """A square wave of 375 Hz, in frames of 20 ms."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self.pts, self.start = 0, None
        half = SAMPLE_RATE // 750
        wave = ([4_000] * half + [-4_000] * half) * (SAMPLES // half)
        self.samples = b"".join(s.to_bytes(2, "little", signed=True) for s in wave[:SAMPLES])

    async def recv(self):
        loop = asyncio.get_running_loop()
        if self.start is None:
            self.start = loop.time()
        await asyncio.sleep(max(0, self.start + self.pts / SAMPLE_RATE - loop.time()))
        frame = av.AudioFrame(format="s16", layout="mono", samples=SAMPLES)
        frame.planes[0].update(self.samples)
        frame.pts, frame.sample_rate = self.pts, SAMPLE_RATE
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
        self.pts += SAMPLES
        return frame


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="the WHIP endpoint")
    parser.add_argument("--token")
    parser.add_argument("--codec", default="VP8", choices=["VP8", "H264"])
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--bundle", default="balanced", choices=BUNDLE_POLICIES)
    args = parser.parse_args()

    pc = connection(args.bundle)
    pc.addTrack(MovingPicture(args.width, args.height))
    pc.addTrack(Tone())
    codecs = RTCRtpSender.getCapabilities("video").codecs
    wanted = [c for c in codecs if c.mimeType in (f"video/{args.codec}", "video/rtx")]
    for transceiver in pc.getTransceivers():
        transceiver.direction = "sendonly"
        if transceiver.kind == "video":
            transceiver.setCodecPreferences(wanted)
    session = await join(pc, args.url, args.token)
    await told_to_stop()
    await leave(pc, session)


asyncio.run(main())
