/** The browser's timers in the shape the client library takes. */

import type { Schedule } from "../client/keeper.ts";

/** Runs `act` after `ms` milliseconds; the returned function calls that off. */
export const schedule: Schedule = (ms, act) => {
  const timer = setTimeout(act, ms);
  return () => clearTimeout(timer);
};
