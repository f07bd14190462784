/**
 * Damaged and hostile frames against the door of a whole broker (log.md G17): random bytes, requests of every API and
 * version with random content, whole, mutated, cut, with lengths that lie, in pieces of any size.
 *
 * Afterwards: no error that is a bug, no memory kept, no connection stuck, everybody else was served all the time.
 * HADRON_FUZZ sets the number of frames. A failure prints the seed of its round.
 */
import { CODECS, type MessageCodec, Writer, encodeRequestHeader } from '@hadron/kafka-protocol';
import { expect, test } from 'vitest';
import { Dice, randomMessage } from '../../packages/kafka-protocol/src/schemas/random-message.ts';
import { SCHEMAS } from '../../packages/kafka-protocol/src/schemas/index.ts';
import { SimServer } from '../../packages/server/src/kafka/testing/sim-server.ts';
import type { SimSocket } from '../../packages/server/src/kafka/testing/sim-socket.ts';
import { batch, createTopic, produce, produceFields, valuesOf } from '../../packages/server/src/kafka/testing/talk.ts';
import { frameOf } from '../../packages/server/src/kafka/testing/wire-client.ts';

const FRAMES = Number(process.env['HADRON_FUZZ'] ?? 30_000);
const PER_ROUND = 40;
const CONNECTIONS = 8;
const MIB = 1024 * 1024;

const EXTREMES = [
  'ffffffff',
  '7fffffff',
  '80000000',
  'fffffffe',
  'ffffffff0f',
  'fffffffffffffffff1',
  '00',
  '000f4240',
  '7fff',
  'ffff',
];
const TOPICS = ['fuzz', 'os', 'compact', 'nope'];

/** A request of any API and version. Names are now and then such that they are found. */
function anyRequest(dice: Dice): Buffer {
  const api = dice.pick(SCHEMAS);
  const version = api.served.min + dice.below(api.served.max - api.served.min + 1);
  const message = plausible(randomMessage(api, api.request, version, dice), dice) as Record<string, unknown>;
  const w = new Writer();
  encodeRequestHeader(w, {
    apiKey: api.key,
    apiVersion: version,
    correlationId: dice.u32() | 0,
    clientId: dice.pick([null, '', 'fuzz']),
  });
  try {
    (CODECS.get(api.key) as MessageCodec).encodeRequest(w, message, version);
  } catch {
    return Buffer.from([0, api.key, 0, version, 0, 0, 0, 1, 255, 255]);
  }
  return w.takeBuffer();
}

/** Puts real names, small numbers and good batches in places, so that some requests come through to the broker. */
function plausible(value: unknown, dice: Dice, key = ''): unknown {
  if (Array.isArray(value)) return value.map((v) => plausible(v, dice, key));
  if (value !== null && typeof value === 'object' && !Buffer.isBuffer(value)) {
    for (const [k, v] of Object.entries(value))
      (value as Record<string, unknown>)[k] = k === 'unknownTags' ? v : plausible(v, dice, k);
    return value;
  }
  if (dice.below(3) === 0) return value;
  if (/^(name|topic)$/.test(key) && typeof value === 'string') return dice.pick(TOPICS);
  if (key === 'groupId') return dice.pick(['g1', 'g2', '']);
  if (key === 'protocolType') return 'consumer';
  if (/index|partition$/i.test(key) && typeof value === 'number') return dice.below(3);
  if (key === 'acks') return dice.pick([0, 1, -1]);
  if (key === 'transactionalId') return null;
  if (key.endsWith('TimeoutMs')) return 10_000;
  if (/offset/i.test(key) && typeof value === 'number') return dice.below(20);
  if (/epoch|generation/i.test(key) && typeof value === 'number') return dice.pick([-1, 0, 1, 2]);
  if (key === 'records')
    return batch(
      ['a', 'b'].slice(0, 1 + dice.below(2)),
      dice.below(2) === 0
        ? {}
        : { producerId: dice.below(5), producerEpoch: dice.below(2), baseSequence: dice.below(4) },
    );
  return value;
}

function mutate(good: Buffer, dice: Dice): Buffer {
  const b = Buffer.from(good);
  switch (dice.below(6)) {
    case 0:
      return b.subarray(0, dice.below(b.length + 1));
    case 1:
      for (let n = 1 + dice.below(4); n > 0; n--) (b[dice.below(b.length)] as number) ^= 1 << dice.below(8);
      return b;
    case 2:
      Buffer.from(dice.pick(EXTREMES), 'hex').copy(b, dice.below(b.length));
      return b;
    case 3: {
      const at = dice.below(b.length);
      return Buffer.concat([b.subarray(0, at), dice.bytes(1 + dice.below(16)), b.subarray(at)]);
    }
    case 4:
      return Buffer.concat([b, dice.bytes(1 + dice.below(30))]);
    default:
      return dice.bytes(dice.below(80));
  }
}

/** What goes over the wire: a frame, mostly with its own length. */
function anyFrame(dice: Dice): Buffer {
  const what = dice.below(10);
  const body = what < 4 ? anyRequest(dice) : what < 9 ? mutate(anyRequest(dice), dice) : dice.bytes(dice.below(60));
  const f = frameOf(body);
  if (dice.below(12) === 0)
    Buffer.from(
      dice.pick(['ffffffff', '7fffffff', '80000000', '06400000', '06400001', '00000000', '00000009', '00100000']),
      'hex',
    ).copy(f, 0);
  return f;
}

test(`G17 C19 ${FRAMES.toLocaleString('en')} damaged frames against the door`, {
  timeout: 60_000 + FRAMES * 3,
}, async () => {
  const server = await SimServer.start({
    set: { 'hadron.max.partitions': '300', 'hadron.max.partitions.per.topic': '20', 'group.max.size': '50' },
    limits: { queuedBytesMax: 4 * MIB, connectionsMax: 200 },
    sim: { disk: { capacityBytes: 2 ** 36 } },
  });
  for (const [name, config] of [
    ['os', { 'hadron.durability': 'os' }],
    ['compact', { 'cleanup.policy': 'compact' }],
    ['safe', {}],
  ] as const)
    await createTopic(server, name, { config });
  await server.ask('Metadata', 9, {
    topics: [{ name: 'fuzz', topicId: '0'.repeat(32) }],
    allowAutoTopicCreation: true,
  });
  const control = server.connect();
  let sent = 0;
  let most = 0;
  let acked = 0;
  const open: SimSocket[] = [];
  for (let seed = 1; sent < FRAMES; seed++) {
    const dice = new Dice(seed);
    try {
      for (let i = 0; i < PER_ROUND; i++, sent++) {
        const at = dice.below(CONNECTIONS);
        let socket = open[at];
        if (socket === undefined || socket.client.closed || dice.below(10) === 0) {
          socket?.client.close();
          socket = open[at] = server.connectSocket();
          socket.client.lenient = true;
          if (dice.below(20) === 0) socket.clientReads = false;
        }
        const bytes = anyFrame(dice);
        if (dice.below(4) !== 0) socket.client.send(bytes);
        else {
          for (let from = 0; from < bytes.length; ) {
            const piece = bytes.subarray(from, from + 1 + dice.below(40));
            socket.client.send(piece);
            from += piece.length;
          }
        }
      }
      await server.advance(dice.below(3) === 0 ? 20 : 1);
      most = Math.max(most, server.door.memory.usedBytes);
      if (seed % 5 === 0) {
        const r = await server.run(control.call('Produce', 9, produceFields('safe', batch([`${acked}`]))), 5_000);
        if (r.responses[0]?.partitionResponses[0]?.errorCode === 0) acked++;
        // Fuzz may delete the topic by a well-formed request; nothing else may go wrong with it.
        else await createTopic(server, 'safe').then(() => void (acked = 0));
      }
      const bugs = server.logger.lines.filter((l) => l.startsWith('error'));
      if (bugs.length > 0) throw new Error(bugs[0]);
      server.logger.lines.length = 0;
      // Topics made by well-formed requests would fill the registry in a soak.
      if (seed % 50 === 0) {
        const names = [...server.broker.core.topics.all()]
          .map((t) => t.name)
          .filter((n) => n !== 'safe' && !TOPICS.includes(n));
        if (names.length > 0) await server.ask('DeleteTopics', 3, { topicNames: names });
      }
    } catch (error) {
      throw new Error(`fuzz seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
  expect(most).toBeLessThan(4 * MIB + 100 * MIB);
  // It was not all refused at the first byte: every API was reached.
  const reached = SCHEMAS.map((api) => server.door.metrics.requests[api.key]?.value ?? 0);
  expect(Math.min(...reached)).toBeGreaterThan(FRAMES / 200);
  // Whatever hangs half-sent or unread goes by itself; the rest when its client goes.
  await server.advance(40_000);
  for (const s of open) s?.client.close();
  control.close();
  await server.advance(100);
  expect([
    server.door.connections.size,
    server.door.memory.usedBytes,
    server.door.memory.waitingCount,
    server.broker.core.fetcher.waitingCount,
  ]).toEqual([0, 0, 0, 0]);
  expect((await valuesOf(server, 'safe')).length).toBe(acked);
  // What was written is sound: it can be recovered.
  await server.restart('kill');
  expect((await valuesOf(server, 'safe')).length).toBe(acked);
  expect((await produce(server, 'safe', batch(['end']))).errorCode).toBe(0);
});
