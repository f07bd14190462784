/** Ports of streams and partitions on a real server: numbers that stay, Metadata that follows, publish and subscribe. */
import { mkdtempSync, rmSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { silentLogger } from '@hadron/base';
import { original as pb } from '@hadron/contracts/services';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadSettings } from '../settings/index.ts';
import { type RunningServer, startServer } from '../server.ts';
import { frame, GrpcClient, type TestCall } from '../rpc/testing/grpc-client.ts';

const PATH = '/stream.StreamController/';
const HEADERS = { authorization: 'bearer token' };

let folder: string;
let server: RunningServer | undefined;
const clients: GrpcClient[] = [];
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'hadron-original-'));
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await server?.close();
  server = undefined;
  rmSync(folder, { recursive: true });
});

/** Consecutive ports that are free just now. */
async function freeRange(size: number): Promise<{ first: number; last: number }> {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 30_000);
    const probes = Array.from({ length: size }, () => net.createServer());
    const opened = await Promise.all(
      probes.map(
        (probe, i) =>
          new Promise<boolean>((resolve) => {
            probe.once('error', () => resolve(false));
            probe.listen(first + i, '127.0.0.1', () => resolve((probe.address() as AddressInfo).port === first + i));
          }),
      ),
    );
    for (const probe of probes) probe.close();
    if (opened.every(Boolean)) return { first, last: first + size - 1 };
  }
}

async function start(range: { first: number; last: number }): Promise<RunningServer> {
  const { settings } = await loadSettings({
    flags: {
      data: folder,
      kafkaPort: '0',
      httpPort: '0',
      listen: ['127.0.0.1'],
      originalPorts: `${range.first}-${range.last}`,
      set: ['num.partitions=2'],
    },
    env: {},
    cwd: folder,
    readText: () => '',
  });
  server = await startServer(settings, { logger: silentLogger });
  return server;
}

const open = (port: number): GrpcClient => {
  const client = new GrpcClient(`127.0.0.1:${port}`);
  clients.push(client);
  return client;
};

const api = (running: RunningServer, method: string, at: string): Promise<Response> =>
  fetch(`http://127.0.0.1:${running.httpAddress.port}${at}`, { method });

async function metadata(port: number, wanted: number): Promise<{ call: TestCall; internal: string[] }> {
  const call = open(port).call(`${PATH}Metadata`, HEADERS);
  call.stream.end(Buffer.of(0, 0, 0, 0, 0));
  for (let count = 1; ; count++) {
    const bytes = (await call.received(count))[count - 1];
    const { partitions } = fromBinary(pb.MetadataResponseSchema, bytes as Buffer);
    expect(partitions.map((p) => p.partition)).toEqual(partitions.map((_, i) => i));
    if (partitions.length === wanted) return { call, internal: partitions.map((p) => p.internal) };
  }
}

const write = (call: TestCall, init: MessageInitShape<typeof pb.StreamSubscribeRequestSchema>): void => {
  const bytes = toBinary(pb.StreamSubscribeRequestSchema, create(pb.StreamSubscribeRequestSchema, init));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  call.stream.write(Buffer.concat([head, bytes]));
};

test('numbers stay over a restart, go with their stream, and lead to the partition', async () => {
  const range = await freeRange(5);
  let running = await start(range);
  expect((await api(running, 'GET', '/v1/streams/orders')).status).toBe(200);
  const first = await metadata(range.first, 2);
  expect(first.internal).toEqual([`127.0.0.1:${range.first + 1}`, `127.0.0.1:${range.first + 2}`]);

  const batch = ['a', 'b', 'c'].map((id) => ({
    id,
    source: 's',
    type: 't',
    specversion: '1.0',
    data: Buffer.from(id),
  }));
  const request = toBinary(pb.StreamPublishRequestSchema, create(pb.StreamPublishRequestSchema, { batch }));
  const head = frame(() => undefined, undefined);
  head.writeUInt32BE(request.length, 1);
  for (const offset of [2n, 5n]) {
    const publish = open(range.first + 2).call(`${PATH}StreamPublish`, HEADERS);
    publish.stream.end(Buffer.concat([head, request]));
    expect(await publish.ended).toMatchObject({ status: 0 });
    expect(fromBinary(pb.StreamPublishResponseSchema, publish.messages[0] as Buffer).offset).toBe(offset);
  }

  await server?.close();
  running = await start(range);
  expect((await metadata(range.first, 2)).internal).toEqual(first.internal);

  // Five numbers: three are taken, another stream gets two and reaches one of its partitions.
  expect((await api(running, 'GET', '/v1/streams/others')).status).toBe(200);
  expect((await metadata(range.first + 3, 1)).internal).toEqual([`127.0.0.1:${range.first + 4}`]);

  const setup = {
    groupName: 'g',
    durable: true,
    maxBatchSize: 4,
    startingPoint: { case: 'beginning' as const, value: {} },
  };
  const subscription = open(range.first + 2).call(`${PATH}StreamSubscribe`, HEADERS);
  write(subscription, { action: { case: 'setup', value: setup } });
  const got: string[] = [];
  for (let i = 1; got.length < 6; i++) {
    const bytes = (await subscription.received(i))[i - 1] as Buffer;
    const delivery = fromBinary(pb.StreamSubscribeResponseSchema, bytes);
    got.push(...delivery.batch.map((e) => `${e.id}@${e.optattrs['hadronpartition']}:${e.optattrs['hadronoffset']}`));
    expect(delivery.batch.length).toBeLessThanOrEqual(4);
    write(subscription, { action: { case: 'ack', value: {} } });
  }
  expect(got).toEqual(['a@1:0', 'b@1:1', 'c@1:2', 'a@1:3', 'b@1:4', 'c@1:5']);
  subscription.finish();
  expect(await subscription.ended).toMatchObject({ status: 0 });

  expect((await api(running, 'DELETE', '/v1/resources/Stream/orders?cascade=true')).status).toBe(200);
  // Its numbers are free: the other stream has all it wants now.
  expect((await metadata(range.first + 3, 2)).internal).toHaveLength(2);
});

test('they speak HTTP/2 only: a page of the internet that names itself 127.0.0.1 gets nothing', async () => {
  const range = await freeRange(3);
  const running = await start(range);
  expect((await api(running, 'GET', '/v1/streams/orders')).status).toBe(200);
  await metadata(range.first, 2);
  const answer = await fetch(`http://127.0.0.1:${range.first}/hadron.v1.Streams/Info`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: 'http://evil.example' },
    body: '{"stream":"orders"}',
  });
  expect([answer.status, await answer.text()]).toEqual([505, '']);
});

test.each(['7100', '7200-7100', '0-5', '7100-70000', 'a-b'])('%s is no range of ports', async (originalPorts) => {
  await expect(loadSettings({ flags: { originalPorts }, env: {}, cwd: folder, readText: () => '' })).rejects.toThrow(
    /^SETTING_INVALID: original-ports = .*FIRST-LAST/,
  );
});

test('a nacked batch comes singly, in order, and again until it is handled', async () => {
  const range = await freeRange(3);
  const running = await start(range);
  await api(running, 'GET', '/v1/streams/orders');
  await metadata(range.first, 2);
  const batch = ['a', 'b', 'c'].map((id) => ({ id, source: 's', type: 't', specversion: '1.0' }));
  const request = toBinary(pb.StreamPublishRequestSchema, create(pb.StreamPublishRequestSchema, { batch }));
  const head = frame(() => undefined, undefined);
  head.writeUInt32BE(request.length, 1);
  const publish = open(range.first + 1).call(`${PATH}StreamPublish`, HEADERS);
  publish.stream.end(Buffer.concat([head, request]));
  await publish.ended;

  const call = open(range.first + 1).call(`${PATH}StreamSubscribe`, HEADERS);
  const value = { groupName: 'g', maxBatchSize: 3, startingPoint: { case: 'beginning' as const, value: {} } };
  write(call, { action: { case: 'setup', value } });
  const next = async (count: number): Promise<string[]> => {
    const bytes = (await call.received(count))[count - 1] as Buffer;
    return fromBinary(pb.StreamSubscribeResponseSchema, bytes).batch.map((e) => e.id);
  };
  expect(await next(1)).toEqual(['a', 'b', 'c']);
  write(call, { action: { case: 'nack', value: 'one of them is poison' } });
  expect(await next(2)).toEqual(['a']);
  write(call, { action: { case: 'ack', value: {} } });
  expect(await next(3)).toEqual(['b']);
  write(call, { action: { case: 'nack', value: 'this one' } });
  expect(await next(4)).toEqual(['b']);
  write(call, { action: { case: 'ack', value: {} } });
  expect(await next(5)).toEqual(['c']);
});
