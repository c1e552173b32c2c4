// The aiortc scripts of `py/`.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { flags, Program } from './program.mjs';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
export const PYTHON = process.env.AIORTC_PYTHON ?? path.join(ROOT, '.venv/bin/python');

/** One running script. */
export class Script extends Program {
  /** Starts `py/<name>.py` with flags, `{ url: 'x' }` being `--url x`. */
  constructor(name, given) {
    super(PYTHON, [path.join(ROOT, 'tests/e2e/py', `${name}.py`), ...flags(given)]);
  }
}
