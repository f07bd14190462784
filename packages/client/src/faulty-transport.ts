/** For tests: a real transport with faults that a test switches on. Nothing is made up but the faults. */
import { HadronError } from '@hadron/base/errors';
import type {
  OpenSession,
  PublishCall,
  PublishResult,
  SessionListener,
  TailCall,
  Transport,
  TransportSession,
} from '@hadron/contracts';

export const lost = (): HadronError => new HadronError('CONNECTION_FAILED', 'cut by the test');

export class FaultyTransport implements Transport {
  readonly #inner: Transport;
  readonly #cuts = new Set<() => void>();
  /** Every publish that was asked for. */
  readonly calls: PublishCall[] = [];
  /** Sessions that were asked for. */
  readonly opened: OpenSession[] = [];
  /** Sessions that stand, or stood. */
  established = 0;
  readonly credits: number[] = [];
  /** Answers that were sent. */
  answers: { readonly token: string; readonly kind: string }[] = [];
  /** So many of the next publishes do nothing; are done, and their answer is lost; never answer. */
  refuse = 0;
  loseAnswers = 0;
  hang = 0;
  /** So many of the next answers of a session are done, and what was said to them is lost with the connection. */
  loseVerdicts = 0;
  /** No session can be opened. */
  down = false;
  /** So many sessions are asked for in vain: nobody answers. */
  mute = 0;

  constructor(inner: Transport) {
    this.#inner = inner;
  }

  info(stream: string): ReturnType<Transport['info']> {
    return this.#inner.info(stream);
  }

  async publish(call: PublishCall): Promise<readonly PublishResult[]> {
    this.calls.push(call);
    if (this.hang > 0) {
      this.hang -= 1;
      return new Promise(() => undefined);
    }
    if (this.refuse > 0) {
      this.refuse -= 1;
      throw new HadronError('STORAGE_FULL', 'refused by the test');
    }
    const results = await this.#inner.publish(call);
    if (this.loseAnswers === 0) return results;
    this.loseAnswers -= 1;
    throw lost();
  }

  async open(call: OpenSession, listener: SessionListener): Promise<TransportSession> {
    this.opened.push(call);
    if (this.down) throw lost();
    if (this.mute > 0) {
      this.mute -= 1;
      return new Promise(() => undefined);
    }
    let over = false;
    const end = (error: Error | undefined): void => {
      if (over) return;
      over = true;
      this.#cuts.delete(cut);
      listener.ended(error);
    };
    const session = await this.#inner.open(call, {
      deliver: (deliveries) => over || listener.deliver(deliveries),
      withdrawn: (tokens) => over || listener.withdrawn(tokens),
      ended: end,
    });
    const cut = (): void => {
      end(lost());
      void session.close();
    };
    this.#cuts.add(cut);
    this.established += 1;
    return {
      settings: session.settings,
      credit: (count) => {
        this.credits.push(count);
        session.credit(count);
      },
      answer: async (items) => {
        if (over) throw lost();
        this.answers.push(...items.map(({ token, verdict }) => ({ token, kind: verdict.kind })));
        const results = await session.answer(items);
        if (this.loseVerdicts === 0) return results;
        this.loseVerdicts -= 1;
        cut();
        throw lost();
      },
      drain: () => session.drain(),
      close: () => session.close(),
    };
  }

  /** Ends all sessions as a lost connection does. */
  cut(): void {
    for (const cut of [...this.#cuts]) cut();
  }

  async *tail(
    call: TailCall,
  ): ReturnType<Transport['tail']> extends AsyncIterable<infer E> ? AsyncGenerator<E> : never {
    let failing = false;
    const cut = (): void => {
      failing = true;
    };
    this.#cuts.add(cut);
    try {
      for await (const one of this.#inner.tail(call)) {
        yield one;
        if (failing) throw lost();
      }
    } finally {
      this.#cuts.delete(cut);
    }
  }

  request(...request: Parameters<Transport['request']>): Promise<unknown> {
    return this.#inner.request(...request);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
