/** What every transport keeps (contracts/transport.ts). One suite for all: in process, binary, HTTP and WebSocket. */
import { HadronError } from '@hadron/base/errors';
import type {
  CloudEvent,
  GroupRequest,
  PublishedEvent,
  SessionListener,
  TailCall,
  TailedEvent,
  Transport,
  TransportDelivery,
  TransportSession,
} from '@hadron/contracts';
import { cloudEvent } from '@hadron/contracts/events';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

/** A broker with a transport to it. Streams are made on demand, with the given number of partitions. */
export interface ContractWorld {
  /** Another connection. */
  connect(): Transport;
  createStream(name: string, partitions: number, config?: Readonly<Record<string, string>>): Promise<void>;
  close(): Promise<void>;
}

/** Differences that are permitted, and said in the README. */
export interface ContractOptions {
  /** Timestamps of records travel. HTTP gives the event's time instead. */
  readonly timestamps: boolean;
  /** JSON data comes byte for byte. By HTTP its values are exact and its spaces gone. */
  readonly bytes: boolean;
}

let streams = 0;

const event = (id: string, rest: Record<string, unknown> = {}): CloudEvent =>
  cloudEvent({ id, source: '/test', type: 'tested', time: '2026-01-02T03:04:05.678Z', ...rest });

/** Collects what a session is told. */
class Listener implements SessionListener {
  readonly all: TransportDelivery[] = [];
  readonly taken: string[] = [];
  readonly ends: (Error | undefined)[] = [];

  deliver(deliveries: readonly TransportDelivery[]): void {
    this.all.push(...deliveries);
  }

  withdrawn(tokens: readonly string[]): void {
    this.taken.push(...tokens);
  }

  ended(error: Error | undefined): void {
    this.ends.push(error);
  }

  async first(count: number): Promise<readonly TransportDelivery[]> {
    await vi.waitFor(() => expect(this.all.length).toBeGreaterThanOrEqual(count), { timeout: 5_000, interval: 2 });
    return this.all.slice(0, count);
  }

  ids(): string[] {
    return this.all.map((one) => one.event.id);
  }
}

export function transportContract(name: string, open: () => Promise<ContractWorld>, options: ContractOptions): void {
  describe(`the transport contract: ${name}`, () => {
    let world: ContractWorld;
    let transport: Transport;

    beforeAll(async () => {
      world = await open();
      transport = world.connect();
    });
    afterAll(async () => {
      await transport.close();
      await world.close();
    });

    const newStream = async (partitions = 1): Promise<string> => {
      const stream = `s${++streams}`;
      await world.createStream(stream, partitions);
      return stream;
    };

    const filled = async (count: number, rest: Record<string, unknown> = {}): Promise<string> => {
      const stream = await newStream();
      const events = Array.from({ length: count }, (_, i) => event(String(i), rest));
      await transport.publish({ stream, events });
      return stream;
    };

    const session = async (
      stream: string,
      credit: number,
      settings: GroupRequest = {},
      by: Transport = transport,
    ): Promise<{ listener: Listener; session: TransportSession }> => {
      const listener = new Listener();
      return { listener, session: await by.open({ stream, group: 'g', settings, credit }, listener) };
    };

    const read = async (call: TailCall, count: number): Promise<TailedEvent[]> => {
      const events: TailedEvent[] = [];
      const stop = new AbortController();
      for await (const one of transport.tail({ ...call, signal: stop.signal })) {
        events.push(one);
        if (events.length === count) break;
      }
      stop.abort();
      return events;
    };

    const refused = async (promise: Promise<unknown>): Promise<HadronError> => {
      const error: unknown = await promise.then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(HadronError);
      return error as HadronError;
    };

    describe('publish', () => {
      test('answers each event with its place, in order, when it is stored', async () => {
        const stream = await newStream();
        const events = [event('a'), event('b'), event('c')];
        expect(await transport.publish({ stream, events })).toMatchObject([
          { partition: 0, offset: 0 },
          { partition: 0, offset: 1 },
          { partition: 0, offset: 2 },
        ]);
        expect((await read({ stream, from: 'beginning' }, 3)).map((one) => one.event.id)).toEqual(['a', 'b', 'c']);
      });

      test('one key goes to one partition, the same by every transport; answers name it', async () => {
        const stream = await newStream(8);
        const keys = Array.from({ length: 40 }, (_, i) => `key-${i % 10}-é`);
        const results = await transport.publish({
          stream,
          events: keys.map((subject, i) => event(String(i), { subject })),
        });
        const byKey = new Map<string, Set<number>>();
        keys.forEach((key, i) => {
          const { partition } = results[i] as PublishedEvent;
          byKey.set(key, (byKey.get(key) ?? new Set()).add(partition));
        });
        expect([...byKey.values()].map((set) => set.size)).toEqual(Array<number>(10).fill(1));
        // Java's murmur2: fixed for ever, so that all producers of a stream agree.
        expect(keys.slice(0, 10).map((_, i) => (results[i] as PublishedEvent).partition)).toEqual(EXPECTED_PARTITIONS);
        const stored = await read({ stream, from: 'beginning' }, 40);
        for (const one of stored)
          expect(results[Number(one.event.id)]).toMatchObject({ partition: one.partition, offset: one.offset });
      });

      test('all to the partition that was asked for', async () => {
        const stream = await newStream(3);
        const events = [event('a', { subject: 'x' }), event('b', { subject: 'y' }), event('c')];
        const results = await transport.publish({ stream, events, partition: 2 });
        expect(results.map((one) => (one as PublishedEvent).partition)).toEqual([2, 2, 2]);
      });

      test('an event arrives as it was sent: attributes, their types, and data byte for byte', async () => {
        const stream = await newStream();
        const text = new TextEncoder();
        const json = '{"n": 12345678901234567890,\n "b":1.0}';
        const events = [
          event('json', { data: text.encode(json), datacontenttype: 'application/json' }),
          event('bytes', { data: Uint8Array.of(0, 255, 10, 13), datacontenttype: 'application/octet-stream' }),
          event('text', { data: 'Grüße 😀', datacontenttype: 'text/plain' }),
          event('nothing', { subject: 'Euro € 😀 "x" 100%' }),
          event('null', { data: null }),
          event('typed', { flag: true, count: -7, subject: 's', partitionkey: 'p', traceparent: '00-ab-cd-01' }),
          event('untyped', { data: Uint8Array.of(1, 2, 3) }),
        ];
        await transport.publish({ stream, events });
        const stored = (await read({ stream, from: 'beginning' }, events.length)).map((one) => one.event);
        const shown = ({ id, source, type, attributes, types, data }: CloudEvent): unknown => ({
          id,
          source,
          type,
          attributes: Object.fromEntries(attributes),
          types: types === undefined ? {} : Object.fromEntries(types),
          data: data === undefined ? undefined : Buffer.from(data).toString('latin1'),
        });
        const values = (one: CloudEvent): unknown => [
          shown({ ...one, data: undefined }),
          one.data === undefined,
          new TextDecoder().decode(one.data).replaceAll(/\s/g, ''),
        ];
        const form = options.bytes ? shown : values;
        expect(stored.map(form)).toEqual(events.map(form));
        const { listener, session: s } = await session(stream, events.length);
        const delivered = (await listener.first(events.length)).map((one) => one.event);
        expect(delivered.map(form)).toEqual(events.map(form));
        await s.close();
      });

      test('an event that is too large is refused alone; the others are stored', async () => {
        const stream = await newStream();
        const large = event('large', { data: new Uint8Array(3 * 1024 * 1024) });
        const results = await transport.publish({ stream, events: [event('a'), event('b'), large, event('c')] });
        expect(results).toMatchObject([
          { offset: 0 },
          { offset: 1 },
          { error: { code: 'EVENT_TOO_LARGE', message: expect.stringContaining('raise the limit') as unknown } },
          { offset: 2 },
        ]);
      });

      test('atomic: over partitions together, or not at all', async () => {
        const stream = await newStream(4);
        const events = Array.from({ length: 12 }, (_, i) => event(String(i), { subject: `k${i}` }));
        const results = await transport.publish({ stream, events, atomic: true });
        expect(new Set(results.map((one) => (one as PublishedEvent).partition)).size).toBeGreaterThan(1);
        const large = event('large', { subject: 'k1', data: new Uint8Array(3 * 1024 * 1024) });
        const bad = [event('x', { subject: 'k0' }), large, event('y', { subject: 'k7' })];
        const outcome = await transport.publish({ stream, events: bad, atomic: true }).catch((error: unknown) => error);
        if (Array.isArray(outcome)) for (const one of outcome) expect(one).toHaveProperty('error');
        else expect(outcome).toBeInstanceOf(HadronError);
        await transport.publish({ stream, events: [event('after', { subject: 'k1' })] });
        const stored = await read({ stream, from: 'beginning' }, 13);
        expect(stored.map((one) => one.event.id)).not.toContain('x');
        expect(stored.map((one) => one.event.id)).toContain('after');
      });

      test('a stream with a name that none can have is refused', async () => {
        const error = await refused(transport.publish({ stream: 'no/such name', events: [event('a')] }));
        expect(['TOPIC_NAME_INVALID', 'TOPIC_NOT_FOUND']).toContain(error.code);
        expect(error.happened).toBe('no');
      });

      test('many calls at once each get their own answers', async () => {
        const stream = await newStream(2);
        const calls = Array.from({ length: 50 }, (_, i) =>
          transport.publish({
            stream,
            events: [event(`${i}a`, { subject: `${i}` }), event(`${i}b`, { subject: `${i}` })],
          }),
        );
        const answered = await Promise.all(calls);
        const stored = await read({ stream, from: 'beginning' }, 100);
        const places = new Map(stored.map((one) => [one.event.id, `${one.partition}/${one.offset}`]));
        answered.forEach(([a, b], i) => {
          const [first, second] = [a as PublishedEvent, b as PublishedEvent];
          expect(places.get(`${i}a`)).toBe(`${first.partition}/${first.offset}`);
          expect(places.get(`${i}b`)).toBe(`${second.partition}/${second.offset}`);
        });
      });
    });

    describe('a stream that nobody has made', () => {
      test('is made by whoever consumes or reads it first', async () => {
        const consumed = `s${++streams}`;
        const { listener, session: s } = await session(consumed, 1);
        await transport.publish({ stream: consumed, events: [event('a')] });
        expect((await listener.first(1))[0]).toMatchObject({ offset: 0, event: { id: 'a' } });
        await s.close();
        const tailed = `s${++streams}`;
        const reading = read({ stream: tailed, from: 'beginning' }, 1);
        await transport.publish({ stream: tailed, events: [event('b')] });
        expect(await reading).toMatchObject([{ offset: 0, event: { id: 'b' } }]);
      });
    });

    describe('a stream with hadron.events=off', () => {
      test('shows each record as an event made of position and value, to groups and readers alike', async () => {
        const stream = `s${++streams}`;
        await world.createStream(stream, 1, { 'hadron.events': 'off' });
        await transport.publish({ stream, events: [event('hidden', { data: new Uint8Array([1, 2]) })] });
        const { topicId } = await transport.info(stream);
        const plain = { id: '0-0', source: `/streams/${stream}/${topicId}`, type: 'rs.hadron.record.v1' };
        const { listener, session: s } = await session(stream, 1);
        expect((await listener.first(1))[0]?.event).toMatchObject(plain);
        await s.close();
        const [read0] = await read({ stream, from: 'beginning' }, 1);
        expect(read0?.event).toMatchObject(plain);
        expect([...(read0?.event.data ?? [])]).toEqual([1, 2]);
      });
    });

    describe('info', () => {
      test('names the stream, its life and its partitions', async () => {
        const stream = await newStream(3);
        const info = await transport.info(stream);
        expect(info).toMatchObject({ name: stream, partitions: 3 });
        expect(info.topicId).not.toBe('');
      });
    });

    describe('sessions', () => {
      test('never more than the credit', async () => {
        const stream = await filled(10);
        const { listener, session: s } = await session(stream, 2);
        await listener.first(2);
        await new Promise((resolve) => setTimeout(resolve, 30));
        expect(listener.ids()).toEqual(['0', '1']);
        s.credit(3);
        await listener.first(5);
        await new Promise((resolve) => setTimeout(resolve, 30));
        expect(listener.ids()).toEqual(['0', '1', '2', '3', '4']);
        await s.close();
      });

      test('a delivery says what it is', async () => {
        const stream = await newStream();
        const before = Date.now() - 1;
        await transport.publish({ stream, events: [event('a', { subject: 'Ärger', data: { n: 1 } })] });
        const { listener, session: s } = await session(stream, 1);
        const [one] = await listener.first(1);
        expect(one).toMatchObject({
          partition: 0,
          offset: 0,
          attempt: 1,
          redrive: 0,
          event: { id: 'a', type: 'tested' },
        });
        expect(one?.lane).toBe(Buffer.from('Ärger').toString('latin1'));
        expect(one?.event.attributes.has('hadronoffset')).toBe(false);
        if (options.timestamps) expect(one?.timestampMs).toBeGreaterThan(before);
        expect(s.settings).toMatchObject({ durable: true, ordering: 'key', window: 1, policy: { timeoutMs: 30_000 } });
        await s.close();
      });

      test('answers are answered one by one, in order', async () => {
        const stream = await filled(3);
        const { listener, session: s } = await session(stream, 3);
        const [a, b, c] = (await listener.first(3)) as [TransportDelivery, TransportDelivery, TransportDelivery];
        const results = await s.answer([
          { token: a.token, verdict: { kind: 'ack' } },
          { token: 'nonsense', verdict: { kind: 'ack' } },
          { token: b.token, verdict: { kind: 'extend' } },
          { token: c.token, verdict: { kind: 'term', reason: 'no' } },
        ]);
        expect(results.map((one) => one.ok)).toEqual([true, false, true, true]);
        expect(results[1]).toMatchObject({ code: 'TOKEN_INVALID' });
        expect(await s.answer([{ token: a.token, verdict: { kind: 'ack' } }])).toMatchObject([
          { ok: false, code: 'ALREADY_SETTLED', settled: 'acked' },
        ]);
        await s.close();
      });

      test('a nack comes again, counted', async () => {
        const stream = await filled(1);
        const { listener, session: s } = await session(stream, 5);
        const [first] = (await listener.first(1)) as [TransportDelivery];
        await s.answer([{ token: first.token, verdict: { kind: 'nack', reason: 'not yet', delayMs: 0 } }]);
        const [, second] = await listener.first(2);
        expect(second).toMatchObject({ offset: 0, attempt: 2 });
        expect(second?.token).not.toBe(first.token);
        expect(await s.answer([{ token: first.token, verdict: { kind: 'ack' } }])).toMatchObject([
          { code: 'STALE_DELIVERY' },
        ]);
        await s.close();
      });

      test('those behind a nack in their lane are taken back and come again in order, uncounted', async () => {
        const stream = await filled(3);
        const { listener, session: s } = await session(stream, 6, { ordering: 'partition' });
        const [first, second, third] = await listener.first(3);
        await s.answer([{ token: first?.token ?? '', verdict: { kind: 'nack', delayMs: 0 } }]);
        await listener.first(6);
        expect(listener.taken.toSorted()).toEqual([second?.token, third?.token].toSorted());
        expect(listener.all.slice(3).map((one) => [one.event.id, one.attempt])).toEqual([
          ['0', 2],
          ['1', 1],
          ['2', 1],
        ]);
        await s.close();
      });

      test('closing gives back what is out, uncounted, and tells the end once', async () => {
        const stream = await filled(2);
        const { listener, session: s } = await session(stream, 2);
        await listener.first(2);
        await s.close();
        await vi.waitFor(() => expect(listener.ends).toEqual([undefined]));
        const next = await session(stream, 2);
        expect((await next.listener.first(2)).map((one) => one.attempt)).toEqual([1, 1]);
        await next.session.close();
        await s.close();
        expect(listener.ends).toEqual([undefined]);
      });

      test('a drained session gets nothing new, and its answers are taken', async () => {
        const stream = await filled(2);
        const { listener, session: s } = await session(stream, 1);
        const [one] = await listener.first(1);
        await s.drain();
        s.credit(5);
        expect(await s.answer([{ token: one?.token ?? '', verdict: { kind: 'ack' } }])).toEqual([{ ok: true }]);
        await new Promise((resolve) => setTimeout(resolve, 30));
        expect(listener.all).toHaveLength(1);
        await s.close();
      });

      test('other settings than the group has are refused', async () => {
        const stream = await filled(1);
        const { session: s } = await session(stream, 0, { ordering: 'key' });
        const error = await refused(session(stream, 0, { ordering: 'partition' }));
        expect(error).toMatchObject({ code: 'GROUP_SETTINGS_DIFFER', happened: 'no' });
        expect(error.message).toMatch(/key.*partition|partition.*key/s);
        await s.close();
      });

      test('two sessions share; what one leaves the other gets', async () => {
        const stream = await filled(4);
        const a = await session(stream, 2);
        await a.listener.first(2);
        const b = await session(stream, 4);
        expect((await b.listener.first(2)).map((one) => one.event.id)).toEqual(['2', '3']);
        await a.session.close();
        expect((await b.listener.first(4)).map((one) => one.event.id).toSorted()).toEqual(['0', '1', '2', '3']);
        await b.session.close();
      });
    });

    describe('tail', () => {
      test('from the beginning, and goes on with what comes', async () => {
        const stream = await filled(3);
        const seen: string[] = [];
        const stop = new AbortController();
        for await (const one of transport.tail({ stream, from: 'beginning', signal: stop.signal })) {
          seen.push(one.event.id);
          if (seen.length === 3) await transport.publish({ stream, events: [event('new')] });
          if (seen.length === 4) stop.abort();
        }
        expect(seen).toEqual(['0', '1', '2', 'new']);
      });

      test('from the latest: only what comes', async () => {
        const stream = await filled(3);
        const stop = new AbortController();
        const publishing = setTimeout(() => void transport.publish({ stream, events: [event('new')] }), 100);
        for await (const one of transport.tail({ stream, from: 'latest', signal: stop.signal })) {
          expect(one.event.id).toBe('new');
          break;
        }
        clearTimeout(publishing);
      });

      test('goes on exactly behind any event, also inside a batch, over all partitions', async () => {
        const stream = await newStream(3);
        const events = Array.from({ length: 30 }, (_, i) => event(String(i), { subject: `k${i % 7}` }));
        await transport.publish({ stream, events });
        const all = await read({ stream, from: 'beginning' }, 30);
        expect(new Set(all.map((one) => one.event.id)).size).toBe(30);
        for (const at of [0, 7, 13, 28]) {
          const rest = await read({ stream, from: { cursor: all[at]?.cursor ?? '' } }, 29 - at);
          const seen = [...all.slice(0, at + 1), ...rest].map((one) => one.event.id);
          expect(new Set(seen).size).toBe(30);
        }
      });

      test('from a time; of one partition', async () => {
        const stream = await newStream(2);
        await transport.publish({ stream, events: [event('a')], partition: 0 });
        await transport.publish({ stream, events: [event('b')], partition: 1 });
        const [one] = await read({ stream, from: { timeMs: 1 }, partition: 1 }, 1);
        expect(one).toMatchObject({ partition: 1, offset: 0, event: { id: 'b' } });
        expect((await read({ stream, from: { timeMs: 1 } }, 2)).length).toBe(2);
      });

      test('from an offset of one partition', async () => {
        const stream = await filled(3);
        const [one] = await read({ stream, from: { offset: 2 }, partition: 0 }, 1);
        expect(one).toMatchObject({ partition: 0, offset: 2 });
      });

      test('a cursor that is none is refused', async () => {
        const stream = await filled(1);
        const error = await refused(read({ stream, from: { cursor: '!!' } }, 1));
        expect(error.code).toBe('REQUEST_INVALID');
      });
    });

    describe('request', () => {
      test('the control plane, JSON in and out', async () => {
        const stream = await filled(1);
        const { session: s } = await session(stream, 0);
        const path = `/v1/streams/${stream}/groups/g`;
        expect(await transport.request('GET', path)).toMatchObject({
          stream,
          group: 'g',
          settings: { ordering: 'key' },
        });
        const { groups } = (await transport.request('GET', `/v1/streams/${stream}/groups`)) as {
          groups: { group: string }[];
        };
        expect(groups.map((one) => one.group)).toContain('g');
        await s.close();
      });

      test('failures have their code', async () => {
        const stream = await newStream();
        expect(await refused(transport.request('GET', `/v1/streams/${stream}/groups/none`))).toMatchObject({
          code: 'GROUP_NOT_FOUND',
        });
        expect(await refused(transport.request('GET', '/v1/nonsense'))).toMatchObject({ code: 'REQUEST_INVALID' });
      });
    });

    describe('close', () => {
      test('ends sessions and tails, and refuses what comes after', async () => {
        const other = world.connect();
        const stream = await filled(1);
        const { listener } = await session(stream, 1, {}, other);
        await listener.first(1);
        const tailing = (async () => {
          for await (const _ of other.tail({ stream, from: 'latest' })) break;
        })();
        tailing.catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, 30));
        await other.close();
        await vi.waitFor(() => expect(listener.ends).toHaveLength(1));
        await refused(tailing);
        expect(await refused(other.publish({ stream, events: [event('late')] }))).toMatchObject({
          code: 'CLIENT_CLOSED',
        });
        expect(await refused(other.info(stream))).toMatchObject({ code: 'CLIENT_CLOSED' });
        await other.close();
      });
    });
  });
}

/** Of `key-0-é` … `key-9-é` over eight partitions, as kafkajs (Java compatible) says. */
const EXPECTED_PARTITIONS = [7, 5, 6, 5, 0, 2, 7, 3, 1, 6];
