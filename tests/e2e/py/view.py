"""Watches with aiortc until standard input is closed, and tells what it decodes."""

import argparse
import asyncio

from aiortc.mediastreams import MediaStreamError

from signal_http import connection, join, leave, say, told_to_stop

REPORT_FRAMES = 10


async def count(track):
    """Decodes a track to its end and reports every few frames."""
    frames = 0
    try:
        while True:
            frame = await track.recv()
            frames += 1
            if frames % REPORT_FRAMES == 0:
                size = {"width": frame.width, "height": frame.height} if track.kind == "video" else {}
                say(event="frames", kind=track.kind, frames=frames, pts=frame.pts, **size)
    except MediaStreamError:
        say(event="ended", kind=track.kind, frames=frames)


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="the WHEP endpoint")
    parser.add_argument("--token")
    args = parser.parse_args()

    pc = connection()
    counters = []
    pc.on("connectionstatechange", lambda: say(event="state", state=pc.connectionState))
    pc.on("track", lambda track: counters.append(asyncio.create_task(count(track))))
    pc.addTransceiver("video", direction="recvonly")
    pc.addTransceiver("audio", direction="recvonly")
    session = await join(pc, args.url, args.token)
    say(event="joined", session=session)
    await told_to_stop()
    await leave(pc, session)
    await asyncio.gather(*counters)


asyncio.run(main())
