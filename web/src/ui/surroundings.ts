/** What happens around a page: networks come and go, tabs are hidden and frozen, devices sleep. */

/** Callbacks of [`followSurroundings`]. */
export interface SurroundingsListener {
  /** The network was lost, or is there. */
  onNetwork(): void;
  /** What the page knew may not hold any more: it was out of sight, frozen or asleep, or has another network. */
  onWake(): void;
}

/** Follows them for as long as the page lives. */
export function followSurroundings({ onNetwork, onWake }: SurroundingsListener): void {
  window.addEventListener("online", onNetwork);
  window.addEventListener("offline", onNetwork);
  document.addEventListener("resume", onWake);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) onWake();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") onWake();
  });
  // Phones tell of another kind of network here. Estimates of its speed, which change often, come the same way.
  const connection = (navigator as { connection?: EventTarget & { readonly type?: string } }).connection;
  let type = connection?.type;
  connection?.addEventListener("change", () => {
    if (connection.type === type) return;
    type = connection.type;
    onWake();
  });
}
