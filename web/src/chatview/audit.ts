/** What moderators did, in words. */

import { c, known, type ChatKey } from "../i18n/chat.ts";
import { Row } from "./records.ts";

/** Rules by their names in the JSON of `Settings`. */
const RULES = {
  slowSeconds: "mod.slow", membersOnly: "mod.members", emoteOnly: "mod.emotes", uniqueOnly: "mod.unique", linksOff: "mod.links",
  muted: "mod.muted", shield: "chat.mode.shield", hold: "mod.hold", blockedTerms: "mod.did.terms", emotes: "chat.emotes",
} as const satisfies Record<string, ChatKey>;
const HOLD: Readonly<Record<string, ChatKey>> = { HOLD_SUSPECTED: "mod.hold.0", HOLD_NONE: "mod.hold.1", HOLD_ALL: "mod.hold.2" };

/** What a record of the audit log says, but for who did it, when, and why. `time` writes Unix milliseconds. */
export function auditText(record: Row, time: (ms: number) => string): string {
  const action = record.text("action");
  const target = record.text("target");
  return [c(known("mod.did", action, "mod.did.other"), { action }), isMessage(target) ? "" : target, ...details(action, record, time)]
    .filter(Boolean).join(" · ");
}

function details(action: string, record: Row, time: (ms: number) => string): string[] {
  const before = record.text("before");
  const after = record.text("after");
  switch (action) {
    case "settings":
      return changes(parsed(before), parsed(after));
    case "timeout": {
      const until = new Row(parsed(after)).time("until_ms", "untilMs");
      return until > 0 ? [c("mod.until", { time: time(until) })] : [];
    }
    case "ban":
    case "shadow":
      return [];
    case "unban":
    case "unshadow": {
      const sanction = new Row(parsed(before));
      return [c(known("mod.kind", sanction.text("kind"), "mod.kind.ban")), quoted(sanction.text("reason"))];
    }
    case "clear_user":
      return [c("mod.did.messages", { count: Number.parseInt(before, 10) || 0 })];
    default:
      return [quoted(after || before)];
  }
}

/** Which rules are others now, and how. What the JSON leaves out is off, none or zero. */
function changes(before: Readonly<Record<string, unknown>>, after: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(RULES).flatMap(([name, key]) => {
    const value = ruleText(name, after[name]);
    return value === ruleText(name, before[name]) ? [] : [`${c(key)} → ${value}`];
  });
}

function ruleText(name: string, value: unknown): string {
  if (name === "slowSeconds") return String(Number(value) || 0);
  if (name === "hold") return c(HOLD[String(value)] ?? "mod.hold.0");
  if (name !== "blockedTerms" && name !== "emotes") return c(value === true ? "mod.did.on" : "mod.did.off");
  const list: unknown[] = Array.isArray(value) ? value : [];
  const names = list.map((one) => (typeof one === "string" ? one : new Row(one as Record<string, unknown>).text("name")));
  return names.length > 0 ? names.join(", ") : c("mod.did.none");
}

function parsed(json: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function quoted(text: string): string {
  return text === "" || isMessage(text) ? "" : `“${text}”`;
}

/** An id tells a reader nothing. */
function isMessage(target: string): boolean {
  return /^\d{15,20}$/.test(target);
}
