// Shapes of H.264 that encoders and repackagers in the field send: what is odd in the offer, and in the packets.
import { isParameterSet } from './rtp.mjs';
import { PICTURES, VIDEO } from './show.mjs';

const H264 = 'profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1';
const sets = PICTURES[0].filter(isParameterSet);
const withoutSets = (units) => units.filter((unit) => !isParameterSet(unit));
const SMALL_SSRC = 3_333;
/** Four seconds into the show. */
const CHANGE_AT = 120;

/** By name: `fmtp` and `offer` of the offer, `show` as in `startShow`. */
export const SHAPES = {
  plain: {},
  /** Parameter sets with the very first picture only, as repackagers of files and RTSP send them. */
  setsOnce: { show: { picture: (units, n) => (n === 0 ? units : withoutSets(units)) } },
  /** Parameter sets in the offer only (RFC 6184, section 8.2.1). */
  setsInOffer: {
    fmtp: `${H264};sprop-parameter-sets=${sets.map((unit) => unit.toString('base64')).join(',')}`,
    show: { picture: withoutSets },
  },
  /** No parameter sets at all: nobody can decode this. */
  setsNever: { show: { picture: withoutSets } },
  noSsrcLines: { offer: (sdp) => sdp.replace(/^a=ssrc:.*\r\n/gm, '') },
  /** The encoder starts anew in mid-show with another SSRC. */
  ssrcChanges: { show: { ssrcAt: (n) => (n < CHANGE_AT ? VIDEO.ssrc : 9_999) } },
  noSsrcLinesAndChanges: {
    offer: (sdp) => sdp.replace(/^a=ssrc:.*\r\n/gm, ''),
    show: { ssrcAt: (n) => (n < CHANGE_AT ? VIDEO.ssrc : 9_999) },
  },
  /** Simulcast by a group of SSRCs, the smallest layer first. */
  ssrcGroup: {
    offer: (sdp) => sdp.replace(new RegExp(`^a=ssrc:${VIDEO.ssrc} cname:(.*)\\r\\n`, 'm'), (line, cname) =>
      `a=ssrc-group:SIM ${SMALL_SSRC} ${VIDEO.ssrc}\r\na=ssrc:${SMALL_SSRC} cname:${cname}\r\n${line}`),
    show: { small: SMALL_SSRC },
  },
  /** Each slice is an FU-A, those that fit into one packet with start and end bit both set. */
  fragmentAll: { show: { odd: { fragmentAll: true } } },
  /** Zeros behind the last unit of each STAP-A. */
  stapTrailingZeros: { show: { odd: { stapTrailing: 2 } } },
};
