/** Small helpers around the document. */

/** The element with this `data-testid`. Throws when the page and its script do not fit. */
export function byTestId<E extends HTMLElement>(id: string, type: new () => E): E {
  const element = document.querySelector(`[data-testid="${id}"]`);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} "${id}"`);
  return element;
}

/** The element with this `id`. Throws as [`byTestId`] does. */
export function byId<E extends HTMLElement>(id: string, type: new () => E): E {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return element;
}

/** A new element with a class and a text. */
export function make<K extends keyof HTMLElementTagNameMap>(tag: K, className = "", text = ""): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/** Writes text only where it differs, so that live regions speak only of news. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

const shown = new WeakMap<HTMLSelectElement, string>();

/**
 * Fills a select; keeps the chosen value where it still stands, else takes `fallback`. The same options again
 * change nothing, since that would close a menu that stands open.
 */
export function setOptions(
  select: HTMLSelectElement,
  options: readonly { readonly value: string; readonly label: string; readonly disabled?: boolean }[],
  fallback = options[0]?.value ?? "",
): void {
  const before = select.value || fallback;
  const key = JSON.stringify(options);
  if (shown.get(select) === key) return;
  shown.set(select, key);
  select.replaceChildren(
    ...options.map(({ value, label, disabled }) => {
      const option = make("option", "", label);
      option.value = value;
      option.disabled = disabled ?? false;
      return option;
    }),
  );
  select.value = options.some(({ value }) => value === before) ? before : fallback;
}
