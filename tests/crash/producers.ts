/**
 * Producers that go on through every kill: they send, wait for the answer (their client tries again on its own for as long
 * as it takes) and enter in the ledger what was acknowledged and where. Each key belongs to one producer, and its counters
 * only go up.
 *
 * The two JavaScript clients are exact under idempotence with one request in flight. kcat (librdkafka) is the one that
 * keeps five in flight and sends them again in order.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { type CompressionAlgorithmValue, Producer } from '@platformatic/kafka';
import kafkajs, { type Kafka } from 'kafkajs';
import { which } from '../compat/lib/shell.ts';
import type { KeyState, Ledger } from './ledger.ts';
import { SeededRandom } from './random.ts';
import { makeValue, mixedSize } from './values.ts';

export interface Actor {
  readonly name: string;
  /** What it waits for, where that is worth telling. */
  readonly doing?: string;
  start(): Promise<void>;
  /** Resolves when everything it sent is answered. */
  stop(): Promise<void>;
}

export interface Setting {
  readonly kafka: Kafka;
  readonly bootstrap: string;
  readonly ledger: Ledger;
  readonly seed: string;
}

interface Outgoing {
  readonly state: KeyState;
  readonly counter: number;
  readonly value: Buffer;
  readonly bytes: number;
}

interface Answered {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

interface Plan {
  readonly name: string;
  readonly exact: boolean;
  /** topic → number of partitions; every partition gets `keysPerPartition` keys of this producer */
  readonly topics: Readonly<Record<string, number>>;
  readonly keysPerPartition: number;
  /** What goes out next: some of the keys, each perhaps several times. */
  next(random: SeededRandom, keys: readonly KeyState[]): { state: KeyState; bytes: number }[];
  /** Pause after an answer, at most. */
  readonly pauseMs: number;
  /** Used for one batch in five. kafkajs reads gzip only. */
  readonly codecs: readonly CompressionAlgorithmValue[];
}

/** The clients are told to try again without end; slower than this only while the server is down. */
export const RETRY = { initialRetryTime: 40, maxRetryTime: 250, retries: 1_000_000 };
const RETRY_DELAY_MS = 60;
const STOP_MS_MAX = 30_000;

export function producers(setting: Setting): Actor[] {
  const small = {
    topics: { events: 4, orders: 3 },
    keysPerPartition: 2,
    next: someKeys(40),
    pauseMs: 30,
    codecs: ['gzip'],
  } as const;
  const bulk = {
    topics: { bulk: 2 },
    keysPerPartition: 2,
    next: bulkBatch,
    pauseMs: 250,
    codecs: ['lz4', 'zstd'],
  } as const;
  const list: Actor[] = [
    new KafkajsProducer(setting, { name: 'kafkajs', exact: true, ...small }),
    new KafkajsProducer(setting, { name: 'kafkajs-plain', exact: false, ...small, topics: { plain: 2 } }),
    new PlatformaticProducer(setting, { name: 'platformatic', exact: true, ...small }),
    new PlatformaticProducer(setting, { name: 'platformatic-bulk', exact: true, ...bulk }),
    new PlatformaticProducer(setting, {
      name: 'platformatic-os',
      exact: true,
      ...small,
      topics: { os: 2 },
      codecs: ['snappy'],
    }),
    new PlatformaticProducer(setting, {
      name: 'platformatic-wide',
      exact: true,
      topics: { wide: 24 },
      keysPerPartition: 1,
      next: someKeys(6),
      pauseMs: 25,
      codecs: ['zstd'],
    }),
  ];
  const kcat = which('kcat');
  if (kcat !== undefined) list.push(new KcatProducer(setting, kcat));
  return list;
}

function someKeys(recordsMax: number): Plan['next'] {
  return (random, keys) => {
    const chosen = Array.from({ length: random.between(1, 3) }, () => random.pick(keys));
    return Array.from({ length: random.between(1, recordsMax) }, () => ({
      state: random.pick(chosen),
      bytes: mixedSize(random),
    }));
  };
}

/** Now one large record, now a batch of several 8 KiB, now a single small one: appends go either way, in turn. */
const bulkBatch: Plan['next'] = (random, keys) => {
  const dice = random.next();
  if (dice < 0.3) return [{ state: random.pick(keys), bytes: random.between(140_000, 900_000) }];
  if (dice < 0.45) return [{ state: random.pick(keys), bytes: random.between(100, 3_000) }];
  const { partition } = random.pick(keys);
  const same = keys.filter((state) => state.partition === partition);
  return Array.from({ length: random.between(12, 90) }, () => ({ state: random.pick(same), bytes: 8_192 }));
};

abstract class LoopingProducer implements Actor {
  readonly name: string;
  protected readonly setting: Setting;
  protected readonly random: SeededRandom;
  protected readonly plan: Plan;
  private readonly keys: KeyState[] = [];
  private stopping = false;
  private loop: Promise<void> | undefined;

  constructor(setting: Setting, plan: Plan) {
    this.name = plan.name;
    this.setting = setting;
    this.plan = plan;
    this.random = new SeededRandom(`${setting.seed} ${plan.name}`);
    for (const [topic, partitions] of Object.entries(plan.topics)) {
      for (let partition = 0; partition < partitions; partition++) {
        for (let i = 0; i < plan.keysPerPartition; i++) {
          const key = `${plan.name}.${topic}.${partition}.${i}`;
          this.keys.push(setting.ledger.key(key, topic, partition, plan.exact));
        }
      }
    }
  }

  protected abstract connect(): Promise<void>;
  protected abstract send(records: readonly Outgoing[]): Promise<Answered[]>;
  protected abstract disconnect(): Promise<void>;

  async start(): Promise<void> {
    await this.connect();
    this.loop = this.run();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    if (await late(this.loop, STOP_MS_MAX)) {
      this.setting.ledger.problems.push(`${this.name}: no answer to the last send within ${STOP_MS_MAX} ms`);
    }
    await late(this.disconnect(), 5_000);
  }

  private async run(): Promise<void> {
    const { ledger } = this.setting;
    while (!this.stopping) {
      const records = this.plan.next(this.random, this.keys).map(({ state, bytes }): Outgoing => {
        const counter = state.sent++;
        return { state, counter, bytes, value: makeValue(state.key, counter, bytes) };
      });
      try {
        const answers = await this.send(records);
        ledger.acknowledge(this.name, records);
        this.enter(records, answers);
      } catch (error) {
        ledger.giveUp(records);
        ledger.problems.push(`${this.name}: a send was given up: ${reason(error)}`);
      }
      await new Promise((done) => setTimeout(done, this.random.between(0, this.plan.pauseMs)));
    }
  }

  private enter(records: readonly Outgoing[], answers: readonly Answered[]): void {
    const { ledger } = this.setting;
    for (const { topic, partition, offset } of answers) {
      const first = records.find(({ state }) => state.topic === topic && state.partition === partition);
      if (first === undefined) ledger.problems.push(`${this.name}: an answer for ${topic}/${partition}, nothing sent`);
      else ledger.ackedOffset(topic, partition, offset, { key: first.state.key, counter: first.counter });
    }
  }
}

class KafkajsProducer extends LoopingProducer {
  private readonly producer;

  constructor(setting: Setting, plan: Plan) {
    super(setting, plan);
    const idempotent = plan.exact ? { idempotent: true, maxInFlightRequests: 1 } : {};
    this.producer = setting.kafka.producer({ ...idempotent, allowAutoTopicCreation: false, retry: RETRY });
  }

  protected connect(): Promise<void> {
    return this.producer.connect();
  }

  protected async send(records: readonly Outgoing[]): Promise<Answered[]> {
    const topics = Map.groupBy(records, ({ state }) => state.topic);
    const { CompressionTypes } = kafkajs;
    const done = await this.producer.sendBatch({
      acks: -1,
      compression: this.random.chance(0.2) ? CompressionTypes.GZIP : CompressionTypes.None,
      topicMessages: [...topics].map(([topic, list]) => ({
        topic,
        messages: list.map(({ state, value }) => ({ key: state.key, value, partition: state.partition })),
      })),
    });
    return done.map(({ topicName, partition, baseOffset }) => ({
      topic: topicName,
      partition,
      offset: Number(baseOffset),
    }));
  }

  protected disconnect(): Promise<void> {
    return this.producer.disconnect();
  }
}

class PlatformaticProducer extends LoopingProducer {
  private readonly producer: Producer<Buffer, Buffer, Buffer, Buffer>;
  private producerId: bigint | undefined;

  constructor(setting: Setting, plan: Plan) {
    super(setting, plan);
    this.producer = new Producer<Buffer, Buffer, Buffer, Buffer>({
      clientId: plan.name,
      bootstrapBrokers: [setting.bootstrap],
      idempotent: plan.exact,
      autocreateTopics: false,
      retries: true,
      retryDelay: RETRY_DELAY_MS,
    });
  }

  protected async connect(): Promise<void> {}

  protected async send(records: readonly Outgoing[]): Promise<Answered[]> {
    const compression: CompressionAlgorithmValue = this.random.chance(0.8)
      ? 'none'
      : this.random.pick(this.plan.codecs);
    const { offsets = [] } = await this.producer.send({
      acks: -1,
      compression,
      messages: records.map(({ state, value }) => ({
        topic: state.topic,
        partition: state.partition,
        key: Buffer.from(state.key),
        value,
      })),
    });
    this.sameProducer();
    return offsets.map(({ topic, partition, offset }) => ({ topic, partition, offset: Number(offset) }));
  }

  /** This client takes a new id in silence when the server no longer knows its sequence. */
  private sameProducer(): void {
    const { producerId } = this.producer;
    if (this.producerId !== undefined && producerId !== this.producerId) {
      this.setting.ledger.problems.push(
        `${this.name}: the server forgot producer ${this.producerId}, it became ${producerId}`,
      );
    }
    this.producerId = producerId;
  }

  protected disconnect(): Promise<void> {
    return this.producer.close();
  }
}

/** librdkafka with idempotence and five requests in flight. One partition, so that reports come in the order of sending. */
class KcatProducer implements Actor {
  readonly name = 'kcat';
  private readonly setting: Setting;
  private readonly program: string;
  private readonly random: SeededRandom;
  private readonly keys: KeyState[];
  private readonly waiting: Outgoing[] = [];
  private child: ChildProcess | undefined;
  private timer: NodeJS.Timeout | undefined;
  private stderr = '';
  private readonly said: string[] = [];

  constructor(setting: Setting, program: string) {
    this.setting = setting;
    this.program = program;
    this.random = new SeededRandom(`${setting.seed} kcat`);
    this.keys = [0, 1, 2, 3].map((i) => setting.ledger.key(`kcat.${i}`, 'pipelined', 0, true));
  }

  async start(): Promise<void> {
    const properties = {
      'enable.idempotence': 'true',
      'max.in.flight.requests.per.connection': '5',
      'linger.ms': '2',
      'batch.num.messages': '20',
      'message.timeout.ms': '120000',
      'reconnect.backoff.ms': '50',
      'reconnect.backoff.max.ms': '250',
      'retry.backoff.ms': '50',
    };
    const argv = ['-P', '-E', '-vvv', '-b', this.setting.bootstrap, '-t', 'pipelined', '-p', '0', '-K', ':'];
    argv.push(...Object.entries(properties).flatMap(([key, value]) => ['-X', `${key}=${value}`]));
    this.child = spawn(this.program, argv, { stdio: ['pipe', 'ignore', 'pipe'] });
    this.child.stderr!.on('data', (chunk: Buffer) => this.reports(chunk));
    this.child.stdin!.on('error', () => undefined);
    this.timer = setInterval(() => this.feed(), 20);
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    const { child } = this;
    if (child === undefined) return;
    const ended = new Promise<void>((done) => child.once('close', () => done()));
    child.stdin!.end();
    const hangs = await late(ended, STOP_MS_MAX);
    if (hangs) child.kill('SIGKILL');
    if (hangs || child.exitCode !== 0 || this.waiting.length > 0) {
      this.setting.ledger.problems.push(`kcat: ${this.doing}`);
      this.setting.ledger.giveUp(this.waiting);
    }
  }

  get doing(): string {
    return `${this.waiting.length} records without a report, exit code ${this.child?.exitCode}: ${this.said.join(' | ')}`;
  }

  private feed(): void {
    if (this.child?.exitCode !== null) return;
    const lines: Buffer[] = [];
    // It looks for reports only when it has read a line, so there is always one.
    for (let i = this.waiting.length > 400 ? 1 : this.random.between(1, 12); i > 0; i--) {
      const state = this.random.pick(this.keys);
      const counter = state.sent++;
      const bytes = Math.min(4_000, mixedSize(this.random));
      const value = makeValue(state.key, counter, bytes);
      this.waiting.push({ state, counter, value, bytes });
      lines.push(Buffer.from(`${state.key}:`), value, Buffer.from('\n'));
    }
    this.child.stdin!.write(Buffer.concat(lines));
  }

  private reports(chunk: Buffer): void {
    const lines = (this.stderr + chunk.toString()).split('\n');
    for (const line of lines.slice(0, -1)) {
      const delivered = /Message delivered to partition 0 \(offset (\d+)\)/.exec(line);
      const failed = line.includes('Delivery failed');
      if (delivered === null) this.said.push(line);
      const first = delivered !== null || failed ? this.waiting.shift() : undefined;
      if (first === undefined) continue;
      if (failed) {
        this.setting.ledger.giveUp([first]);
        this.setting.ledger.problems.push(`kcat: a send was given up: ${line}`);
        continue;
      }
      const { state, counter } = first;
      this.setting.ledger.acknowledge(this.name, [first]);
      this.setting.ledger.ackedOffset('pipelined', 0, Number(delivered![1]), { key: state.key, counter });
    }
    this.stderr = lines.at(-1)!;
    this.said.splice(0, this.said.length - 3);
  }
}

export function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const inner = error instanceof AggregateError ? error.errors.at(-1) : error.cause;
  return inner === undefined ? error.message : `${error.message} (${reason(inner)})`;
}

/** Waits for `work`, at most `ms`. @returns whether it was not done by then */
export async function late(work: Promise<unknown> | undefined, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<boolean>((done) => {
    timer = setTimeout(() => done(true), ms);
  });
  const inTime = Promise.resolve(work).then(
    () => false,
    () => false,
  );
  const result = await Promise.race([inTime, tooLate]);
  clearTimeout(timer);
  return result;
}
