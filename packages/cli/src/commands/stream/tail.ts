/** `hadron tail`: reads without a group; nothing is acknowledged, nothing remembered. */
import type { TailOptions as ClientTailOptions } from '@hadron/client';
import { parseJsonEvent, parseTimestamp, positionOf } from '@hadron/contracts/events';
import { CommandFailure } from '../../failure.ts';
import { colours, type Io, write } from '../../io.ts';
import { duration, isDuration, type ServerOptions } from '../../options.ts';
import { withServer } from '../../server.ts';
import { Api } from '../resources/api.ts';
import { type Format, formatEvent, type ShownEvent } from './show.ts';
import { stopping } from './stopping.ts';
import { streamOf } from './target.ts';

export interface TailOptions extends ServerOptions {
  readonly stream?: string;
  readonly from?: string;
  readonly partition?: number;
  readonly follow?: boolean;
  readonly count?: number;
  readonly format?: Format;
}

export async function tail(io: Io, argument: string | undefined, options: TailOptions): Promise<void> {
  const name = await streamOf(argument, options);
  const format = options.format ?? (options.output === 'json' ? 'ndjson' : 'pretty');
  const tint = colours(io, 'stdout');
  const stop = stopping(io);
  let left = options.count ?? Number.POSITIVE_INFINITY;
  const show = async (events: AsyncIterable<ShownEvent>): Promise<void> => {
    for await (const event of events) {
      await write(io, formatEvent(event, format, tint));
      if (--left <= 0) break;
    }
  };
  try {
    if (options.follow !== false) {
      await withServer(options, async ({ client }) => {
        const { partition } = options;
        // Asked first: it tells at once that no server answers, where a tail would wait for it.
        await client.admin.stream(name);
        await show(client.stream(name).tail({ from: fromOf(options.from), partition, signal: stop.signal }));
      });
    } else await show(storedEvents(name, options, stop.signal));
  } catch (error) {
    if (!stop.isOutputGone(error)) throw error;
  } finally {
    stop.dispose();
  }
}

/** @throws CommandFailure REQUEST_INVALID */
function fromOf(text: string = 'latest'): NonNullable<ClientTailOptions['from']> {
  if (text === 'beginning' || text === 'latest') return text;
  if (/^\d{1,15}$/.test(text)) return { offset: Number(text) };
  if (isDuration(text)) return new Date(Date.now() - duration(text));
  const timeMs = parseTimestamp(text);
  if (timeMs !== undefined) return new Date(timeMs);
  throw new CommandFailure(
    'REQUEST_INVALID',
    `--from ${text}: expected beginning, latest, an offset, a time such as 2026-11-20T08:00:00Z, or 15m for that long ago`,
  );
}

/** As the HTTP API spells it. */
function fromParameter(text: string = 'beginning'): string {
  const from = fromOf(text);
  if (typeof from === 'string') return from;
  if (from instanceof Date) return from.toISOString();
  return 'offset' in from ? String(from.offset) : '';
}

/** What there is up to the end, as lines of the JSON format with their positions. */
export function storedLines(
  stream: string,
  options: Pick<TailOptions, 'url' | 'token' | 'from' | 'partition' | 'count'>,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const query = new URLSearchParams({ from: fromParameter(options.from) });
  if (options.partition !== undefined) query.set('partition', String(options.partition));
  if (options.count !== undefined) query.set('limit', String(options.count));
  const path = `/v1/streams/${encodeURIComponent(stream)}/events?${query.toString()}`;
  return new Api(options).textLines(path, signal, 'application/x-ndjson');
}

async function* storedEvents(stream: string, options: TailOptions, signal: AbortSignal): AsyncGenerator<ShownEvent> {
  for await (const line of storedLines(stream, options, signal)) {
    const event = parseJsonEvent(line);
    yield { event, ...(positionOf(event) ?? { partition: 0, offset: 0 }) };
  }
}
