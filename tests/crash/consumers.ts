/**
 * Members of consumer groups that go on through every kill. They enter in the ledger each record they were given, and
 * each commit that was acknowledged. And the fresh reader that reads everything back at the end.
 */
import { crc32 } from 'node:zlib';
import { Consumer, type Message } from '@platformatic/kafka';
import type { Consumer as KafkajsConsumer } from 'kafkajs';
import type { ReadBack, ReadPartition, ReadRecord } from './check.ts';
import { place } from './ledger.ts';
import { type Actor, late, RETRY, reason, type Setting } from './producers.ts';
import { readValue } from './values.ts';

const SESSION = { sessionTimeout: 10_000, rebalanceTimeout: 10_000, heartbeatInterval: 500 };

export class KafkajsMember implements Actor {
  readonly name: string;
  /** How often the client gave up and this member was begun anew. */
  restarts = 0;
  lastError = '';
  private stopping = false;
  private readonly setting: Setting;
  private readonly group: string;
  private readonly topics: readonly string[];
  private consumer: KafkajsConsumer | undefined;

  constructor(setting: Setting, group: string, topics: readonly string[], name: string) {
    this.name = name;
    this.setting = setting;
    this.group = group;
    this.topics = topics;
  }

  async start(): Promise<void> {
    const { kafka, ledger } = this.setting;
    this.stopping = false;
    const consumer = kafka.consumer({
      groupId: this.group,
      ...SESSION,
      maxWaitTimeInMs: 200,
      maxBytesPerPartition: 2_000_000,
      allowAutoTopicCreation: false,
      retry: { ...RETRY, restartOnFailure: async () => true },
    });
    this.consumer = consumer;
    // Some errors end a member for good (no coordinator found while the server is down): then begin anew, as applications do.
    consumer.on(consumer.events.CRASH, ({ payload: { error, restart } }) => {
      if (restart || this.stopping || this.consumer !== consumer) return;
      this.restarts += 1;
      this.lastError = error.message;
      this.consumer = undefined;
      setTimeout(() => {
        if (this.stopping) return;
        this.start().catch((reason: unknown) => ledger.problems.push(`${this.name}: ${String(reason)}`));
      }, 100);
    });
    await consumer.connect();
    await consumer.subscribe({ topics: [...this.topics], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch: { topic, partition, messages } }) => {
        for (const { offset, value } of messages) {
          ledger.show(this.group, this.name, topic, partition, Number(offset), value!);
        }
        const next = Number(messages.at(-1)!.offset) + 1;
        // A commit that is refused or cut off makes the client join again and begin at the last one that held.
        await consumer.commitOffsets([{ topic, partition, offset: String(next) }]);
        ledger.commitHolds(this.group, place(topic, partition), next);
      },
    });
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await late(this.consumer?.disconnect(), 15_000);
    this.consumer = undefined;
  }
}

type Bytes = Message<Buffer, Buffer, Buffer, Buffer>;
type PlatformaticConsumer = Consumer<Buffer, Buffer, Buffer, Buffer>;

export class PlatformaticMember implements Actor {
  readonly name: string;
  /** How often the client gave up and this member was begun anew. */
  restarts = 0;
  lastError = '';
  private readonly setting: Setting;
  private readonly group: string;
  private readonly topics: readonly string[];
  private consumer: PlatformaticConsumer | undefined;
  private stopping = false;
  private loop: Promise<void> | undefined;

  constructor(setting: Setting, group: string, topics: readonly string[], name: string) {
    this.name = name;
    this.setting = setting;
    this.group = group;
    this.topics = topics;
  }

  async start(): Promise<void> {
    this.stopping = false;
    this.loop = this.run();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await late(this.consumer?.close(true), 10_000);
    await late(this.loop, 5_000);
  }

  private async run(): Promise<void> {
    while (!this.stopping) {
      const consumer = newConsumer(this.setting.bootstrap, this.group);
      this.consumer = consumer;
      try {
        await this.follow(consumer);
      } catch (error) {
        if (this.stopping) return;
        this.restarts += 1;
        this.lastError = reason(error);
      }
      await late(consumer.close(true), 5_000);
      await new Promise((done) => setTimeout(done, 100));
    }
  }

  private async follow(consumer: PlatformaticConsumer): Promise<void> {
    const { ledger } = this.setting;
    const topics = [...this.topics];
    // What goes wrong between requests; without a listener it would end the process.
    consumer.on('error', (error: Error) => {
      this.lastError = reason(error);
    });
    const stream = await consumer.consume({ topics, mode: 'committed', fallbackMode: 'earliest', autocommit: false });
    // Positions given to us in an assignment that is over are not ours to commit.
    const pending = new Map<string, Bytes>();
    consumer.on('consumer:group:rebalance', () => pending.clear());
    consumer.on('consumer:group:join', () => pending.clear());
    let committing = false;
    const commit = async (): Promise<void> => {
      committing = true;
      try {
        while (pending.size > 0) {
          const offsets = [...pending.values()].map(({ topic, partition, offset, leaderEpoch }) => {
            return { topic, partition, offset: offset + 1n, leaderEpoch };
          });
          pending.clear();
          await consumer.commit({ offsets });
          for (const { topic, partition, offset } of offsets) {
            ledger.commitHolds(this.group, place(topic, partition), Number(offset));
          }
        }
      } catch (error) {
        // Refused or cut off: a later commit holds, or the group begins at the last one that did.
        this.lastError = reason(error);
      } finally {
        committing = false;
      }
    };
    for await (const message of stream as AsyncIterable<Bytes>) {
      const { topic, partition, offset, value } = message;
      ledger.show(this.group, this.name, topic, partition, Number(offset), value);
      pending.set(place(topic, partition), message);
      if (!committing) void commit();
    }
  }
}

function newConsumer(bootstrap: string, groupId: string): PlatformaticConsumer {
  return new Consumer({
    clientId: groupId,
    bootstrapBrokers: [bootstrap],
    groupId,
    ...SESSION,
    autocreateTopics: false,
    maxWaitTime: 200,
    maxBytes: 4_000_000,
    retries: true,
    retryDelay: 60,
  });
}

/** Reads whole topics with a client of its own. @throws Error when nothing comes for `stallMs` before the end is reached */
export async function readBack(bootstrap: string, topics: readonly string[], stallMs = 20_000): Promise<ReadBack> {
  const consumer = newConsumer(bootstrap, `read-back-${Date.now()}`);
  try {
    const ends = await consumer.listOffsets({ topics: [...topics], timestamp: -1n });
    const read = new Map<string, ReadPartition & { records: ReadRecord[] }>();
    let open = 0;
    for (const [topic, offsets] of ends) {
      for (const [partition, end] of offsets.entries()) {
        read.set(place(topic, partition), { topic, partition, end: Number(end), records: [] });
        if (end > 0n) open += 1;
      }
    }
    if (open === 0) return read;
    const stream = await consumer.consume({ topics: [...topics], mode: 'earliest', autocommit: false });
    const iterator = (stream as AsyncIterable<Bytes>)[Symbol.asyncIterator]();
    while (open > 0) {
      const next = iterator.next();
      if (await late(next, stallMs)) {
        const missing = [...read].filter(([, p]) => (p.records.at(-1)?.offset ?? -1) + 1 < p.end);
        const where = missing.map(([at, p]) => `${at} at ${(p.records.at(-1)?.offset ?? -1) + 1} of ${p.end}`);
        throw new Error(`nothing more to read for ${stallMs} ms: ${where.slice(0, 5).join(', ')}`);
      }
      const { value: message, done } = await next;
      if (done === true) throw new Error('the reader ended early');
      const at = read.get(place(message.topic, message.partition))!;
      at.records.push(readRecord(message));
      if (Number(message.offset) + 1 === at.end) open -= 1;
    }
    return read;
  } finally {
    await late(consumer.close(true), 5_000);
  }
}

function readRecord({ offset, value }: Bytes): ReadRecord {
  const named = readValue(value) ?? { key: '', counter: -1, intact: false };
  return { offset: Number(offset), crc: crc32(value), ...named };
}
