/** The control plane of docs/http-api.md for a broker in the same process: JSON in, JSON out, no server between. */
import { HadronError } from '@hadron/base/errors';
import type { DeadLetterEntry, DeadLetterQuery, DeliveryService } from '@hadron/broker';
import { type Filter, parseGroupRequest, parseStart } from '@hadron/contracts';
import { readRecord, recordToEvent, writeJsonEvent } from '@hadron/contracts/events';
import type { BrokerServices } from './index.ts';

type Body = Readonly<Record<string, unknown>>;
type Answer = unknown;

const LIST_MAX = 100;

/** @throws HadronError REQUEST_INVALID no such method and path; else what the service says */
export async function control(
  services: BrokerServices,
  method: string,
  target: string,
  body: unknown,
): Promise<Answer> {
  const { pathname, searchParams } = new URL(target, 'http://in-process');
  const segments = pathname.split('/').slice(1).map(decodeURIComponent);
  const fields = (typeof body === 'object' && body !== null ? body : {}) as Body;
  const [version, kind, stream, what, name, action] = segments;
  if (version === 'v1') {
    if (kind === 'groups' && segments.length === 2 && method === 'GET')
      return { groups: [...services.deliveries.groups()] };
    if (kind === 'streams' && stream !== undefined) {
      if (what === undefined && method === 'GET') {
        const { name: known, topicId, partitions } = await services.events.info(stream);
        return { name: known, topicId, partitions };
      }
      if (what === 'groups' && name === undefined && method === 'GET')
        return { groups: [...services.deliveries.groups(stream)] };
      if (what === 'groups' && name !== undefined) {
        const answer = await group(
          services.deliveries,
          `${method} ${action ?? ''}`.trim(),
          stream,
          name,
          fields,
          searchParams,
        );
        if (answer !== undefined) return answer;
      }
      if (what === 'dead-letters') {
        const answer = await deadLetters(services, `${method} ${name ?? ''}`.trim(), stream, fields, searchParams);
        if (answer !== undefined) return answer;
      }
    }
  }
  throw new HadronError(
    'REQUEST_INVALID',
    `${method} ${pathname} is not served in process; docs/http-api.md has what is`,
  );
}

async function group(
  service: DeliveryService,
  action: string,
  stream: string,
  name: string,
  body: Body,
  query: URLSearchParams,
): Promise<Answer> {
  switch (action) {
    case 'GET':
      return service.describe(stream, name);
    case 'PUT':
      return service.createGroup(stream, name, parseGroupRequest(body, 'body'));
    case 'PATCH':
      return service.set(stream, name, parseGroupRequest(body, 'body'));
    case 'DELETE':
      await service.remove(stream, name);
      return {};
    case 'POST pause':
    case 'POST resume':
      return service.pause(stream, name, action === 'POST pause');
    case 'POST seek':
      return service.seek(stream, name, parseStart(body['to'], 'to'), body['partition'] as number | undefined);
    case 'POST purge':
      return service.purge(stream, name);
    case 'GET deliveries':
      return { deliveries: service.inFlight(stream, name, limitOf(query)) };
    default:
      return undefined;
  }
}

async function deadLetters(
  { events, deliveries }: BrokerServices,
  action: string,
  stream: string,
  body: Body,
  query: URLSearchParams,
): Promise<Answer> {
  if (action === 'GET') {
    const filter = query.get('filter');
    const selection = selectionOf(stream, {
      group: query.get('group') ?? undefined,
      code: query.get('code') ?? undefined,
      filters: filter === null ? undefined : [JSON.parse(filter) as Filter],
    });
    if (query.get('count') === 'true') return { count: (await collect(deliveries, selection)).length };
    const letters = await collect(deliveries, { ...selection, limit: limitOf(query) });
    const { topicId } = await events.info(stream);
    return { deadLetters: letters.map((letter) => shown(letter, topicId)) };
  }
  if (action !== 'POST redrive' && action !== 'POST drop') return undefined;
  const letters = await collect(deliveries, selectionOf(stream, body));
  if (body['dryRun'] === true) return { count: letters.length };
  const count =
    action === 'POST drop'
      ? await deliveries.drop(letters)
      : await deliveries.redrive(letters, body['to'] as string | undefined);
  return { count };
}

function selectionOf(stream: string, body: Body): DeadLetterQuery {
  const { group: of, code, filters, position } = body as Omit<DeadLetterQuery, 'stream'>;
  return { stream, group: of, code, filters, position };
}

async function collect(deliveries: DeliveryService, query: DeadLetterQuery): Promise<DeadLetterEntry[]> {
  const letters: DeadLetterEntry[] = [];
  for await (const letter of deliveries.deadLetters(query)) letters.push(letter);
  return letters;
}

function shown({ record, ...letter }: DeadLetterEntry, topicId: string): Answer {
  const { stream, partition, offset } = letter.from;
  const context = { stream, topicId, partition, offset, timestampMs: record.timestampMs };
  return { ...letter, event: JSON.parse(writeJsonEvent(recordToEvent(readRecord(record.bytes), context))) as unknown };
}

function limitOf(query: URLSearchParams): number {
  const limit = Number(query.get('limit') ?? LIST_MAX);
  if (Number.isInteger(limit) && limit > 0) return limit;
  throw new HadronError('REQUEST_INVALID', 'limit must be a whole number above 0', { field: 'limit' });
}
