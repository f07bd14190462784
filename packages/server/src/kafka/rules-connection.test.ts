/** Framing, headers, versions, order, addresses, limits: R1–R4, R6, R16–R18 and what was seen on a real Kafka (§10 #1–#5). */
import { API_TABLE, ApiKey, decodeApiVersionsResponse, KafkaError as K, Reader } from '@hadron/kafka-protocol';
import { describe, expect, test } from 'vitest';
import { SimServer } from './testing/sim-server.ts';
import {
  batch,
  createTopic,
  fetchFields,
  firstPartition,
  produce,
  produceFields,
  recordsOf,
  valuesOf,
} from './testing/talk.ts';
import { ConnectionClosed, frameOf, requestBytes, type WireClient } from './testing/wire-client.ts';

const header = (apiKey: number, version: number, clientId: string | null = 'c'): Buffer => {
  const id =
    clientId === null
      ? Buffer.from([0xff, 0xff])
      : Buffer.concat([Buffer.from([0, clientId.length]), Buffer.from(clientId)]);
  const b = Buffer.alloc(8);
  b.writeInt16BE(apiKey, 0);
  b.writeInt16BE(version, 2);
  b.writeInt32BE(77, 4);
  return Buffer.concat([b, id]);
};

async function isAlive(server: SimServer, client: WireClient): Promise<boolean> {
  return server.run(client.call('ApiVersions', 0)).then(
    () => true,
    (error: unknown) => {
      if (error instanceof ConnectionClosed) return false;
      throw error;
    },
  );
}

describe('R1 framing and headers', () => {
  test('R1.1 client_id is a classic nullable string in header v1 and v2', async () => {
    const server = await SimServer.start();
    for (const clientId of [null, '', 'x', 'é'.repeat(200)]) {
      for (const version of [8, 9]) {
        const client = server.connect();
        client.clientId = clientId;
        expect((await server.run(client.call('Metadata', version, { topics: [] }))).brokers.length).toBe(1);
      }
    }
  });

  test('R1.1 a frame cut into single bytes, and many frames in one piece', async () => {
    const server = await SimServer.start();
    const client = server.connect();
    const bytes = requestBytes('Metadata', 9, { topics: [] }, 1);
    const answer = client.ask(Buffer.alloc(0));
    for (const b of bytes) client.send(Buffer.from([b]));
    expect((await server.run(answer)).readInt32BE(0)).toBe(1);
    const many = Array.from({ length: 50 }, (_, i) => requestBytes('Metadata', 9, { topics: [] }, i + 2));
    const all = Buffer.concat(many);
    const answers = many.map(() => client.ask(Buffer.alloc(0)));
    for (let at = 0; at < all.length; at += 7) client.send(all.subarray(at, at + 7));
    expect((await server.run(Promise.all(answers))).map((f) => f.readInt32BE(0))).toEqual(many.map((_, i) => i + 2));
  });

  test('R1.2 response header v0 and v1; ApiVersions always v0', async () => {
    const server = await SimServer.start();
    const client = server.connect();
    for (const version of [0, 1, 2, 3, 4]) {
      const frame = await server.run(
        client.ask(
          requestBytes('ApiVersions', version, { clientSoftwareName: 'a', clientSoftwareVersion: '1' }, 5),
          ApiKey.ApiVersions,
          version,
        ),
      );
      expect([frame.readInt32BE(0), frame.readInt16BE(4)]).toEqual([5, 0]); // the error code follows at once
    }
    const classic = await server.run(client.ask(requestBytes('Heartbeat', 3, { groupId: 'g', memberId: 'm' }, 6)));
    expect(classic.length).toBe(4 + 4 + 2);
    const flexible = await server.run(client.ask(requestBytes('Heartbeat', 4, { groupId: 'g', memberId: 'm' }, 7)));
    expect([flexible.length, flexible[4]]).toEqual([4 + 1 + 4 + 2 + 1, 0]);
  });
});

describe('R2 ApiVersions', () => {
  test.each([5, 99, 32767, -1])(
    'R2.1 version %i is answered with 35 in a v0 body, its own range, and the connection stays',
    async (version) => {
      const server = await SimServer.start();
      const client = server.connect();
      for (const body of ['', '00', '00ffffffff', '00deadbeef'.repeat(20)]) {
        const frame = await server.run(
          client.ask(
            frameOf(
              Buffer.concat([header(18, version), Buffer.from(version >= 3 && body === '' ? '00' : body, 'hex')]),
            ),
          ),
        );
        expect(frame.readInt32BE(0)).toBe(77);
        const r = decodeApiVersionsResponse(new Reader(frame, 4), 0);
        expect(r.errorCode).toBe(K.UNSUPPORTED_VERSION);
        expect(r.apiKeys).toEqual(
          [{ apiKey: 18, minVersion: 0, maxVersion: 4 }].map((a) => expect.objectContaining(a)),
        );
        expect(frame.length).toBe(16); // §10 #2
      }
      expect(await isAlive(server, client)).toBe(true);
    },
  );

  test.each([
    ['librdkafka', '2.3.0', 0],
    ['a', '1', 0],
    ['a-b.c', '1.0-rc1', 0],
    ['', '1', 42],
    ['a', '', 42],
    ['-a', '1', 42],
    ['a-', '1', 42],
    ['a b', '1', 42],
    ['a', '1.', 42],
    ['ä', '1', 42],
  ])('R2.2 software %j %j → %i', async (name, version, code) => {
    const server = await SimServer.start();
    for (const v of [3, 4]) {
      const client = server.connect();
      expect(
        (await server.run(client.call('ApiVersions', v, { clientSoftwareName: name, clientSoftwareVersion: version })))
          .errorCode,
      ).toBe(code);
      expect(await isAlive(server, client)).toBe(true);
    }
  });

  test('R2.3 no feature is announced before its path works', async () => {
    const server = await SimServer.start();
    const r = await server.ask('ApiVersions', 4, { clientSoftwareName: 'a', clientSoftwareVersion: '1' });
    expect([r.supportedFeatures, r.finalizedFeatures]).toEqual([[], []]);
  });

  test('§10 #1 R6.1 R6.2 R6.3 R9.2 what is announced', async () => {
    const server = await SimServer.start();
    const r = await server.ask('ApiVersions', 4, { clientSoftwareName: 'a', clientSoftwareVersion: '1' });
    expect(Object.fromEntries(r.apiKeys.map((a) => [a.apiKey, `${a.minVersion}-${a.maxVersion}`]))).toEqual({
      0: '0-12',
      1: '4-16',
      2: '1-9',
      3: '0-13',
      8: '2-9',
      9: '1-9',
      10: '0-6',
      11: '0-9',
      12: '0-4',
      13: '0-5',
      14: '0-5',
      18: '0-4',
      19: '2-7',
      20: '1-6',
      21: '0-2',
      22: '0-5',
      37: '0-3',
    });
  });
});

describe('R3 §10 #3 unsupported keys and versions, malformed bodies', () => {
  const cases: [string, Buffer][] = [
    ['unknown key', header(999, 0)],
    ['negative key', header(-1, 0)],
    ['key without handler', header(4, 0)],
    ['Produce v2, announced but not served (R6.1)', header(0, 2)],
    ['Metadata v14', header(3, 14)],
    ['Fetch v3', header(1, 3)],
    ['Fetch v17', header(1, 17)],
    ['negative version', header(3, -1)],
    ['truncated body', Buffer.concat([header(3, 8), Buffer.from('0000', 'hex')])],
    ['array longer than the frame', Buffer.concat([header(3, 1), Buffer.from('000000ff', 'hex')])],
    ['negative string', Buffer.concat([header(3, 1), Buffer.from('00000001fffe', 'hex')])],
    ['client id longer than the frame', Buffer.from('0003000100000001' + '7fff' + '00', 'hex')],
    ['ApiVersions v5 without its tag byte (§10 #2)', header(18, 5)],
  ];
  test.each(cases)('R3 %s: closed without an answer, logged, nothing else disturbed', async (_, body) => {
    const server = await SimServer.start();
    const other = server.connect();
    const client = server.connect();
    await expect(server.run(client.ask(frameOf(body)))).rejects.toThrow(ConnectionClosed);
    expect(server.logger.lines.some((l) => /^(warn|info)/.test(l))).toBe(true);
    expect(await isAlive(server, other)).toBe(true);
  });

  // Contract §10 #3 says that Kafka closes here; Kafka 4.3.1 does not, and librdkafka 2.16 relies on it (tests/compat).
  test('R3 bytes behind a request are ignored, as Kafka 4.3.1 does', async () => {
    const server = await SimServer.start();
    const client = server.connect();
    await server.run(client.ask(frameOf(Buffer.concat([header(3, 1), Buffer.from('00000000ff', 'hex')]))));
    expect(await isAlive(server, client)).toBe(true);
  });

  test('R3 the log line has key, version and client', async () => {
    const server = await SimServer.start();
    const client = server.connect();
    await expect(
      server.run(client.ask(frameOf(Buffer.concat([header(3, 14, 'me'), Buffer.from([0])])))),
    ).rejects.toThrow(ConnectionClosed);
    const line = server.logger.lines.find((l) => l.includes('unsupported API or version')) ?? '';
    expect(line).toMatch(/"api":"Metadata","version":14,.*"clientId":"me"/);
  });
});

describe('R4 order', () => {
  test('R4.1 §10 #5 300 pipelined requests are answered in order', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const client = server.connect();
    const answers: Promise<unknown>[] = [];
    for (let i = 0; i < 300; i++) {
      answers.push(
        i % 3 === 0
          ? client.call('Produce', 9, produceFields('t', batch([`${i}`])))
          : i % 3 === 1
            ? client.call('Metadata', 9, { topics: null })
            : client.call('ListOffsets', 5, { topics: [] }),
      );
    }
    await server.run(Promise.all(answers));
    expect(client.answered).toEqual(client.answered.map((_, i) => i + 1));
    expect(client.answered.length).toBe(300);
  });

  test('R4.2 produce requests of one connection are appended in arrival order', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const client = server.connect();
    const n = 200;
    const answers = Array.from({ length: n }, (_, i) =>
      client.call('Produce', 7, produceFields('t', batch([`v${i}`]))),
    );
    const offsets = (await server.run(Promise.all(answers))).map(
      (r) => r.responses[0]?.partitionResponses[0]?.baseOffset,
    );
    expect(offsets).toEqual(Array.from({ length: n }, (_, i) => i));
    expect(await valuesOf(server, 't')).toEqual(Array.from({ length: n }, (_, i) => `v${i}`));
  });

  test('R4.3 a long poll holds back later answers of its socket, and of no other', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const client = server.connect();
    const other = server.connect();
    const poll = client.call('Fetch', 11, fetchFields('t', 0, { maxWaitMs: 5_000 }));
    const behind = client.call('Metadata', 9, { topics: [] });
    await server.run(other.call('Metadata', 9, { topics: [] }));
    await server.advance(1_000);
    expect(client.answered).toEqual([]);
    await server.run(Promise.all([poll, behind]));
    expect(server.nowMs).toBeGreaterThan(5_000);
    expect(client.answered).toEqual([1, 2]);
  });
});

describe('R16 addresses', () => {
  test('R16.2 metadata and coordinator echo the address the client came in on', async () => {
    const server = await SimServer.start();
    for (const local of [
      { host: '127.0.0.1', port: 9092 },
      { host: '::1', port: 9092 },
      { host: '10.1.2.3', port: 19092 },
    ]) {
      const client = server.connect(local);
      expect((await server.run(client.call('Metadata', 12, { topics: [] }))).brokers[0]).toMatchObject(local);
      expect(await server.run(client.call('FindCoordinator', 3, { key: 'g' }))).toMatchObject(local);
      expect(
        (await server.run(client.call('FindCoordinator', 4, { coordinatorKeys: ['g'] }))).coordinators[0],
      ).toMatchObject(local);
    }
  });

  test('R16.2 an IPv4 client of an IPv6 listener is told an IPv4 address', async () => {
    const server = await SimServer.start();
    const client = server.connect({ host: '::ffff:10.0.0.1', port: 9092 });
    expect((await server.run(client.call('Metadata', 12, { topics: [] }))).brokers[0]?.host).toBe('10.0.0.1');
  });

  test('R16.2 --advertise wins', async () => {
    const server = await SimServer.start({ advertise: { host: 'broker.example.com', port: 1234 } });
    expect((await server.ask('Metadata', 12, { topics: [] })).brokers[0]).toMatchObject({
      host: 'broker.example.com',
      port: 1234,
    });
  });
});

describe('R17 limits', () => {
  test.each([-1, 0, 3, 9, 104_857_601, 0x7fffffff, -0x80000000])(
    'R17 §10 #4 a frame of %i bytes is closed at once',
    async (length) => {
      const server = await SimServer.start();
      const client = server.connect();
      const b = Buffer.alloc(4);
      b.writeInt32BE(length);
      const before = server.nowMs;
      client.send(b);
      await server.run(client.whenClosed());
      expect(server.nowMs - before).toBeLessThan(5);
    },
  );

  test('R17 §10 #4 a frame of 104,857,600 bytes is waited for, and costs what has come of it', async () => {
    const server = await SimServer.start();
    const client = server.connect();
    const b = Buffer.alloc(100);
    b.writeInt32BE(104_857_600);
    client.send(b);
    await server.advance(5_000);
    expect(client.closed).toBe(false);
    expect(server.door.memory.usedBytes).toBeLessThanOrEqual(16 * 1024);
  });

  test('R17 max.message.bytes per topic: MESSAGE_TOO_LARGE, and one byte less is taken', async () => {
    const server = await SimServer.start();
    await createTopic(server, 'small', { config: { 'max.message.bytes': '1000' } });
    await createTopic(server, 'usual');
    const sized = (bytes: number): Buffer => {
      const empty = batch(['x'.repeat(bytes - 200)]).length - (bytes - 200);
      const b = batch(['x'.repeat(bytes - empty)]);
      expect(b.length).toBe(bytes);
      return b;
    };
    expect((await produce(server, 'small', sized(1000))).errorCode).toBe(0);
    expect((await produce(server, 'small', sized(1001))).errorCode).toBe(K.MESSAGE_TOO_LARGE);
    expect((await produce(server, 'usual', sized(1_048_588))).errorCode).toBe(0);
    expect((await produce(server, 'usual', sized(1_048_589))).errorCode).toBe(K.MESSAGE_TOO_LARGE);
    expect((await valuesOf(server, 'small')).length).toBe(1);
  });

  test('R17 1,000,001 elements and 10,001 tagged fields are refused before anything is allocated', async () => {
    const server = await SimServer.start();
    const before = process.memoryUsage().heapUsed;
    for (const body of ['000f4241', '7fffffff']) {
      const client = server.connect();
      await expect(
        server.run(client.ask(frameOf(Buffer.concat([header(3, 1), Buffer.from(body, 'hex')])))),
      ).rejects.toThrow(ConnectionClosed);
    }
    const client = server.connect();
    const tags = Buffer.concat([Buffer.from('914e', 'hex'), Buffer.alloc(30_000)]);
    await expect(server.run(client.ask(frameOf(Buffer.concat([header(3, 9), tags]))))).rejects.toThrow(
      ConnectionClosed,
    );
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(32 * 1024 * 1024);
  });

  test('R17 limits of names and partition counts answer the protocol’s own errors', async () => {
    const server = await SimServer.start({
      set: { 'hadron.max.partitions': '20', 'hadron.max.partitions.per.topic': '15' },
    });
    const codes = async (name: string, partitions = 1): Promise<number> =>
      (await createTopic(server, name, { partitions })).errorCode;
    expect(await codes('a'.repeat(249))).toBe(0);
    for (const name of ['a'.repeat(250), '', '.', '..', 'a b', 'ä', 'a/b', 'a\u0000b'])
      expect(await codes(name)).toBe(K.INVALID_TOPIC_EXCEPTION);
    for (const partitions of [0, -2, 16, 0x7fffffff])
      expect(await codes('parts', partitions)).toBe(K.INVALID_PARTITIONS);
    expect(await codes('parts', 15)).toBe(0);
    expect(await codes('more', 5)).toBe(K.INVALID_PARTITIONS);
    expect(await codes('more', 4)).toBe(0);
    // Auto-creation obeys the same limits.
    const auto = await server.ask('Metadata', 9, {
      topics: [{ name: 'one-more', topicId: '0'.repeat(32) }],
      allowAutoTopicCreation: true,
    });
    expect(auto.topics[0]?.errorCode).toBe(K.INVALID_PARTITIONS);
  });
});

test('R18 throttle_time_ms is 0 everywhere', async () => {
  const server = await SimServer.start();
  await createTopic(server, 't');
  const client = server.connect();
  const r = await server.run(
    Promise.all([
      client.call('Produce', 12, produceFields('t', batch(['a']))),
      client.call('Fetch', 12, fetchFields('t', 0)),
      client.call('ListOffsets', 9, { topics: [] }),
      client.call('Metadata', 12, { topics: [] }),
      client.call('OffsetCommit', 9, { groupId: 'g', generationIdOrMemberEpoch: -1, topics: [] }),
      client.call('OffsetFetch', 9, { groups: [] }),
      client.call('FindCoordinator', 6, { coordinatorKeys: ['g'] }),
      client.call('JoinGroup', 9, {
        groupId: 'g',
        sessionTimeoutMs: 10_000,
        protocolType: 'consumer',
        protocols: [{ name: 'range', metadata: Buffer.alloc(0) }],
      }),
      client.call('SyncGroup', 5, { groupId: 'g' }),
      client.call('Heartbeat', 4, { groupId: 'g' }),
      client.call('LeaveGroup', 5, { groupId: 'g' }),
      client.call('ApiVersions', 4, { clientSoftwareName: 'a', clientSoftwareVersion: '1' }),
      client.call('CreateTopics', 7, { topics: [] }),
      client.call('DeleteTopics', 6, { topics: [] }),
      client.call('DeleteRecords', 2, { topics: [] }),
      client.call('CreatePartitions', 3, { topics: [] }),
      client.call('InitProducerId', 5, { transactionTimeoutMs: 1 }),
    ]),
  );
  expect(r.map((x) => x.throttleTimeMs)).toEqual(API_TABLE.map(() => 0));
});

test('§10 #5 1,000 idle connections stay usable; half-sent frames disturb nobody', async () => {
  const server = await SimServer.start();
  await createTopic(server, 't');
  const clients = Array.from({ length: 1_000 }, () => server.connect());
  for (let i = 0; i < 500; i++)
    clients[i]?.send(requestBytes('Metadata', 9, { topics: null }).subarray(0, 1 + (i % 20)));
  await server.run(clients[999]?.call('Produce', 9, produceFields('t', batch(['a']))) as Promise<unknown>);
  for (let i = 500; i < 1_000; i++) {
    const r = await server.run((clients[i] as WireClient).call('Fetch', 11, fetchFields('t', 0)));
    expect(recordsOf(firstPartition(r).records).length).toBe(1);
  }
});
