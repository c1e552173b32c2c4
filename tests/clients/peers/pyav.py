"""PyAV, FFmpeg in a Python wheel: publishes a grey picture and a tone through its whip muxer."""

import argparse
import fractions
import os
import sys
import threading
import time

import av

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../e2e/py"))
from signal_http import say  # noqa: E402

WIDTH, HEIGHT, RATE, SAMPLE_RATE, SAMPLES = 320, 180, 30, 48_000, 960


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["publish", "version"])
    parser.add_argument("--url")
    parser.add_argument("--token")
    args = parser.parse_args()
    if args.role == "version":
        print(av.__version__)
        return

    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    say(event="posted")
    container = av.open(args.url, "w", format="whip", options={"authorization": args.token})
    video = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "tune": "zerolatency", "g": "30"})
    video.width, video.height, video.pix_fmt, video.bit_rate = WIDTH, HEIGHT, "yuv420p", 300_000
    video.codec_context.profile = "Baseline"
    audio = container.add_stream("libopus", rate=SAMPLE_RATE, layout="stereo")
    container.start_encoding()
    say(event="state", state="connected")
    say(event="joined")

    start, pictures, sounds = time.monotonic(), 0, 0
    while not stop.is_set():
        elapsed = time.monotonic() - start
        while pictures / RATE <= elapsed:
            frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
            for plane, level in zip(frame.planes, ((3 * pictures) & 0xFF, 128, 128)):
                plane.update(bytes([level]) * plane.buffer_size)
            frame.pts, frame.time_base = pictures, fractions.Fraction(1, RATE)
            container.mux(video.encode(frame))
            pictures += 1
        while sounds * SAMPLES / SAMPLE_RATE <= elapsed:
            frame = av.AudioFrame(format="s16", layout="stereo", samples=SAMPLES)
            frame.planes[0].update(bytes(frame.planes[0].buffer_size))
            frame.pts, frame.sample_rate = sounds * SAMPLES, SAMPLE_RATE
            frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(frame))
            sounds += 1
        stop.wait(0.005)
    container.close()
    say(event="left")


main()
