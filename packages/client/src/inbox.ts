/** A queue between someone who calls back and someone who iterates. Bounded by whoever fills it. */
export class Inbox<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  #over: { readonly error: Error | undefined } | undefined;
  #wake = (): void => undefined;

  push(item: T): void {
    if (this.#over !== undefined) return;
    this.#items.push(item);
    this.#wake();
  }

  /** What is in it is still handed out; then iteration ends, or throws. */
  end(error: Error | undefined): void {
    this.#over ??= { error };
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) yield item;
      else if (this.#over === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else if (this.#over.error === undefined) return;
      else throw this.#over.error;
    }
  }
}
