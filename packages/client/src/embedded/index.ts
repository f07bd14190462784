/** Hadron in this process (`@hadron/client/embedded`). */
import { type Hadron, type HasKafka, type OpenHadronOptions, open, type WithKafka } from './open.ts';

export type { Hadron, OpenHadronOptions } from './open.ts';

/**
 * Opens a broker in this process, on disk or in memory. Resolves when it is recovered.
 *
 * @throws HadronError DATA_FOLDER_IN_USE another process has the folder; DATA_FOLDER_UNUSABLE, DATA_FORMAT_NEWER,
 * DATA_DAMAGED, SETTING_UNKNOWN, SETTING_INVALID, PORT_IN_USE
 * @example
 * ```ts
 * import { openHadron } from '@hadron/client/embedded';
 * await using h = await openHadron({ memory: true });
 * await h.connect({ source: '/shop' }).stream('orders').publish('order.placed', { id: '7' });
 * ```
 */
export function openHadron(options: OpenHadronOptions & WithKafka): Promise<Hadron & HasKafka>;
export function openHadron(options?: OpenHadronOptions): Promise<Hadron>;
export function openHadron(options: OpenHadronOptions = {}): Promise<Hadron> {
  return open(options);
}
