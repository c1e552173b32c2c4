// Runs in a page: sessions of WHIP (RFC 9725) and WHEP, as bare as they can be.

/** Sessions by a key that the test outside can hold. */
const sessions = new Map();

/** An order of codecs in which `codec` is the only one for video. */
function only(codec) {
  const { codecs } = RTCRtpSender.getCapabilities('video');
  const wanted = codecs.filter(({ mimeType }) => mimeType.toLowerCase() === `video/${codec}`.toLowerCase());
  if (wanted.length === 0) throw new Error(`this browser has no ${codec}`);
  return [...wanted, ...codecs.filter(({ mimeType }) => mimeType === 'video/rtx')];
}

/** Adds `track`, so that a full-size picture goes out however low the rate still is. */
async function send(pc, stream, { codec, maxBitrate }) {
  const [video] = stream.getVideoTracks();
  const transceiver = pc.addTransceiver(video, { direction: 'sendonly', streams: [stream], sendEncodings: [{ maxBitrate }] });
  transceiver.setCodecPreferences(only(codec));
  const { sender } = transceiver;
  await sender.setParameters({ ...sender.getParameters(), degradationPreference: 'maintain-resolution' });
  for (const audio of stream.getAudioTracks()) pc.addTransceiver(audio, { direction: 'sendonly', streams: [stream] });
}

/** A video element that notes when its first picture was painted. */
function screen(session) {
  const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true, playsInline: true, width: 320 });
  document.body.append(video);
  session.video = video;
  session.pc.addEventListener('track', ({ track }) => {
    if (track.kind === 'video') video.srcObject = new MediaStream([track]);
  });
  video.requestVideoFrameCallback(() => { session.paintedAt = performance.now(); });
}

async function post(session, url, token) {
  const { pc } = session;
  await pc.setLocalDescription();
  const headers = { 'content-type': 'application/sdp' };
  if (token) headers.authorization = `Bearer ${token}`;
  session.token = token;
  session.postedAt = performance.now();
  const response = await fetch(url, { method: 'POST', headers, body: pc.localDescription.sdp });
  const text = await response.text();
  if (response.status !== 201) {
    pc.close();
    throw new Error(`POST ${url}: ${response.status} ${text.slice(0, 300)}`);
  }
  session.url = new URL(response.headers.get('location'), url).href;
  session.answeredAt = performance.now();
  return text;
}

async function opened(session) {
  const key = `s${sessions.size}`;
  sessions.set(key, session);
  return key;
}

const bench = {
  /** The fake camera and microphone. */
  camera: ({ width, height }) => navigator.mediaDevices.getUserMedia({
    video: { width: { exact: width }, height: { exact: height }, frameRate: 30 }, audio: true,
  }),

  /** Publishes `stream`. Gives the session's key. */
  async publish({ url, token, stream, ...sending }) {
    const session = { pc: new RTCPeerConnection({ bundlePolicy: 'max-bundle' }), stream };
    await send(session.pc, stream, sending);
    await session.pc.setRemoteDescription({ type: 'answer', sdp: await post(session, url, token) });
    return opened(session);
  },

  /** Asks to watch; `audio` says whether sound is wanted too. Gives the session's key and the answer, for `accept`. */
  async ask({ url, token, audio = true }) {
    const session = { pc: new RTCPeerConnection({ bundlePolicy: 'max-bundle' }) };
    screen(session);
    session.pc.addTransceiver('video', { direction: 'recvonly' });
    if (audio) session.pc.addTransceiver('audio', { direction: 'recvonly' });
    const sdp = await post(session, url, token);
    return { key: await opened(session), sdp };
  },

  /** Watches. Gives the session's key. */
  async watch(options) {
    const { key, sdp } = await bench.ask(options);
    await bench.accept(key, sdp);
    return key;
  },

  /** Offers `stream` to another page, without a server. The offer carries all candidates. */
  async offer({ stream, ...sending }) {
    const session = { pc: new RTCPeerConnection({ bundlePolicy: 'max-bundle' }) };
    await send(session.pc, stream, sending);
    await session.pc.setLocalDescription();
    const key = await opened(session);
    return { key, sdp: await gathered(session.pc) };
  },

  async answer(sdp) {
    const session = { pc: new RTCPeerConnection({ bundlePolicy: 'max-bundle' }) };
    screen(session);
    await session.pc.setRemoteDescription({ type: 'offer', sdp });
    await session.pc.setLocalDescription();
    const key = await opened(session);
    return { key, sdp: await gathered(session.pc) };
  },

  accept: (key, sdp) => sessions.get(key).pc.setRemoteDescription({ type: 'answer', sdp }),

  /** The video's statistics, of whichever direction there is. */
  async video(key) {
    const report = await sessions.get(key).pc.getStats();
    return [...report.values()].find(({ type, kind }) => kind === 'video' && /^(in|out)bound-rtp$/.test(type));
  },

  /** When it was posted, answered and painted first, by this page's clock. */
  times(key) {
    const { postedAt, answeredAt, paintedAt } = sessions.get(key);
    return { postedAt, answeredAt, paintedAt };
  },

  element: (key) => sessions.get(key).video,

  /** Ends a session, at the server too if there is one. */
  async close(key) {
    const { pc, url, token, video } = sessions.get(key);
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const response = url && await fetch(url, { method: 'DELETE', headers });
    pc.close();
    video?.remove();
    if (response && !response.ok) throw new Error(`DELETE ${url}: ${response.status}`);
  },
};

function gathered(pc) {
  return new Promise((done) => {
    const look = () => pc.iceGatheringState === 'complete' && done(pc.localDescription.sdp);
    pc.addEventListener('icegatheringstatechange', look);
    look();
  });
}

globalThis.bench = bench;
(globalThis.loaded ??= []).push('session');
