/** Collects what is to be drawn, and draws it once a frame: however much comes, the page is laid out once. */
export class Painter {
  readonly #due = new Set<() => void>();
  #frame = 0;

  /** Draws with the next frame. The same task, asked for again before that, is drawn once. */
  request(task: () => void): void {
    this.#due.add(task);
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#paint());
  }

  stop(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#due.clear();
  }

  #paint(): void {
    this.#frame = 0;
    const tasks = [...this.#due];
    this.#due.clear();
    for (const task of tasks) task();
  }
}
