"""Watches with aiortc until standard input is closed, and tells what it decodes."""

import argparse
import asyncio
import time

from aiortc.mediastreams import MediaStreamError

from aiortc_peer import BUNDLE_POLICIES, connection, join, leave
from signal_http import say, told_to_stop

REPORT_FRAMES = 10


async def count(track):
    """Decodes a track to its end and reports every few frames, with the longest wait for one of them."""
    frames, last, gap = 0, None, 0.0
    try:
        while True:
            frame = await track.recv()
            now = time.monotonic()
            gap = max(gap, now - (last or now))
            last = now
            frames += 1
            if frames % REPORT_FRAMES == 0:
                size = {"width": frame.width, "height": frame.height} if track.kind == "video" else {}
                say(event="frames", kind=track.kind, frames=frames, gap=gap * 1_000, pts=frame.pts, **size)
                gap = 0.0
    except MediaStreamError:
        say(event="ended", kind=track.kind, frames=frames)


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="the WHEP endpoint")
    parser.add_argument("--token")
    parser.add_argument("--bundle", default="balanced", choices=BUNDLE_POLICIES)
    args = parser.parse_args()

    pc = connection(args.bundle)
    counters = []
    pc.on("track", lambda track: counters.append(asyncio.create_task(count(track))))
    pc.addTransceiver("video", direction="recvonly")
    pc.addTransceiver("audio", direction="recvonly")
    session = await join(pc, args.url, args.token)
    await told_to_stop()
    await leave(pc, session)
    await asyncio.gather(*counters)


asyncio.run(main())
