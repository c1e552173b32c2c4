// Runs inside a browser page: WHIP and WHEP sessions with nothing of Lightstick's own client in
// them, so that a fault shared by both sides cannot hide. The test drives them by `stage.call`.

const sessions = new Map();
let lastKey = 0;

/** Picks the header values of a response that signaling cares about. */
function headersOf(response) {
  return {
    location: response.headers.get('location'),
    etag: response.headers.get('etag'),
    link: response.headers.get('link'),
    retryAfter: response.headers.get('retry-after'),
    contentType: response.headers.get('content-type'),
  };
}

async function refusalOf(response) {
  const body = await response.text();
  const { contentType } = headersOf(response);
  return contentType?.startsWith('application/problem+json') ? JSON.parse(body) : body;
}

/** The link targets by relation (RFC 8288), for the few shapes that WHEP uses. */
function linksOf(link, base) {
  const found = {};
  for (const [, target, rel] of (link ?? '').matchAll(/<([^>]*)>[^,]*?;\s*rel="([^"]*)"/g)) {
    found[rel] = new URL(target, base).href;
  }
  return found;
}

/** Drops the candidates that a network would not let through. `keep`: { protocol, family }. */
function restrict(sdp, keep) {
  if (!keep) return sdp;
  return sdp.split('\r\n').filter((line) => {
    const candidate = line.match(/^a=candidate:\S+ \d+ (\S+) \d+ (\S+) /);
    if (!candidate) return true;
    const [, protocol, address] = candidate;
    const family = address.includes(':') ? 6 : 4;
    return (!keep.protocol || keep.protocol === protocol.toLowerCase())
      && (!keep.family || keep.family === family);
  }).join('\r\n');
}

function attribute(sdp, name) {
  return sdp.match(new RegExp(`^a=${name}:(.*?)\\r?$`, 'm'))?.[1];
}

function once(target, type) {
  return new Promise((done) => target.addEventListener(type, done, { once: true }));
}

class Session {
  constructor(role, pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' })) {
    this.role = role;
    this.pc = pc;
    this.states = [];
    this.events = [];
    this.trickled = [];
    this.localCandidates = [];
    this.renegotiations = 0;
    this.pc.addEventListener('connectionstatechange', () => {
      this.states.push(this.pc.connectionState);
      if (this.pc.connectionState === 'connected') this.connectedAt ??= performance.now();
    });
    this.pc.addEventListener('signalingstatechange', () => {
      if (this.answeredAt) this.renegotiations += 1;
    });
    this.pc.addEventListener('icecandidate', ({ candidate }) => {
      if (!candidate?.candidate) return;
      this.localCandidates.push(candidate.candidate);
      if (this.trickles && this.url) this.trickle(candidate.candidate);
    });
  }

  async join({ url, token, keep, trickle = false, gather = false }) {
    this.trickles = trickle;
    this.keep = keep;
    await this.pc.setLocalDescription();
    while (gather && this.pc.iceGatheringState !== 'complete') await once(this.pc, 'icegatheringstatechange');
    const headers = { 'content-type': 'application/sdp' };
    if (token) headers.authorization = `Bearer ${token}`;
    this.postedAt = performance.now();
    const offer = this.pc.localDescription.sdp;
    const response = await fetch(url, { method: 'POST', headers, body: offer });
    const seen = { status: response.status, ...headersOf(response), offer };
    if (response.status !== 201) {
      this.pc.close();
      return { ...seen, problem: await refusalOf(response) };
    }
    this.url = new URL(seen.location, url).href;
    this.etag = seen.etag;
    this.links = linksOf(seen.link, url);
    const answer = await response.text();
    this.answer = answer;
    await this.pc.setRemoteDescription({ type: 'answer', sdp: restrict(answer, keep) });
    if (trickle) this.localCandidates.forEach((candidate) => this.trickle(candidate));
    this.answeredAt = performance.now();
    return { ...seen, answer, url: this.url, links: this.links };
  }

  /** The fragment of RFC 8840 that both kinds of PATCH carry. */
  fragment(candidates) {
    const sdp = this.pc.localDescription.sdp;
    const lines = [`a=ice-ufrag:${attribute(sdp, 'ice-ufrag')}`, `a=ice-pwd:${attribute(sdp, 'ice-pwd')}`];
    const mids = attribute(sdp, 'group').split(' ').slice(1);
    const media = sdp.match(/^m=.*$/m)[0].trim();
    lines.push(`a=group:BUNDLE ${mids.join(' ')}`, media, `a=mid:${mids[0]}`);
    for (const candidate of candidates) lines.push(`a=${candidate}`);
    return lines.join('\r\n') + '\r\n';
  }

  patch(ifMatch, body) {
    const headers = { 'content-type': 'application/trickle-ice-sdpfrag' };
    if (ifMatch) headers['if-match'] = ifMatch;
    return fetch(this.url, { method: 'PATCH', headers, body });
  }

  trickle(candidate) {
    const done = this.patch(this.etag, this.fragment([candidate]))
      .then((response) => ({ candidate, status: response.status, etag: response.headers.get('etag') }));
    this.trickled.push(done);
  }

  /** Restarts ICE (RFC 9725 section 4.3.3): the answer is the old one with new credentials. */
  async restartIce() {
    const before = this.pc.remoteDescription.sdp;
    this.pc.restartIce();
    await this.pc.setLocalDescription();
    const response = await this.patch('*', this.fragment([]));
    const seen = { status: response.status, ...headersOf(response), before: attribute(before, 'ice-ufrag') };
    if (response.status !== 200) return { ...seen, problem: await refusalOf(response) };
    const fragment = await response.text();
    const candidates = restrict(fragment, this.keep).split(/\r?\n/).filter((line) => line.startsWith('a=candidate:'));
    let sdp = before
      .replace(/^a=ice-ufrag:.*$/gm, `a=ice-ufrag:${attribute(fragment, 'ice-ufrag')}`)
      .replace(/^a=ice-pwd:.*$/gm, `a=ice-pwd:${attribute(fragment, 'ice-pwd')}`);
    if (candidates.length > 0) {
      sdp = sdp.replace(/^a=(candidate:.*|end-of-candidates)\r?\n/gm, '')
        .replace(/^a=mid:.*$/m, (mid) => `${mid.trim()}\r\n${candidates.join('\r\n')}`);
    }
    await this.pc.setRemoteDescription({ type: 'answer', sdp });
    this.etag = seen.etag;
    return { ...seen, after: attribute(fragment, 'ice-ufrag'), candidates };
  }

  /** Takes in what `keep` had left out of the answer, as if a network had opened. */
  async widen() {
    const lines = this.answer.split('\r\n').filter((line) => line.startsWith('a=candidate:'));
    const kept = restrict(this.answer, this.keep);
    for (const line of lines.filter((candidate) => !kept.includes(candidate))) {
      await this.pc.addIceCandidate({ candidate: line.slice(2), sdpMLineIndex: 0 });
    }
  }

  async remove() {
    const response = await fetch(this.url, { method: 'DELETE' });
    this.close();
    return response.status;
  }

  close() {
    this.source?.close();
    this.pc.close();
    this.stream?.getTracks().forEach((track) => track.stop());
    for (const video of this.videos ?? [this.video]) video?.remove();
    this.audio?.remove();
  }

  follow() {
    const url = this.links['urn:ietf:params:whep:ext:core:server-sent-events'];
    this.source = new EventSource(url);
    for (const type of ['active', 'inactive', 'layers', 'tracks', 'viewercount', 'reconnect']) {
      this.source.addEventListener(type, ({ data }) => this.events.push({ type, ...JSON.parse(data) }));
    }
    return url;
  }

  chooseLayer(layer) {
    return this.choose({ layer });
  }

  async choose(choice) {
    const response = await fetch(this.links['urn:ietf:params:whep:ext:core:layer'], {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(choice),
    });
    return response.status;
  }

  /** What came in or went out, by kind (for simulcast: by kind and rid), and of each section. */
  async media() {
    const report = await this.pc.getStats();
    const [{ sender, receiver }] = this.pc.getTransceivers();
    const media = { connection: this.pc.connectionState, dtls: (receiver.transport ?? sender.transport)?.state, sections: {} };
    for (const entry of report.values()) {
      if (entry.type === 'inbound-rtp' || entry.type === 'outbound-rtp') {
        const name = entry.rid ? `${entry.kind}:${entry.rid}` : entry.kind;
        media[name] = { ...entry, codec: report.get(entry.codecId)?.mimeType };
        // A copy: puppeteer's protocol gives an object that it meets twice only once.
        media.sections[entry.mid] = { ...media[name] };
      }
    }
    return media;
  }

  /** The mean colour, `[red, green, blue]`, of what each of its videos shows, and its width. */
  pictures() {
    return this.videos.map((video) => {
      const canvas = new OffscreenCanvas(16, 9);
      const context = canvas.getContext('2d', { willReadFrequently: true });
      context.drawImage(video, 0, 0, 16, 9);
      const { data } = context.getImageData(0, 0, 16, 9);
      const mean = (channel) => {
        let sum = 0;
        for (let at = channel; at < data.length; at += 4) sum += data[at];
        return Math.round(sum / (data.length / 4));
      };
      return { colour: [0, 1, 2].map(mean), width: video.videoWidth };
    });
  }

  /** The candidate pair that carries the media. */
  async path() {
    const report = await this.pc.getStats();
    const transport = [...report.values()].find((entry) => entry.type === 'transport');
    const pair = report.get(transport?.selectedCandidatePairId)
      ?? [...report.values()].find((entry) => entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded');
    if (!pair) return null;
    const local = report.get(pair.localCandidateId);
    const remote = report.get(pair.remoteCandidateId);
    return {
      id: pair.id, protocol: remote.protocol, address: remote.address, port: remote.port,
      localAddress: local.address, localPort: local.port, dtls: transport?.dtlsState, tlsVersion: transport?.tlsVersion,
      srtpCipher: transport?.srtpCipher,
    };
  }
}

/** The order of codecs that makes an offer prefer `codec`, with its retransmissions. */
function prefer(transceiver, side, kind, codec) {
  if (!codec) return;
  const { codecs } = side.getCapabilities(kind);
  const wanted = codecs.filter(({ mimeType }) => mimeType.toLowerCase() === `${kind}/${codec}`.toLowerCase());
  if (wanted.length === 0) throw new Error(`this browser has no ${codec}`);
  const helpers = codecs.filter(({ mimeType }) => /\/(rtx|red|ulpfec)$/.test(mimeType));
  transceiver.setCodecPreferences([...wanted, ...helpers]);
}

/** A busy machine shall lower the frame rate, never the size: tests know layers by their sizes. */
async function keepSize(sender) {
  const parameters = sender.getParameters();
  parameters.degradationPreference = 'maintain-resolution';
  await sender.setParameters(parameters);
}

/** Counts painted frames and the longest time between two of them. */
function observe(session, video) {
  const painted = { count: 0, gap: 0, lastAt: null, sizes: [] };
  session.painted = painted;
  const step = (now) => {
    painted.firstAt ??= performance.now();
    if (painted.lastAt !== null) painted.gap = Math.max(painted.gap, now - painted.lastAt);
    painted.lastAt = now;
    painted.count += 1;
    const size = `${video.videoWidth}x${video.videoHeight}`;
    if (painted.sizes.at(-1) !== size) painted.sizes.push(size);
    video.requestVideoFrameCallback(step);
  };
  video.requestVideoFrameCallback(step);
}

/** Encodings of a three-layer simulcast, lowest first, as studios send them. */
const SIMULCAST = [
  { rid: 'l', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: 'm', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: 'h', scaleResolutionDownBy: 1, maxBitrate: 1_500_000 },
];

/** Without a mode of their own, VP9 and AV1 make spatial layers of one stream out of encodings. */
function modeOf(codec) {
  return codec === 'VP9' || codec === 'AV1' ? { scalabilityMode: 'L1T2' } : {};
}

/** A picture that no camera shows: red, with a bar that runs across it. */
function redScreen(fps) {
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
  const context = canvas.getContext('2d');
  let at = 0;
  setInterval(() => {
    context.fillStyle = '#d01010';
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = '#801010';
    context.fillRect(at = (at + 8) % canvas.width, 0, 40, canvas.height);
  }, 1_000 / fps);
  return canvas.captureStream(fps).getVideoTracks()[0];
}

const stage = {
  /** Publishes the (fake) camera and microphone, and a `screen` beside them. Gives what the POST gave, and a `key`. */
  async publish({ codec, width = 640, height = 360, fps = 30, simulcast = false, scalabilityMode, audio = true, screen = false, stream, maxBitrate = 1_500_000, ...join }) {
    const session = new Session('publisher');
    session.stream = stream ?? await navigator.mediaDevices.getUserMedia({
      video: { width: { exact: width }, height: { exact: height }, frameRate: fps }, audio,
    });
    const [camera] = session.stream.getVideoTracks();
    const [microphone] = session.stream.getAudioTracks();
    const transceiver = session.pc.addTransceiver(camera, {
      direction: 'sendonly', streams: [session.stream],
      sendEncodings: simulcast ? SIMULCAST.map((encoding) => ({ ...encoding, ...(scalabilityMode ? { scalabilityMode } : modeOf(codec)) })) : [{ maxBitrate, ...(scalabilityMode && { scalabilityMode }) }],
    });
    prefer(transceiver, RTCRtpSender, 'video', codec);
    await keepSize(transceiver.sender);
    if (microphone) session.pc.addTransceiver(microphone, { direction: 'sendonly', streams: [session.stream] });
    if (screen) {
      const second = session.pc.addTransceiver(redScreen(fps), {
        direction: 'sendonly', streams: [session.stream], sendEncodings: [{ maxBitrate: 500_000 }],
      });
      prefer(second, RTCRtpSender, 'video', codec);
      await keepSize(second.sender);
    }
    return stage.admit(session, join);
  },

  /** Watches. The video is muted; sound is attached to an element of its own, for its statistics. */
  async watch({ codec, audio = true, videos = 1, ...join }) {
    const session = new Session('viewer');
    session.videos = Array.from({ length: videos }, () => {
      const video = document.createElement('video');
      Object.assign(video, { muted: true, autoplay: true, playsInline: true, width: 320 });
      document.body.append(video);
      return video;
    });
    [session.video] = session.videos;
    observe(session, session.video);
    const sections = [];
    session.pc.addEventListener('track', ({ track, transceiver }) => {
      if (track.kind === 'video') {
        session.videos[sections.indexOf(transceiver)].srcObject = new MediaStream([track]);
      } else {
        session.audio = new Audio();
        session.audio.srcObject = new MediaStream([track]);
        session.audio.play();
      }
    });
    for (const _ of session.videos) {
      const section = session.pc.addTransceiver('video', { direction: 'recvonly' });
      prefer(section, RTCRtpReceiver, 'video', codec);
      sections.push(section);
    }
    if (audio) session.pc.addTransceiver('audio', { direction: 'recvonly' });
    return stage.admit(session, join);
  },

  async admit(session, join) {
    const posted = await session.join(join);
    if (posted.status !== 201) return posted;
    const key = `s${++lastKey}`;
    sessions.set(key, session);
    return { ...posted, key };
  },

  /** Calls a method of a session, or reads a plain field. */
  async call(key, name, ...args) {
    const session = sessions.get(key);
    const member = session[name];
    return typeof member === 'function' ? session[name](...args) : member;
  },

  trickled(key) {
    return Promise.all(sessions.get(key).trickled);
  },

  /** Starts a new count of the longest gap between two painted frames, from this moment. */
  watchGap(key) {
    const { painted } = sessions.get(key);
    painted.gap = 0;
    painted.lastAt = performance.now();
  },

  /** The longest gap since `watchGap`, one that still goes on included. */
  gap(key) {
    const { painted } = sessions.get(key);
    return Math.max(painted.gap, performance.now() - painted.lastAt);
  },
};

globalThis.stage = stage;
globalThis.sessions = sessions;

// For pages with more in them: sessions that something else has made.
export { observe, Session };
