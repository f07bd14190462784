/**
 * The delivery engine over two shards (delivery.md §5): sessions that ack, nack, hang, die and lie, pulls, redrives,
 * deletions, crashes; virtual weeks of backoff. At the end everything is settled, each event exactly once per redrive.
 */
import type { AnswerResult, GroupRequest, Verdict } from '@hadron/contracts';
import type { DeadLetterEntry, DeliverySession, OutgoingDelivery } from '@hadron/broker';
import { encodeBatch } from '@hadron/kafka-protocol/records';
import type { Sim } from '@hadron/testkit';
import { forEachRecord } from '../../../packages/broker/src/ports/read-records.ts';
import type { Scenario } from '../runner.ts';
import { promise, PromiseBroken } from './broker-model.ts';
import { type Attempt, GroupModel, type Published } from './delivery-model.ts';
import { DeliveryWorld } from './delivery-world.ts';

const STREAM = 's';
const DEAD = 's.dead';
const NEVER = Number.POSITIVE_INFINITY;
const WEEK_MS = 7 * 24 * 3_600_000;
const KEYS = ['a', 'a', 'b', 'c', null] as const;

export const deliveryScenario: Scenario = {
  name: 'delivery',
  about: 'the delivery engine over two shards, its sessions as plain objects, and crashes',
  options: { disk: { blockBytes: 512 } },
  async run(sim, sabotage) {
    const course = new Course(sim, new DeliveryWorld(sim, sabotage));
    for (let life = sim.random.between(1, 4); life > 0; life--) await course.live();
    await course.calm();
    return course.world.counts;
  },
};

/** A consumer: takes deliveries and does with them what the dice say. */
class Consumer {
  readonly group: GroupModel;
  readonly attempts: Attempt[] = [];
  session: DeliverySession | undefined;
  isOver = false;

  constructor(group: GroupModel) {
    this.group = group;
  }
}

class Course {
  readonly sim: Sim;
  readonly world: DeliveryWorld;
  private readonly groups: GroupModel[] = [];
  private readonly published: Published[] = [];
  private readonly partitions: number;
  /** On shard 0 or 1; dead letters may lie on the other. */
  private readonly shard: number;
  private consumers: Consumer[] = [];
  /** All attempts ever made: what a liar answers. */
  private readonly past: { readonly attempt: Attempt; readonly group: GroupModel }[] = [];
  private made = false;
  private calming = false;
  private readonly trimmed = new Map<number, number>();

  constructor(sim: Sim, world: DeliveryWorld) {
    this.sim = sim;
    this.world = world;
    const { random } = sim;
    this.partitions = random.between(1, 2);
    this.shard = random.int(2);
    for (let i = random.between(1, 2); i > 0; i--) {
      const now = (): { ms: number; wallMs: number } => ({ ms: world.nowMs, wallMs: world.wallMs });
      this.groups.push(new GroupModel(`g${i}`, this.someSettings(), now));
    }
  }

  private someSettings(): GroupRequest {
    const { random } = this.sim;
    const ordering = random.pick(['key', 'key', 'key', 'partition', 'none'] as const);
    return {
      ordering,
      window: random.pick([1, 1, 3]),
      ...(random.chance(0.3) ? { filters: [{ exact: { type: 'wanted' } }] } : {}),
      policy: {
        timeoutMs: random.pick([300, 2_000]),
        maxDeliveries: random.pick([0, 1, 2, 4]),
        backoffMs: random.pick([[0], [5, 50], [100, 3_600_000], [20, WEEK_MS]]),
      },
    };
  }

  /** One life of the server. */
  async live(): Promise<void> {
    const { sim, world } = this;
    const { random } = sim;
    if (random.chance(0.1)) sim.disk.killAtChange(random.between(1, 30));
    if (await world.open()) {
      await this.makeStream();
      if (random.chance(0.4)) sim.disk.killAtChange(random.between(1, 120));
      for (let steps = random.between(10, 80); steps > 0 && world.isAlive; steps--) {
        this.step();
        if (random.chance(0.6)) await sim.scheduler.runFor(random.float() * 3);
        else if (random.chance(0.15)) await sim.scheduler.runFor(random.pick([300, 3_000, WEEK_MS]));
      }
    }
    this.crash();
  }

  private async makeStream(): Promise<void> {
    if (this.made || !this.world.isAlive) return;
    let isMade = false;
    this.world.createStream(STREAM, this.partitions, this.shard).then(
      () => {
        isMade = true;
      },
      () => undefined,
    );
    await this.sim.scheduler.runUntil(() => isMade || !this.world.isAlive, { what: 'the stream' });
    this.made = isMade;
  }

  private crash(): void {
    const { world } = this;
    world.die();
    world.count('crashes');
    for (const consumer of this.consumers) consumer.isOver = true;
    this.consumers = [];
    for (const group of this.groups) group.crashed();
  }

  /** Somebody does something. */
  private step(): void {
    if (!this.made) return;
    for (const group of this.groups) group.pass();
    const { random } = this.sim;
    const dice = random.float();
    if (dice < 0.2) this.publish();
    else if (dice < 0.32) this.open();
    else if (dice < 0.75) this.answerSome();
    else if (dice < 0.8) this.end();
    else if (dice < 0.87) this.lie();
    else if (dice < 0.92) this.pull();
    else if (dice < 0.96) this.redrive();
    else if (dice < 0.97) this.trim();
    else for (const c of this.consumers) c.session?.credit(random.between(-1, 3));
  }

  private publish(): void {
    const { world } = this;
    const { random } = this.sim;
    const partition = random.int(this.partitions);
    const events = Array.from({ length: random.between(1, 6) }, () => ({
      partition,
      key: random.pick(KEYS),
      type: random.pick(['wanted', 'wanted', 'other'] as const),
      dueMs: random.chance(0.08) ? Math.floor(world.wallMs) + random.pick([5, 2_000, 86_400_000]) : 0,
      expiresMs: random.chance(0.05) ? Math.floor(world.wallMs) + random.pick([2, 1_000]) : NEVER,
    }));
    const header = (name: string, value: string) => ({ key: `ce_${name}`, value });
    const batch = encodeBatch(
      events.map(({ key, type, dueMs, expiresMs }) => ({
        timestamp: Math.floor(world.wallMs),
        key,
        value: 'v'.repeat(random.int(40)),
        headers: [
          ...[header('specversion', '1.0'), header('id', '1'), header('source', '/sim'), header('type', type)],
          ...(dueMs > 0 ? [header('deliverat', new Date(dueMs).toISOString())] : []),
          ...(expiresMs < NEVER ? [header('expirytime', new Date(expiresMs).toISOString())] : []),
        ],
      })),
    );
    // Known before it is durable: sessions see it in the very tick in which it becomes visible.
    const at = world.log.stream(STREAM)?.partitions[partition]?.nextOffset ?? 0;
    const known = events.map((e, i): Published => ({ ...e, offset: at + i }));
    // A crash may have taken what stood at these offsets; nobody has seen it.
    for (const e of known) {
      const old = this.published.findIndex((p) => p.partition === e.partition && p.offset === e.offset);
      if (old !== -1) this.published.splice(old, 1);
      this.published.push(e);
      for (const group of this.groups) group.add(e);
    }
    world.append(STREAM, partition, batch, () => world.count('published', known.length));
  }

  private open(): void {
    const { random } = this.sim;
    if (this.consumers.filter((c) => !c.isOver).length >= 5) return;
    this.consume(random.pick(this.groups), random.between(0, 4));
  }

  private consume(group: GroupModel, credit: number): Consumer {
    const { world } = this;
    const consumer = new Consumer(group);
    this.consumers.push(consumer);
    const handler = {
      deliver: world.guard((deliveries: readonly OutgoingDelivery[]) => this.delivered(consumer, deliveries)),
      withdrawn: world.guard((tokens: readonly string[]) => {
        world.count('withdrawn', tokens.length);
        for (const attempt of consumer.attempts) if (tokens.includes(attempt.delivery.token)) attempt.over = true;
      }),
      ended: world.guard((error: Error | undefined) => promise(error === undefined, () => `ended: ${error?.message}`)),
    };
    world.deliveries.open({ stream: STREAM, group: group.name, settings: group.settings, credit }, handler).then(
      world.guard((session: DeliverySession) => {
        consumer.session = session;
        if (consumer.isOver) session.lost();
      }),
      world.guard((error: Error) => {
        throw error;
      }),
    );
    return consumer;
  }

  private delivered(consumer: Consumer, deliveries: readonly OutgoingDelivery[]): void {
    for (const delivery of deliveries) {
      const { partition, offset, attempt: number, redrive } = delivery;
      this.world.note('gets', `${consumer.group.name} ${partition}-${offset} attempt ${number} redrive ${redrive}`);
      const attempt = consumer.group.delivered(delivery, consumer);
      consumer.attempts.push(attempt);
      this.past.push({ attempt, group: consumer.group });
      this.world.count(delivery.attempt === 1 ? 'delivered' : 'delivered again');
      if (this.calming) this.answer(consumer, attempt, { kind: 'ack' });
    }
  }

  private answerSome(): void {
    const { random } = this.sim;
    const open = this.consumers.filter((c) => !c.isOver && c.session !== undefined && c.attempts.some((a) => !a.over));
    if (open.length === 0) return;
    const consumer = random.pick(open);
    const attempt = random.pick(consumer.attempts.filter((a) => !a.over));
    this.answer(consumer, attempt, this.someVerdict());
    if (random.chance(0.9)) consumer.session?.credit(1);
  }

  private someVerdict(): Verdict {
    const { random } = this.sim;
    const dice = random.float();
    if (dice < 0.6) return { kind: 'ack' };
    if (dice < 0.85)
      return { kind: 'nack', reason: 'no', ...(random.chance(0.3) ? { delayMs: random.pick([0, 10]) } : {}) };
    if (dice < 0.93) return { kind: 'extend' };
    return { kind: 'term', reason: 'never' };
  }

  private answer(consumer: Consumer, attempt: Attempt, verdict: Verdict): void {
    const { world } = this;
    const { session, group } = consumer;
    const items = [{ token: attempt.delivery.token, verdict }];
    const done = this.hear(group, attempt, verdict);
    if (session !== undefined) session.answer(items, done);
    else {
      void world.deliveries.answer(STREAM, group.name, items).then(done, () => undefined);
    }
    if (this.calming) session?.credit(1);
  }

  /** What is heard of an answer. */
  private hear(group: GroupModel, attempt: Attempt, verdict: Verdict): (results: readonly AnswerResult[]) => void {
    const { world } = this;
    const sent = { ms: world.nowMs, wallMs: world.wallMs };
    const what = `${group.name} ${attempt.event} attempt ${attempt.delivery.attempt}: ${verdict.kind}`;
    world.note('says', what);
    if (verdict.kind !== 'extend') group.sent(attempt, verdict);
    return world.guard((results: readonly AnswerResult[]) => {
      const result = results[0] as AnswerResult;
      world.note('hears', `${what}: ${result.ok ? 'ok' : result.code}`);
      world.count(result.ok ? `${verdict.kind} taken` : `${verdict.kind} ${result.code}`);
      group.answered(attempt, verdict, sent, result);
    });
  }

  /** A session closes, or is gone without a word. */
  private end(): void {
    const { random } = this.sim;
    const open = this.consumers.filter((c) => !c.isOver && c.session !== undefined);
    if (open.length === 0) return;
    const consumer = random.pick(open);
    consumer.isOver = true;
    const lost = random.chance(0.5);
    this.world.note(lost ? 'is lost' : 'closes', consumer.session?.id ?? '');
    for (const attempt of consumer.attempts) {
      if (attempt.over) continue;
      if (lost) consumer.group.endedUnanswered(attempt);
      else attempt.over = true;
    }
    if (lost) consumer.session?.lost();
    else if (random.chance(0.2)) {
      consumer.session?.drain();
      consumer.session?.close();
    } else consumer.session?.close();
    this.world.count(lost ? 'sessions lost' : 'sessions closed');
  }

  /** An answer with a token of any time: of an attempt that is over, of another session, of a former life. */
  private lie(): void {
    const { random } = this.sim;
    if (this.past.length === 0) return;
    const { attempt, group } = random.pick(this.past);
    // One that is out and unanswered is somebody's own to answer.
    if (!attempt.over && attempt.event.attempts.at(-1) === attempt) return;
    const verdict = random.pick<Verdict>([{ kind: 'ack' }, { kind: 'nack' }, { kind: 'extend' }, { kind: 'term' }]);
    const items = [{ token: attempt.delivery.token, verdict }];
    const done = this.hear(group, attempt, verdict);
    this.world.deliveries.answer(STREAM, group.name, items).then(done, () => undefined);
    this.world.count('lies');
  }

  private pull(): void {
    const { world } = this;
    const { random } = this.sim;
    const group = random.pick(this.groups);
    const consumer = new Consumer(group);
    const request = { stream: STREAM, group: group.name, settings: group.settings };
    this.consumers.push(consumer);
    world.deliveries.pull({ ...request, max: random.between(1, 4), waitMs: random.pick([0, 2, 100]) }).then(
      world.guard((deliveries: readonly OutgoingDelivery[]) => {
        this.delivered(consumer, deliveries);
        world.count('pulled', deliveries.length);
        for (const attempt of consumer.attempts) {
          if (random.chance(0.7)) this.answer(consumer, attempt, this.someVerdict());
        }
      }),
      () => undefined,
    );
  }

  private redrive(): void {
    const { world } = this;
    void this.letters().then(
      world.guard((letters: readonly DeadLetterEntry[]) => {
        if (letters.length === 0) return;
        world.deliveries.redrive(letters).then(
          world.guard((n: number) => {
            world.count('redriven', n);
            if (n !== letters.length) return; // somebody was faster
            for (const letter of letters) {
              const group = this.groups.find((g) => g.name === letter.group);
              const event = group?.events.get(`${letter.from.partition}-${letter.from.offset}`);
              if (event !== undefined) event.redrivesPromised++;
            }
          }),
          () => undefined,
        );
      }),
      () => undefined,
    );
  }

  private async letters(): Promise<readonly DeadLetterEntry[]> {
    const letters: DeadLetterEntry[] = [];
    for await (const letter of this.world.deliveries.deadLetters({ stream: STREAM, limit: 3 })) letters.push(letter);
    return letters;
  }

  /** Retention takes the oldest. */
  private trim(): void {
    const { random } = this.sim;
    const partition = random.int(this.partitions);
    const p = this.world.log.stream(STREAM)?.partitions[partition];
    if (p === undefined) return;
    const offset = random.between(p.startOffset, p.visibleOffset);
    this.trimmed.set(partition, offset);
    for (const group of this.groups) {
      for (const event of group.events.values()) {
        if (event.published.partition === partition && event.published.offset < offset) event.mayBeGone = true;
      }
    }
    this.world.trim(STREAM, partition, offset);
    this.world.count('trims');
  }

  /** The last life: everything is consumed to the end, and held against what was promised. */
  async calm(): Promise<void> {
    const { sim, world } = this;
    sim.disk.killAtChange(NEVER);
    if (!(await world.open())) throw new PromiseBroken('the last start did not succeed');
    await this.makeStream();
    this.calming = true;
    for (const group of this.groups) this.consume(group, 5);
    const isDone = (): boolean =>
      this.groups.every((g) => world.deliveries.describe(STREAM, g.name).partitions.every((p) => p.lag === 0));
    await sim.scheduler.runFor(1_000);
    for (let weeks = 0; weeks < 12 && !isDone(); weeks++) await sim.scheduler.runFor(WEEK_MS);
    const status = (): string =>
      JSON.stringify([...world.deliveries.groups(STREAM)].map((g) => [g.group, g.partitions]));
    promise(isDone(), () => `months later not everything is settled: ${status()}`);
    await sim.scheduler.runFor(5_000);
    for (const group of this.groups) this.dropLost(group);
    for (const group of this.groups) group.judge(await sim.scheduler.settle(this.deadOf(group.name)));
    world.die();
  }

  /** What was never durable was never published. */
  private dropLost(group: GroupModel): void {
    for (const [name, { published }] of group.events) {
      const end = this.world.log.stream(STREAM)?.partitions[published.partition]?.visibleOffset ?? 0;
      if (published.offset >= end) group.events.delete(name);
    }
  }

  /** How often each event of a group lies in the dead-letter stream. */
  private async deadOf(group: string): Promise<Map<string, number>> {
    const dead = new Map<string, number>();
    for (const partition of this.world.log.stream(DEAD)?.partitions ?? []) {
      for (let at = partition.startOffset; at < partition.visibleOffset; ) {
        const read = await this.world.log.read(partition, at, 1e6);
        forEachRecord(read, at, (record) => {
          const headers = record.headers();
          const header = (name: string) => headers.find((h) => h.key === `hadron-dead-${name}`)?.value?.toString();
          if (header('group') !== group) return;
          const name = `${header('partition')}-${header('offset')}`;
          dead.set(name, (dead.get(name) ?? 0) + 1);
        });
        at = read.nextOffset;
        read.release();
      }
    }
    return dead;
  }
}
