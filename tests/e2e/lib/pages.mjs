// A web origin of our own for the harness pages: a secure context (loopback), and another origin
// than the server's, so that every exchange of the sessions also goes through CORS.
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = path.join(path.dirname(fileURLToPath(import.meta.url)), 'page');
const HTML = '<!doctype html><meta charset="utf-8"><title>stage</title><body></body>';

/** Serves an empty page at `/` and the scripts of `lib/page/` (and of `folders`) beside it. */
export async function servePages(folders = []) {
  const server = http.createServer(async (request, response) => {
    const name = new URL(request.url, 'http://stage').pathname;
    if (name === '/') {
      response.setHeader('content-type', 'text/html');
      return response.end(HTML);
    }
    for (const folder of [FOLDER, ...folders]) {
      const body = await readFile(path.join(folder, path.basename(name))).catch(() => null);
      if (body === null) continue;
      response.setHeader('content-type', 'text/javascript');
      return response.end(body);
    }
    response.statusCode = 404;
    response.end();
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((closed) => {
      server.close(closed);
      server.closeAllConnections();
    }),
  };
}
