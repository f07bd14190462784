/** Groups of a stream: what they are, what is set, what is out; and pull, the lease without a session (delivery.md D8). */
import type { Action } from '@hadron/broker';
import { parseGroupRequest, parseStart } from '@hadron/contracts';
import { parseAnswers } from './answers.ts';
import type { ControlCall } from './control-call.ts';
import { deliveriesOf } from './records.ts';
import type { ControlRoute, Method } from './router.ts';
import type { AskServices } from './services.ts';
import { integer, list, object, optional } from './shape.ts';

const GROUP = '/v1/streams/{stream}/groups/{group}';
const PULL_MAX = 10_000;
const PULL_DEFAULT = 100;
const WAIT_MAX_MS = 60_000;
const LISTED = 100;
const LISTED_MAX = 10_000;
const PARTITION_MAX = 0x7fff_ffff;
const START_OFFSETS_MAX = 100_000;

export function groupRoutes(services: AskServices): readonly ControlRoute[] {
  const deliveries = () => services().deliveries;
  const route = (
    method: Method,
    pattern: string,
    action: Action,
    handle: (call: ControlCall, stream: string, group: string) => Promise<void> | void,
  ): ControlRoute => ({
    method,
    pattern: `${GROUP}${pattern}`,
    action,
    target: (param) => ({ kind: 'Stream', name: param('stream') }),
    handle: (call) => handle(call, call.param('stream'), call.param('group')),
  });
  return [
    {
      method: 'GET',
      pattern: '/v1/groups',
      action: 'read',
      target: () => ({ kind: 'Stream', name: undefined }),
      handle: (call) => call.sendJson(200, { groups: [...deliveries().groups()] }),
    },
    {
      method: 'GET',
      pattern: '/v1/streams/{stream}/groups',
      action: 'read',
      target: (param) => ({ kind: 'Stream', name: param('stream') }),
      handle: (call) => call.sendJson(200, { groups: [...deliveries().groups(call.param('stream'))] }),
    },
    route('GET', '', 'read', (call, stream, group) => call.sendJson(200, deliveries().describe(stream, group))),
    route('PUT', '', 'create', async (call, stream, group) => {
      const body = await call.json();
      const { startOffsets, settings } = splitStartOffsets(body);
      call.sendJson(200, await deliveries().createGroup(stream, group, parseGroupRequest(settings), startOffsets));
    }),
    route('PATCH', '', 'change', async (call, stream, group) => {
      const settings = parseGroupRequest(await call.json());
      call.sendJson(200, await deliveries().set(stream, group, settings));
    }),
    route('DELETE', '', 'delete', async (call, stream, group) => {
      const status = deliveries().describe(stream, group);
      await deliveries().remove(stream, group);
      call.sendJson(200, status);
    }),
    route('POST', '/pause', 'change', async (call, stream, group) =>
      call.sendJson(200, await deliveries().pause(stream, group, true)),
    ),
    route('POST', '/resume', 'change', async (call, stream, group) =>
      call.sendJson(200, await deliveries().pause(stream, group, false)),
    ),
    route('POST', '/seek', 'change', async (call, stream, group) => {
      const { to, partition } = object(await call.json(), 'body', ['to', 'partition']);
      const start = parseStart(to, 'to');
      const only = optional(partition, 'partition', (v, f) => integer(v, f, 0, PARTITION_MAX));
      call.sendJson(200, await deliveries().seek(stream, group, start, only));
    }),
    route('POST', '/purge', 'change', async (call, stream, group) =>
      call.sendJson(200, await deliveries().purge(stream, group)),
    ),
    route('GET', '/deliveries', 'read', (call, stream, group) => {
      const limit = call.number('limit', 1, LISTED_MAX) ?? LISTED;
      call.sendJson(200, { deliveries: deliveries().inFlight(stream, group, limit) });
    }),
    route('POST', '/pull', 'subscribe', async (call, stream, group) => {
      const body = object(await call.json(), 'body', ['max', 'waitMs', 'settings']);
      const max = optional(body['max'], 'max', (v, f) => integer(v, f, 1, PULL_MAX)) ?? PULL_DEFAULT;
      const waitMs = optional(body['waitMs'], 'waitMs', (v, f) => integer(v, f, 0, WAIT_MAX_MS)) ?? 0;
      const settings = parseGroupRequest(body['settings']);
      const service = services();
      const origin = await service.events.info(stream);
      const given = await service.deliveries.pull({ stream, group, settings, max, waitMs }, call.signal);
      call.send(200, 'application/json', `{"deliveries":${deliveriesOf(origin, given)}}`);
    }),
    route('POST', '/answers', 'subscribe', async (call, stream, group) => {
      const { items } = object(await call.json(), 'body', ['items']);
      const answered = await deliveries().answer(stream, group, parseAnswers(items, 'items'));
      call.sendJson(200, { results: answered });
    }),
  ];
}

/** `startOffsets` lies beside the settings: where the group begins on some partitions, e.g. those of a Kafka group. */
function splitStartOffsets(body: unknown): {
  readonly settings: unknown;
  readonly startOffsets: ReadonlyMap<number, number> | undefined;
} {
  if (typeof body !== 'object' || body === null || !('startOffsets' in body))
    return { settings: body, startOffsets: undefined };
  const { startOffsets, ...settings } = body;
  const offsets = new Map<number, number>();
  const given = list(startOffsets, 'startOffsets', START_OFFSETS_MAX);
  for (const [i, one] of given.entries()) {
    const field = `startOffsets[${i}]`;
    const { partition, offset } = object(one, field, ['partition', 'offset']);
    offsets.set(
      integer(partition, `${field}.partition`, 0, PARTITION_MAX),
      integer(offset, `${field}.offset`, 0, Number.MAX_SAFE_INTEGER),
    );
  }
  return { settings, startOffsets: offsets };
}
