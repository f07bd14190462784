/**
 * Some rounds on one data folder: clients that never stop, a server that is killed again and again, and at the end the
 * judgement over everything that was ever acknowledged.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import { judge, type ReadBack, type Verdict, wentBack } from './check.ts';
import { KafkajsMember, PlatformaticMember, readBack } from './consumers.ts';
import { Ledger, place } from './ledger.ts';
import { type Actor, late, producers, RETRY, type Setting } from './producers.ts';
import { SeededRandom } from './random.ts';
import { type Opened, quietPort, Server } from './server.ts';
import { TopicLives } from './topic-lives.ts';

export interface CampaignOptions {
  readonly seed: string;
  readonly rounds: number;
  /** A server lives up to this long in a round, after every client has got on. */
  readonly secondsMax: number;
  readonly say: (line: string) => void;
  /** For the self-check: harm done to the folder between a kill and the start that follows, in the last round. */
  readonly harm?: (dataDir: string) => void;
}

export interface CampaignResult {
  readonly verdicts: readonly Verdict[];
  readonly ledger: Ledger;
  readonly read: ReadBack;
}

const TOPICS: Readonly<Record<string, number>> = {
  events: 4,
  orders: 3,
  plain: 2,
  bulk: 2,
  os: 2,
  wide: 24,
  pipelined: 1,
};
export const GROUPS: ReadonlyMap<string, readonly string[]> = new Map([
  ['kafkajs-group', ['events', 'orders', 'plain']],
  ['platformatic-group', ['bulk', 'os', 'wide', 'pipelined']],
]);
const COMMON = { 'auto.create.topics.enable': 'false', 'group.initial.rebalance.delay.ms': '0' };
const GO_ON_MS_MAX = 25_000;
const CATCH_UP_MS_MAX = 60_000;

export class Campaign {
  private readonly o: CampaignOptions;
  private readonly random: SeededRandom;
  private readonly ledger = new Ledger();
  private readonly verdicts: Verdict[] = [];
  private server!: Server;
  private setting!: Setting;
  private admin!: Admin;
  private lives!: TopicLives;
  private actors: Actor[] = [];
  private members: (KafkajsMember | PlatformaticMember)[] = [];

  constructor(options: CampaignOptions) {
    this.o = options;
    this.random = new SeededRandom(options.seed);
  }

  /** Removes the folder when everything held; else says where it is. */
  async run(): Promise<CampaignResult> {
    const dataDir = mkdtempSync(join(tmpdir(), 'hadron-crash-'));
    this.server = new Server(dataDir, await quietPort());
    let read: ReadBack = new Map();
    try {
      await this.server.start(this.settings());
      await this.openClients();
      for (let round = 1; round <= this.o.rounds; round++) {
        const problems = await this.round(round);
        for (const problem of problems) this.o.say(`           ${problem}`);
        this.verdicts.push({ name: `round ${round}`, problems, note: '' });
        if (!this.server.running) break;
        if (this.o.harm !== undefined && problems.length > 0)
          return { verdicts: this.verdicts, ledger: this.ledger, read };
      }
      if (this.server.running) read = await this.end();
    } catch (error) {
      this.verdicts.push({
        name: 'the run itself',
        problems: [error instanceof Error ? error.message : String(error)],
        note: '',
      });
    } finally {
      if (this.server.running) await this.server.kill();
      await this.closeClients();
      this.keepOrRemove(dataDir);
    }
    return { verdicts: this.verdicts, ledger: this.ledger, read };
  }

  private keepOrRemove(dataDir: string): void {
    const held = this.verdicts.every(({ problems }) => problems.length === 0);
    if (!held && this.o.harm === undefined) {
      this.o.say(`  data folder kept: ${dataDir}, log: ${this.server.logFile}, seed ${this.o.seed}`);
      return;
    }
    rmSync(dataDir, { recursive: true, force: true });
    rmSync(this.server.logFile, { force: true });
  }

  /** In half of the starts everything is small, so that checkpoints, rolls and recycling happen all the time. */
  private settings(): Record<string, string> {
    if (this.random.chance(0.5)) return COMMON;
    const logBytes = this.random.pick([262_144, 524_288, 2_097_152]);
    return {
      ...COMMON,
      'storage.commit.log.bytes': String(logBytes),
      'storage.commit.log.max.bytes': String(logBytes * this.random.between(2, 8)),
      'storage.commit.file.bytes': String(Math.max(65_536, logBytes / this.random.pick([2, 4, 8]))),
      'storage.tail.cache.bytes': '1048576',
      'log.segment.bytes': '1048576',
    };
  }

  private async openClients(): Promise<void> {
    const { bootstrap } = this.server;
    const kafka: Kafka = new kafkajs.Kafka({
      clientId: 'crash',
      brokers: [bootstrap],
      logLevel: kafkajs.logLevel.NOTHING,
      retry: RETRY,
      connectionTimeout: 2_000,
    });
    this.setting = { kafka, bootstrap, ledger: this.ledger, seed: this.o.seed };
    this.admin = kafka.admin({ retry: RETRY });
    await this.admin.connect();
    await this.admin.createTopics({
      topics: Object.entries(TOPICS).map(([topic, numPartitions]) => ({
        topic,
        numPartitions,
        replicationFactor: 1,
        configEntries: topic === 'os' ? [{ name: 'hadron.durability', value: 'os' }] : [],
      })),
    });
    this.lives = new TopicLives(this.setting);
    this.actors = [...producers(this.setting), this.lives];
    for (const [group, topics] of GROUPS) {
      const Member = group.startsWith('kafkajs') ? KafkajsMember : PlatformaticMember;
      for (const n of [1, 2]) this.members.push(new Member(this.setting, group, topics, `${group}-${n}`));
    }
    await Promise.all([...this.actors, ...this.members].map((actor) => actor.start()));
  }

  private async closeClients(): Promise<void> {
    await Promise.all([...this.members, ...this.actors].map((actor) => late(actor.stop(), 1_000)));
    if (this.admin !== undefined) await late(this.admin.disconnect(), 1_000);
  }

  private async round(round: number): Promise<string[]> {
    const before = this.sums();
    const problems = await this.everybodyGoesOn();
    // Now and then a member leaves and comes back, so that a kill also hits rebalances.
    const moving = this.random.chance(0.3) ? this.bounce(this.random.pick(this.members)) : Promise.resolve();
    const livedMs = this.random.between(20, this.o.secondsMax * 1_000);
    await new Promise((done) => setTimeout(done, livedMs));

    const floors = new Map([...GROUPS.keys()].map((group) => [group, this.ledger.floors(group)]));
    await this.server.kill();
    if (round === this.o.rounds) this.o.harm?.(this.server.dataDir);
    const again: number[] = [];
    while (this.random.chance(0.3)) {
      again.push(this.random.between(30, 450));
      await this.server.startAndKill(this.settings(), again.at(-1)!);
    }
    let opened: Opened;
    try {
      opened = await this.server.start(this.settings());
    } catch (error) {
      return [...problems, `the server does not come back: ${(error as Error).message}`];
    }
    for (const [group, floor] of floors) problems.push(...wentBack(group, floor, await this.committedOffsets(group)));
    await late(moving, 15_000);

    const after = this.sums();
    const killed = again.length === 0 ? '' : `, killed again ${again.map((ms) => `+${ms} ms`).join(' ')}`;
    this.o.say(
      `round ${String(round).padStart(3)}  lived ${(livedMs / 1000).toFixed(1)} s${killed}; up in ${opened.readyMs} ms, ` +
        `recovery ${Math.round(opened.recoveryMs)} ms (${opened.frames} frames, ${mib(opened.replayedBytes)}: ${opened.cases.join(', ')}); ` +
        `+${after.records - before.records} records ${mib(after.bytes - before.bytes)}` +
        `  ${problems.length === 0 ? 'ok' : 'FAILED'}`,
    );
    return problems;
  }

  /** Every producer gets an answer and every group a record from the server that runs now. */
  private async everybodyGoesOn(): Promise<string[]> {
    const startedAt = performance.now();
    const before = new Map(
      [...this.actors, ...this.members].map(({ name }) => [name, this.ledger.progressOf(name).acks]),
    );
    const stuck = (): string[] => {
      const moved = (name: string): boolean => this.ledger.progressOf(name).acks > before.get(name)!;
      const actors = this.actors
        .filter(({ name }) => !moved(name))
        .map(({ name, doing }) => (doing === undefined ? name : `${name} (${doing})`));
      const groups = [...GROUPS.keys()].filter(
        (group) => !this.members.some(({ name }) => name.startsWith(group) && moved(name)),
      );
      return [...actors, ...groups];
    };
    while (stuck().length > 0) {
      if (performance.now() - startedAt > GO_ON_MS_MAX)
        return [`no progress within ${GO_ON_MS_MAX} ms: ${stuck().join(', ')}`];
      await new Promise((done) => setTimeout(done, 25));
    }
    return [];
  }

  private async bounce(member: Actor): Promise<void> {
    await member.stop();
    await member.start();
  }

  /** As the server tells them; what it tells holds from then on. */
  private async committedOffsets(group: string): Promise<Map<string, number>> {
    const answer = await this.admin.fetchOffsets({ groupId: group, topics: [...GROUPS.get(group)!] });
    const now = new Map<string, number>();
    for (const { topic, partitions } of answer) {
      for (const { partition, offset } of partitions) now.set(place(topic, partition), Number(offset));
    }
    for (const [at, offset] of now) if (offset >= 0) this.ledger.commitHolds(group, at, offset);
    return now;
  }

  private async end(): Promise<ReadBack> {
    const more = await this.everybodyGoesOn();
    await Promise.all(this.actors.map((actor) => actor.stop()));
    const listed = await this.admin.listTopics();
    const missing = [...this.lives.alive].filter((topic) => !listed.includes(topic));
    const risen = [...this.lives.gone].filter((topic) => listed.includes(topic));
    const topicProblems = [
      ...missing.map((t) => `topic ${t} is lost`),
      ...risen.map((t) => `topic ${t} was deleted and is back`),
    ];

    const topics = [...Object.keys(TOPICS), ...[...this.lives.alive].filter((topic) => listed.includes(topic))];
    const read = await readBack(this.server.bootstrap, topics);
    const behind = await this.catchUp(read);
    const floors = new Map([...GROUPS.keys()].map((group) => [group, this.ledger.floors(group)]));
    for (const [group, floor] of floors) behind.push(...wentBack(group, floor, await this.committedOffsets(group)));
    await Promise.all(this.members.map((member) => member.stop()));
    const { code, signal, ms } = await this.server.end('SIGTERM');
    const stop = code === 0 && ms < 2_000 ? [] : [`SIGTERM: ${signal ?? code} after ${Math.round(ms)} ms`];

    this.verdicts.push(
      { name: 'everybody goes on', problems: more, note: this.restarts() },
      ...judge(this.ledger, read, GROUPS),
      { name: 'committed offsets never go back and reach the end', problems: behind, note: '' },
      {
        name: 'topics are there, or gone',
        problems: topicProblems,
        note: `${this.lives.alive.size} alive, ${this.lives.gone.size} gone`,
      },
      { name: 'SIGTERM ends it', problems: stop, note: `${Math.round(ms)} ms` },
    );
    return read;
  }

  /** Waits until every group has committed the end of all its partitions. */
  private async catchUp(read: ReadBack): Promise<string[]> {
    const deadline = performance.now() + CATCH_UP_MS_MAX;
    for (;;) {
      const problems: string[] = [];
      for (const [group, topics] of GROUPS) {
        const now = await this.committedOffsets(group);
        for (const [at, { topic, end }] of read) {
          if (!topics.includes(topic) || end === 0 || now.get(at) === end) continue;
          problems.push(`${group}: committed ${now.get(at)} of ${end} in ${at}`);
        }
      }
      if (problems.length === 0 || performance.now() > deadline) return problems;
      await new Promise((done) => setTimeout(done, 100));
    }
  }

  private restarts(): string {
    return this.members
      .filter(({ restarts }) => restarts > 0)
      .map(({ name, restarts, lastError }) => `${name} began anew ${restarts} times: ${lastError}`)
      .join('; ');
  }

  private sums(): { records: number; bytes: number } {
    const sum = { records: 0, bytes: 0 };
    for (const { name } of this.actors) {
      const { records, bytes } = this.ledger.progressOf(name);
      sum.records += records;
      sum.bytes += bytes;
    }
    return sum;
  }
}

function mib(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MiB`;
}

/** The commit-log files of a folder, newest slot first. */
export function commitFiles(dataDir: string): string[] {
  const dir = join(dataDir, 'shards/0/commit');
  return readdirSync(dir)
    .filter((name) => name.endsWith('.log'))
    .sort()
    .reverse()
    .map((name) => join(dir, name));
}
