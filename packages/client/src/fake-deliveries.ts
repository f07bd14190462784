/** For tests until the engine is here: delivery in memory, over the real streams. Lanes, attempts, withdrawal; no durability. */
import { HadronError } from '@hadron/base';
import type {
  DeliveryService,
  DeliverySession,
  EventStreams,
  OpenRequest,
  SessionHandler,
  TailRecord,
} from '@hadron/broker';
import { type AnswerResult, DEFAULT_POLICY, DEFAULT_WINDOW, type GroupSettings, type Verdict } from '@hadron/contracts';
import { readRecord } from '@hadron/contracts/events';

interface Item {
  record: TailRecord;
  lane: string | undefined;
  attempt: number;
  dueMs: number;
  out: { session: Session; token: string } | undefined;
  settled: 'acked' | 'dead' | undefined;
}
interface Session {
  handler: SessionHandler;
  credit: number;
  draining: boolean;
  over: boolean;
}

class Group {
  items: Item[] = [];
  sessions: Session[] = [];
  tokens = new Map<string, Item>();
  settings: GroupSettings;
  n = 0;
  constructor(settings: GroupSettings) {
    this.settings = settings;
  }

  pump(): void {
    const now = Date.now();
    const busy = new Map<string, number>();
    const blocked = new Set<string>();
    const outs = new Map<Session, { item: Item; token: string }[]>();
    for (const item of this.items) {
      if (item.settled !== undefined) continue;
      const lane =
        this.settings.ordering === 'partition'
          ? `p${item.record.partition}`
          : (item.lane ?? `o${item.record.partition}/${item.record.offset}`);
      if (item.out !== undefined) {
        busy.set(lane, (busy.get(lane) ?? 0) + 1);
        continue;
      }
      if (blocked.has(lane) || (busy.get(lane) ?? 0) >= this.settings.window || item.dueMs > now) {
        blocked.add(lane);
        continue;
      }
      const session = this.sessions.find((s) => !s.over && !s.draining && s.credit > 0);
      if (session === undefined) break;
      session.credit--;
      const token = `t${++this.n}`;
      item.out = { session, token };
      this.tokens.set(token, item);
      busy.set(lane, (busy.get(lane) ?? 0) + 1);
      if (!outs.has(session)) outs.set(session, []);
      outs.get(session)?.push({ item, token });
    }
    for (const [session, list] of outs) {
      session.handler.deliver(
        list.map(({ item, token }) => ({
          token,
          partition: item.record.partition,
          offset: item.record.offset,
          attempt: item.attempt,
          redrive: 0,
          lane: this.settings.ordering === 'partition' ? '' : item.lane,
          record: item.record.record,
        })),
      );
    }
  }

  back(item: Item, counted: boolean, delayMs: number): void {
    item.out = undefined;
    if (counted) item.attempt++;
    item.dueMs = Date.now() + delayMs;
    if (delayMs > 0) setTimeout(() => this.pump(), delayMs + 1);
  }

  answer(token: string, verdict: Verdict): AnswerResult {
    const item = this.tokens.get(token);
    if (item === undefined) return { ok: false, code: 'TOKEN_INVALID', message: 'no such token' };
    if (item.settled !== undefined)
      return { ok: false, code: 'ALREADY_SETTLED', message: 'settled', settled: item.settled };
    if (item.out !== undefined && item.out.token !== token)
      return { ok: false, code: 'STALE_DELIVERY', message: 'stale' };
    if (verdict.kind === 'ack') {
      item.settled = 'acked';
      item.out = undefined;
    } else if (verdict.kind === 'term') {
      item.settled = 'dead';
      item.out = undefined;
    } else if (verdict.kind === 'nack') {
      const session = item.out?.session;
      this.back(item, true, verdict.delayMs ?? 20);
      if (this.settings.ordering === 'partition') {
        const later = this.items.filter(
          (i) =>
            i.out !== undefined && i.record.partition === item.record.partition && i.record.offset > item.record.offset,
        );
        const tokens = later.map((i) => (i.out as { token: string }).token);
        for (const i of later) this.back(i, false, 0);
        if (tokens.length > 0) session?.handler.withdrawn(tokens);
      }
    }
    return { ok: true };
  }
}

export function fakeDeliveries(events: EventStreams): DeliveryService & {
  withdrawAll(stream: string, group: string): void;
  kill(stream: string, group: string, error: HadronError): void;
} {
  const groups = new Map<string, Group>();
  const find = (stream: string, name: string): Group => {
    const group = groups.get(`${stream}/${name}`);
    if (group === undefined) throw new HadronError('GROUP_NOT_FOUND', `no group ${name}`);
    return group;
  };
  const service = {
    async open(
      { stream, group: name, settings, credit }: OpenRequest,
      handler: SessionHandler,
    ): Promise<DeliverySession> {
      let group = groups.get(`${stream}/${name}`);
      if (group !== undefined && settings.ordering !== undefined && settings.ordering !== group.settings.ordering)
        throw new HadronError(
          'GROUP_SETTINGS_DIFFER',
          `ordering is ${group.settings.ordering}, not ${settings.ordering}`,
        );
      if (group === undefined) {
        const ordering = settings.ordering ?? 'key';
        group = new Group({
          durable: true,
          start: settings.start ?? { from: 'beginning' },
          ordering,
          window: settings.window ?? DEFAULT_WINDOW[ordering],
          filters: [],
          policy: { ...DEFAULT_POLICY, ...(settings.policy as object) },
          rateLimit: undefined,
          holdRetention: false,
        });
        groups.set(`${stream}/${name}`, group);
        const made = group;
        await events.tail(
          stream,
          { from: 'beginning' },
          {
            records(records) {
              for (const record of records) {
                const { key } = readRecord(record.record.bytes);
                made.items.push({
                  record,
                  lane: key === null ? undefined : Buffer.from(key).toString('latin1'),
                  attempt: 1,
                  dueMs: 0,
                  out: undefined,
                  settled: undefined,
                });
              }
              made.pump();
            },
            ended() {},
          },
        );
      }
      const g = group;
      const session: Session = { handler, credit, draining: false, over: false };
      g.sessions.push(session);
      setImmediate(() => g.pump());
      const leave = (counted: boolean): void => {
        if (session.over) return;
        session.over = true;
        g.sessions = g.sessions.filter((s) => s !== session);
        for (const item of g.items) if (item.out?.session === session) g.back(item, counted, 0);
        setImmediate(() => g.pump());
      };
      return {
        id: 's',
        settings: g.settings,
        credit(count: number) {
          session.credit += count;
          setImmediate(() => g.pump());
        },
        answer(items, done) {
          const results = items.map(({ token, verdict }) => g.answer(token, verdict));
          setImmediate(() => {
            done(results);
            g.pump();
          });
        },
        drain() {
          session.draining = true;
        },
        close: () => leave(false),
        lost: () => leave(true),
      };
    },
    describe: (stream: string, name: string) => ({
      stream,
      group: name,
      kind: 'hadron',
      settings: find(stream, name).settings,
    }),
    groups: () => [...groups.keys()].map((key) => ({ stream: key.split('/')[0], group: key.split('/')[1] })),
    withdrawAll(stream: string, name: string) {
      const g = find(stream, name);
      for (const item of g.items) {
        if (item.out === undefined) continue;
        const { session, token } = item.out;
        g.back(item, false, 0);
        session.handler.withdrawn([token]);
      }
      g.pump();
    },
    kill(stream: string, name: string, error: HadronError) {
      const g = find(stream, name);
      for (const session of g.sessions.splice(0)) {
        session.over = true;
        for (const item of g.items) if (item.out?.session === session) g.back(item, true, 0);
        session.handler.ended(error);
      }
    },
  };
  return service as unknown as ReturnType<typeof fakeDeliveries>;
}
