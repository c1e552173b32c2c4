// The test's handles of sessions that live in browser pages. A page is one of playwright-core or
// of puppeteer-core: both evaluate a function with one argument the same way.
import assert from 'node:assert/strict';
import { datagramsDropped } from './kernel.mjs';
import { until } from './wait.mjs';

const run = (page, method, ...args) =>
  page.evaluate(([name, given]) => globalThis.stage[name](...given), [method, args]);

/** Which of a publisher's pictures has this mean colour: its screen is red, the fake camera is green. */
export function pictureOf([red, green, blue]) {
  if (red > 130 && green < 70 && blue < 70) return 'screen';
  if (green > 70 && green > red + 30) return 'camera';
  return 'none';
}

class Party {
  constructor(page, posted) {
    this.page = page;
    this.key = posted.key;
    this.posted = posted;
    this.droppedBefore = datagramsDropped();
  }

  /** Calls a method of the page's session, or reads a field. */
  call(name, ...args) {
    return run(this.page, 'call', this.key, name, ...args);
  }

  media() {
    return this.call('media');
  }

  path() {
    return this.call('path');
  }

  states() {
    return this.call('states');
  }

  /** Ends the session by DELETE. */
  async remove() {
    assert.equal(await this.call('remove'), 200, 'DELETE of a session');
  }

  /** Waits until the server has said goodbye: it closes DTLS, and browsers know at once. */
  async closed(within = 3_000) {
    await until('the server has closed the connection', async () => {
      const { dtls } = await this.media();
      return { ok: dtls === 'closed', value: dtls };
    }, { within });
  }

  async connected(within) {
    await until('the connection is up', async () => {
      const { connection } = await this.media();
      return { ok: connection === 'connected', value: connection };
    }, { within });
  }
}

/** Sends the fake camera and microphone of its page. */
export class Publisher extends Party {
  /** Publishes; see `stage.publish` for the options. Fails unless the server takes it. */
  static async start(page, url, options) {
    const posted = await Publisher.attempt(page, url, options);
    assert.equal(posted.status, 201, `POST ${url}: ${JSON.stringify(posted.problem)}`);
    return new Publisher(page, posted);
  }

  /** What the server says to a publisher, whatever it is. */
  static attempt(page, url, options) {
    return run(page, 'publish', { url, ...options });
  }

  /** Waits until every named encoding (`l`, `m`, `h`) goes out. */
  async sends(rids, within = 15_000) {
    await until(`the publisher sends ${rids}`, async () => {
      const media = await this.media();
      const sent = Object.fromEntries(rids.map((rid) => [rid, media[`video:${rid}`]?.framesPerSecond ?? 0]));
      return { ok: Object.values(sent).every((fps) => fps > 0), value: sent };
    }, { within });
  }
}

/** Watches in its page. */
export class Viewer extends Party {
  /** Watches and follows the session's events; see `stage.watch` for the options. */
  static async start(page, url, options) {
    const posted = await Viewer.attempt(page, url, options);
    assert.equal(posted.status, 201, `POST ${url}: ${JSON.stringify(posted.problem)}`);
    const viewer = new Viewer(page, posted);
    await viewer.call('follow');
    return viewer;
  }

  /** What the server says to a viewer, whatever it is. */
  static attempt(page, url, options) {
    return run(page, 'watch', { url, ...options });
  }

  events() {
    return this.call('events');
  }

  /** Waits for an event from `from` (an index into `events()`) on, and gives it with its index. */
  async event(type, test = () => true, { from = 0, within = 10_000 } = {}) {
    return until(`the event ${type}`, async () => {
      const events = await this.events();
      const at = events.findIndex((event, i) => i >= from && event.type === type && test(event));
      return { ok: at >= 0, value: at >= 0 ? { ...events[at], at } : events };
    }, { within });
  }

  /** Waits until `more` further video frames are decoded, and gives the video's statistics. */
  async decodes(more, within = 10_000) {
    const before = (await this.media()).video?.framesDecoded ?? 0;
    const media = await until(`${more} more frames are decoded`, async () => {
      const seen = await this.media();
      return { ok: (seen.video?.framesDecoded ?? 0) >= before + more, value: seen };
    }, { within });
    return media.video;
  }

  /** Waits until video of that width is decoded. */
  async width(width, within = 10_000) {
    await until(`the video is ${width} wide`, async () => {
      const { video } = await this.media();
      return { ok: video?.frameWidth === width, value: video && `${video.frameWidth}x${video.frameHeight}` };
    }, { within });
  }

  /** Waits until the decoded video is less wide than `width`, and gives its width. */
  async narrower(width, within = 10_000) {
    return until(`the video is less than ${width} wide`, async () => {
      const { video } = await this.media();
      return { ok: video?.frameWidth < width, value: video?.frameWidth };
    }, { within });
  }

  /** Waits until `more` further audio packets have come. */
  async hears(more, within = 10_000) {
    const before = (await this.media()).audio?.packetsReceived ?? 0;
    const media = await until(`${more} more audio packets come`, async () => {
      const seen = await this.media();
      return { ok: (seen.audio?.packetsReceived ?? 0) >= before + more, value: seen };
    }, { within });
    return media;
  }

  async chooseLayer(layer) {
    assert.equal(await this.call('chooseLayer', layer), 204, `POST layer ${layer}`);
  }

  /** Chooses the track that its first video shows, as the API names it. */
  async chooseMain(main) {
    assert.equal(await this.call('choose', { main }), 204, `POST main ${main}`);
  }

  /** Waits until its videos show these pictures, `camera` or `screen`, in this order. */
  async shows(pictures, within = 15_000) {
    await until(`the pictures are ${pictures}`, async () => {
      const seen = await this.call('pictures');
      return { ok: seen.map(({ colour }) => pictureOf(colour)).join() === pictures.join(), value: seen };
    }, { within });
  }

  /**
   * Asserts that no packet is missing: sequence numbers without holes. A datagram that the kernel itself has
   * dropped is excused, if it is video and came again.
   */
  async assertWhole() {
    const { video, audio } = await this.media();
    const dropped = datagramsDropped() - this.droppedBefore;
    const said = JSON.stringify({
      dropped, video: video.packetsLost, audio: audio?.packetsLost,
      nacks: video.nackCount, again: video.retransmittedPacketsReceived, received: video.packetsReceived,
    });
    if (dropped === 0) {
      assert.equal(video.packetsLost, 0, `video packets are missing: ${said}`);
      if (audio) assert.equal(audio.packetsLost, 0, `audio packets are missing: ${said}`);
    } else {
      assert.ok(video.packetsLost <= (video.retransmittedPacketsReceived ?? 0), `video packets did not come again: ${said}`);
    }
  }

  painted() {
    return this.call('painted');
  }

  /** Starts to measure the longest time between two painted frames. */
  watchGap() {
    return run(this.page, 'watchGap', this.key);
  }

  /** The longest time between two painted frames since then, in milliseconds. */
  gap() {
    return run(this.page, 'gap', this.key);
  }
}
