/** Spans as OpenTelemetry's conventions for CloudEvents say, through its API; the provider is a few lines of its own. */
import * as api from '@opentelemetry/api';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inProcessTransport } from './in-process/index.ts';
import { connect } from './index.ts';
import { openWorld, type TestWorld } from './test-world.ts';

interface Recorded {
  readonly name: string;
  readonly kind: api.SpanKind | undefined;
  readonly attributes: api.Attributes | undefined;
  readonly parent: string | undefined;
  readonly spanId: string;
  readonly traceId: string;
  status: api.SpanStatusCode | undefined;
  ended: boolean;
}

const spans: Recorded[] = [];
let ids = 0;
const hex = (length: number): string => (++ids).toString(16).padStart(length, '0');

const tracer: Pick<api.Tracer, 'startSpan'> = {
  startSpan(name, options, context = api.context.active()) {
    const parent = api.trace.getSpanContext(context);
    const span: Recorded = {
      name,
      kind: options?.kind,
      attributes: options?.attributes,
      parent: parent?.spanId,
      spanId: hex(16),
      traceId: parent?.traceId ?? hex(32),
      status: undefined,
      ended: false,
    };
    spans.push(span);
    const wrapped = api.trace.wrapSpanContext({ traceId: span.traceId, spanId: span.spanId, traceFlags: 1 });
    return Object.assign(Object.create(wrapped) as api.Span, {
      recordException: () => undefined,
      setStatus: ({ code }: api.SpanStatus) => (span.status = code),
      end: () => (span.ended = true),
    });
  },
};
const propagator: api.TextMapPropagator<Record<string, string>> = {
  inject(context, carrier) {
    const span = api.trace.getSpanContext(context);
    if (span !== undefined) carrier['traceparent'] = `00-${span.traceId}-${span.spanId}-01`;
  },
  extract(context, carrier) {
    const [, traceId = '', spanId = ''] = (carrier['traceparent'] ?? '').split('-');
    return traceId === ''
      ? context
      : api.trace.setSpanContext(context, { traceId, spanId, traceFlags: 1, isRemote: true });
  },
  fields: () => ['traceparent'],
};

let world: TestWorld;
beforeAll(async () => {
  api.trace.setGlobalTracerProvider({ getTracer: () => tracer as api.Tracer });
  api.propagation.setGlobalPropagator(propagator);
  world = await openWorld();
});
afterAll(async () => {
  api.trace.disable();
  api.propagation.disable();
  await world.close();
});

test('its API is found where it is installed; the context travels in the event and goes on in the handler', async () => {
  await using client = connect({ source: '/shop', transport: inProcessTransport(world.services) });
  const orders = client.stream('orders');
  const { id } = await orders.publish('order.placed', { n: 1 }, { subject: '7' });
  const stop = new AbortController();
  const seen = Promise.withResolvers<string | undefined>();
  let failures = 0;
  const run = orders.run({ group: 'mail', signal: stop.signal }, (m) => {
    if (failures++ === 0) throw new Error('once');
    seen.resolve(m.attributes.get('traceparent'));
  });
  const traceparent = await seen.promise;
  stop.abort();
  await run;

  const [published, failed, processed] = spans as [Recorded, Recorded, Recorded];
  expect(traceparent).toBe(`00-${published.traceId}-${published.spanId}-01`);
  expect(published).toMatchObject({
    name: 'publish orders',
    kind: api.SpanKind.PRODUCER,
    ended: true,
    status: undefined,
    attributes: {
      'cloudevents.event_id': id,
      'cloudevents.event_source': '/shop',
      'cloudevents.event_spec_version': '1.0',
      'cloudevents.event_type': 'order.placed',
      'cloudevents.event_subject': '7',
      'messaging.destination.name': 'orders',
    },
  });
  for (const span of [failed, processed]) {
    expect(span).toMatchObject({
      name: 'process orders',
      kind: api.SpanKind.CONSUMER,
      parent: published.spanId,
      traceId: published.traceId,
      ended: true,
      attributes: { 'cloudevents.event_id': id, 'messaging.consumer.group.name': 'mail' },
    });
  }
  expect(failed.status).toBe(api.SpanStatusCode.ERROR);
  expect(processed.status).toBeUndefined();
});

test('an event that cannot be made ends its span with the failure', async () => {
  await using client = connect({ source: '/shop', transport: inProcessTransport(world.services) });
  await expect(client.stream('orders').publish('order.placed', 1n)).rejects.toMatchObject({ code: 'EVENT_INVALID' });
  expect(spans.at(-1)).toMatchObject({ name: 'publish orders', ended: true, status: api.SpanStatusCode.ERROR });
});

test('`telemetry: false` leaves events alone', async () => {
  await using client = connect({ source: '/shop', transport: inProcessTransport(world.services), telemetry: false });
  const before = spans.length;
  await client.stream('quiet').publish('n', 0);
  for await (const m of client.stream('quiet').tail({ from: 'beginning' })) {
    expect(m.attributes.has('traceparent')).toBe(false);
    break;
  }
  expect(spans).toHaveLength(before);
});
