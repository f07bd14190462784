/** `hadron pub`: one event, or one for each line of a file or of standard input. */
import type { HadronError } from '@hadron/base';
import { CommandFailure } from '../../failure.ts';
import { counted, type Io, printJson, say, write } from '../../io.ts';
import { type Line, linesOf } from '../../lines.ts';
import type { ServerOptions } from '../../options.ts';
import { meter } from '../../progress.ts';
import { withServer } from '../../server.ts';
import { type EventOptions, eventMaker, type Input, openInput, readEvent } from './input.ts';
import { streamAndData } from './target.ts';
import { type Outcome, upload, uploadTogether } from './upload.ts';

export interface PubOptions extends ServerOptions, EventOptions {
  readonly stream?: string;
  readonly file?: string;
  readonly events?: boolean;
  readonly atomic?: boolean;
  readonly partition?: number;
  readonly quiet?: boolean;
}

/** Beyond these, refused lines are only counted. */
const REFUSALS_SHOWN = 20;
const MADE_HERE = ['type', 'id', 'source', 'subject', 'option', 'binary', 'delay'] as const;

export async function publish(io: Io, args: readonly string[], options: PubOptions): Promise<void> {
  const { name, data } = await streamAndData(args, options);
  check(options, data);
  const make = options.events === true ? readEvent : eventMaker(options, data === undefined);
  await withServer(options, async ({ client }) => {
    // Asked first: it tells in seconds that no server answers, where publishing would try again.
    await client.admin.stream(name);
    if (data !== undefined) {
      const [published] = await client
        .stream(name)
        .publishEvents([make(Buffer.from(data))], { partition: options.partition });
      if (published !== undefined && options.quiet !== true) await write(io, resultLine(name, published, options));
      return;
    }
    const input = openInput(io, options.file);
    await publishLines(io, name, input, options, async (tell) =>
      (options.atomic === true ? uploadTogether : upload)({
        stream: client.stream(name),
        input,
        lines: linesOf(input.stream),
        make,
        partition: options.partition,
        tell,
      }),
    );
  });
}

function check(options: PubOptions, data: string | undefined): void {
  const refuse = (message: string): never => {
    throw new CommandFailure('REQUEST_INVALID', message);
  };
  if (data !== undefined && options.file !== undefined) refuse('give the data as an argument or with --file, not both');
  if (data === undefined && options.id !== undefined)
    refuse('--id is for one event, given as an argument; each line gets an id of its own');
  if (options.events !== true) return;
  if (data !== undefined) refuse('--events reads lines of --file or standard input');
  const made = MADE_HERE.find((option) => options[option] !== undefined);
  if (made !== undefined)
    refuse(`--events are published as they are; ${made === 'option' ? '-o' : `--${made}`} has no place there`);
}

/** Runs an upload, tells what became of its lines, and fails if some were refused. */
export async function publishLines(
  io: Io,
  stream: string,
  input: Input,
  options: Pick<PubOptions, 'quiet' | 'output' | 'atomic'>,
  work: (tell: (outcome: Outcome) => Promise<void>) => Promise<void>,
): Promise<void> {
  const quiet = options.quiet === true;
  const isSeen = quiet || io.stdout.isTTY !== true;
  const progress = isSeen ? await meter(io, `Publishing to ${stream}`, 'events', input.size) : undefined;
  let published = 0;
  let refused = 0;
  let first: HadronError | undefined;
  const tell = async (outcome: Outcome): Promise<void> => {
    const { line } = outcome;
    if ('published' in outcome) {
      published += 1;
      if (!quiet) await write(io, resultLine(stream, outcome.published, options, line));
    } else {
      refused += 1;
      first ??= outcome.refused;
      const aside = progress === undefined ? (text: string) => say(io, text) : progress.say;
      await tellRefusal(io, line, outcome.refused, options, refused, aside);
    }
    progress?.update(line.readBytes, published);
  };
  try {
    await work(tell);
  } finally {
    progress?.stop();
  }
  if (first !== undefined) {
    const rest = published > 0 ? 'the others are published' : 'nothing was published';
    throw new CommandFailure(first.code, `${counted(refused, 'line')} refused; ${rest}`);
  }
  if (options.output !== 'json') say(io, `${counted(published, 'event')} to ${stream}`);
  else if (quiet) printJson(io, { stream, events: published });
}

async function tellRefusal(
  io: Io,
  line: Line,
  error: HadronError,
  { output }: Pick<PubOptions, 'output'>,
  index: number,
  aside: (text: string) => void,
): Promise<void> {
  const message = error.message.replace(`${error.code}: `, '');
  if (output === 'json') {
    const { code, field } = error;
    await write(io, `${JSON.stringify({ line: line.number, error: { code, message, field } })}\n`);
  } else if (index <= REFUSALS_SHOWN) aside(`line ${line.number}: ${error.code}: ${message}`);
  else if (index === REFUSALS_SHOWN + 1) aside('more lines are refused; --output json tells of each');
}

interface Place {
  readonly id: string;
  readonly partition: number;
  readonly offset: number;
}

/** Table: `orders 0/17 ID`. JSON: an object. */
function resultLine(
  stream: string,
  { id, partition, offset }: Place,
  { output }: Pick<PubOptions, 'output'>,
  line?: Line,
): string {
  if (output !== 'json') return `${stream} ${partition}/${offset} ${id}\n`;
  return `${JSON.stringify({ ...(line === undefined ? {} : { line: line.number }), stream, id, partition, offset })}\n`;
}
