/** Reactions that rise over the picture, on a canvas of their own. */

/** Particles that fly at once; more reactions make them denser up to here, and then only the number counts. */
export const PARTICLES_MAX = 96;
/** How long one flies, in milliseconds. */
const LIFE_MS = 2_400;
/** The reactions of one tick are let go over so long, in milliseconds. */
const SPREAD_MS = 220;
/** The size of a picture on the canvas, in pixels of the page. */
const SIZE = 30;
/** Kinds with pictures of their own; others are hearts. */
const SPRITES_MAX = 32;
const COLOURS = ["#ff5c9f", "#ff86b8", "#a883ff", "#ff7a7a", "#ffc06b"];

interface Particle {
  readonly sprite: CanvasImageSource;
  readonly born: number;
  readonly x: number;
  readonly sway: number;
  readonly scale: number;
  readonly life: number;
}

/** How many particles stand for `count` reactions of a tick: all of a few, and ever fewer of many. */
export function particlesFor(count: number): number {
  return count <= 4 ? count : Math.min(24, Math.round(4 + 2 * Math.log2(count / 4)));
}

/** See the module. Nothing is drawn while nothing flies, nor for those who want no motion. */
export class Hearts {
  readonly canvas = document.createElement("canvas");
  readonly #context = this.canvas.getContext("2d");
  readonly #still = matchMedia("(prefers-reduced-motion: reduce)");
  readonly #hearts: readonly CanvasImageSource[];
  readonly #sprites = new Map<string, HTMLCanvasElement | undefined>();
  #particles: Particle[] = [];
  #frame = 0;
  #width = 0;
  #height = 0;

  constructor(private readonly random: () => number) {
    this.canvas.className = "hearts";
    this.canvas.setAttribute("aria-hidden", "true");
    this.#hearts = COLOURS.map(heartSprite);
    new ResizeObserver(([entry]) => this.#resize(entry)).observe(this.canvas);
  }

  /** Lets `count` reactions of a kind rise. `url`: the picture of an emote. */
  rise(count: number, url: string | undefined): void {
    if (this.#still.matches || document.visibilityState !== "visible" || this.#width === 0) return;
    const now = performance.now();
    const sprite = url === undefined ? undefined : this.#emote(url);
    const room = PARTICLES_MAX - this.#particles.length;
    for (let i = Math.min(particlesFor(count), room); i > 0; i -= 1) {
      this.#particles.push({
        sprite: sprite ?? this.#hearts[Math.floor(this.random() * this.#hearts.length)] ?? this.canvas,
        born: now + this.random() * SPREAD_MS,
        x: 0.5 + (this.random() - 0.5) * 0.5,
        sway: (this.random() - 0.5) * 2,
        scale: 0.65 + this.random() * 0.6,
        life: LIFE_MS * (0.75 + this.random() * 0.4),
      });
    }
    if (this.#frame === 0 && this.#particles.length > 0) this.#frame = requestAnimationFrame(this.#draw);
  }

  #draw = (): void => {
    const context = this.#context;
    const now = performance.now();
    this.#frame = 0;
    if (!context) return;
    context.clearRect(0, 0, this.#width, this.#height);
    this.#particles = this.#particles.filter(({ born, life }) => now - born < life);
    for (const { sprite, born, x, sway, scale, life } of this.#particles) {
      const age = (now - born) / life;
      if (age < 0) continue;
      const size = SIZE * scale * Math.min(1, 0.4 + age * 6);
      context.globalAlpha = age < 0.6 ? 1 : (1 - age) / 0.4;
      const left = (x + Math.sin(age * 7 + sway * 3) * 0.07 * sway) * this.#width - size / 2;
      context.drawImage(sprite, left, (1 - age) * (this.#height - SIZE) , size, size);
    }
    context.globalAlpha = 1;
    if (this.#particles.length > 0) this.#frame = requestAnimationFrame(this.#draw);
  };

  #resize(entry: ResizeObserverEntry | undefined): void {
    const { width = 0, height = 0 } = entry?.contentRect ?? {};
    const ratio = Math.min(2, devicePixelRatio || 1);
    this.#width = width;
    this.#height = height;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.#context?.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  #emote(url: string): CanvasImageSource | undefined {
    if (!this.#sprites.has(url) && this.#sprites.size < SPRITES_MAX) {
      this.#sprites.set(url, undefined);
      const image = new Image(SIZE * 2, SIZE * 2);
      image.referrerPolicy = "no-referrer";
      // Drawn once: a picture of lines would be worked out anew for each particle and frame.
      image.addEventListener("load", () => {
        const sprite = blank();
        sprite.getContext("2d")?.drawImage(image, 0, 0, sprite.width, sprite.height);
        this.#sprites.set(url, sprite);
      });
      image.src = url;
    }
    return this.#sprites.get(url);
  }
}

function blank(): HTMLCanvasElement {
  const sprite = document.createElement("canvas");
  sprite.width = SIZE * 2;
  sprite.height = SIZE * 2;
  return sprite;
}

/** A heart, drawn once for all that fly. */
function heartSprite(colour: string): CanvasImageSource {
  const sprite = blank();
  const context = sprite.getContext("2d");
  if (!context) return sprite;
  context.scale((SIZE * 2) / 24, (SIZE * 2) / 24);
  context.shadowColor = colour;
  context.shadowBlur = 4;
  context.fillStyle = colour;
  context.fill(new Path2D("M12 20.500C5 15.500 3 12 3 8.800A4.800 4.800 0 0112 6.500a4.800 4.800 0 019 2.300c0 3.200-2 6.700-9 11.700Z"));
  return sprite;
}
