/**
 * `GET /v1/streams/{stream}/events`: events as a page, as lines, or as they come. No group and no progress: who reads
 * keeps the place, an opaque cursor over all partitions.
 */
import type { EventStreams, TailFrom } from '@hadron/broker';
import { MEDIA_TYPES, type RecordOrigin } from '@hadron/contracts/events';
import type { Call } from './call.ts';
import { parseFrom } from './from.ts';
import { RequestRefused } from './problem.ts';
import { batchOf, lineOf } from './records.ts';
import type { Route } from './router.ts';
import type { AskServices } from './services.ts';
import { TAIL_TYPES, type Tails } from './tail.ts';

const PAGE_RECORDS = 100;
const PAGE_RECORDS_MAX = 10_000;
const PAGE_BYTES = 4 * 1024 * 1024;
const PARTITION_MAX = 0x7fff_ffff;

export function readRoutes(services: AskServices, tails: Tails): readonly Route[] {
  return [
    {
      method: 'GET',
      pattern: '/v1/streams/{stream}/events',
      action: 'read',
      target: (param) => ({ kind: 'Stream', name: param('stream') }),
      async handle(call) {
        const { events } = services();
        const form = formOf(call.header('accept'));
        const partition = call.number('partition', 0, PARTITION_MAX);
        const limit = call.number('limit', 1, form === 'page' ? PAGE_RECORDS_MAX : Number.MAX_SAFE_INTEGER);
        const follow = form === 'sse' || call.flag('follow');
        // A browser that comes back asks with its first address and the id of the last event: the id counts.
        const lastEventId = form === 'sse' ? call.header('last-event-id') || undefined : undefined;
        const from = parseFrom(
          lastEventId === undefined ? call.query('from') : undefined,
          lastEventId ?? call.query('cursor'),
          partition,
          form === 'sse' ? 'latest' : 'beginning',
        );
        const origin = await events.info(call.param('stream'));
        if (form === 'page') await sendPage(call, events, origin, from, limit ?? PAGE_RECORDS);
        else if (follow) await tails.begin(call, form, events, origin, from, limit ?? Number.POSITIVE_INFINITY);
        else await sendLines(call, events, origin, from, limit ?? Number.POSITIVE_INFINITY);
      },
    },
  ];
}

function formOf(accept: string | undefined): 'page' | 'ndjson' | 'sse' {
  if (accept === undefined) return 'page';
  for (const item of accept.toLowerCase().split(',')) {
    switch (item.replace(/;.*/, '').trim()) {
      case TAIL_TYPES.sse:
        return 'sse';
      case TAIL_TYPES.ndjson:
      case 'application/ndjson':
      case 'application/jsonl':
        return 'ndjson';
      case MEDIA_TYPES['json-batch']:
      case 'application/json':
      case 'application/*':
      case '*/*':
        return 'page';
    }
  }
  const served = [MEDIA_TYPES['json-batch'], TAIL_TYPES.ndjson, TAIL_TYPES.sse].join(', ');
  throw new RequestRefused(406, `events are given as ${served}; ask for one of them`, { field: 'accept' });
}

async function sendPage(
  call: Call,
  events: EventStreams,
  origin: RecordOrigin,
  from: TailFrom,
  limit: number,
): Promise<void> {
  const page = await events.page(origin.name, from, { records: limit, bytes: PAGE_BYTES });
  const next = new URLSearchParams({ cursor: page.cursor, limit: String(limit) });
  if (from.partition !== undefined) next.set('partition', String(from.partition));
  const link = `</v1/streams/${encodeURIComponent(origin.name)}/events?${next.toString()}>; rel="next"`;
  call.send(200, MEDIA_TYPES['json-batch'], batchOf(origin, page.records), ['link', link, 'cache-control', 'no-store']);
}

/** Everything up to the end as it is when it is reached, page by page, no faster than the client reads. */
async function sendLines(
  call: Call,
  events: EventStreams,
  origin: RecordOrigin,
  from: TailFrom,
  limit: number,
): Promise<void> {
  const { response, signal } = call;
  let left = limit;
  let at = from;
  let begun = false;
  while (left > 0 && !signal.aborted) {
    const page = await events.page(origin.name, at, { records: Math.min(left, PAGE_RECORDS_MAX), bytes: PAGE_BYTES });
    if (!begun) response.writeHead(200, ['content-type', TAIL_TYPES.ndjson, 'cache-control', 'no-store']);
    begun = true;
    if (call.headOnly) break;
    let lines = '';
    for (const record of page.records) lines += `${lineOf(origin, record)}\n`;
    if (lines !== '' && !response.write(lines)) await drained(call);
    left -= page.records.length;
    at = { from: { cursor: page.cursor }, partition: from.partition };
    if (page.atEnd) break;
  }
  response.end();
}

/** A client that takes nothing for so long is cut. */
const STANDSTILL_MS = 60_000;

/** Resolves when the client has taken what was written, or went away. */
function drained({ response, signal }: Call): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => response.destroy(), STANDSTILL_MS);
    const over = (): void => {
      clearTimeout(timer);
      response.off('drain', over);
      signal.removeEventListener('abort', over);
      resolve();
    };
    if (signal.aborted) over();
    response.on('drain', over);
    signal.addEventListener('abort', over);
  });
}
