/** Clients that do not behave: log.md G17, statement 19. Virtual time, simulated sockets. */
import { describe, expect, test } from 'vitest';
import { SimServer } from './testing/sim-server.ts';
import type { SimSocket } from './testing/sim-socket.ts';
import { batch, createTopic, fetchFields, produce, produceFields, valuesOf } from './testing/talk.ts';
import { requestBytes } from './testing/wire-client.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** The begin of a frame of `announced` bytes, `sent` of them. */
function beginning(announced: number, sent: number): Buffer {
  const b = Buffer.alloc(4 + sent, 1);
  b.writeInt32BE(announced, 0);
  return b;
}

describe('G17 standing still', () => {
  test.each([1, 3, 4, 20, 5_000])(
    'G17 a frame that stops after %i bytes is closed after 30 s, not before',
    async (bytes) => {
      const server = await SimServer.start();
      const client = server.connect();
      client.send(beginning(100_000, 10_000).subarray(0, bytes));
      await server.advance(29_000);
      expect(client.closed).toBe(false);
      await server.advance(7_000);
      expect([client.closed, server.door.connections.size, server.door.memory.usedBytes]).toEqual([true, 0, 0]);
    },
  );

  test('G17 a frame that comes slowly is waited for', async () => {
    const server = await SimServer.start();
    const client = server.connect();
    const bytes = requestBytes('Metadata', 9, { topics: null });
    const answer = client.ask(Buffer.alloc(0));
    for (const b of bytes) {
      client.send(Buffer.from([b]));
      await server.advance(20_000);
    }
    expect((await server.run(answer)).length).toBeGreaterThan(4);
  });

  test('G17 a half-sent frame behind a long poll is closed as well', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const client = server.connect();
    const poll = (): void =>
      void client.call('Fetch', 11, fetchFields('t', 0, { maxWaitMs: 100_000 })).catch(() => undefined);
    poll();
    client.send(beginning(1_000, 10));
    await server.advance(36_000);
    expect(client.closed).toBe(true);
  });

  /** A client that asks for 20 MB and does not read. */
  async function slowReader(): Promise<{ server: SimServer; socket: SimSocket }> {
    const server = await SimServer.start();
    await createTopic(server, 't');
    for (let i = 0; i < 4; i++) await produce(server, 't', batch(['x'.repeat(500_000)]));
    const socket = server.connectSocket();
    socket.clientReads = false;
    return { server, socket };
  }

  test('G17 a client that does not take its answers is closed after 30 s', async () => {
    const { server, socket } = await slowReader();
    for (let i = 0; i < 40; i++) socket.client.call('Fetch', 11, fetchFields('t', 0)).catch(() => undefined);
    await server.advance(28_000);
    expect(socket.client.closed).toBe(false);
    expect(socket.writableLength).toBeLessThan(8 * MIB); // reading stopped when its answers piled up
    await server.advance(8_000);
    expect([socket.client.closed, server.door.connections.size]).toEqual([true, 0]);
    expect(server.broker.core.shard.tail.bytes).toBeGreaterThan(0);
    expect((await valuesOf(server, 't')).length).toBe(4);
  });

  test('G17 … although it goes on asking', async () => {
    const { server, socket } = await slowReader();
    for (let i = 0; i < 14; i++) {
      socket.client.call('Metadata', 9, { topics: null }).catch(() => undefined);
      await server.advance(3_000);
    }
    expect(socket.client.closed).toBe(true);
  });

  test('G17 a slow client that takes something now and then is served', async () => {
    const { server, socket } = await slowReader();
    const answers = Array.from({ length: 6 }, () => socket.client.call('Fetch', 11, fetchFields('t', 0)));
    for (let i = 0; i < 6; i++) {
      await server.advance(25_000);
      socket.clientResumes();
      await server.advance(1);
      socket.clientReads = false;
    }
    socket.clientResumes();
    expect((await server.run(Promise.all(answers))).length).toBe(6);
  });

  test('an idle connection is closed after connections.max.idle.ms; one that waits for an answer is not idle', async () => {
    const server = await SimServer.start({ set: { 'connections.max.idle.ms': '60000' } });
    await createTopic(server, 't');
    const idle = server.connect();
    const polling = server.connect();
    polling.call('Fetch', 11, fetchFields('t', 0, { maxWaitMs: 300_000 })).catch(() => undefined);
    await server.advance(58_000);
    expect(idle.closed).toBe(false);
    await server.advance(10_000);
    expect([idle.closed, polling.closed]).toEqual([true, false]);
  });
});

describe('G17 memory', () => {
  test('G17 1,000 connections that each announce 100 MB and send a little: bounded, closed in the end, others are served', async () => {
    const server = await SimServer.start({ limits: { queuedBytesMax: 8 * MIB, requestBytesMax: 100 * MIB } });
    await createTopic(server, 't');
    const clients = Array.from({ length: 1_000 }, () => server.connect());
    let most = 0;
    for (let round = 0; round < 8; round++) {
      for (const c of clients) c.send(round === 0 ? beginning(100 * MIB, 5_000) : Buffer.alloc(10_000, 1));
      await server.advance(10);
      most = Math.max(most, server.door.memory.usedBytes);
      // Requests that need no memory go through all the time.
      expect((await produce(server, 't', batch([`v${round}`]))).errorCode).toBe(0);
    }
    expect(most).toBeGreaterThan(6 * MIB);
    expect(most).toBeLessThan(20 * MIB); // of 75 sent: the budget, and one read of each connection
    await server.advance(40_000);
    expect(clients.filter((c) => !c.closed).length).toBe(0);
    expect([server.door.memory.usedBytes, server.door.memory.waitingCount, server.door.connections.size]).toEqual([
      0, 0, 0,
    ]);
  });

  test('G17 frames already begun finish from the reserve, one at a time, soon', async () => {
    const server = await SimServer.start({ limits: { queuedBytesMax: 1 * MIB, requestBytesMax: 2 * MIB } });
    await createTopic(server, 't');
    const clients = Array.from({ length: 20 }, () => server.connect());
    const before = server.nowMs;
    const answers = clients.map((c, i) => {
      const bytes = requestBytes('Produce', 9, produceFields('t', batch([`${i}`.padStart(900_000, 'x')])), 1);
      const answer = c.ask(bytes.subarray(0, 60_000));
      for (let at = 60_000; at < bytes.length; at += 60_000) c.send(bytes.subarray(at, at + 60_000));
      return answer;
    });
    await server.run(Promise.all(answers));
    expect(server.nowMs - before).toBeLessThan(4_000);
    expect(server.door.memory.usedBytes).toBeLessThanOrEqual(3 * MIB);
    expect((await valuesOf(server, 't')).length).toBe(20);
  });

  test('G17 busy connections give the memory of a finished frame back when others wait for it', async () => {
    const server = await SimServer.start({ limits: { queuedBytesMax: 1 * MIB, requestBytesMax: 2 * MIB } });
    await createTopic(server, 't');
    const send = (c: ReturnType<SimServer['connect']>, bytes: number): Promise<Buffer> => {
      const b = requestBytes('Produce', 9, produceFields('t', batch(['x'.repeat(bytes)])), 1);
      const answer = c.ask(b.subarray(0, 50_000));
      for (let at = 50_000; at < b.length; at += 50_000) c.send(b.subarray(at, at + 50_000));
      return answer;
    };
    // Three that never rest.
    let over = false;
    const rounds = [0, 0, 0];
    const busy = rounds.map(async (_, i) => {
      const c = server.connect();
      while (!over) {
        await send(c, 700_000);
        (rounds[i] as number)++;
      }
    });
    await server.advance(60);
    const before = server.nowMs;
    for (let i = 0; i < 2; i++) await server.run(send(server.connect(), 800_000));
    expect(server.nowMs - before).toBeLessThan(4_000);
    over = true;
    await server.run(Promise.all(busy));
    expect(Math.min(...rounds)).toBeGreaterThan(0);
  });

  test('G17 a connection that has had a large frame gives its memory back when it rests', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const client = server.connect();
    const b = requestBytes('Produce', 9, produceFields('t', batch(['x'.repeat(800_000)])), 1);
    const answer = client.ask(b.subarray(0, 1_000));
    client.send(b.subarray(1_000));
    await server.run(answer);
    await server.advance(12_000);
    expect([client.closed, server.door.memory.usedBytes]).toEqual([false, 0]);
  });

  test('G17 too many requests under way on one connection: reading stops, nothing is lost', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const hold = server.sim.disk.faults.hold('datasync', /commit/);
    const socket = server.connectSocket();
    const n = 6_000;
    const answers = Array.from({ length: n }, (_, i) =>
      socket.client.call('Produce', 9, produceFields('t', batch([`${i}`]))),
    );
    await server.advance(100);
    expect(socket.isReading).toBe(false);
    expect([...server.door.connections][0]?.underWay).toBeLessThanOrEqual(4_096);
    expect(socket.unreadBytes).toBeGreaterThan(0);
    hold.release();
    const offsets = (await server.run(Promise.all(answers))).map(
      (r) => r.responses[0]?.partitionResponses[0]?.baseOffset,
    );
    expect(offsets).toEqual(Array.from({ length: n }, (_, i) => i));
  });

  test('G17 4,000 fetches behind a long poll are answered in order, without nesting', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const client = server.connect();
    const poll = client.call('Fetch', 11, fetchFields('t', 0, { maxWaitMs: 500 }));
    const behind = Array.from({ length: 4_000 }, () => client.call('Fetch', 11, fetchFields('t', 0)));
    await server.run(Promise.all([poll, ...behind]));
    expect(client.answered).toEqual(Array.from({ length: 4_001 }, (_, i) => i + 1));
    expect(server.broker.core.fetcher.waitingCount).toBe(0);
  });

  test('G17 the disk is behind: reading stops for everybody who writes, and goes on when it has caught up', async () => {
    const server = await SimServer.start({ shard: { slowAtBytes: 600 * KIB } });
    await createTopic(server, 't');
    const hold = server.sim.disk.faults.hold('datasync', /commit/);
    const sockets = Array.from({ length: 4 }, () => server.connectSocket());
    const answers = sockets.flatMap((s) =>
      Array.from({ length: 10 }, () => s.client.call('Produce', 9, produceFields('t', batch(['x'.repeat(50_000)])))),
    );
    await server.advance(1_000);
    expect(sockets.some((s) => !s.isReading)).toBe(true);
    hold.release();
    for (const r of await server.run(Promise.all(answers)))
      expect(r.responses[0]?.partitionResponses[0]?.errorCode).toBe(0);
    expect((await valuesOf(server, 't')).length).toBe(40);
  });
});

describe('G17 connection flood', () => {
  test('C19 the cap refuses with one log line, and those that are there are served', async () => {
    const server = await SimServer.start({ limits: { connectionsMax: 50 } });
    const clients = Array.from({ length: 50 }, () => server.connect());
    const refused = Array.from({ length: 500 }, () => server.connect());
    await server.advance(10);
    expect([refused.filter((c) => c.closed).length, clients.filter((c) => c.closed).length]).toEqual([500, 0]);
    const lines = server.logger.lines.filter((l) => l.includes('max.connections'));
    expect(lines.length).toBe(1);
    expect(lines[0]).toMatch(/^warn/);
    expect(
      (await server.run((clients[7] as (typeof clients)[number]).call('Metadata', 9, { topics: [] }))).brokers.length,
    ).toBe(1);
    clients[0]?.close();
    await server.advance(10);
    const again = server.connect();
    expect((await server.run(again.call('Metadata', 9, { topics: [] }))).brokers.length).toBe(1);
    expect(server.door.metrics.connectionsRefused.value).toBe(500);
  });
});
