/** The studio's statistics on the page. */

import { en, type Key } from "../i18n/dictionary.ts";
import { number, t } from "../i18n/index.ts";
import { byId, byTestId, make } from "../ui/dom.ts";
import type { LayerFigures, SendFigures } from "./stats.ts";

const LAYER_KEYS: Readonly<Record<string, Key>> = { l: "layer.low", m: "layer.medium", h: "layer.high" };

/** Shows figures, or none. The numbers stand on the section as data attributes as well, for tests and scripts. */
export function showFigures(figures: SendFigures | undefined): void {
  const box = byTestId("stats", HTMLElement);
  byId("stats-empty", HTMLElement).hidden = figures !== undefined;
  byId("figures", HTMLElement).hidden = figures === undefined;
  byId("layers-box", HTMLElement).hidden = figures === undefined;
  if (!figures) {
    for (const name of Object.keys(box.dataset)) if (name !== "testid") delete box.dataset[name];
    return;
  }
  const top = figures.layers.reduce((best, layer) => Math.max(best, layer.fps), 0);
  box.dataset["videoKbps"] = figures.videoKbps.toFixed(0);
  box.dataset["audioKbps"] = figures.audioKbps.toFixed(0);
  box.dataset["rttMs"] = figures.rttMs?.toFixed(1) ?? "";
  box.dataset["fps"] = top.toFixed(0);
  box.dataset["layers"] = String(figures.layers.filter(({ kbps }) => kbps > 0).length);
  const rows: [Key, string][] = [
    ["studio.stats.video", `${number(figures.videoKbps)} kbit/s`],
    ["studio.stats.audio", `${number(figures.audioKbps)} kbit/s`],
    ["studio.stats.rtt", figures.rttMs === undefined ? "–" : `${number(figures.rttMs)} ms`],
    ["studio.stats.loss", figures.loss === undefined ? "–" : `${number(figures.loss * 100, 1)} %`],
    ["studio.stats.available", figures.availableKbps === undefined ? "–" : `${number(figures.availableKbps)} kbit/s`],
    ["studio.stats.limit", limit(figures.limit)],
    ["studio.stats.codec", figures.codec || "–"],
    ["studio.stats.path", figures.path.toUpperCase() || "–"],
  ];
  byId("figures", HTMLElement).replaceChildren(
    ...rows.map(([key, value]) => {
      const pair = make("div");
      pair.append(make("dt", "", t(key)), make("dd", "", value));
      return pair;
    }),
  );
  byId("layers", HTMLElement).replaceChildren(
    ...[...figures.layers].reverse().map((layer) => {
      const row = make("tr");
      const sent = layer.state === "sent";
      const name = make("th", layer.rid ? (sent ? "sent" : "rests") : "", t(LAYER_KEYS[layer.rid] ?? "layer.single"));
      name.scope = "row";
      row.dataset["state"] = layer.state;
      row.append(
        name,
        make("td", "", sent && layer.width > 0 ? `${layer.width}×${layer.height}` : "–"),
        make("td", "", sent ? number(layer.fps) : "–"),
        make("td", "", sent ? number(layer.kbps) : "–"),
        sent
          ? make("td", layer.limit === "none" ? "" : "warn", limit(layer.limit))
          : make("td", layer.state === "stopped" && layer.limit !== "none" ? "warn" : "rests", why(layer)),
        make("td", "encoder", (sent && layer.encoder) || "–"),
      );
      return row;
    }),
  );
}

/** Why a layer is not sent. */
function why({ state, limit: reason }: LayerFigures): string {
  if (state === "unwatched") return t("studio.layer.unwatched");
  if (state === "needless") return t("studio.layer.needless");
  return reason === "none" ? t("studio.layer.stopped") : limit(reason);
}

function limit(reason: string): string {
  const key = `studio.limit.${reason}`;
  return t(key in en ? (key as Key) : "studio.limit.other");
}
