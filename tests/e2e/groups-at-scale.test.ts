/**
 * Statement 17 with real processes and sockets: 200 members settle within 3 s of the last join; kill -9, back in a
 * second: the same generation, nobody rejoins, no commit is refused.
 */
import fs from 'node:fs';
import { KafkaError as K } from '@hadron/kafka-protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { commitFields, committed, createTopic, joinFields } from '../../packages/server/src/kafka/testing/talk.ts';
import { NetClient, over } from './lib/net-client.ts';
import { pause, type ServerProcess, startServerProcess, temporaryFolder, until } from './lib/server-process.ts';

const MEMBERS = 200;
const GROUP = 'crowd';

/** A consumer as clients are: joins, syncs, heartbeats, and joins again when it is told to. */
class Member {
  readonly index: number;
  client: NetClient;
  memberId = '';
  generation = -1;
  assignment = '';
  settledMs = 0;
  joins = 0;
  readonly wrong: string[] = [];

  constructor(index: number, client: NetClient) {
    this.index = index;
    this.client = client;
  }

  /** Until it has an assignment that a heartbeat confirms. */
  async settle(): Promise<void> {
    for (;;) {
      this.joins++;
      const j = await this.client.call(
        'JoinGroup',
        5,
        joinFields(GROUP, this.memberId, { sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 30_000 }),
      );
      this.memberId = j.memberId;
      if (j.errorCode === K.MEMBER_ID_REQUIRED) continue;
      if (j.errorCode !== 0) {
        this.wrong.push(`join ${j.errorCode}`);
        return;
      }
      this.generation = j.generationId;
      const assignments =
        j.leader === j.memberId
          ? j.members.map((m) => ({ memberId: m.memberId, assignment: Buffer.from(`part of ${m.memberId}`) }))
          : [];
      const s = await this.client.call('SyncGroup', 3, {
        groupId: GROUP,
        memberId: this.memberId,
        generationId: this.generation,
        groupInstanceId: null,
        assignments,
      });
      if (s.errorCode === K.REBALANCE_IN_PROGRESS) continue;
      if (s.errorCode !== 0) {
        this.wrong.push(`sync ${s.errorCode}`);
        return;
      }
      this.assignment = s.assignment.toString();
      this.settledMs = performance.now();
      return;
    }
  }

  async heartbeat(): Promise<number> {
    return (
      await this.client.call('Heartbeat', 3, {
        groupId: GROUP,
        memberId: this.memberId,
        generationId: this.generation,
        groupInstanceId: null,
      })
    ).errorCode;
  }

  async commit(offset: number): Promise<number> {
    const r = await this.client.call(
      'OffsetCommit',
      7,
      commitFields({ groupId: GROUP, memberId: this.memberId, generationId: this.generation }, 't', offset, {
        partition: this.index,
      }),
    );
    return r.topics[0]?.partitions[0]?.errorCode as number;
  }
}

describe('C17 groups at scale', () => {
  const data = temporaryFolder('groups');
  let server: ServerProcess;
  beforeAll(async () => {
    server = await startServerProcess(data);
  });
  afterAll(async () => {
    await server?.kill();
    fs.rmSync(data, { recursive: true, force: true });
  });

  test(`C17 R12 ${MEMBERS} members settle within 3 s of the last join, and go on after kill -9`, {
    timeout: 60_000,
  }, async () => {
    const clients = await Promise.all(Array.from({ length: MEMBERS }, () => NetClient.connect(server.kafkaPort)));
    await createTopic(over(clients[0] as NetClient), 't', { partitions: MEMBERS });
    const members = clients.map((c, i) => new Member(i, c));
    let over_ = false;
    /** Heartbeats as clients send them, here ten times as often; joins again when told. */
    const live = async (m: Member): Promise<void> => {
      await m.settle();
      while (!over_ && m.wrong.length === 0) {
        await pause(100);
        if (over_) return;
        const code = await m.heartbeat();
        if (code === K.REBALANCE_IN_PROGRESS) await m.settle();
        else if (code !== 0) m.wrong.push(`heartbeat ${code}`);
      }
    };
    const started = performance.now();
    const lives: Promise<void>[] = [];
    for (const m of members) {
      lives.push(live(m));
      if (m.index % 20 === 19) await pause(10);
    }
    const lastJoin = performance.now();
    await until('everybody in one generation', 20_000, async () => {
      const wrong = members.flatMap((m) => m.wrong);
      if (wrong.length > 0) throw new Error(wrong.join(', '));
      const generations = new Set(members.map((m) => m.generation));
      return generations.size === 1 && members.every((m) => m.assignment === `part of ${m.memberId}`)
        ? true
        : undefined;
    });
    const settled = Math.max(...members.map((m) => m.settledMs)) - lastJoin;
    console.log(
      `${MEMBERS} members joined within ${Math.round(lastJoin - started)} ms and settled ${Math.round(settled)} ms after the last join, generation ${members[0]?.generation}`,
    );
    expect(settled).toBeLessThan(3_000);
    over_ = true;
    await Promise.all(lives);
    const generation = members[0]?.generation as number;
    for (const code of await Promise.all(members.map((m) => m.commit(100 + m.index)))) expect(code).toBe(0);

    // kill -9 with everything going on, and back in a second on the same port.
    const { kafkaPort } = server;
    await server.kill();
    const down = performance.now();
    server = await startServerProcess(data, [], kafkaPort);
    console.log(`back after ${Math.round(performance.now() - down)} ms`);
    for (const m of members) m.client = await NetClient.connect(kafkaPort);
    expect(new Set(await Promise.all(members.map((m) => m.heartbeat())))).toEqual(new Set([0]));
    expect(new Set(await Promise.all(members.map((m) => m.commit(1_000 + m.index))))).toEqual(new Set([0]));
    await pause(500);
    expect(new Set(await Promise.all(members.map((m) => m.heartbeat())))).toEqual(new Set([0]));
    expect(members.every((m) => m.generation === generation)).toBe(true);
    for (const i of [0, 99, 199])
      expect((await committed(over((members[0] as Member).client), GROUP, 't', i)).committedOffset).toBe(1_000 + i);
    for (const m of members) m.client.close();
  });
});
