/** Groups and dead letters, looked after from a program. The paths are those of docs/http-api.md, over any transport. */
import type {
  DeadLetter,
  Filter,
  GroupRequest,
  GroupStatus,
  InFlight,
  Start,
  StreamInfo,
  Transport,
} from '@hadron/contracts';
import { startOf } from './group-settings.ts';
import type { GroupOptions } from './types.ts';

/**
 * Which dead letters: all that is given must hold.
 *
 * @example
 * ```ts
 * import { connect, type DeadLetterSelection } from '@hadron/client';
 * const timedOut: DeadLetterSelection = { group: 'mail', code: 'TIMED_OUT' };
 * const count = await connect({ source: '/ops' }).admin.redrive('orders', timedOut);
 * ```
 */
export interface DeadLetterSelection {
  readonly group?: string | undefined;
  readonly code?: string | undefined;
  readonly filters?: readonly Filter[] | undefined;
  /** Exactly this one: its place in the dead-letter stream. */
  readonly position?: { readonly partition: number; readonly offset: number } | undefined;
}

/**
 * Groups and dead letters: `client.admin`.
 *
 * @example
 * ```ts
 * import { connect } from '@hadron/client';
 * const { admin } = connect({ source: '/ops' });
 * for (const group of await admin.groups('orders')) console.log(group.group, group.counts);
 * console.log(await admin.redrive('orders', { group: 'mail' }), 'events are given again');
 * ```
 */
export class Admin {
  readonly #transport: Transport;

  /** @internal */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Made if it is missing and auto-creation is on. @throws TOPIC_NOT_FOUND */
  stream(name: string): Promise<StreamInfo> {
    return this.#transport.info(name);
  }

  /** Of one stream, or of all. */
  async groups(stream?: string): Promise<readonly GroupStatus[]> {
    const path = stream === undefined ? '/v1/groups' : `${streamPath(stream)}/groups`;
    return (await this.#ask<{ groups: readonly GroupStatus[] }>('GET', path)).groups;
  }

  /** @throws GROUP_NOT_FOUND */
  group(stream: string, group: string): Promise<GroupStatus> {
    return this.#group('GET', stream, group);
  }

  /** Resolves when it is durable. @throws GROUP_SETTINGS_DIFFER it exists with others */
  createGroup(stream: string, group: string, settings: GroupRequest = {}): Promise<GroupStatus> {
    return this.#group('PUT', stream, group, '', settings);
  }

  /** Changes settings of a group. A changed filter holds for events not yet read. @throws GROUP_NOT_FOUND */
  setGroup(stream: string, group: string, settings: GroupRequest): Promise<GroupStatus> {
    return this.#group('PATCH', stream, group, '', settings);
  }

  async removeGroup(stream: string, group: string): Promise<void> {
    await this.#ask('DELETE', groupPath(stream, group));
  }

  /** Nothing is handed out until {@link resume}. */
  pause(stream: string, group: string): Promise<GroupStatus> {
    return this.#group('POST', stream, group, '/pause');
  }

  resume(stream: string, group: string): Promise<GroupStatus> {
    return this.#group('POST', stream, group, '/resume');
  }

  /** The group goes on from there: everything before counts as settled, everything after as not. */
  seek(
    stream: string,
    group: string,
    to: NonNullable<GroupOptions['start']>,
    partition?: number,
  ): Promise<GroupStatus> {
    const start: Start = startOf(to);
    return this.#group('POST', stream, group, '/seek', { to: start, partition });
  }

  /** Settles everything up to the end, as skipped. */
  purge(stream: string, group: string): Promise<GroupStatus> {
    return this.#group('POST', stream, group, '/purge');
  }

  /** Events that are out, or wait for their next attempt. */
  async deliveries(stream: string, group: string, limit: number = 100): Promise<readonly InFlight[]> {
    const path = `${groupPath(stream, group)}/deliveries?limit=${limit}`;
    return (await this.#ask<{ deliveries: readonly InFlight[] }>('GET', path)).deliveries;
  }

  /** Oldest first, with the event in the JSON format. */
  async deadLetters(
    stream: string,
    selection: Omit<DeadLetterSelection, 'position'> = {},
    limit: number = 100,
  ): Promise<readonly (DeadLetter & { readonly event: Record<string, unknown> })[]> {
    const path = `${streamPath(stream)}/dead-letters${query(selection, { limit: String(limit) })}`;
    type Answer = { deadLetters: (DeadLetter & { event: Record<string, unknown> })[] };
    return (await this.#ask<Answer>('GET', path)).deadLetters;
  }

  /** How many there are of these. */
  async countDeadLetters(stream: string, selection: Omit<DeadLetterSelection, 'position'> = {}): Promise<number> {
    const path = `${streamPath(stream)}/dead-letters${query(selection, { count: 'true' })}`;
    return (await this.#ask<{ count: number }>('GET', path)).count;
  }

  /** Gives them again to the group that gave up on them, or copies them to the stream `to`. @returns how many */
  redrive(
    stream: string,
    selection: DeadLetterSelection = {},
    options: { readonly to?: string } = {},
  ): Promise<number> {
    return this.#count(stream, 'redrive', { ...selection, ...options });
  }

  /** Forgets them. @returns how many */
  drop(stream: string, selection: DeadLetterSelection = {}): Promise<number> {
    return this.#count(stream, 'drop', selection);
  }

  #group(
    method: 'GET' | 'POST' | 'PUT' | 'PATCH',
    stream: string,
    group: string,
    action: string = '',
    body?: unknown,
  ): Promise<GroupStatus> {
    return this.#ask(method, `${groupPath(stream, group)}${action}`, body);
  }

  async #count(stream: string, action: string, body: unknown): Promise<number> {
    const path = `${streamPath(stream)}/dead-letters/${action}`;
    return (await this.#ask<{ count: number }>('POST', path, body)).count;
  }

  #ask<T>(method: Parameters<Transport['request']>[0], path: string, body?: unknown): Promise<T> {
    return this.#transport.request(method, path, body) as Promise<T>;
  }
}

const streamPath = (stream: string): string => `/v1/streams/${encodeURIComponent(stream)}`;
const groupPath = (stream: string, group: string): string =>
  `${streamPath(stream)}/groups/${encodeURIComponent(group)}`;

function query(
  { group, code, filters = [] }: Omit<DeadLetterSelection, 'position'>,
  rest: Record<string, string>,
): string {
  const parameters = new URLSearchParams(rest);
  const filter = filters.length > 1 ? { all: filters } : filters[0];
  if (group !== undefined) parameters.set('group', group);
  if (code !== undefined) parameters.set('code', code);
  if (filter !== undefined) parameters.set('filter', JSON.stringify(filter));
  return `?${parameters.toString()}`;
}
