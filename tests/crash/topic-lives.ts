/**
 * Topics that come and go around the kills: `life-N` is created and filled, every second one is deleted again; `again` is
 * deleted and created under the same name, over and over. What was acknowledged last is what must be found.
 */
import type { Admin } from 'kafkajs';
import { type Actor, late, RETRY, type Setting } from './producers.ts';
import { SeededRandom } from './random.ts';
import { makeValue } from './values.ts';

const RECORDS = 5;

export class TopicLives implements Actor {
  readonly name = 'topic-lives';
  doing = '';
  /** Acknowledged as created and not being deleted. */
  readonly alive = new Set<string>();
  /** Acknowledged as deleted and not created again. */
  readonly gone = new Set<string>();
  private readonly setting: Setting;
  private readonly random: SeededRandom;
  private readonly admin: Admin;
  private stopping = false;
  private loop: Promise<void> | undefined;

  constructor(setting: Setting) {
    this.setting = setting;
    this.random = new SeededRandom(`${setting.seed} lives`);
    this.admin = setting.kafka.admin({ retry: { ...RETRY, retries: 2 } });
  }

  async start(): Promise<void> {
    await this.insist(() => this.admin.connect());
    this.loop = this.run();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    if (await late(this.loop, 30_000)) this.setting.ledger.problems.push('topic-lives: no answer within 30 s');
    await late(this.admin.disconnect(), 5_000);
  }

  private async run(): Promise<void> {
    for (let n = 0; !this.stopping; n++) {
      try {
        await this.create(`life-${n}`, n);
        if (n % 2 === 1) await this.remove(`life-${n}`);
        if (this.alive.has('again')) await this.remove('again');
        await this.create('again', n);
        this.setting.ledger.progressOf(this.name).acks += 1;
      } catch (error) {
        this.setting.ledger.problems.push(`topic-lives: ${error instanceof Error ? error.message : String(error)}`);
      }
      await new Promise((done) => setTimeout(done, this.random.between(50, 500)));
    }
  }

  private async create(topic: string, n: number): Promise<void> {
    const { ledger, kafka } = this.setting;
    this.gone.delete(topic);
    this.doing = `creates ${topic}`;
    // "Exists already" is what the client hears when an answer was lost with the server.
    const topics = [{ topic, numPartitions: 2, replicationFactor: 1 }];
    await this.insist(() => this.admin.createTopics({ topics, waitForLeaders: false }));
    this.alive.add(topic);
    const states = [0, 1].map((partition) => ledger.key(`${topic}.${n}.${partition}`, topic, partition, false));
    const messages = states.flatMap((state) =>
      Array.from({ length: RECORDS }, () => {
        const bytes = this.random.between(40, 900);
        return { key: state.key, value: makeValue(state.key, state.sent++, bytes), partition: state.partition };
      }),
    );
    await this.insist(async () => {
      this.doing = `produces to ${topic}`;
      // One client per topic: this client asks for every topic it ever wrote to, also when it is gone.
      const producer = kafka.producer({ allowAutoTopicCreation: false, retry: RETRY });
      try {
        await producer.connect();
        await producer.send({ topic, messages, acks: -1 });
      } finally {
        await producer.disconnect();
      }
    });
    for (const state of states) state.acked = state.sent;
  }

  private async remove(topic: string): Promise<void> {
    const { ledger } = this.setting;
    this.alive.delete(topic);
    this.doing = `deletes ${topic}`;
    await this.insist(async () => {
      // What the answer to an earlier try would have said, had the server lived.
      if ((await this.admin.listTopics()).includes(topic)) await this.admin.deleteTopics({ topics: [topic] });
    });
    this.gone.add(topic);
    for (const [key, state] of ledger.keys) if (state.topic === topic) ledger.keys.delete(key);
  }

  /** This client's administration does not try again when a connection breaks, and for ever when a topic is gone. */
  private async insist<T>(request: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await request();
      } catch (error) {
        if (this.stopping) throw error;
        await new Promise((done) => setTimeout(done, 50));
      }
    }
  }
}
