// Runs inside a browser page: the libraries that other people's pages use, as they are published and as their READMEs
// say. What they do with the connection is seen through the harness of tests/e2e.
import { WebRTCPlayer } from '@eyevinn/webrtc-player';
import { WHIPClient as EyevinnWhip } from '@eyevinn/whip-web-client';
import { WHEPClient as MedoozeWhep } from 'whip-whep/whep.js';
import { WHIPClient as MedoozeWhip } from 'whip-whep/whip.js';
import { observe, Session } from '../../e2e/lib/page/stage.js';

// The libraries make their connection and their POST themselves.
let posted = null;
let made = null;
const fetchAsIs = globalThis.fetch;
globalThis.fetch = (url, options = {}) => {
  if (options.method === 'POST') posted ??= performance.now();
  return fetchAsIs.call(globalThis, url, options);
};
const Connection = globalThis.RTCPeerConnection;
globalThis.RTCPeerConnection = class extends Connection {
  constructor(...args) {
    super(...args);
    made = this;
    this.addEventListener('connectionstatechange', () => {
      if (this.connectionState === 'connected') this.connectedAt ??= performance.now();
    });
  }
};

async function camera() {
  return navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 180 } });
}

function screen() {
  const video = document.createElement('video');
  Object.assign(video, { muted: true, autoplay: true, playsInline: true, width: 320 });
  document.body.append(video);
  return video;
}

/** Each starts one library, and gives what ends it. */
const LIBRARIES = {
  medooze: {
    async publish({ url, token }) {
      const stream = await camera();
      const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
      for (const track of stream.getTracks()) pc.addTransceiver(track, { direction: 'sendonly' });
      const whip = new MedoozeWhip();
      await whip.publish(pc, url, token);
      return { stop: () => whip.stop(), restart: () => whip.restart() };
    },
    async view({ url }, video) {
      const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
      pc.addTransceiver('audio', { direction: 'recvonly' });
      pc.addTransceiver('video', { direction: 'recvonly' });
      pc.addEventListener('track', ({ streams: [stream] }) => { video.srcObject = stream; });
      const whep = new MedoozeWhep();
      await whep.view(pc, url);
      return { stop: () => whep.stop(), restart: () => whep.restart() };
    },
  },
  eyevinn: {
    async publish({ url, token }) {
      const client = new EyevinnWhip({ endpoint: url, opts: { iceServers: [], authkey: token } });
      await client.setIceServersFromEndpoint();
      await client.ingest(await camera());
      return { stop: () => client.destroy() };
    },
    async view({ url }, video) {
      const player = new WebRTCPlayer({ video, type: 'whep' });
      await player.load(new URL(url));
      return { stop: () => player.destroy() };
    },
  },
};

/** Starts a library, and gives the key of its session for `stage.call`. */
globalThis.stage.library = async (name, role, given) => {
  const video = screen();
  const started = await LIBRARIES[name][role](given, video);
  const session = new Session(role, made);
  Object.assign(session, { started, postedAt: posted, connectedAt: made.connectedAt, video });
  observe(session, video);
  const key = `${name}-${role}`;
  globalThis.sessions.set(key, session);
  return key;
};
Session.prototype.stopByLibrary = function stopByLibrary() { return this.started.stop(); };
Session.prototype.restartByLibrary = function restartByLibrary() { return this.started.restart(); };
