// werift, a stack in TypeScript: publishes pre-encoded H.264 and Opus, or watches.
// werift.mjs publish|view --url URL [--token T] [--package werift|werift-old]
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { post, remove } from './lib/http.mjs';
import { Counter, say, toldToStop } from './lib/say.mjs';
import { AUDIO, startShow, VIDEO } from './lib/show.mjs';

const { positionals: [role], values: args } = parseArgs({
  allowPositionals: true,
  options: { url: { type: 'string' }, token: { type: 'string' }, package: { type: 'string', default: 'werift' } },
});
const { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters } = createRequire(import.meta.url)(args.package);

const pc = new RTCPeerConnection({
  iceServers: [],
  codecs: {
    audio: [new RTCRtpCodecParameters({ mimeType: 'audio/opus', payloadType: AUDIO.pt, clockRate: 48_000, channels: 2 })],
    video: [new RTCRtpCodecParameters({
      mimeType: 'video/H264', payloadType: VIDEO.pt, clockRate: 90_000,
      rtcpFeedback: [{ type: 'nack' }, { type: 'nack', parameter: 'pli' }],
      parameters: 'profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1',
    })],
  },
});
const connected = new Promise((done) => {
  pc.connectionStateChange.subscribe((state) => {
    say({ event: 'state', state });
    if (state === 'connected') done();
  });
});

const tracks = ['audio', 'video'].map((kind) => {
  if (role === 'publish') {
    // One MediaStream (RFC 9725, section 4.4.2).
    const track = new MediaStreamTrack({ kind, streamId: 'show' });
    pc.addTransceiver(track, { direction: 'sendonly' });
    return track;
  }
  const counter = new Counter(kind);
  const transceiver = pc.addTransceiver(kind, { direction: 'recvonly' });
  transceiver.onTrack.subscribe((track) => track.onReceiveRtp.subscribe((rtp) => counter.took(rtp.header.marker)));
  return null;
});

await pc.setLocalDescription(await pc.createOffer());
const { session, answer } = await post(args.url, args.token, pc.localDescription.sdp);
await pc.setRemoteDescription({ type: 'answer', sdp: answer });
say({ event: 'joined', session });

let stop = () => {};
if (role === 'publish') {
  await Promise.race([connected, toldToStop]);
  const [audio, video] = tracks.map((track) => (datagram) => track.writeRtp(datagram));
  stop = startShow({ audio, video });
}
await toldToStop;
stop();
await remove(session);
await pc.close();
process.exit(0);
