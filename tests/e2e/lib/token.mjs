// Tokens made without the server's own code: what integrators do in their language.
import { createHmac } from 'node:crypto';

/** The key of servers that are not in development mode. */
export const KEY = { kid: 'e2e', secret: 'an end-to-end test secret of more than 32 bytes' };

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/**
 * A JWT signed with HS256.
 * @param {{ kid: string, secret: string }} key
 * @param {{ sub?: string, name?: string, role?: string, room: string, grants: object, ttl?: number }} claims `ttl` in seconds
 */
export function mintToken(key, { sub = 'artist', name, role, room, grants, ttl = 600 }) {
  const exp = Math.floor(Date.now() / 1000) + ttl;
  const signed = `${encode({ alg: 'HS256', typ: 'JWT', kid: key.kid })}.${encode({ sub, name, role, exp, room, grants })}`;
  return `${signed}.${createHmac('sha256', key.secret).update(signed).digest('base64url')}`;
}
