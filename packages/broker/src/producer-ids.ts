/** Producer ids come from blocks that are durable before the first id leaves (log.md G5). */
import type { HadronError } from '@hadron/base';
import type { CommitWaiter } from '@hadron/log';
import type { Registry } from './state/registry.ts';

const KIND = 'ProducerIds';
const NAME = 'block';
const BLOCK = 1000;

interface Block {
  /** First id that was never in a block. */
  readonly next: number;
}

export class ProducerIds {
  private readonly registry: Registry;
  private next = 0;
  private end = 0;

  constructor(registry: Registry) {
    this.registry = registry;
  }

  /** Gives an id that was never given before, when that is durable. */
  allocate(done: (id: number) => void, failed: (error: HadronError) => void): void {
    try {
      if (this.next === this.end) {
        // What was left of the block before a restart is not used again.
        const known = this.registry.get<Block>(KIND, NAME)?.value.next ?? 0;
        this.registry.put<Block>(KIND, NAME, { next: known + BLOCK });
        this.next = known;
        this.end = known + BLOCK;
      }
    } catch (error) {
      failed(error as HadronError);
      return;
    }
    const id = this.next++;
    const waiter: CommitWaiter = { committed: () => done(id), failed };
    if (this.registry.isDurable) done(id);
    else this.registry.whenDurable(waiter);
  }
}
