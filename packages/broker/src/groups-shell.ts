/**
 * The shell around the group coordinator: appends what it decides to the groups log, lets answers out when everything
 * said so far is durable (log.md G5), and wakes it when a session or a rebalance is due.
 */
import type { Clock, HadronError, Logger, Random, Timer } from '@hadron/base';
import {
  type FetchOffsetsResponse,
  GroupCoordinator,
  type GroupResponse,
  type GroupsConfig,
  type Outcome,
  type GoneTopic,
} from './groups/index.ts';
import type { StateLog } from './state/state-log.ts';

/** Whoever asked: told exactly once. */
export interface GroupCaller<R extends GroupResponse = GroupResponse> {
  answer(response: R): void;
  failed(error: HadronError): void;
}

const NOBODY: GroupCaller = { answer() {}, failed() {} };

type Coordinator = GroupCoordinator<GroupCaller>;

export class GroupsShell {
  readonly coordinator: Coordinator;
  private readonly log: StateLog;
  private readonly clock: Clock;
  private readonly logger: Logger;
  /** Callers without an answer yet: told when the shard fails. */
  private readonly open = new Set<GroupCaller>();
  private timer: Timer | undefined;
  private timerAt = Number.POSITIVE_INFINITY;
  private timersStopped = false;
  private over: HadronError | undefined;

  constructor(
    log: StateLog,
    options: {
      clock: Clock;
      random: Random;
      logger: Logger;
      config: () => GroupsConfig;
      topicIdOf: (name: string) => string | undefined;
    },
  ) {
    this.log = log;
    this.clock = options.clock;
    this.logger = options.logger;
    this.coordinator = new GroupCoordinator<GroupCaller>({
      config: options.config,
      random: options.random,
      topicIdOf: options.topicIdOf,
    });
  }

  /** Reads the groups back; every member's session begins anew. */
  async recover(): Promise<void> {
    await this.log.recover(this.coordinator);
    this.coordinator.afterRecovery(this.clock.monotonicMs());
    this.schedule();
  }

  /** Runs one command. `decide` is called at once; the answer comes when it is durable. */
  run<R extends GroupResponse>(
    caller: GroupCaller<R>,
    decide: (c: Coordinator, caller: GroupCaller, now: number, wallMs: number) => Outcome<GroupCaller>,
  ): void {
    if (this.over !== undefined) {
      caller.failed(this.over);
      return;
    }
    const token = caller as unknown as GroupCaller;
    this.open.add(token);
    this.settle(decide(this.coordinator, token, this.clock.monotonicMs(), this.clock.wallMs()));
  }

  /** What a group has committed, for metrics. */
  committed(groupId: string): FetchOffsetsResponse['groups'][number]['topics'] {
    const [reply] = this.coordinator.fetchOffsets({ groups: [{ groupId, topics: null }] }, NOBODY).replies;
    return reply?.response.type === 'fetchOffsets' ? (reply.response.groups[0]?.topics ?? []) : [];
  }

  /** A topic or some of its partitions are gone: so are the offsets committed for them. */
  topicDeleted(topic: GoneTopic): void {
    if (this.over === undefined) this.settle(this.coordinator.topicDeleted(topic));
  }

  /** Time stands still from here on: nothing is appended behind the last words of the log because a timer fired. */
  stopTimers(): void {
    this.timersStopped = true;
    this.timer?.cancel();
  }

  /** Nobody is answered any more but with this error. */
  close(error: HadronError): void {
    this.over = error;
    this.stopTimers();
    for (const caller of this.open) caller.failed(error);
    this.open.clear();
  }

  private settle(outcome: Outcome<GroupCaller>): void {
    try {
      if (outcome.records.length > 0) this.log.append(outcome.records);
    } catch (error) {
      // The coordinator is ahead of its log now. The shard has failed or is closed, and with it this coordinator ends.
      this.logger.error({ err: String(error) }, 'the groups log cannot be written');
      this.close(error as HadronError);
      return;
    }
    if (outcome.replies.length > 0) {
      if (this.log.shard.isDurable(this.log.log.lastLsn)) this.deliver(outcome);
      else {
        this.log.whenDurable({
          committed: () => this.deliver(outcome),
          failed: (error) => {
            for (const { to } of outcome.replies) if (this.open.delete(to)) to.failed(error);
          },
        });
      }
    }
    this.schedule();
  }

  private deliver(outcome: Outcome<GroupCaller>): void {
    for (const { to, response } of outcome.replies) if (this.open.delete(to)) to.answer(response);
  }

  private schedule(): void {
    if (this.timersStopped) return;
    const due = this.coordinator.nextDeadline() ?? Number.POSITIVE_INFINITY;
    // An earlier timer that fires for nothing is cheaper than a new one for each heartbeat.
    if (due >= this.timerAt) return;
    this.timer?.cancel();
    this.timerAt = due;
    this.timer = this.clock.setTimer(Math.max(0, due - this.clock.monotonicMs()), () => {
      this.timerAt = Number.POSITIVE_INFINITY;
      this.timer = undefined;
      if (this.over === undefined) this.settle(this.coordinator.tick(this.clock.monotonicMs(), this.clock.wallMs()));
    });
  }
}
