/**
 * Lines to events to the server, in order, many on their way at once: what `pub` and `import` share. Outcomes are told in the
 * order of the lines, each as soon as it and those before it are known: a slow input is answered line by line.
 */
import { HadronError } from '@hadron/base';
import type { Published, Stream } from '@hadron/client';
import type { CloudEvent } from '@hadron/contracts';
import { CommandFailure, describeFailure } from '../../failure.ts';
import type { Line } from '../../lines.ts';
import { onStopSignals } from '../../signals.ts';
import type { Input, MakeEvent } from './input.ts';

export type Outcome = { readonly line: Line } & ({ readonly published: Published } | { readonly refused: HadronError });

export interface Upload {
  readonly stream: Stream;
  readonly input: Input;
  readonly lines: AsyncIterable<Line>;
  readonly make: MakeEvent;
  readonly partition: number | undefined;
  readonly tell: (outcome: Outcome) => Promise<void>;
}

/** Lines on their way; beyond it no more are read. The client bounds their bytes. */
const AHEAD = 5_000;
/** What the server takes together. */
const ATOMIC_MAX = 10_000;

/** An event's own fault: the others go on. Everything else ends the upload. */
const OF_THE_EVENT = new Set([
  'EVENT_INVALID',
  'EVENT_TOO_LARGE',
  'RECORD_INVALID',
  'RECORD_TOO_LARGE',
  'TIMESTAMP_INVALID',
]);

/**
 * @throws HadronError, CommandFailure what ended it, with how far it came; INTERRUPTED
 */
export async function upload({ stream, input, lines, make, partition, tell }: Upload): Promise<void> {
  const going: Promise<void>[] = [];
  let failed: { readonly error: unknown } | undefined;
  let before: Promise<void> = Promise.resolve();
  let lastPublished = 0;
  const end = (error: unknown): void => {
    failed ??= { error };
    input.stream.destroy(); // nobody waits for another line
  };
  const removeSignals = onStopSignals({
    first: () => end(new CommandFailure('INTERRUPTED', 'stopped')),
    second: () => process.exit(130),
  });
  const settle = async (line: Line, previous: Promise<void>): Promise<void> => {
    const outcome = await publishOne(stream, line, make, partition);
    await previous;
    if ('published' in outcome) lastPublished = line.number;
    await tell(outcome);
  };
  try {
    for await (const line of lines) {
      if (failed !== undefined) break;
      before = settle(line, before);
      before.catch(end);
      going.push(before);
      if (going.length >= AHEAD) await going.shift();
    }
  } catch (error) {
    failed ??= { error };
  }
  await before.catch(() => undefined);
  removeSignals();
  if (failed === undefined) return;
  const { code, message } = describeFailure(failed.error);
  const reached = lastPublished === 0 ? 'nothing was published' : `published up to line ${lastPublished}`;
  throw new CommandFailure(code, `${message}; ${reached}`, { cause: failed.error });
}

async function publishOne(
  stream: Stream,
  line: Line,
  make: MakeEvent,
  partition: number | undefined,
): Promise<Outcome> {
  try {
    const [published] = await stream.publishEvents([make(line.bytes)], { partition });
    return { line, published: published as Published };
  } catch (error) {
    if (error instanceof HadronError && OF_THE_EVENT.has(error.code)) return { line, refused: error };
    throw error;
  }
}

/** All or none. @throws HadronError, CommandFailure: nothing was published */
export async function uploadTogether({ stream, lines, make, partition, tell }: Upload): Promise<void> {
  const events: { readonly line: Line; readonly event: CloudEvent }[] = [];
  let refused = 0;
  for await (const line of lines) {
    if (events.length === ATOMIC_MAX)
      throw new CommandFailure('REQUEST_INVALID', `--atomic takes at most ${ATOMIC_MAX} events; nothing was published`);
    try {
      events.push({ line, event: make(line.bytes) });
    } catch (error) {
      if (!(error instanceof HadronError)) throw error;
      refused += 1;
      await tell({ line, refused: error });
    }
  }
  if (refused > 0) return;
  if (events.length === 0) return;
  const published = await stream.publishEvents(
    events.map(({ event }) => event),
    { atomic: true, partition },
  );
  for (const [i, { line }] of events.entries()) await tell({ line, published: published[i] as Published });
}
