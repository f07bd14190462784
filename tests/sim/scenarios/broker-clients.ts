/** Clients of the broker scenario: producers, consumers, and an operator who creates, changes and deletes topics. */
import type { HadronError } from '@hadron/base';
import {
  type BrokerCore,
  type FetchedPartition,
  newProduceOutcome,
  type Partition,
  whenAnswerable,
} from '@hadron/broker';
import { encodeBatch } from '@hadron/kafka-protocol/records';
import { type PartitionModel, promise, Sent, TopicModel } from './broker-model.ts';
import type { BrokerWorld, Request } from './broker-world.ts';

const IN_FLIGHT_MAX = 5;
const SEQUENCES = 2 ** 31;
/** A long poll may be late by this: the timer, and files that are read. */
const LATE_MS = 60;
const TOPIC_NAMES = ['a', 'b', 'c', 'd'];

/** What Produce does in the door (00-produce.ts), for one partition. The caller's memory is used for something else at once. */
function produce(
  world: BrokerWorld,
  sent: Sent,
  request: Request,
  done: (error: string | undefined, offset: number, cause?: unknown) => void,
): void {
  const { core } = world;
  const partition = world.partitionOf(sent.partition, core);
  const answer = world.answer(request, done);
  if (partition === undefined) {
    whenAnswerable(core.shard, core.shard.stagedLsn, 'fsync', {
      committed: () => answer('TOPIC_NOT_FOUND', -1),
      failed: (error) => answer(error.code, -1, error),
    });
    return;
  }
  const out = newProduceOutcome();
  const received = Buffer.from(sent.bytes);
  let cause: unknown;
  try {
    partition.produce(received, 0, received.length, true, world.sim.scheduler.wallMs, out);
  } catch (error) {
    out.error = (error as HadronError).code;
    if (out.error === undefined) throw error;
    cause = error;
  }
  received.fill(0xaa);
  const durability = partition.log.durability;
  whenAnswerable(core.shard, out.lsn, durability, {
    committed: () => answer(out.error, out.baseOffset, cause),
    failed: (error) => answer(error.code, -1, error),
  });
}

function makeBatch(
  world: BrokerWorld,
  p: PartitionModel,
  producer: { producerId: number; epoch: number; sequence: number },
): Sent {
  const { random } = world.sim;
  const id = world.nextId();
  const pad = random.chance(0.7)
    ? random.int(40)
    : random.chance(0.8)
      ? random.between(200, 700)
      : random.between(1200, 3000);
  const records = Array.from({ length: random.chance(0.6) ? 1 : random.between(2, 5) }, (_, i) => ({
    key: `k${random.int(6)}`,
    value: `${id}.${i}${i === 0 ? 'x'.repeat(pad) : ''}`,
  }));
  const bytes = encodeBatch(records, {
    baseTimestamp: world.sim.scheduler.wallMs,
    producerId: producer.producerId,
    producerEpoch: producer.epoch,
    baseSequence: producer.sequence,
  });
  const sent = new Sent(id, p, bytes, records, producer);
  world.batches.add(sent);
  return sent;
}

/** An answer without an error: the batch is where it says, and stays there if that was the promise. */
function acknowledged(world: BrokerWorld, sent: Sent, offset: number, strict: boolean): void {
  const p = sent.partition;
  world.count('acknowledged');
  world.note(`${p.name} has`, String(sent), offset, sent.extent);
  p.place(sent, offset, -1);
  if (strict) p.promisedEnd = Math.max(p.promisedEnd, offset + sent.extent);
}

export abstract class Client {
  protected readonly world: BrokerWorld;

  constructor(world: BrokerWorld) {
    this.world = world;
  }

  abstract act(): void;
}

/** Sends each batch once and never again. */
export class PlainProducer extends Client {
  act(): void {
    const { world } = this;
    const p = somePartition(world);
    if (p === undefined) return;
    for (let n = world.sim.random.chance(0.8) ? 1 : 6; n > 0; n--) {
      const sent = makeBatch(world, p, { producerId: -1, epoch: -1, sequence: -1 });
      const request = world.ask(`${sent} to ${p.name}`);
      const strict = p.topic.durability === 'fsync';
      p.tries(sent, world.core);
      produce(world, sent, request, (error, offset, cause) => {
        if (error === undefined) acknowledged(world, sent, offset, strict);
        else if (error === 'TOPIC_NOT_FOUND')
          promise(p.topic.mayBeMissing, () => `${p.name} is not there for a producer`);
        else world.expectTrouble(cause ?? error, request);
      });
    }
  }
}

/** Up to five batches in flight; what is not answered is sent again, in order, until it is. */
export class IdempotentProducer extends Client {
  private producerId = -1;
  private asking = false;
  private epoch = 0;
  private sequence = 0;
  private partition: PartitionModel | undefined;
  /** In order of their sequences; the answer to each is still to come, or was lost. */
  private inFlight: { sent: Sent; waiting: boolean }[] = [];
  /** Answers that come over an older connection are not heard. */
  private connection = 0;

  act(): void {
    const { world } = this;
    const { random } = world.sim;
    if (this.producerId < 0) {
      this.begin();
      return;
    }
    if (
      this.partition === undefined ||
      this.partition.topic.mayBeMissing ||
      (this.inFlight.length === 0 && random.chance(0.05))
    )
      this.moveOn();
    if (this.partition === undefined) return;
    // After a lost connection everything in flight is sent again before anything new.
    const again = this.inFlight.some((f) => !f.waiting) || random.chance(0.15);
    if (again && this.inFlight.length > 0) this.sendAgain();
    else for (let n = random.between(1, 3); n > 0 && this.inFlight.length < IN_FLIGHT_MAX; n--) this.sendNext();
  }

  private begin(): void {
    if (this.asking) return;
    const { world } = this;
    this.asking = true;
    const over = (): void => {
      this.asking = false;
    };
    const request = world.ask('InitProducerId', over);
    world.core.producerIds.allocate(
      world.answer(request, (id) => {
        over();
        promise(
          Number.isSafeInteger(id) && id >= 0 && !world.producerIds.has(id),
          () => `producer id ${id} is handed out again`,
        );
        world.producerIds.add(id);
        this.producerId = id;
        this.restart();
      }),
      world.answer(request, (error) => {
        over();
        world.expectTrouble(error, request);
      }),
    );
  }

  /** What is in flight is given up; nobody knows of this producer's sequences in another partition. */
  private moveOn(): void {
    this.connection++;
    this.partition = somePartition(this.world);
    this.inFlight = [];
    this.producerId = -1;
    this.begin();
  }

  private restart(): void {
    this.epoch = 0;
    this.sequence = this.world.sim.random.chance(0.3) ? SEQUENCES - this.world.sim.random.between(1, 12) : 0;
  }

  private sendNext(): void {
    const p = this.partition as PartitionModel;
    if (this.producerId < 0) return;
    const sent = makeBatch(this.world, p, { producerId: this.producerId, epoch: this.epoch, sequence: this.sequence });
    this.sequence = (this.sequence + sent.extent) % SEQUENCES;
    const flight = { sent, waiting: false };
    this.inFlight.push(flight);
    this.send(flight);
  }

  private sendAgain(): void {
    this.connection++;
    for (const flight of [...this.inFlight]) if (this.inFlight.includes(flight)) this.send(flight);
  }

  private send(flight: { sent: Sent; waiting: boolean }): void {
    const { world, connection } = this;
    const { sent } = flight;
    const p = sent.partition;
    const isOldest = this.inFlight[0] === flight;
    const { losses } = p;
    flight.waiting = true;
    const request = world.ask(`${sent} to ${p.name}`, () => {
      flight.waiting = false;
    });
    const strict = p.topic.durability === 'fsync';
    world.note(`${p.name} is given`, String(sent));
    p.tries(sent, world.core);
    produce(world, sent, request, (error, offset, cause) => {
      // The broker's word counts, heard or not.
      if (error === undefined) acknowledged(world, sent, offset, strict);
      const heard = connection === this.connection && this.inFlight.includes(flight);
      if (heard) flight.waiting = false;
      else if (error === undefined) return;
      switch (error) {
        case undefined:
          this.inFlight = this.inFlight.filter((f) => f !== flight);
          return;
        case 'TOPIC_NOT_FOUND':
          promise(p.topic.mayBeMissing, () => `${p.name} is not there for a producer`);
          if (heard) this.moveOn();
          return;
        case 'SEQUENCE_OUT_OF_ORDER':
        case 'SEQUENCE_DUPLICATE': {
          // An older batch was refused or lost on its way: all of them will come again.
          const excused = p.losses > 0 || p.losses !== losses || world.producersExpired;
          const isOlder = !heard || (error === 'SEQUENCE_OUT_OF_ORDER' && !isOldest);
          promise(excused || isOlder, () => `${p.name}: ${sent} is answered ${error}, and it is the oldest in flight`);
          if (heard && excused && isOldest) this.moveOn();
          return;
        }
        default:
          world.expectTrouble(cause ?? error, request);
      }
    });
  }
}

interface Position {
  readonly p: PartitionModel;
  offset: number;
  /** Of the last record that was read. */
  lastEpoch: number;
}

/** Reads one or two partitions, with long polls. */
export class Consumer extends Client {
  private positions: Position[] = [];
  private busy = false;

  act(): void {
    const { world } = this;
    const { random } = world.sim;
    this.positions = this.positions.filter(({ p }) => !p.topic.mayBeMissing);
    if (this.busy) return;
    if (this.positions.length === 0 || random.chance(0.1)) {
      const found = [somePartition(world), random.chance(0.4) ? somePartition(world) : undefined];
      this.positions = [...new Set(found)].flatMap((p) =>
        p === undefined ? [] : [{ p, offset: p.startAcknowledged, lastEpoch: -1 }],
      );
    }
    if (this.positions.length > 0) this.fetch([...this.positions]);
  }

  private fetch(asked: Position[]): void {
    const { world } = this;
    const { random, scheduler } = world.sim;
    const { core } = world;
    const limits = {
      maxWaitMs: random.pick([0, 1, 20, 400]),
      minBytes: random.pick([0, 1, 1, 600, 5000]),
      maxBytes: random.pick([1, 500, 8000]),
    };
    const startMs = scheduler.nowMs;
    const stalled = world.stalledMs;
    const before = asked.map(({ p }) => ({ shown: p.shown, losses: p.losses, trimmed: p.startAttempted }));
    const epochs = asked.map(({ p }) => world.partitionOf(p, core)?.leaderEpoch ?? -1);
    const over = (): void => {
      this.busy = false;
    };
    this.busy = true;
    const request = world.ask(
      `a fetch of ${asked.map(({ p, offset }) => `${p.name} at ${offset}`).join(', ')}, max_wait ${limits.maxWaitMs}`,
      over,
    );
    const answer = world.answer(request, (results: FetchedPartition[]) => {
      over();
      const waitedMs = scheduler.nowMs - startMs - (world.stalledMs - stalled);
      const slow = world.faulty && results.some((r) => r.error !== undefined);
      promise(slow || waitedMs <= limits.maxWaitMs + LATE_MS, () => `${request.what} is answered after ${waitedMs} ms`);
      promise(results.length === asked.length, () => `${request.what} has ${results.length} results`);
      let empty = true;
      results.forEach((r, i) => {
        const bytes = Buffer.concat(r.data?.parts ?? []);
        r.data?.release();
        if (bytes.length > 0 || r.error !== undefined || r.diverging !== undefined) empty = false;
        this.judge(asked[i] as Position, r, bytes, before[i] as (typeof before)[number], request, epochs[i] as number);
      });
      const early = empty && scheduler.nowMs - startMs < limits.maxWaitMs - 0.01 && limits.minBytes > 0;
      promise(
        !early || world.closing || core !== world.core,
        () => `${request.what} is answered empty after ${waitedMs} ms (R7c)`,
      );
      world.count('fetches');
    });
    const items = asked.map(({ p, offset, lastEpoch }, i) => {
      const partition: Partition | undefined = world.partitionOf(p, core);
      return {
        partition,
        missing: partition === undefined ? ('TOPIC_ID_NOT_FOUND' as const) : undefined,
        offset,
        maxBytes: random.pick([1, 400, 5000]),
        currentLeaderEpoch: random.chance(0.5) ? (epochs[i] as number) : -1,
        lastFetchedEpoch: random.chance(0.5) ? lastEpoch : -1,
      };
    });
    core.fetcher.fetch(items, limits, answer);
  }

  private judge(
    at: Position,
    r: FetchedPartition,
    bytes: Buffer,
    before: { shown: number; losses: number; trimmed: number },
    request: Request,
    epoch: number,
  ): void {
    const { world } = this;
    const { p } = at;
    const mayBeLost = p.losses > 0;
    const mine = this.positions.includes(at);
    switch (r.error) {
      case undefined:
        break;
      case 'TOPIC_NOT_FOUND':
      case 'TOPIC_ID_NOT_FOUND':
        promise(p.topic.mayBeMissing, () => `${p.name} is not there for a consumer`);
        return;
      case 'OFFSET_OUT_OF_RANGE':
        promise(
          mayBeLost || p.topic.retained || at.offset < p.startAttempted,
          () => `${p.name}: ${at.offset} is out of range [${r.logStartOffset}, ${r.highWatermark})`,
        );
        if (mine) this.positions = this.positions.filter((x) => x !== at);
        return;
      case 'LEADER_EPOCH_FENCED':
        promise(
          (world.partitionOf(p, request.core)?.leaderEpoch ?? Number.POSITIVE_INFINITY) > epoch,
          () => `${p.name}: epoch ${epoch} is fenced`,
        );
        return;
      default:
        world.expectTrouble(Object.assign(new Error(r.error), { code: r.error }), request);
        return;
    }
    if (p.losses === before.losses && !p.topic.gone) {
      promise(
        r.highWatermark >= before.shown,
        () => `${p.name}: the high watermark goes back from ${before.shown} to ${r.highWatermark}`,
      );
      p.sawHighWatermark(r.highWatermark);
    }
    if (r.diverging !== undefined) {
      promise(
        mayBeLost,
        () =>
          `${p.name} diverges: ${JSON.stringify(r.diverging)}, last read in epoch ${at.lastEpoch} up to ${at.offset}`,
      );
      if (mine) this.positions = this.positions.filter((x) => x !== at);
      return;
    }
    // What an `os` log has lost meanwhile was true when it was read.
    if (p.losses !== before.losses || p.topic.gone || bytes.length === 0) return;
    const { seen, next } = world.batches.judge(p, bytes, at.offset);
    promise(
      next <= r.highWatermark,
      () => `${p.name} gives data up to ${next}, its high watermark is ${r.highWatermark}`,
    );
    world.count('batches read', seen.length);
    if (!mine) return;
    at.offset = Math.max(at.offset, next);
    at.lastEpoch = bytes.readInt32BE(lastBatchAt(bytes) + 12);
  }
}

function lastBatchAt(b: Buffer): number {
  let at = 0;
  for (let next = 0; next < b.length; next += 12 + b.readInt32BE(next + 8)) at = next;
  return at;
}

/** Creates, changes, trims and deletes. */
export class Operator extends Client {
  act(): void {
    const { world } = this;
    const { random } = world.sim;
    const topics = world.usable();
    if (topics.length === 0 || random.chance(0.3)) this.create();
    else if (random.chance(0.35)) this.trim(random.pick(topics));
    else if (random.chance(0.35)) this.configure(random.pick(topics));
    else if (random.chance(0.5)) this.remove(random.pick(topics));
  }

  create(): void {
    const { world } = this;
    const { random } = world.sim;
    const { core } = world;
    const name = random.pick(TOPIC_NAMES);
    const config: Record<string, string> = { 'segment.ms': random.pick(['3', '1000000000']) };
    if (random.chance(0.35)) config['hadron.durability'] = 'os';
    if (random.chance(0.15)) config['cleanup.policy'] = 'compact';
    else if (random.chance(0.15))
      config[random.pick(['retention.ms', 'retention.bytes'])] = random.pick(['50', '3000']);
    if (config['cleanup.policy'] === 'compact') config['min.cleanable.dirty.ratio'] = '0.01';
    const partitions = random.between(1, 2);
    const request = world.ask(`the creation of ${name}`);
    const there = world.topics.find((t) => t.name === name && core.topics.getById(t.id) !== undefined);
    try {
      const topic = core.topics.create({ name, partitions, config });
      promise(there === undefined, () => `${name} is created though it is there`);
      promise(!world.topics.some((t) => t.id === topic.id), () => `${name} is created with an id that was used`);
      for (const p of topic.partitions) promise(p.log.nextPosition === 0, () => `${name} is new and not empty`);
      const model = new TopicModel(name, topic.id, partitions, config);
      world.note('creates', `${name} as ${topic.id}: ${JSON.stringify(config)}`);
      world.topics.push(model);
      whenRegistered(world, request, core, () => {
        model.created = true;
        world.count('topics created');
      });
    } catch (error) {
      world.answer(request, () => {
        if ((error as HadronError).code !== 'TOPIC_EXISTS') world.expectTrouble(error, request);
        else promise(there !== undefined, () => `${name} is said to exist`);
      })();
    }
  }

  private remove(model: TopicModel): void {
    const { world } = this;
    const { core } = world;
    const request = world.ask(`the deletion of ${model.name}`);
    try {
      if (core.topics.get(model.name)?.id !== model.id)
        throw Object.assign(new Error(`${model.name} is not there to be deleted`), { code: 'TOPIC_NOT_FOUND' });
      core.topics.remove(model.name);
      model.deleteAttempted = true;
      world.note('deletes', model.name);
      whenRegistered(world, request, core, () => {
        model.gone = true;
        world.count('topics deleted');
      });
    } catch (error) {
      world.answer(request, () => world.expectTrouble(error, request))();
    }
  }

  private configure(model: TopicModel): void {
    const { world } = this;
    const { core } = world;
    const topic = core.topics.get(model.name);
    const to = model.durability === 'os' ? 'fsync' : 'os';
    const request = world.ask(`${model.name} becomes ${to}`);
    if (topic?.id !== model.id) {
      world.answer(request, () => promise(model.mayBeMissing, () => `${model.name} is not there to be changed`))();
      return;
    }
    const ends = model.partitions.map((p) =>
      Math.max(0, ...[...p.placed].map(([offset, sent]) => offset + sent.extent)),
    );
    const { losses } = model.partitions[0] as PartitionModel;
    try {
      core.topics.configure(model.name, { ...topic.config, 'hadron.durability': to });
      if (to === 'os') model.durability = 'os';
      const change = ++model.changes;
      world.note('changes', `${model.name} to ${to}`);
      whenRegistered(world, request, core, () => {
        world.count('durability changed');
        if (to !== 'fsync' || change !== model.changes) return;
        model.durability = 'fsync';
        // What was there is kept from now on.
        model.partitions.forEach((p, i) => {
          if (p.losses === losses) p.promisedEnd = Math.max(p.promisedEnd, ends[i] as number);
        });
      });
    } catch (error) {
      world.answer(request, () => world.expectTrouble(error, request))();
    }
  }

  private trim(model: TopicModel): void {
    const { world } = this;
    const { core } = world;
    const { random } = world.sim;
    const p = random.pick(model.partitions);
    const request = world.ask(`DeleteRecords of ${p.name}`);
    const partition = world.partitionOf(p, core);
    if (partition === undefined) {
      world.answer(request, () => promise(model.mayBeMissing, () => `${model.name} is not there to be trimmed`))();
      return;
    }
    const to = random.between(partition.logStartOffset, partition.highWatermark);
    try {
      p.startAttempted = Math.max(p.startAttempted, to);
      const lsn = partition.deleteBefore(random.chance(0.2) && to === partition.highWatermark ? -1 : to);
      const answer = world.answer(request, (error?: HadronError) => {
        if (error !== undefined) {
          world.expectTrouble(error, request);
          return;
        }
        world.count('trims');
        if (model.gone || partition.log.removed) return;
        promise(
          partition.logStartOffset >= to,
          () => `${p.name} starts at ${partition.logStartOffset} after a trim to ${to}`,
        );
        p.startAcknowledged = Math.max(p.startAcknowledged, to);
      });
      world.note('trims', p.name, to);
      if (core.shard.isDurable(lsn)) answer();
      else core.shard.when(lsn, 'fsync', { committed: () => answer(), failed: answer });
    } catch (error) {
      world.answer(request, () => world.expectTrouble(error, request))();
    }
  }
}

/** What the door does with everything that changes the registry. */
function whenRegistered(world: BrokerWorld, request: Request, core: BrokerCore, done: () => void): void {
  const committed = world.answer(request, done);
  if (core.registry.isDurable) committed();
  else
    core.registry.whenDurable({
      committed,
      failed: world.answer(request, (error) => world.expectTrouble(error, request)),
    });
}

function somePartition(world: BrokerWorld): PartitionModel | undefined {
  const topics = world.usable();
  return topics.length === 0 ? undefined : world.sim.random.pick(world.sim.random.pick(topics).partitions);
}
