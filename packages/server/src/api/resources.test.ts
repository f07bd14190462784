/** Resources over a real server: HTTP on one side, Kafka clients on the other (statements 1, 2 and 3). */
import { Kafka, logLevel } from 'kafkajs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openServer, type TestServer } from './testing/server.ts';

const ORDERS = `
apiVersion: hadron.rs/v1
kind: Stream
metadata:
  name: orders
  labels: {app: shop}
spec:
  partitions: 2
  retentionPolicy: {strategy: time, retentionSeconds: 60}
`;

interface Result {
  readonly result: string;
  readonly errors: readonly { readonly path: string; readonly line?: number; readonly message: string }[];
}

async function apply(server: TestServer, body: string, query = '', type = 'application/yaml') {
  const response = await fetch(`${server.url}/apply${query}`, {
    method: 'POST',
    body,
    headers: { 'content-type': type },
  });
  return { status: response.status, body: (await response.json()) as { results: readonly Result[]; code?: string } };
}

test('YAML in, JSON out; errors name the line', async () => {
  const server = await openServer();
  const { status, body } = await apply(server, `${ORDERS}---\n${ORDERS.replace('partitions: 2', 'partitions: none')}`);
  expect(status).toBe(200);
  expect(body.results).toMatchObject([
    { document: 1, kind: 'Stream', name: 'orders', result: 'created' },
    { document: 2, result: 'refused', errors: [{ path: 'spec.partitions', line: 18, value: 'none' }] },
  ]);
  const stream = await server.call('GET', '/resources/streams/orders');
  expect(stream).toMatchObject({
    status: 200,
    body: { spec: { partitions: 2 }, metadata: { labels: { app: 'shop' } } },
  });
  expect((await apply(server, JSON.stringify(stream.body), '', 'application/json')).body.results[0]?.result).toBe(
    'unchanged',
  );
  const dry = await apply(server, ORDERS.replace('partitions: 2', 'partitions: 4'), '?dryRun=true');
  expect(dry.body.results[0]).toMatchObject({
    result: 'configured',
    changes: [{ path: 'spec.partitions', from: 2, to: 4 }],
  });
  expect((await server.call('GET', '/resources/stream/orders')).body).toEqual(stream.body);
});

test.each<[string, string, string, string, number, RegExp]>([
  ['no JSON', '{', '', 'application/json', 400, /REQUEST_INVALID/],
  ['too many documents', `[${'{},'.repeat(10_000)}{}]`, '', 'application/json', 413, /more than 10000 documents/],
  ['nothing', '# only a comment', '', 'application/yaml', 400, /no document/],
  ['no flag', ORDERS, '?dryRun=maybe', 'application/yaml', 400, /true or false/],
  ['no YAML', 'a: [', '', 'application/yaml', 200, /"refused".*is not YAML.*line 1/],
  ['a bomb', 'a: '.repeat(10) + '['.repeat(10_000), '', 'application/yaml', 200, /levels of brackets/],
])('%s is refused clearly', async (_, text, query, type, status, message) => {
  const server = await openServer();
  const answer = await apply(server, text, query, type);
  expect(answer.status).toBe(status);
  expect(JSON.stringify(answer.body)).toMatch(message);
  expect(server.bugs).toEqual([]);
});

test('lists by label; what is not there is 404; a selector that is none is 400', async () => {
  const server = await openServer();
  await apply(server, `${ORDERS}---\n${ORDERS.replace('orders', 'bills').replace('shop', 'bank')}`);
  const names = async (query: string): Promise<string[]> => {
    const { body } = await server.call('GET', `/resources/Stream${query}`);
    return (body['items'] as unknown as { metadata: { name: string } }[]).map((i) => i.metadata.name);
  };
  expect(await names('')).toEqual(['bills', 'orders']);
  expect(await names(`?labelSelector=${encodeURIComponent('app in (shop),!x')}`)).toEqual(['orders']);
  expect(await server.call('GET', '/resources/Stream?labelSelector=a%3D%3D%3D')).toMatchObject({
    status: 400,
    body: { field: 'labelSelector' },
  });
  expect(await server.call('GET', '/resources/Stream/none')).toMatchObject({
    status: 404,
    body: { code: 'RESOURCE_NOT_FOUND' },
  });
  expect(await server.call('GET', '/resources/Table')).toMatchObject({ status: 404 });
  expect(await server.call('GET', '/kinds/table')).toMatchObject({ status: 404 });
});

test('kinds and their schemas', async () => {
  const server = await openServer();
  const { body } = await server.call('GET', '/kinds');
  expect(body['kinds']).toMatchObject([
    { kind: 'Stream', plural: 'streams', apiVersions: ['hadron.rs/v1', 'hadron.rs/v1beta1'] },
    { kind: 'Subscription' },
  ]);
  const schema = await server.call('GET', '/kinds/stream');
  expect(schema.body).toMatchObject({ $schema: expect.stringContaining('json-schema.org'), anyOf: [{}, {}] });
});

test('a Stream in use is 409 with names; cascade takes its Subscriptions along', async () => {
  const server = await openServer();
  const push =
    'apiVersion: hadron.rs/v1\nkind: Subscription\nmetadata: {name: mail}\nspec: {stream: orders, sink: "https://x.example", credential: {type: ACCESSTOKEN, accessToken: hush}}\n';
  const applied = await apply(server, `${push}---${ORDERS}`);
  expect(applied.body.results.map((r) => r.result)).toEqual(['created', 'created']);
  expect(JSON.stringify(applied.body)).not.toContain('hush');
  expect(JSON.stringify(await server.call('GET', '/resources/Subscription'))).not.toContain('hush');
  const refused = await server.call('DELETE', '/resources/Stream/orders');
  expect(refused).toMatchObject({
    status: 409,
    body: { code: 'RESOURCE_IN_USE', detail: expect.stringContaining('Subscription mail') },
  });
  expect(await server.call('DELETE', '/resources/Stream/orders?cascade=true&dryRun=true')).toMatchObject({
    body: { deleted: [{ name: 'mail' }, { name: 'orders' }] },
  });
  expect((await server.call('GET', '/resources/Stream/orders')).status).toBe(200);
  await server.call('DELETE', '/resources/Stream/orders?cascade=true');
  expect((await server.call('GET', '/resources/Subscription/mail')).status).toBe(404);
});

describe('watch', () => {
  interface Line {
    readonly type: string;
    readonly object: { readonly metadata: { readonly name: string; readonly resourceVersion: string } };
  }

  async function lines(server: TestServer, query: string): Promise<{ next(): Promise<Line | undefined> }> {
    const response = await fetch(`${server.url}/resources/Stream?watch=true${query}`);
    expect(response.headers.get('content-type')).toBe('application/x-ndjson');
    const reader = (response.body as ReadableStream<Uint8Array>)
      .pipeThrough(new TextDecoderStream() as never)
      .getReader() as ReadableStreamDefaultReader<string>;
    onTestFinished(() => reader.cancel().catch(() => undefined));
    let text = '';
    return {
      async next() {
        while (!text.includes('\n')) {
          const { done, value } = await reader.read();
          if (done) return undefined;
          text += value;
        }
        const at = text.indexOf('\n');
        const line = JSON.parse(text.slice(0, at)) as Line;
        text = text.slice(at + 1);
        return line;
      },
    };
  }

  test('what there is, then every change, from any version on', async () => {
    const server = await openServer();
    await apply(server, ORDERS);
    const all = await lines(server, '');
    expect(await all.next()).toMatchObject({ type: 'ADDED', object: { metadata: { name: 'orders' } } });
    await apply(server, ORDERS.replace('partitions: 2', 'partitions: 3'));
    const changed = await all.next();
    expect(changed).toMatchObject({ type: 'MODIFIED', object: { spec: { partitions: 3 } } });
    await server.call('DELETE', '/resources/Stream/orders');
    expect(await all.next()).toMatchObject({ type: 'DELETED' });
    const later = await lines(server, `&resourceVersion=${changed?.object.metadata.resourceVersion}`);
    expect(await later.next()).toMatchObject({ type: 'DELETED', object: { metadata: { name: 'orders' } } });
    const old = await server.call('GET', '/resources/Stream?watch=true&resourceVersion=999');
    expect(old).toMatchObject({ status: 409, body: { code: 'RESOURCE_CONFLICT', field: 'resourceVersion' } });
  });

  test('ends with the server', async () => {
    const server = await openServer();
    await apply(server, ORDERS);
    const all = await lines(server, '');
    await all.next();
    const startMs = performance.now();
    await server.stop();
    expect(performance.now() - startMs).toBeLessThan(4_000);
    await expect(
      all.next().then(
        (line) => line?.type ?? 'over',
        () => 'over',
      ),
    ).resolves.toMatch(/over|ERROR/);
  });
});

test('kafkajs sees a Stream as a topic, and a topic of kafkajs is a Stream', async () => {
  const server = await openServer();
  const kafka = new Kafka({ brokers: [`127.0.0.1:${server.kafkaPort}`], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  onTestFinished(() => admin.disconnect());
  await apply(server, ORDERS);
  const partitions = async (topic: string): Promise<number | undefined> =>
    (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0]?.partitions.length;
  expect(await partitions('orders')).toBe(2);
  await apply(server, ORDERS.replace('partitions: 2', 'partitions: 5'));
  expect(await partitions('orders')).toBe(5);

  await admin.createTopics({
    topics: [
      {
        topic: 'Made.Here',
        numPartitions: 3,
        configEntries: [
          { name: 'cleanup.policy', value: 'compact' },
          { name: 'segment.ms', value: '777' },
        ],
      },
    ],
  });
  expect((await server.call('GET', '/resources/Stream/Made.Here')).body['spec']).toEqual({
    partitions: 3,
    compaction: { strategy: 'compact' },
    topicConfig: { 'segment.ms': '777' },
  });
  await admin.createPartitions({ topicPartitions: [{ topic: 'Made.Here', count: 4 }] });
  expect((await server.call('GET', '/resources/Stream/Made.Here')).body['spec']).toMatchObject({ partitions: 4 });
  await admin.deleteTopics({ topics: ['Made.Here'] });
  expect((await server.call('GET', '/resources/Stream/Made.Here')).status).toBe(404);
  await server.call('DELETE', '/resources/Stream/orders');
  expect(await admin.listTopics()).not.toContain('orders');
});
