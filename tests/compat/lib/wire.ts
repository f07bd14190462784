/**
 * A tiny Kafka wire client, written apart from `packages/kafka-protocol` on purpose: it is the second opinion.
 * The differential probe sends odd frames with it, the runner checks stored codecs, the benchmarks create topics.
 *
 * One connection, requests in order; only the few non-flexible API versions needed here.
 */
import { connect, type Socket } from 'node:net';

/** Grows as it is written; big-endian like everything in the protocol. */
export class WireWriter {
  private readonly parts: Buffer[] = [];

  int8(value: number): this {
    const b = Buffer.alloc(1);
    b.writeInt8(value);
    this.parts.push(b);
    return this;
  }

  int16(value: number): this {
    const b = Buffer.alloc(2);
    b.writeInt16BE(value);
    this.parts.push(b);
    return this;
  }

  int32(value: number): this {
    const b = Buffer.alloc(4);
    b.writeInt32BE(value);
    this.parts.push(b);
    return this;
  }

  int64(value: number | bigint): this {
    const b = Buffer.alloc(8);
    b.writeBigInt64BE(BigInt(value));
    this.parts.push(b);
    return this;
  }

  /** int16-length string; null is length −1. */
  string(value: string | null): this {
    if (value === null) return this.int16(-1);
    const bytes = Buffer.from(value);
    this.int16(bytes.length);
    this.parts.push(bytes);
    return this;
  }

  /** Compact string of the flexible versions (length + 1 as unsigned varint). */
  compactString(value: string): this {
    const bytes = Buffer.from(value);
    this.uvarint(bytes.length + 1);
    this.parts.push(bytes);
    return this;
  }

  uvarint(value: number): this {
    const bytes: number[] = [];
    let rest = value;
    while (rest >= 0x80) {
      bytes.push((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    bytes.push(rest);
    this.parts.push(Buffer.from(bytes));
    return this;
  }

  /** Zigzag varint, as in record batches. */
  varint(value: number): this {
    return this.uvarint(value >= 0 ? value * 2 : -value * 2 - 1);
  }

  bytes(value: Uint8Array): this {
    this.parts.push(Buffer.from(value));
    return this;
  }

  finish(): Buffer {
    return Buffer.concat(this.parts);
  }
}

export class WireReader {
  private readonly buffer: Buffer;
  private at = 0;

  constructor(buffer: Buffer) {
    this.buffer = buffer;
  }

  get remaining(): number {
    return this.buffer.length - this.at;
  }

  int8(): number {
    this.at += 1;
    return this.buffer.readInt8(this.at - 1);
  }

  int16(): number {
    this.at += 2;
    return this.buffer.readInt16BE(this.at - 2);
  }

  int32(): number {
    this.at += 4;
    return this.buffer.readInt32BE(this.at - 4);
  }

  int64(): number {
    this.at += 8;
    return Number(this.buffer.readBigInt64BE(this.at - 8));
  }

  string(): string | null {
    const length = this.int16();
    return length < 0 ? null : this.bytes(length).toString();
  }

  bytes(length: number): Buffer {
    this.at += length;
    return this.buffer.subarray(this.at - length, this.at);
  }

  array<T>(item: () => T): T[] {
    const count = this.int32();
    const items: T[] = [];
    for (let i = 0; i < count; i++) items.push(item());
    return items;
  }
}

/** A request frame with header v1, or v2 where `flexible`. */
export function requestFrame(
  apiKey: number,
  apiVersion: number,
  correlationId: number,
  body: Uint8Array,
  options: { flexible?: boolean; clientId?: string | null } = {},
): Buffer {
  const header = new WireWriter()
    .int16(apiKey)
    .int16(apiVersion)
    .int32(correlationId)
    .string(options.clientId === undefined ? 'hadron-probe' : options.clientId);
  if (options.flexible === true) header.uvarint(0);
  const rest = Buffer.concat([header.finish(), body]);
  return Buffer.concat([new WireWriter().int32(rest.length).finish(), rest]);
}

export interface FetchedPartition {
  partition: number;
  error: number;
  highWatermark: number;
  records: Buffer;
}

export interface TopicFacts {
  name: string;
  error: number;
  partitions: { index: number; error: number; leader: number }[];
}

/** One socket; `frame` reads the next response, whole convenience calls do send and read. */
export class WireConnection {
  readonly socket: Socket;
  private received: Buffer = Buffer.alloc(0);
  private closed = false;
  private waiting: (() => void) | undefined;
  private correlation = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.received = this.received.length === 0 ? chunk : Buffer.concat([this.received, chunk]);
      this.waiting?.();
    });
    const ended = (): void => {
      this.closed = true;
      this.waiting?.();
    };
    socket.on('close', ended);
    socket.on('end', ended);
    socket.on('error', ended);
  }

  static open(host: string, port: number): Promise<WireConnection> {
    return new Promise((done, failed) => {
      const socket = connect({ host, port, noDelay: true });
      socket.once('error', failed);
      socket.once('connect', () => {
        socket.off('error', failed);
        done(new WireConnection(socket));
      });
    });
  }

  get isClosed(): boolean {
    return this.closed;
  }

  close(): void {
    this.socket.destroy();
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** The next whole frame without its length; 'closed' when the peer hung up, 'timeout' after `timeoutMs`. */
  async frame(timeoutMs = 10_000): Promise<Buffer | 'closed' | 'timeout'> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      if (this.received.length >= 4) {
        const length = this.received.readInt32BE(0);
        if (this.received.length >= 4 + length) {
          const frame = this.received.subarray(4, 4 + length);
          this.received = this.received.subarray(4 + length);
          return frame;
        }
      }
      if (this.closed) return 'closed';
      const left = deadline - performance.now();
      if (left <= 0) return 'timeout';
      await new Promise<void>((done) => {
        const timer = setTimeout(done, left);
        this.waiting = () => {
          clearTimeout(timer);
          done();
        };
      });
      this.waiting = undefined;
    }
  }

  /** Sends one request with header v1 and gives back a reader behind the correlation id. */
  async call(apiKey: number, apiVersion: number, body: WireWriter, timeoutMs?: number): Promise<WireReader> {
    const correlationId = ++this.correlation;
    this.write(requestFrame(apiKey, apiVersion, correlationId, body.finish()));
    const frame = await this.frame(timeoutMs);
    if (typeof frame === 'string') throw new Error(`API ${apiKey} v${apiVersion}: connection ${frame}`);
    const reader = new WireReader(frame);
    const answered = reader.int32();
    if (answered !== correlationId) throw new Error(`correlation id ${answered}, expected ${correlationId}`);
    return reader;
  }

  async apiVersions(): Promise<Map<number, { min: number; max: number }>> {
    const reader = await this.call(18, 0, new WireWriter());
    const error = reader.int16();
    if (error !== 0) throw new Error(`ApiVersions: error ${error}`);
    return new Map(reader.array(() => [reader.int16(), { min: reader.int16(), max: reader.int16() }] as const));
  }

  /** Metadata v4; `autoCreate` asks the broker to create what it does not know. */
  async metadata(topics: string[] | null, autoCreate = false): Promise<TopicFacts[]> {
    const body = new WireWriter().int32(topics === null ? -1 : topics.length);
    for (const topic of topics ?? []) body.string(topic);
    const reader = await this.call(3, 4, body.int8(autoCreate ? 1 : 0));
    reader.int32(); // throttle
    reader.array(() => [reader.int32(), reader.string(), reader.int32(), reader.string()]);
    reader.string(); // cluster id
    reader.int32(); // controller
    return reader.array(() => {
      const error = reader.int16();
      const name = reader.string()!;
      reader.int8(); // internal
      const partitions = reader.array(() => {
        const partition = { error: reader.int16(), index: reader.int32(), leader: reader.int32() };
        reader.array(() => reader.int32());
        reader.array(() => reader.int32());
        return partition;
      });
      return { name, error, partitions };
    });
  }

  /** CreateTopics v2, then waits until every partition has a leader. */
  async createTopic(name: string, partitions: number, configs: Record<string, string> = {}): Promise<void> {
    const body = new WireWriter().int32(1).string(name).int32(partitions).int16(1).int32(0);
    body.int32(Object.keys(configs).length);
    for (const [key, value] of Object.entries(configs)) body.string(key).string(value);
    const reader = await this.call(19, 2, body.int32(60_000).int8(0), 70_000);
    reader.int32(); // throttle
    const [result] = reader.array(() => ({ name: reader.string(), error: reader.int16(), message: reader.string() }));
    if (result!.error !== 0 && result!.error !== 36) {
      throw new Error(`CreateTopics ${name}: error ${result!.error} ${result!.message ?? ''}`);
    }
    await this.awaitTopic(name, partitions);
  }

  async awaitTopic(name: string, partitions: number, timeoutMs = 60_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const [topic] = await this.metadata([name], false);
      const ready = topic?.partitions.filter((partition) => partition.error === 0 && partition.leader >= 0).length ?? 0;
      // In Kafka the metadata runs a moment ahead of the leader itself; its end offset is the proof.
      if (topic?.error === 0 && ready >= partitions && (await this.hasOffsets(name, partitions))) return;
      if (performance.now() > deadline) throw new Error(`topic ${name} has ${ready} of ${partitions} leaders`);
      await new Promise((done) => setTimeout(done, 20));
    }
  }

  private async hasOffsets(topic: string, partitions: number): Promise<boolean> {
    try {
      await this.offsets(topic, partitions, -1);
      return true;
    } catch {
      return false;
    }
  }

  async deleteTopics(...names: string[]): Promise<void> {
    const body = new WireWriter().int32(names.length);
    for (const name of names) body.string(name);
    const reader = await this.call(20, 1, body.int32(60_000), 70_000);
    reader.int32();
    for (const result of reader.array(() => ({ name: reader.string(), error: reader.int16() }))) {
      if (result.error !== 0 && result.error !== 3)
        throw new Error(`DeleteTopics ${result.name}: error ${result.error}`);
    }
  }

  /** ListOffsets v1 for all partitions 0…n−1: −1 latest, −2 earliest. */
  async offsets(topic: string, partitions: number, timestamp: number): Promise<number[]> {
    const body = new WireWriter().int32(-1).int32(1).string(topic).int32(partitions);
    for (let i = 0; i < partitions; i++) body.int32(i).int64(timestamp);
    const reader = await this.call(2, 1, body);
    const [answer] = reader.array(() => {
      reader.string();
      return reader.array(() => ({
        index: reader.int32(),
        error: reader.int16(),
        timestamp: reader.int64(),
        offset: reader.int64(),
      }));
    });
    const offsets = Array.from({ length: partitions }, () => -1);
    for (const partition of answer!) {
      if (partition.error !== 0) throw new Error(`ListOffsets ${topic}-${partition.index}: error ${partition.error}`);
      offsets[partition.index] = partition.offset;
    }
    return offsets;
  }

  /** Fetch v4 of one partition from `offset`. */
  async fetch(topic: string, partition: number, offset: number, maxBytes = 4 << 20): Promise<FetchedPartition> {
    const body = new WireWriter()
      .int32(-1)
      .int32(100)
      .int32(1)
      .int32(maxBytes)
      .int8(0)
      .int32(1)
      .string(topic)
      .int32(1)
      .int32(partition)
      .int64(offset)
      .int32(maxBytes);
    const reader = await this.call(1, 4, body);
    reader.int32();
    const [answer] = reader.array(() => {
      reader.string();
      return reader.array(() => {
        const head = { partition: reader.int32(), error: reader.int16(), highWatermark: reader.int64() };
        reader.int64(); // last stable offset
        reader.array(() => [reader.int64(), reader.int64()]);
        const size = reader.int32();
        return { ...head, records: size > 0 ? reader.bytes(size) : Buffer.alloc(0) };
      });
    });
    return answer![0]!;
  }

  /** Produce v3 of one batch; gives back error and base offset. `acks` 0 returns at once. */
  async produce(
    topic: string,
    partition: number,
    batch: Uint8Array,
    acks = 1,
  ): Promise<{ error: number; offset: number }> {
    const body = produceBody(topic, partition, batch, acks);
    if (acks === 0) {
      this.write(requestFrame(0, 3, ++this.correlation, body.finish()));
      return { error: 0, offset: -1 };
    }
    const reader = await this.call(0, 3, body);
    const [answer] = reader.array(() => {
      reader.string();
      return reader.array(() => {
        reader.int32();
        const result = { error: reader.int16(), offset: reader.int64() };
        reader.int64();
        return result;
      });
    });
    return answer![0]!;
  }
}

export function produceBody(topic: string, partition: number, batch: Uint8Array, acks = 1): WireWriter {
  return new WireWriter()
    .string(null)
    .int16(acks)
    .int32(30_000)
    .int32(1)
    .string(topic)
    .int32(1)
    .int32(partition)
    .int32(batch.length)
    .bytes(batch);
}

const codecNames = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;
export type CodecName = (typeof codecNames)[number];

/** The batches of a fetch answer, whole ones only. */
export function batchesOf(
  records: Buffer,
): { baseOffset: number; count: number; codec: CodecName; nextOffset: number }[] {
  const batches = [];
  for (let at = 0; at + 61 <= records.length; ) {
    const end = at + 12 + records.readInt32BE(at + 8);
    if (end > records.length) break;
    const baseOffset = Number(records.readBigInt64BE(at));
    batches.push({
      baseOffset,
      codec: codecNames[records.readInt16BE(at + 21) & 7] ?? 'none',
      count: records.readInt32BE(at + 57),
      nextOffset: baseOffset + records.readInt32BE(at + 23) + 1,
    });
    at = end;
  }
  return batches;
}

/** An uncompressed record batch v2 of records without keys. */
export function recordBatch(values: Uint8Array[], timestamp = Date.now()): Buffer {
  const records = values.map((value, index) => {
    const body = new WireWriter()
      .int8(0)
      .varint(0)
      .varint(index)
      .varint(-1)
      .varint(value.length)
      .bytes(value)
      .varint(0);
    const bytes = body.finish();
    return Buffer.concat([new WireWriter().varint(bytes.length).finish(), bytes]);
  });
  const checked = new WireWriter()
    .int16(0)
    .int32(values.length - 1)
    .int64(timestamp)
    .int64(timestamp)
    .int64(-1)
    .int16(-1)
    .int32(-1)
    .int32(values.length)
    .bytes(Buffer.concat(records))
    .finish();
  return new WireWriter()
    .int64(0)
    .int32(checked.length + 9)
    .int32(-1)
    .int8(2)
    .int32(crc32c(checked) | 0)
    .bytes(checked)
    .finish();
}

const crcTable = Uint32Array.from({ length: 256 }, (_, index) => {
  let crc = index;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ crcTable[(crc ^ byte) & 0xff]!;
  return (crc ^ 0xffffffff) >>> 0;
}
