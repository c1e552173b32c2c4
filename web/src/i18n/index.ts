/** The page's language: chosen by the user, else by the browser. */

import { en, ko, type Key } from "./dictionary.ts";

/** The languages there are. */
export type Language = "en" | "ko";
export type { Key };

const STORED = "lightstick.language";
const DICTIONARIES: Record<Language, Record<Key, string>> = { en, ko };

let current: Language = "en";
const listeners = new Set<() => void>();

/** The first of the browser's languages that we speak, else English. */
export function pickLanguage(stored: string | null, preferred: readonly string[]): Language {
  if (stored === "en" || stored === "ko") return stored;
  for (const tag of preferred) {
    const base = tag.toLowerCase().split("-")[0];
    if (base === "en" || base === "ko") return base;
  }
  return "en";
}

/** What goes into a string's places. Numbers are written as the language writes them. */
export type Values = Readonly<Record<string, string | number>>;

/**
 * Puts values into a string's places: `{name}`, or `{name, plural, one {# day} other {# days}}`, which is the part of
 * ICU's MessageFormat that the dictionaries need. Places without a value stay as they are.
 */
export function fill(text: string, values: Values, into: Language): string {
  return text.replace(/\{(\w+)(?:, plural,((?: \w+ \{[^{}]*\})+))?\}/g, (place, name: string, forms: string | undefined) => {
    const value = values[name];
    if (value === undefined) return place;
    const shown = typeof value === "number" ? value.toLocaleString(into) : value;
    return forms === undefined ? shown : plural(forms, Number(value), into).replaceAll("#", () => shown);
  });
}

function plural(forms: string, value: number, into: Language): string {
  const byRule = new Map([...forms.matchAll(/ (\w+) \{([^{}]*)\}/g)].map(([, rule = "", form = ""]) => [rule, form]));
  return byRule.get(new Intl.PluralRules(into).select(value)) ?? byRule.get("other") ?? "";
}

/** A string in the page's language. */
export function t(key: Key, values: Values = {}): string {
  return fill(DICTIONARIES[current][key], values, current);
}

/** The page's language. */
export function language(): Language {
  return current;
}

/** A number as the page's language writes it. */
export function number(value: number, digits = 0): string {
  return value.toLocaleString(current, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]] as const;

/** A time span in at most two units, rounded up to whole seconds: "45 seconds", "10 minutes", "1 hour 30 minutes". */
export function duration(seconds: number, into: Language = current): string {
  const whole = Math.max(0, Math.ceil(seconds));
  const first = UNITS.findIndex(([, size]) => whole >= size);
  const written = (amount: number, unit: string) => new Intl.NumberFormat(into, { style: "unit", unit, unitDisplay: "long" }).format(amount);
  if (first < 0) return written(0, "second");
  const [unit, size] = UNITS[first] ?? UNITS[3];
  const [smaller, step] = UNITS[first + 1] ?? UNITS[3];
  const rest = Math.floor((whole % size) / step);
  return [written(Math.floor(whole / size), unit), rest > 0 ? written(rest, smaller) : ""].filter(Boolean).join(" ");
}

/** Runs `render` now and after each change of language, until the returned function is called. */
export function localised(render: () => void): () => void {
  listeners.add(render);
  render();
  return () => listeners.delete(render);
}

/**
 * Fills the document: text of `data-i18n`, and the attributes of `data-i18n-label` (aria-label and, for
 * buttons, the tooltip) and `data-i18n-placeholder`. Wires the language buttons (`data-lang`).
 */
export function startLanguage(): void {
  current = pickLanguage(remembered(), navigator.languages);
  for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-lang]")) {
    button.addEventListener("click", () => {
      current = button.dataset["lang"] === "ko" ? "ko" : "en";
      remember(current);
      for (const render of listeners) render();
    });
  }
  localised(fillDocument);
}

function fillDocument(): void {
  document.documentElement.lang = current;
  for (const element of document.querySelectorAll<HTMLElement>("[data-i18n]")) {
    element.textContent = t(element.dataset["i18n"] as Key);
  }
  for (const element of document.querySelectorAll<HTMLElement>("[data-i18n-label]")) {
    const label = t(element.dataset["i18nLabel"] as Key);
    element.setAttribute("aria-label", label);
    if (element instanceof HTMLButtonElement) element.title = label;
  }
  for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-lang]")) {
    button.setAttribute("aria-pressed", String(button.dataset["lang"] === current));
  }
}

// Storage can be forbidden; the language then lasts as long as the page.
function remembered(): string | null {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

function remember(language: Language): void {
  try {
    localStorage.setItem(STORED, language);
  } catch {
    // See above.
  }
}
