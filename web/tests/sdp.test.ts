import assert from "node:assert/strict";
import { test } from "node:test";
import { offerAbsCaptureTime, withStereoOpus } from "../src/client/sdp.ts";

const sdp = (...lines: string[]) => lines.join("\r\n") + "\r\n";

test("Opus gets stereo both ways, once, and nothing else changes", () => {
  const before = sdp(
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1",
    "a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111", "a=rtpmap:9 G722/8000",
    "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 H264/90000", "a=fmtp:96 packetization-mode=1",
  );
  const after = withStereoOpus(before);
  assert.equal(after, before.replace("useinbandfec=1", "useinbandfec=1;stereo=1;sprop-stereo=1"));
  assert.equal(withStereoOpus(after), after, "a second time changes nothing");
});

test("mono that was asked for is overruled", () => {
  assert.equal(
    withStereoOpus(sdp("a=rtpmap:111 opus/48000/2", "a=fmtp:111 stereo=0; sprop-stereo=0;minptime=10")),
    sdp("a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;stereo=1;sprop-stereo=1"),
  );
});

test("a payload type without parameters gets some, next to its name", () => {
  assert.equal(
    withStereoOpus(sdp("a=rtpmap:111 OPUS/48000/2", "a=rtcp-fb:111 transport-cc", "a=mid:0")),
    sdp("a=rtpmap:111 OPUS/48000/2", "a=fmtp:111 stereo=1;sprop-stereo=1", "a=rtcp-fb:111 transport-cc", "a=mid:0"),
  );
});

test("no Opus, no change; line ends stay as they are", () => {
  const video = "v=0\nm=video 9 UDP/TLS/RTP/SAVPF 96\na=rtpmap:96 VP8/90000\n";
  assert.equal(withStereoOpus(video), video);
  assert.equal(
    withStereoOpus("a=rtpmap:1 opus/48000/2\na=fmtp:1 x=y\n"),
    "a=rtpmap:1 opus/48000/2\na=fmtp:1 x=y;stereo=1;sprop-stereo=1\n",
  );
});

const URI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
const transceiver = (methods: object) => methods as unknown as RTCRtpTransceiver;

test("abs-capture-time is offered where the browser can be told", () => {
  const set: unknown[] = [];
  const told = offerAbsCaptureTime(transceiver({
    getHeaderExtensionsToNegotiate: () => [{ uri: "a", direction: "sendrecv" }, { uri: URI, direction: "stopped" }],
    setHeaderExtensionsToNegotiate: (list: unknown) => set.push(list),
  }));
  assert.equal(told, true);
  assert.deepEqual(set, [[{ uri: "a", direction: "sendrecv" }, { uri: URI, direction: "sendrecv" }]]);
});

test("without that control, or without the extension, nothing breaks", () => {
  assert.equal(offerAbsCaptureTime(transceiver({})), false);
  assert.equal(offerAbsCaptureTime(transceiver({
    getHeaderExtensionsToNegotiate: () => [{ uri: "a", direction: "sendrecv" }],
    setHeaderExtensionsToNegotiate: () => assert.fail("nothing is to be set"),
  })), false);
  assert.equal(offerAbsCaptureTime(transceiver({
    getHeaderExtensionsToNegotiate: () => { throw new Error("not now"); },
  })), false);
});
