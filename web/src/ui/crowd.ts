/** A crowd of lightsticks in the dark, the pages' ornament. */

const COLOURS = ["pink", "violet", "cyan"] as const;

/** Fills `element` with sticks; the same crowd every time. Movement is the style sheet's, and optional. */
export function drawCrowd(element: HTMLElement, count: number): void {
  let seed = 7;
  const random = () => {
    seed = (seed * 16_807) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  const sticks = Array.from({ length: count }, (_, index) => {
    const stick = document.createElement("i");
    const depth = random();
    stick.className = `stick stick-${COLOURS[Math.floor(random() * COLOURS.length)] ?? "pink"}`;
    stick.style.setProperty("--x", `${(((index + random()) / count) * 100).toFixed(2)}%`);
    stick.style.setProperty("--y", `${(depth * 52).toFixed(1)}%`);
    stick.style.setProperty("--scale", (1 - depth * 0.6).toFixed(2));
    stick.style.setProperty("--delay", `${(-random() * 3.2).toFixed(2)}s`);
    return stick;
  });
  element.replaceChildren(...sticks);
}
