/** `hadron kafka consume`: records as they come, a line each. */
import type { Consumer, Message } from '@platformatic/kafka';
import { counted, type Io, say } from '../io.ts';
import { clientSettings, unknownTopic, withClient } from '../kafka-client.ts';
import type { ClientOptions } from '../options.ts';
import { onStopSignals } from '../signals.ts';

interface ConsumeOptions extends ClientOptions {
  readonly fromBeginning?: boolean;
  readonly group?: string;
  readonly max?: number;
  readonly exit?: boolean;
}

/** How often the end of the topic is looked for: a partition may end in records that are not shown. */
const END_CHECK_MS = 50;
/** With --group, what was printed is committed this often, and at the end. */
const COMMIT_MS = 1_000;

export async function consume(io: Io, topic: string, options: ConsumeOptions): Promise<void> {
  const { Consumer } = await import('@platformatic/kafka');
  const client = new Consumer({
    ...clientSettings(options.bootstrap),
    // Without --group nothing is committed and the group's name is never used again.
    groupId: options.group ?? `hadron-cli-${process.pid}-${Date.now().toString(36)}`,
    // The client would commit what it has fetched, seen or not.
    autocommit: false,
    maxWaitTime: 500,
  });
  const count = await withClient(client, options.bootstrap, async (consumer) => {
    const metadata = await consumer.metadata({ topics: [topic], autocreateTopics: false }).catch((error: unknown) => {
      throw /unknown topic/i.test(String(error)) ? unknownTopic(topic) : error;
    });
    if ((metadata.topics.get(topic)?.partitionsCount ?? 0) === 0) throw unknownTopic(topic);
    const ends = options.exit === true ? await consumer.listOffsets({ topics: [topic] }) : undefined;
    const ending = ends?.get(topic) ?? [];
    if (options.exit === true && ending.every((end) => end <= 0n)) return 0;
    const fallback = options.fromBeginning === true ? 'earliest' : 'latest';
    const stream = await consumer.consume({
      topics: [topic],
      mode: options.group === undefined ? fallback : 'committed',
      fallbackMode: fallback,
    });
    const atEnd = () =>
      stream.readableLength === 0 &&
      ending.every((end, partition) => (stream.offsetsToFetch.get(`${topic}:${partition}`) ?? -1n) >= end);
    let stopping = false;
    const stop = () => {
      if (stopping) return;
      stopping = true;
      void stream.close().catch(() => {}); // ends the loop below; a failure to say good-bye changes nothing
    };
    const removeSignals = onStopSignals({ first: stop, second: () => process.exit(130) });
    const endCheck = options.exit === true ? setInterval(() => void (atEnd() && stop()), END_CHECK_MS) : undefined;
    let seen = 0;
    const printed = new Printed(consumer, topic);
    let failed: { readonly error: unknown } | undefined;
    const commit = (): void =>
      void printed.commit().catch((error: unknown) => {
        failed ??= { error };
        stop();
      });
    const committing = options.group === undefined ? undefined : setInterval(commit, COMMIT_MS);
    try {
      for await (const message of stream) {
        if (stopping) break;
        const end = ending[message.partition];
        if (end !== undefined && message.offset >= end) continue; // written after we looked
        if (!io.stdout.write(format(message, options))) await drained(io);
        printed.add(message);
        seen += 1;
        if (seen === options.max) stop();
      }
      if (failed !== undefined) throw failed.error;
      if (options.group !== undefined) await printed.commit();
    } finally {
      clearInterval(endCheck);
      clearInterval(committing);
      removeSignals();
      stop();
    }
    return seen;
  });
  if (options.output !== 'json' && io.stdout.isTTY === true) say(io, counted(count, 'record'));
}

/** The place behind what was printed, per partition. */
class Printed {
  private readonly consumer: Pick<Consumer, 'commit'>;
  private readonly topic: string;
  private readonly next = new Map<number, bigint>();

  constructor(consumer: Pick<Consumer, 'commit'>, topic: string) {
    this.consumer = consumer;
    this.topic = topic;
  }

  add({ partition, offset }: Pick<Message, 'partition' | 'offset'>): void {
    this.next.set(partition, offset + 1n);
  }

  async commit(): Promise<void> {
    const { topic } = this;
    const offsets = [...this.next].map(([partition, offset]) => ({ topic, partition, offset, leaderEpoch: -1 }));
    this.next.clear();
    if (offsets.length > 0) await this.consumer.commit({ offsets });
  }
}

function drained(io: Io): Promise<void> {
  return new Promise((resolve) => io.stdout.once('drain', () => resolve()));
}

/** JSON: an object per line. Table: partition, offset, key and value, divided by tabs. */
function format(message: Message, { output }: ConsumeOptions): string {
  const text = (bytes: Buffer | null | undefined) =>
    bytes === null || bytes === undefined ? null : bytes.toString('utf8');
  const { partition, offset, key, value, timestamp } = message;
  if (output === 'json') {
    const headers = message.headerEntries.map(([name, content]) => [text(name), text(content)]);
    const record = {
      partition,
      offset: Number(offset),
      timestamp: Number(timestamp),
      key: text(key),
      value: text(value),
      headers,
    };
    return `${JSON.stringify(record)}\n`;
  }
  return `${partition}\t${offset}\t${text(key) ?? '-'}\t${text(value) ?? '(deleted)'}\n`;
}
