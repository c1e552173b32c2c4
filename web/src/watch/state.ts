/** Which of its faces the watch page shows. Pure. */

import type { InactiveReason } from "../client/events.ts";
import type { KeeperStatus } from "../client/keeper.ts";

/** States of the page, as `data-state` of the document says them. */
export type WatchState =
  | "connecting"
  | "waiting"
  | "live"
  | "interrupted"
  | "ended"
  | "reconnecting"
  | "offline"
  | "error";

/** What the server said of the show; `unknown` before its first word, or when it has no events. */
export type Show = "unknown" | "active" | InactiveReason;

/** What the page knows. */
export interface Known {
  readonly status: KeeperStatus;
  readonly show: Show;
  /** Whether a frame of this session has been painted. */
  readonly painted: boolean;
  /** Whether the show has no picture, but sound that comes. */
  readonly soundOnly: boolean;
  /** Whether media has stopped although the server says that it flows. */
  readonly stalled: boolean;
  /** Whether the server tells of the show. */
  readonly hasEvents: boolean;
}

/** The state that follows. */
export function watchState({ status, show, painted, soundOnly, stalled, hasEvents }: Known): WatchState {
  switch (status.kind) {
    case "refused":
      return status.problem.code === "show_over" ? "ended" : "error";
    case "closed":
      return "connecting";
    case "offline":
      return "offline";
    case "reconnecting":
      // Some servers refuse viewers until the artist is there (409): that is waiting, not trouble.
      return status.problem?.code === "not_live" ? "waiting" : "reconnecting";
    case "connecting":
    case "connected":
      break;
  }
  switch (show) {
    case "not_started":
      return "waiting";
    case "interrupted":
      return "interrupted";
    case "ended":
      return "ended";
    case "active":
    case "unknown":
      if (painted || soundOnly) return stalled ? "interrupted" : "live";
      return status.kind === "connected" && !hasEvents ? "waiting" : "connecting";
  }
}
