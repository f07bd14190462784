/** `hadron kafka produce`: values, or lines of a file or standard input, as records. */
import fs from 'node:fs';
import readline from 'node:readline';
import type { Readable } from 'node:stream';
import type { MessageToProduce, ProduceResult } from '@platformatic/kafka';
import { CommandFailure } from '../failure.ts';
import { counted, type Io, printJson, say } from '../io.ts';
import { clientSettings, withClient } from '../kafka-client.ts';
import { type ClientOptions, pairs } from '../options.ts';
import { progressBar } from '../progress.ts';

interface ProduceOptions extends ClientOptions {
  readonly key?: string;
  readonly keySeparator?: string;
  readonly header?: readonly string[];
  readonly partition?: number;
  readonly file?: string;
  readonly compression: string;
}

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;
/** One request carries at most this much; well below max.message.bytes (1 MiB). */
const REQUEST_BYTES = 512 * 1024;
const REQUEST_RECORDS = 5_000;

type Message = MessageToProduce<string, string, string, string>;

export async function produce(
  io: Io,
  topic: string,
  values: readonly string[],
  options: ProduceOptions,
): Promise<void> {
  const compression = CODECS.find((codec) => codec === options.compression);
  if (compression === undefined) {
    throw new CommandFailure(
      'REQUEST_INVALID',
      `--compression ${options.compression}: expected one of ${CODECS.join(', ')}`,
    );
  }
  const headers = Object.fromEntries(pairs('--header', options.header));
  const size = options.file === undefined ? undefined : fileSize(options.file);
  const { Admin, Producer, stringSerializers } = await import('@platformatic/kafka');
  // Asked first: it tells in seconds that no server answers, where an idempotent producer tries for ever.
  await withClient(new Admin(clientSettings(options.bootstrap)), options.bootstrap, async (admin) => {
    const { topics } = await admin.metadata({ topics: [topic], autocreateTopics: true });
    const count = topics.get(topic)?.partitionsCount ?? 0;
    if (options.partition === undefined || (options.partition >= 0 && options.partition < count)) return;
    throw new CommandFailure(
      'UNKNOWN_TOPIC_OR_PARTITION',
      `${topic} has ${counted(count, 'partition')}, numbered from 0; there is no partition ${options.partition}`,
    );
  });
  const lines: Iterable<string> | AsyncIterable<string> =
    values.length > 0 ? values : linesOf(options.file === undefined ? io.stdin : fs.createReadStream(options.file));
  const client = new Producer({
    ...clientSettings(options.bootstrap),
    serializers: stringSerializers,
    idempotent: true,
  });
  const firstOffsets = new Map<number, number>(); // per partition, of what was written
  let records = 0;

  await withClient(client, options.bootstrap, async (producer) => {
    const progress = await progressBar(
      io,
      `Producing to ${topic}`,
      size ?? 0,
      size === undefined ? 'records' : 'bytes',
    );
    let batch: Message[] = [];
    let batchBytes = 0;
    let bytes = 0;
    const flush = async () => {
      if (batch.length === 0) return;
      const sent = batch;
      batch = [];
      batchBytes = 0;
      const result: ProduceResult = await producer.send({
        messages: sent,
        acks: -1,
        compression,
        autocreateTopics: true,
      });
      for (const { partition, offset } of result.offsets ?? []) {
        if (!firstOffsets.has(partition)) firstOffsets.set(partition, Number(offset));
      }
      records += sent.length;
      if (size === undefined) progress.update(records, records);
      else progress.update(Math.min(bytes, size));
    };
    try {
      for await (const line of lines) {
        const message = asMessage(topic, line, headers, options);
        const messageBytes = line.length + 64;
        if (batch.length >= REQUEST_RECORDS || batchBytes + messageBytes > REQUEST_BYTES) await flush();
        batch.push(message);
        batchBytes += messageBytes;
        bytes += Buffer.byteLength(line) + 1;
      }
      await flush();
    } finally {
      progress.stop();
    }
  });
  const partitions = [...firstOffsets]
    .sort(([a], [b]) => a - b)
    .map(([partition, firstOffset]) => ({ partition, firstOffset }));
  if (options.output === 'json') printJson(io, { topic, records, partitions });
  else {
    const where = partitions
      .map(({ partition, firstOffset }) => `partition ${partition} from offset ${firstOffset}`)
      .join(', ');
    say(io, `${counted(records, 'record')} to ${topic}${where === '' ? '' : `: ${where}`}`);
  }
}

function asMessage(topic: string, line: string, headers: Record<string, string>, options: ProduceOptions): Message {
  let { key } = options;
  let value = line;
  const separator = options.keySeparator;
  if (separator !== undefined && separator !== '') {
    const at = line.indexOf(separator);
    if (at >= 0) {
      key = line.slice(0, at);
      value = line.slice(at + separator.length);
    }
  }
  return {
    topic,
    value,
    headers,
    ...(key === undefined ? {} : { key }),
    ...(options.partition === undefined ? {} : { partition: options.partition }),
  };
}

function linesOf(input: Readable): AsyncIterable<string> {
  return readline.createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
}

function fileSize(file: string): number {
  try {
    return fs.statSync(file).size;
  } catch (error) {
    throw new CommandFailure('REQUEST_INVALID', `--file ${file} cannot be read: check the path`, { cause: error });
  }
}
