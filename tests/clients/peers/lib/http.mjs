// WHIP and WHEP: one POST, one DELETE.
import { say } from './say.mjs';

/** Posts an offer: the session's URL and the answer. */
export async function post(url, token, offer) {
  const headers = { 'content-type': 'application/sdp' };
  if (token) headers.authorization = `Bearer ${token}`;
  say({ event: 'posted' });
  const response = await fetch(url, { method: 'POST', headers, body: offer });
  const answer = await response.text();
  if (response.status !== 201) throw new Error(`POST ${url}: ${response.status} ${answer}`);
  return { session: new URL(response.headers.get('location'), url).href, answer };
}

/** Ends a session. */
export async function remove(session) {
  const response = await fetch(session, { method: 'DELETE' });
  say({ event: 'left', status: response.status });
}

/** Leaves the answer's candidates of one address family, as on a machine that has no other. */
export function ofFamily(sdp, family) {
  if (!family) return sdp;
  return sdp.split('\r\n').filter((line) => {
    const address = /^a=candidate:\S+ \d+ \S+ \d+ (\S+) /.exec(line)?.[1];
    return !address || (address.includes(':') ? '6' : '4') === family;
  }).join('\r\n');
}
