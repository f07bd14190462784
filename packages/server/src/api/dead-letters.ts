/** Dead letters of a stream: looked at, given again, dropped; one by one or in bulk by filter. */
import { ANONYMOUS, type Authorize, type DeadLetterQuery } from '@hadron/broker';
import type { DeadLetter, Filter } from '@hadron/contracts';
import { eventAt, writeJsonEvent } from '@hadron/contracts/events';
import { checkFilter, checkFilters } from '@hadron/contracts/filters';
import type { ControlCall } from './control-call.ts';
import { RequestRefused } from './problem.ts';
import type { ControlRoute } from './router.ts';
import type { AskServices } from './services.ts';
import { integer, object, optional, text } from './shape.ts';

const LISTED = 100;
const LISTED_MAX = 10_000;
/** Letters that are settled with one append set. */
const TOGETHER = 1_000;
const PARTITION_MAX = 0x7fff_ffff;

/** @param authorize asked about the stream that dead letters are copied to, which the path does not name */
export function deadLetterRoutes(services: AskServices, authorize: Authorize): readonly ControlRoute[] {
  const target: ControlRoute['target'] = (param) => ({ kind: 'Stream', name: param('stream') });
  return [
    {
      method: 'GET',
      pattern: '/v1/streams/{stream}/dead-letters',
      action: 'read',
      target,
      async handle(call) {
        const service = services();
        const { deliveries } = service;
        const query = queryOf(call);
        if (call.flag('count')) return call.sendJson(200, { count: await countOf(deliveries.deadLetters(query)) });
        const limit = call.number('limit', 1, LISTED_MAX) ?? LISTED;
        let out = '';
        for await (const { record, ...letter } of deliveries.deadLetters({ ...query, limit })) {
          // Where nothing says what it is, the event is what it was in the stream it came from.
          const { stream, partition, offset } = letter.from;
          const records = service.recordSettings?.(stream);
          const event = eventAt({ name: stream, topicId: '', records }, partition, offset, record);
          out += `${out === '' ? '' : ','}${JSON.stringify(letter).slice(0, -1)},"event":${writeJsonEvent(event)}}`;
        }
        call.send(200, 'application/json', `{"deadLetters":[${out}]}`);
      },
    },
    {
      method: 'POST',
      pattern: '/v1/streams/{stream}/dead-letters/redrive',
      action: 'change',
      target,
      async handle(call) {
        const body = object(await call.json(), 'body', [...SELECTION, 'limit', 'to', 'dryRun']);
        const to = optional(body['to'], 'to', text);
        if (to !== undefined) authorize(ANONYMOUS, 'publish', { kind: 'Stream', name: to });
        const { deliveries } = services();
        const letters = deliveries.deadLetters(selectionOf(call.param('stream'), body));
        await settle(call, letters, body, (some) => deliveries.redrive(some, to));
      },
    },
    {
      method: 'POST',
      pattern: '/v1/streams/{stream}/dead-letters/drop',
      action: 'delete',
      target,
      async handle(call) {
        const body = object(await call.json(), 'body', [...SELECTION, 'limit', 'dryRun']);
        const { deliveries } = services();
        const letters = deliveries.deadLetters(selectionOf(call.param('stream'), body));
        await settle(call, letters, body, (some) => deliveries.drop(some));
      },
    },
  ];
}

const SELECTION = ['group', 'code', 'filters', 'position'];

function queryOf(call: ControlCall): DeadLetterQuery {
  const filter = call.query('filter');
  let filters: readonly Filter[] | undefined;
  if (filter !== undefined) {
    let parsed: unknown;
    try {
      parsed = JSON.parse(filter);
    } catch {
      throw new RequestRefused(400, 'filter must be a filter in JSON, such as {"exact":{"type":"order.placed"}}', {
        field: 'filter',
      });
    }
    filters = Array.isArray(parsed) ? checkFilters(parsed, 'filter') : [checkFilter(parsed, 'filter')];
  }
  return {
    stream: call.param('stream'),
    group: call.query('group'),
    code: call.query('code'),
    filters,
    position: positionOf(call.query('position')),
  };
}

/** `PARTITION/OFFSET` in the dead-letter stream. */
function positionOf(text: string | undefined): DeadLetterQuery['position'] {
  if (text === undefined) return undefined;
  const match = /^(\d{1,9})\/(\d{1,15})$/.exec(text);
  if (match !== null) return { partition: Number(match[1]), offset: Number(match[2]) };
  throw new RequestRefused(400, 'position must be PARTITION/OFFSET in the dead-letter stream, such as 0/42', {
    field: 'position',
  });
}

function selectionOf(stream: string, body: Readonly<Record<string, unknown>>): DeadLetterQuery {
  return {
    stream,
    group: optional(body['group'], 'group', text),
    code: optional(body['code'], 'code', text),
    filters: optional(body['filters'], 'filters', checkFilters),
    limit: optional(body['limit'], 'limit', (v, f) => integer(v, f, 1, Number.MAX_SAFE_INTEGER)),
    position: optional(body['position'], 'position', (v, f) => {
      const { partition, offset } = object(v, f, ['partition', 'offset']);
      return {
        partition: integer(partition, `${f}.partition`, 0, PARTITION_MAX),
        offset: integer(offset, `${f}.offset`, 0, Number.MAX_SAFE_INTEGER),
      };
    }),
  };
}

async function countOf(letters: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of letters) count++;
  return count;
}

/** Some letters at a time, so that neither memory nor an append set grows with their number. */
async function settle(
  call: ControlCall,
  letters: AsyncIterable<DeadLetter>,
  body: Readonly<Record<string, unknown>>,
  apply: (letters: readonly DeadLetter[]) => Promise<number>,
): Promise<void> {
  if (body['dryRun'] === true) return call.sendJson(200, { count: await countOf(letters) });
  let count = 0;
  let some: DeadLetter[] = [];
  for await (const letter of letters) {
    some.push(letter);
    if (some.length < TOGETHER) continue;
    count += await apply(some);
    some = [];
  }
  if (some.length > 0) count += await apply(some);
  call.sendJson(200, { count });
}
