// libdatachannel and libjuice, which OBS is built on: publishes as OBS does, or watches.
// datachannel.mjs publish|view --url URL [--token T] [--family 4|6] [--obs 30|32] [--shape NAME]
import { parseArgs } from 'node:util';
import nd from 'node-datachannel';
import { ofFamily, post, remove } from './lib/http.mjs';
import { Counter, say, toldToStop } from './lib/say.mjs';
import { SHAPES } from './lib/shapes.mjs';
import { AUDIO, startShow, VIDEO } from './lib/show.mjs';

const { positionals: [role], values: args } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: 'string' }, token: { type: 'string' }, family: { type: 'string' }, obs: { type: 'string', default: '32' },
    shape: { type: 'string', default: 'plain' },
  },
});
const shape = SHAPES[args.shape];
if (!shape) throw new Error(`no such shape: ${args.shape}`);

const pc = new nd.PeerConnection(role, { iceServers: [] });
pc.onStateChange((state) => say({ event: 'state', state }));

function publisherTracks() {
  // OBS names the stream and its own end with 16 letters and digits each time.
  const [stream, cname] = ['OBSstream0123456', 'OBScname01234567'];
  const audio = new nd.Audio('0', 'SendOnly');
  audio.addOpusCodec(AUDIO.pt);
  audio.addSSRC(AUDIO.ssrc, cname, stream, `${stream}-audio`);
  const video = new nd.Video('1', 'SendOnly');
  if (shape.fmtp) video.addH264Codec(VIDEO.pt, shape.fmtp);
  else video.addH264Codec(VIDEO.pt);
  video.addSSRC(VIDEO.ssrc, cname, stream, `${stream}-video`);
  return [audio, video].map((media) => pc.addTrack(media));
}

function viewerTracks() {
  const audio = new nd.Audio('0', 'RecvOnly');
  audio.addOpusCodec(AUDIO.pt);
  const video = new nd.Video('1', 'RecvOnly');
  video.addH264Codec(VIDEO.pt);
  return [['audio', audio], ['video', video]].map(([kind, media]) => {
    const track = pc.addTrack(media);
    const counter = new Counter(kind);
    track.onMessage((datagram) => counter.take(datagram));
    return track;
  });
}

const tracks = role === 'publish' ? publisherTracks() : viewerTracks();
const opened = Promise.all(tracks.map((track) => new Promise((done) => track.onOpen(done))));
const gathered = new Promise((done) => pc.onGatheringStateChange((state) => state === 'complete' && done()));
pc.setLocalDescription('offer');
let offer = pc.localDescription().sdp;
if (args.obs === '30') {
  await gathered;
  offer = pc.localDescription().sdp;
} else {
  // Since OBS 31 the offer goes out before anything is gathered.
  offer = offer.replace(/^a=(candidate:.*|end-of-candidates)\r\n/gm, '');
}
const { session, answer } = await post(args.url, args.token, shape.offer?.(offer) ?? offer);
pc.setRemoteDescription(ofFamily(answer, args.family), 'answer');
say({ event: 'joined', session });

let stop = () => {};
if (role === 'publish') {
  await Promise.race([opened, toldToStop]);
  const [audio, video] = tracks.map((track) => (datagram) => track.isOpen() && track.sendMessageBinary(datagram));
  stop = startShow({ audio, video, audioReport: audio, videoReport: video, ...shape.show });
}
await toldToStop;
stop();
await remove(session);
pc.close();
// The library's threads keep the process alive.
process.exit(0);
