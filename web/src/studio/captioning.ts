/** Captions from the studio: typed, or written down by the browser from the artist's voice. */

import { c, type ChatKey } from "../i18n/chat.ts";
import { language } from "../i18n/index.ts";
import { make, setOptions, setText } from "../ui/dom.ts";
import { label } from "../chatview/parts.ts";

/** What of the Web Speech API is used; browsers have it under another name, or not at all. */
interface Recognition {
  lang: string;
  continuous: boolean;
  interimResults: boolean;
  onresult: ((event: RecognitionEvent) => void) | null;
  onerror: ((event: { readonly error: string }) => void) | null;
  onend: (() => void) | null;
  start(): void;
  stop(): void;
}
interface RecognitionEvent {
  readonly resultIndex: number;
  readonly results: ArrayLike<ArrayLike<{ readonly transcript: string }> & { readonly isFinal: boolean }>;
}

const LANGUAGES = ["ko", "en", "ja", "zh"] as const;
/** The longest cue, in characters: two lines on a phone. */
const CUE_MAX = 120;

/** Errors after which listening again would fail the same way. */
const FINAL = ["not-allowed", "service-not-allowed", "audio-capture", "language-not-supported"];

/** See the module. */
export class Captioning {
  readonly element = make("form", "captioning");
  readonly #text = make("input");
  readonly #language = make("select");
  readonly #listen = make("button", "line-action");
  readonly #send = make("button", "line-action line-action-main");
  readonly #help = make("p", "hint");
  readonly #title = make("h3");
  #recognition: Recognition | undefined;

  constructor(private readonly say: (language: string, text: string) => void) {
    this.#text.dataset["testid"] = "caption-text";
    this.#text.autocomplete = "off";
    this.#text.maxLength = CUE_MAX;
    this.#language.dataset["testid"] = "caption-language";
    this.#listen.type = "button";
    this.#listen.dataset["testid"] = "caption-listen";
    this.#listen.hidden = recognitionType() === undefined;
    this.#help.hidden = this.#listen.hidden;
    this.#help.setAttribute("role", "status");
    const row = make("div", "mod-row");
    row.append(this.#language, this.#listen, this.#send);
    this.element.append(this.#title, this.#text, row, this.#help);
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#cue(this.#text.value);
      this.#text.value = "";
    });
    this.#listen.addEventListener("click", () => (this.#recognition ? this.stop() : this.#start()));
    this.#language.addEventListener("change", () => {
      if (!this.#recognition) return;
      this.stop();
      this.#start();
    });
    this.render();
  }

  /** After a change of language. */
  render(): void {
    setText(this.#title, c("stage.captions"));
    label(this.#text, c("stage.captions.text"));
    this.#text.placeholder = c("stage.captions.text");
    label(this.#language, c("stage.captions.language"));
    setOptions(this.#language, LANGUAGES.map((tag) => ({ value: tag, label: c(`stage.lang.${tag}`) })), language());
    setText(this.#send, c("chat.send"));
    this.#state("stage.captions.help");
  }

  /** Stops listening. */
  stop(): void {
    const recognition = this.#recognition;
    this.#recognition = undefined;
    recognition?.stop();
    this.#state("stage.captions.help");
  }

  #start(): void {
    const Type = recognitionType();
    if (!Type) return;
    const recognition = new Type();
    recognition.lang = this.#language.value;
    recognition.continuous = true;
    recognition.interimResults = false;
    recognition.onresult = ({ resultIndex, results }) => {
      for (let at = resultIndex; at < results.length; at += 1) {
        const result = results[at];
        if (result?.isFinal) this.#cue(result[0]?.transcript ?? "");
      }
    };
    recognition.onerror = ({ error }) => {
      if (this.#recognition !== recognition || !FINAL.includes(error)) return;
      this.stop();
      setText(this.#help, c("stage.captions.failed", { detail: error }));
    };
    // Browsers end it after a silence; the artist has not.
    recognition.onend = () => {
      if (this.#recognition === recognition) recognition.start();
    };
    this.#recognition = recognition;
    recognition.start();
    this.#state("stage.captions.help");
  }

  #state(help: ChatKey): void {
    const listening = this.#recognition !== undefined;
    setText(this.#listen, c(listening ? "stage.captions.stop" : "stage.captions.listen"));
    this.#listen.setAttribute("aria-pressed", String(listening));
    setText(this.#help, c(help));
  }

  #cue(text: string): void {
    for (const part of cues(text)) this.say(this.#language.value, part);
  }
}

/** Cuts a text into cues, between words where it can. */
export function cues(text: string): string[] {
  const parts: string[] = [];
  let part = "";
  for (const word of text.trim().split(/\s+/)) {
    if (part && part.length + 1 + word.length > CUE_MAX) {
      parts.push(part);
      part = "";
    }
    part = part ? `${part} ${word}` : word;
    while (part.length > CUE_MAX) {
      const head = [...part].slice(0, CUE_MAX / 2).join("");
      parts.push(head);
      part = part.slice(head.length);
    }
  }
  if (part) parts.push(part);
  return parts;
}

function recognitionType(): (new () => Recognition) | undefined {
  const names = globalThis as unknown as Record<string, (new () => Recognition) | undefined>;
  return names["SpeechRecognition"] ?? names["webkitSpeechRecognition"];
}
