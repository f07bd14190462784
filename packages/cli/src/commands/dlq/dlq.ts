/** The verbs of `hadron dlq`. Bulk work says first how many it is about. */
import type { DeadLetter } from '@hadron/contracts';
import { confirm } from '../../ask.ts';
import { CommandFailure } from '../../failure.ts';
import { colours, counted, type Io, printable, printJson, printTable, say } from '../../io.ts';
import { type FilterOptions, filtersOf, type ServerOptions } from '../../options.ts';
import { meter } from '../../progress.ts';
import { withServer } from '../../server.ts';
import { onStopSignals } from '../../signals.ts';

interface Selection extends ServerOptions, FilterOptions {
  readonly group?: string;
  readonly code?: string;
}

export interface ListOptions extends Selection {
  readonly limit: number;
}

export interface BulkOptions extends Selection {
  readonly to?: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

type Letter = DeadLetter & { readonly event: Readonly<Record<string, unknown>> };

const pathOf = (stream: string): string => `/v1/streams/${encodeURIComponent(stream)}/dead-letters`;

async function selected({ group, code, ...options }: Selection) {
  return { group, code, filters: await filtersOf(options) };
}

export async function list(io: Io, stream: string, options: ListOptions): Promise<void> {
  const selection = await selected(options);
  const { letters, total } = await withServer(options, async ({ client: { admin } }) => {
    const found = await admin.deadLetters(stream, selection, options.limit);
    const all = found.length < options.limit ? found.length : await admin.countDeadLetters(stream, selection);
    return { letters: found, total: all };
  });
  if (options.output === 'json') return printJson(io, letters);
  if (letters.length === 0) return say(io, `No dead letters of ${stream}.`);
  await printTable(
    io,
    ['position', 'from', 'group', 'code', 'attempts', 'last', 'type', 'subject', 'reason'],
    letters.map(({ partition, offset, from, group, code, attempts, lastMs, reason, event }) => [
      `${partition}/${offset}`,
      `${from.partition}/${from.offset}`,
      printable(group, true),
      code,
      String(attempts),
      new Date(lastMs).toISOString(),
      text(event['type']),
      text(event['subject']),
      shortened(printable(reason, true)),
    ]),
  );
  if (total > letters.length) say(io, `${letters.length} of ${total}; --limit shows more`);
}

const text = (value: unknown): string => (typeof value === 'string' ? printable(value, true) : '-');
const REASON_CHARACTERS = 60;
const shortened = (reason: string): string =>
  reason.length > REASON_CHARACTERS ? `${reason.slice(0, REASON_CHARACTERS - 1)}…` : reason === '' ? '-' : reason;

export async function show(io: Io, stream: string, position: string, options: ServerOptions): Promise<void> {
  const { partition, offset } = positionOf(position);
  const query = `?position=${partition}/${offset}`;
  const { deadLetters } = (await withServer(options, ({ request }) => request('GET', `${pathOf(stream)}${query}`))) as {
    deadLetters: readonly Letter[];
  };
  const [letter] = deadLetters;
  if (letter === undefined) throw noSuch(stream, position);
  if (options.output === 'json') return printJson(io, letter);
  const { dim } = colours(io, 'stdout');
  const { event, from, group, code, reason, attempts, firstMs, lastMs } = letter;
  const line = (name: string, value: string): string => `  ${dim(name.padEnd(9))} ${value}\n`;
  io.stdout.write(
    `${letter.stream ?? `${stream}.dead`} ${position}\n` +
      line('event', `${from.stream} ${from.partition}/${from.offset}`) +
      line('group', printable(group, true)) +
      line('code', code) +
      line('reason', printable(reason, true)) +
      line('attempts', `${attempts}, ${new Date(firstMs).toISOString()} to ${new Date(lastMs).toISOString()}`) +
      `\n${printable(JSON.stringify(event, undefined, 2))}\n`,
  );
}

/** So many are settled with one request: enough for speed, few enough to see progress. */
const TOGETHER = 1_000;

export async function settle(
  io: Io,
  what: 'redrive' | 'drop',
  stream: string,
  position: string | undefined,
  options: BulkOptions,
): Promise<void> {
  const selection = {
    ...(await selected(options)),
    position: position === undefined ? undefined : positionOf(position),
  };
  const { count, done } = await withServer(options, async (server) => {
    const ask = async (more: object): Promise<number> =>
      ((await server.request('POST', `${pathOf(stream)}/${what}`, { ...selection, ...more })) as { count: number })
        .count;
    const found = await ask({ dryRun: true });
    if (found === 0 && position !== undefined) throw noSuch(stream, position);
    if (found === 0 || options.dryRun === true) return { count: found, done: 0 };
    await confirm(io, `${sentence(what, options.to, found, stream, 'now')}`, options);
    return { count: found, done: await all(io, found, options.to, ask, what) };
  });
  const dryRun = options.dryRun === true;
  if (options.output === 'json')
    return printJson(io, { [what === 'drop' ? 'dropped' : 'redriven']: done, matching: count });
  if (count === 0) say(io, `No dead letters of ${stream} match.`);
  else
    say(
      io,
      dryRun
        ? `Would ${lower(sentence(what, options.to, count, stream, 'now'))}.`
        : `${sentence(what, options.to, done, stream, 'done')}.`,
    );
}

/** Only as many as there were at the beginning: what fails again at once is not given again for ever. */
async function all(
  io: Io,
  count: number,
  to: string | undefined,
  ask: (more: object) => Promise<number>,
  what: 'redrive' | 'drop',
): Promise<number> {
  const progress =
    count > TOGETHER ? await meter(io, what === 'drop' ? 'Dropping' : 'Redriving', 'dead letters', count) : undefined;
  let stopped = false;
  const removeSignals = onStopSignals({ first: () => (stopped = true), second: () => process.exit(130) });
  let done = 0;
  try {
    while (done < count && !stopped) {
      const some = await ask({ ...(to === undefined ? {} : { to }), limit: Math.min(TOGETHER, count - done) });
      if (some === 0) break;
      done += some;
      progress?.update(done, done);
    }
  } finally {
    removeSignals();
    progress?.stop();
  }
  if (stopped) throw new CommandFailure('INTERRUPTED', `stopped after ${done} of ${counted(count, 'dead letter')}`);
  return done;
}

function sentence(
  what: 'redrive' | 'drop',
  to: string | undefined,
  count: number,
  stream: string,
  when: 'now' | 'done',
): string {
  const letters = `${counted(count, 'dead letter')} of ${stream}`;
  if (what === 'drop') return `${when === 'now' ? 'Drop' : 'Dropped'} ${letters}`;
  if (to !== undefined) return `${when === 'now' ? 'Copy' : 'Copied'} ${letters} to ${to}`;
  return `${when === 'now' ? 'Give' : 'Gave'} ${letters} again to ${count === 1 ? 'its group' : 'their groups'}`;
}

const lower = (words: string): string => words.charAt(0).toLowerCase() + words.slice(1);

/** @throws CommandFailure REQUEST_INVALID */
function positionOf(position: string): { readonly partition: number; readonly offset: number } {
  const match = /^(\d{1,9})\/(\d{1,15})$/.exec(position);
  if (match !== null) return { partition: Number(match[1]), offset: Number(match[2]) };
  throw new CommandFailure(
    'REQUEST_INVALID',
    `${position} is no position; expected PARTITION/OFFSET, as "hadron dlq ls" prints it`,
  );
}

const noSuch = (stream: string, position: string): CommandFailure =>
  new CommandFailure(
    'RESOURCE_NOT_FOUND',
    `${stream} has no open dead letter at ${position}; "hadron dlq ls ${stream}" lists them`,
  );
