"""GStreamer's webrtcbin: publishes a test picture and a tone, or watches. For the system's Python, which has gi."""

import argparse
import os
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../e2e/py"))
from signal_http import delete, post, say  # noqa: E402

REPORT_SECS = 0.2
H264 = "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96,packetization-mode=(string)1"
OPUS = "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,encoding-params=(string)2,payload=97"
PUBLISHER = f"""
    webrtcbin name=peer bundle-policy=max-bundle
    videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=180,framerate=30/1
      ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60 bitrate=300
      ! video/x-h264,profile=constrained-baseline
      ! rtph264pay config-interval=-1 aggregate-mode=zero-latency ! {H264} ! peer.
    audiotestsrc is-live=true ! audioconvert ! audio/x-raw,channels=2 ! opusenc ! rtpopuspay ! {OPUS} ! peer.
"""
VIEWER = "webrtcbin name=peer bundle-policy=max-bundle"
SINKS = {
    "video": "rtph264depay ! h264parse ! avdec_h264 ! fakesink name=sink sync=false",
    "audio": "rtpopusdepay ! opusdec ! fakesink name=sink sync=false",
}


class Counter:
    """Counts decoded frames, with the longest wait for one of them."""

    def __init__(self, kind):
        self.kind, self.frames, self.last, self.told, self.gap = kind, 0, None, 0.0, 0.0

    def __call__(self, _pad, _info):
        now = time.monotonic()
        self.gap = max(self.gap, now - (self.last or now))
        self.last = now
        self.frames += 1
        if now - self.told >= REPORT_SECS:
            say(event="frames", kind=self.kind, frames=self.frames, gap=self.gap * 1_000)
            self.told, self.gap = now, 0.0
        return Gst.PadProbeReturn.OK


def created_offer(peer):
    promise = Gst.Promise.new()
    peer.emit("create-offer", None, promise)
    if promise.wait() != Gst.PromiseResult.REPLIED:
        raise RuntimeError("webrtcbin made no offer")
    # The offer belongs to the reply: only its text is taken.
    reply = promise.get_reply()
    return reply.get_value("offer").sdp.as_text()


def set_description(peer, side, kind, text):
    _, sdp = GstSdp.SDPMessage.new_from_text(text)
    promise = Gst.Promise.new()
    peer.emit(f"set-{side}-description", GstWebRTC.WebRTCSessionDescription.new(kind, sdp), promise)
    promise.wait()


class Peer:
    def __init__(self, args):
        self.args, self.loop, self.session, self.negotiating = args, GLib.MainLoop(), None, False
        self.pipeline = Gst.parse_launch(PUBLISHER if args.role == "publish" else VIEWER)
        # A pipeline of one element is that element.
        if not isinstance(self.pipeline, Gst.Pipeline):
            self.peer, self.pipeline = self.pipeline, Gst.Pipeline()
            self.pipeline.add(self.peer)
        else:
            self.peer = self.pipeline.get_by_name("peer")
        if args.role == "publish":
            for i in range(2):
                transceiver = self.peer.emit("get-transceiver", i)
                transceiver.props.direction = GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY
        else:
            for caps in (OPUS, H264):
                direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
                self.peer.emit("add-transceiver", direction, Gst.Caps.from_string(caps))
            self.peer.connect("pad-added", self.on_pad)
        self.peer.connect("notify::connection-state", self.on_state)
        self.peer.connect("on-negotiation-needed", self.on_negotiation_needed)
        self.peer.connect("notify::ice-gathering-state", self.on_gathering)

    def on_state(self, peer, _property):
        say(event="state", state=peer.props.connection_state.value_nick)

    def on_pad(self, _peer, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        kind = "video" if "media=(string)video" in pad.get_current_caps().to_string() else "audio"
        sink = Gst.parse_bin_from_description(SINKS[kind], True)
        self.pipeline.add(sink)
        sink.get_by_name("sink").get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, Counter(kind))
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))

    def on_negotiation_needed(self, peer):
        # Promises are waited for beside webrtcbin's own thread, which fulfils them.
        threading.Thread(target=self.offer, daemon=True).start()

    def offer(self):
        set_description(self.peer, "local", GstWebRTC.WebRTCSDPType.OFFER, created_offer(self.peer))

    def on_gathering(self, peer, _property):
        gathered = peer.props.ice_gathering_state == GstWebRTC.WebRTCICEGatheringState.COMPLETE
        if gathered and not self.negotiating:
            self.negotiating = True
            threading.Thread(target=self.join, daemon=True).start()

    def join(self):
        try:
            offer = self.peer.props.local_description.sdp.as_text()
            self.session, answer = post(self.args.url, offer, self.args.token)
            set_description(self.peer, "remote", GstWebRTC.WebRTCSDPType.ANSWER, answer)
            say(event="joined", session=self.session)
        except Exception as error:  # Threads of Python end alone: the test is to see this.
            print(error, getattr(error, "read", bytes)().decode(), file=sys.stderr, flush=True)
            os._exit(1)

    def run(self):
        def until_told():
            sys.stdin.read()
            self.loop.quit()

        threading.Thread(target=until_told, daemon=True).start()
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        delete(self.session)
        self.pipeline.set_state(Gst.State.NULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["publish", "view", "version"])
    parser.add_argument("--url")
    parser.add_argument("--token")
    args = parser.parse_args()
    Gst.init(None)
    if args.role == "version":
        print(Gst.version_string().split()[-1])
    else:
        Peer(args).run()


main()
