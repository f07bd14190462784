/** `hadron sub`: a member of a group that prints its events and acknowledges them. */
import { HadronError } from '@hadron/base';
import type { Client, ConsumeOptions, GroupStatus, ManualMessage } from '@hadron/client';
import { describeFailure } from '../../failure.ts';
import { colours, counted, type Io, say, write } from '../../io.ts';
import { type FilterOptions, filtersOf, type ServerOptions, type StartOptions, startOf } from '../../options.ts';
import { withServer } from '../../server.ts';
import { type Format, formatEvent } from './show.ts';
import { stopping } from './stopping.ts';
import { streamOf } from './target.ts';
import { originalOf, undecoded } from './undecoded.ts';

export interface SubOptions extends ServerOptions, StartOptions, FilterOptions {
  readonly stream?: string;
  readonly group: string;
  readonly durable?: boolean;
  readonly batchSize?: number;
  readonly concurrency?: number;
  readonly format?: Format;
  readonly count?: number;
  readonly dryRun?: boolean;
  readonly ordering?: 'partition' | 'key' | 'none';
}

/** A dry run shows so many unless --count says otherwise, and ends when nothing comes for this long. */
const DRY_RUN_COUNT = 100;
const DRY_RUN_IDLE_MS = 1_000;

export async function subscribe(io: Io, argument: string | undefined, options: SubOptions): Promise<void> {
  const name = await streamOf(argument, options);
  await withServer(options, ({ client }) => consume(io, client, name, options), undecoded);
}

async function consume(io: Io, client: Client, name: string, options: SubOptions): Promise<void> {
  const { group, dryRun = false } = options;
  const format = options.format ?? (options.output === 'json' ? 'ndjson' : 'pretty');
  const tint = colours(io, 'stdout');
  const countMax = options.count ?? (dryRun ? DRY_RUN_COUNT : Number.POSITIVE_INFINITY);
  // In the original 0 is 1.
  const atOnce = Math.max(1, options.concurrency ?? options.batchSize ?? 1);
  const exists = await groupIfAny(client, name, group);
  const settings = await settingsOf(io, options, exists);
  const stop = stopping(io);
  const acks = new Acks(io, atOnce, stop.now);
  let idle: NodeJS.Timeout | undefined;
  const waitForMore = (): void => {
    if (!dryRun) return;
    clearTimeout(idle);
    // Nothing may time out while it is only looked at: that would count as a failed attempt.
    idle = setTimeout(stop.now, Math.min(DRY_RUN_IDLE_MS, (exists?.settings.policy.timeoutMs ?? 30_000) / 2));
  };
  let isAway = false;
  const onError = (error: HadronError): void => {
    if (error.code !== 'CONNECTION_FAILED') return complain(io, error);
    // Said once, not with each try.
    if (!isAway) say(io, colours(io, 'stderr').yellow(`${options.url} does not answer; trying again until it does`));
    isAway = true;
  };
  let shown = 0;
  try {
    waitForMore();
    const concurrency = dryRun ? countMax : atOnce;
    const messages = client.stream(name).consume({ ...settings, group, concurrency, signal: stop.signal, onError });
    for await (const message of messages) {
      const { partition, offset, attempt } = message;
      await write(io, formatEvent({ event: originalOf(message.event), partition, offset, attempt }, format, tint));
      shown += 1;
      isAway = false;
      if (!dryRun) await acks.add(message);
      if (shown >= countMax) break;
      waitForMore();
    }
    await acks.settled();
  } catch (error) {
    if (!stop.isOutputGone(error)) throw error;
  } finally {
    clearTimeout(idle);
    stop.dispose();
  }
  if (options.output !== 'json' && io.stderr.isTTY === true)
    say(io, `${counted(shown, 'event')}${dryRun ? ', all given back' : ''}`);
}

/** Acknowledgements on their way: none is waited for where several events may be out at once. */
class Acks {
  private readonly io: Io;
  private readonly atOnce: number;
  private readonly stop: () => void;
  private readonly going = new Set<Promise<void>>();
  private failed: { readonly error: unknown } | undefined;

  constructor(io: Io, atOnce: number, stop: () => void) {
    this.io = io;
    this.atOnce = atOnce;
    this.stop = stop;
  }

  async add(message: ManualMessage): Promise<void> {
    const ack = this.acknowledge(message);
    this.going.add(ack);
    void ack.then(() => this.going.delete(ack));
    if (this.atOnce === 1) await ack;
  }

  /** All are durable. @throws HadronError the first that was not taken */
  async settled(): Promise<void> {
    await Promise.all(this.going);
    if (this.failed !== undefined) throw this.failed.error;
  }

  private async acknowledge(message: ManualMessage): Promise<void> {
    try {
      await message.ack();
    } catch (error) {
      // Given to somebody else meanwhile: seen twice, lost never. Anything else ends the command.
      const { code } = describeFailure(error);
      if (code === 'STALE_DELIVERY' || code === 'ALREADY_SETTLED') return complain(this.io, error);
      this.failed ??= { error };
      this.stop();
    }
  }
}

/** Undefined: there is none yet. */
async function groupIfAny(client: Client, stream: string, group: string): Promise<GroupStatus | undefined> {
  try {
    return await client.admin.group(stream, group);
  } catch (error) {
    if (error instanceof HadronError && (error.code === 'GROUP_NOT_FOUND' || error.code === 'TOPIC_NOT_FOUND'))
      return undefined;
    throw error;
  }
}

/** Settings are a group's from when it is made; of one that exists only those that were asked for are named. */
async function settingsOf(
  io: Io,
  options: SubOptions,
  exists: GroupStatus | undefined,
): Promise<Pick<ConsumeOptions, 'durable' | 'start' | 'filter' | 'ordering'>> {
  const { durable, ordering, dryRun = false } = options;
  const filter = await filtersOf(options);
  const start = startOf(options);
  if (exists === undefined) {
    // To look is not to leave a group behind.
    return { durable: !dryRun && durable === true, start: start ?? 'latest', filter, ordering };
  }
  if (start !== undefined && options.output !== 'json')
    say(io, `Group ${options.group} exists and goes on where it was; "hadron group seek" moves it.`);
  return { durable: durable === true ? true : undefined, filter, ordering };
}

function complain(io: Io, error: unknown): void {
  const { code, message } = describeFailure(error);
  say(io, `${colours(io, 'stderr').yellow(`${code}:`)} ${message}`);
}
