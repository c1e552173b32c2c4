/** The statistics over the picture. */

import { number, t, type Key } from "../i18n/index.ts";
import { byTestId, make } from "../ui/dom.ts";
import type { LatencySource, WatchFigures } from "./stats.ts";

const LATENCY_KEYS: Readonly<Record<LatencySource, Key>> = {
  frame: "watch.stats.latency",
  clock: "watch.stats.latency.clock",
  part: "watch.stats.latency.part",
};

/** Shows figures. The numbers stand on the section as data attributes as well, for tests and scripts. */
export function showOverlay(figures: WatchFigures | undefined): void {
  const box = byTestId("stats", HTMLElement);
  box.dataset["latencyMs"] = figures?.latency?.ms.toFixed(1) ?? "";
  box.dataset["latencySource"] = figures?.latency?.source ?? "";
  box.dataset["jitterBufferMs"] = figures?.jitterBufferMs?.toFixed(1) ?? "";
  box.dataset["rttMs"] = figures?.rttMs?.toFixed(1) ?? "";
  box.dataset["kbps"] = figures?.kbps.toFixed(0) ?? "";
  box.dataset["fps"] = figures?.fps.toFixed(0) ?? "";
  box.dataset["width"] = String(figures?.width ?? "");
  box.dataset["height"] = String(figures?.height ?? "");
  if (box.hidden) return;
  const none = t("watch.stats.none");
  const ms = (value: number | undefined) => (value === undefined ? none : `${number(value)} ms`);
  const rows: [Key, string][] = [
    [LATENCY_KEYS[figures?.latency?.source ?? "frame"], ms(figures?.latency?.ms)],
    ["watch.stats.buffer", ms(figures?.jitterBufferMs)],
    ["watch.stats.rtt", ms(figures?.rttMs)],
    ["watch.stats.size", figures && figures.width > 0 ? `${figures.width} × ${figures.height}` : none],
    ["watch.stats.fps", figures ? number(figures.fps) : none],
    ["watch.stats.rate", figures ? `${number(figures.kbps)} kbit/s` : none],
    ["watch.stats.loss", figures?.loss === undefined ? none : `${number(figures.loss * 100, 1)} %`],
    ["watch.stats.freezes", figures ? number(figures.freezes) : none],
    ["watch.stats.codec", figures?.codec || none],
    ["watch.stats.path", figures?.path.toUpperCase() || none],
  ];
  box.querySelector("dl")?.replaceChildren(
    ...rows.map(([key, value]) => {
      const pair = make("div");
      pair.append(make("dt", "", t(key)), make("dd", "", value));
      return pair;
    }),
  );
}
