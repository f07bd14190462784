/** The test kit (`@hadron/client/testing`), for vitest, jest and node:test. */
import type { HasKafka, WithKafka } from '../embedded/open.ts';
import { openForTest, type TestHadron, type TestHadronOptions } from './open.ts';

export type {
  Delivered,
  FaultSwitches,
  GroupView,
  TestClock,
  TestHadron,
  TestHadronOptions,
} from './open.ts';

/**
 * Opens a broker for one test: in memory unless a folder is given. Resolves when it can be used.
 *
 * @throws HadronError SETTING_UNKNOWN, SETTING_INVALID; those of the data folder, where one is given
 * @example
 * ```ts
 * import { openHadron } from '@hadron/client/testing';
 * await using h = await openHadron({ memory: true, clock: 'virtual' });
 * await h.publish('order.placed', { id: 1 }, { stream: 'orders' });
 * ```
 */
export function openHadron(options: TestHadronOptions & WithKafka): Promise<TestHadron & HasKafka>;
export function openHadron(options?: TestHadronOptions): Promise<TestHadron>;
export function openHadron(options: TestHadronOptions = {}): Promise<TestHadron> {
  return openForTest(options);
}
