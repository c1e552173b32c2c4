// Where the cases meet: a server on addresses of both families that are no loopback, as clients find it in the world,
// browsers that start when they are needed, and rooms with a show.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { launchChromium } from '../../e2e/lib/chromium.mjs';
import { launchFirefox } from '../../e2e/lib/firefox.mjs';
import { Server } from '../../e2e/lib/server.mjs';
import { KEY, mintToken } from '../../e2e/lib/token.mjs';
import { client } from './clients.mjs';
import { Nat } from './nat.mjs';
import { PagePeer } from './peer.mjs';

const HERE = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const BUNDLES = path.resolve(HERE, '../../target/clients/page');
/** Where tests/e2e/network.sh puts this machine: what the server and NATs have of each family. */
const ADDRESS = process.env.TEST_NETWORK_ADDRESS;
const ADDRESS6 = 'fd00:77::1';

const BROWSERS = {
  chromium: () => launchChromium(),
  firefox: () => launchFirefox(),
  /** Pages with the libraries of others in them. */
  async libraries() {
    await build({ entryPoints: [path.join(HERE, 'page/libraries.js')], bundle: true, format: 'esm', outdir: BUNDLES, logLevel: 'error' });
    const browser = await launchChromium({ scripts: [BUNDLES] });
    return { ...browser, open: () => browser.open('libraries.js') };
  },
};

/** The clients of one case. */
class Scope {
  constructor(here) {
    Object.assign(this, { here, peers: [], nats: [] });
  }

  /** A client that publishes into a room, at the server or through a NAT. */
  publisher(id, room, { through = this.here.server, ...more } = {}) {
    return this.keep(client(id).publish(this.here, { url: `${through.base}/whip/${room}`, token: this.here.token, ...more }));
  }

  /** A client that watches a room. */
  viewer(id, room, { through = this.here.server, ...more } = {}) {
    return this.keep(client(id).view(this.here, { url: `${through.base}/whep/${room}`, ...more }));
  }

  async keep(starting) {
    const peer = await starting;
    this.peers.push(peer);
    return peer;
  }

  async nat(moves) {
    const nat = await Nat.start(this.here.server.base, { inside: ADDRESS, outside: { 4: ADDRESS, 6: ADDRESS6 } }, moves);
    this.nats.push(nat);
    return nat;
  }

  async close() {
    await Promise.all(this.peers.map((peer) => peer.kill()));
    await Promise.all(this.nats.map((nat) => nat.close()));
  }
}

/** A server, browsers that start when they are needed, and rooms with a show. */
export class Place {
  constructor(name) {
    assert.ok(ADDRESS, 'run this by tests/e2e/network.sh, as ./dev clients does');
    Object.assign(this, { name, browsers: {}, shows: {}, rooms: 0 });
    this.token = mintToken(KEY, { room: '*', grants: { publish: true, admin: true }, ttl: 86_400 });
  }

  async open(settings = {}) {
    this.server = await Server.start(this.name, {
      auth: { keys: { [KEY.kid]: { secret: KEY.secret } } },
      ...settings,
      signaling: { watch_open: true, ...settings.signaling },
      media: { bind: [ADDRESS, ADDRESS6], ...settings.media },
    });
  }

  /** A room that nobody has used. */
  room() {
    this.rooms += 1;
    return `${this.name}-${this.rooms}`;
  }

  browser(name) {
    this.browsers[name] ??= BROWSERS[name]();
    return this.browsers[name];
  }

  async page(name) {
    return (await this.browser(name)).open();
  }

  async version(name) {
    return (await this.browser(name)).version.replace(/^.*\//, '');
  }

  /** A room with a show of this codec from Chromium, the same for all who ask. */
  async show(codec = 'H264') {
    this.shows[codec] ??= (async () => {
      const room = this.room();
      const options = { token: this.token, codec, width: 320, height: 180 };
      const peer = await PagePeer.publish(await this.page('chromium'), this.server.whip(room), options);
      await peer.connected();
      return { room, peer };
    })();
    return (await this.shows[codec]).room;
  }

  /** Does something with clients of its own, which end with it. */
  async scoped(act) {
    const scope = new Scope(this);
    try {
      return await act(scope);
    } finally {
      await scope.close();
    }
  }

  async close() {
    for (const show of Object.values(this.shows)) await (await show).peer.kill();
    for (const browser of Object.values(this.browsers)) await (await browser).close();
    await this.server?.stop();
  }
}

/** Registers the hooks of a file of cases. */
export function place(name, settings) {
  const here = new Place(name);
  before(() => here.open(settings));
  after(() => here.close());
  return here;
}
