/** `hadron delete`: asks first, because records do not come back. */
import { CommandFailure } from '../../failure.ts';
import { type Io, printJson } from '../../io.ts';
import { Api, resourcesPath } from './api.ts';

export interface DeleteOptions {
  readonly url: string;
  readonly cascade?: boolean;
  readonly yes?: boolean;
  readonly ignoreNotFound?: boolean;
  readonly output: 'table' | 'json' | 'name';
}

interface Named {
  readonly kind: string;
  readonly name: string;
}

export async function remove(io: Io, kind: string, names: readonly string[], options: DeleteOptions): Promise<void> {
  const api = new Api(options.url);
  const ask = (name: string, query: string): Promise<{ deleted: readonly Named[] }> =>
    api.delete(`${resourcesPath(kind, name)}?cascade=${options.cascade === true}${query}`);
  // First what it would be: who uses it is told before anybody is asked.
  const planned: { name: string; deleted: readonly Named[] }[] = [];
  for (const name of names) {
    try {
      planned.push({ name, deleted: (await ask(name, '&dryRun=true')).deleted });
    } catch (error) {
      if (options.ignoreNotFound !== true || !isNotFound(error)) throw error;
    }
  }
  if (planned.length === 0) {
    if (options.output === 'json') printJson(io, { deleted: [] });
    return;
  }
  if (options.yes !== true)
    await confirm(
      io,
      planned.flatMap((p) => p.deleted),
    );
  const gone = new Map<string, Named>();
  for (const { name } of planned) {
    try {
      for (const one of (await ask(name, '')).deleted) gone.set(nameOf(one), one);
    } catch (error) {
      // Another of these took it along.
      if (!isNotFound(error)) throw error;
    }
  }
  if (options.output === 'json') printJson(io, { deleted: [...gone.values()] });
  else for (const name of gone.keys()) io.stdout.write(options.output === 'name' ? `${name}\n` : `${name} deleted\n`);
}

const nameOf = ({ kind, name }: Named): string => `${kind.toLowerCase()}/${name}`;
const isNotFound = (error: unknown): boolean => error instanceof CommandFailure && error.code === 'RESOURCE_NOT_FOUND';

/** @throws CommandFailure INTERRUPTED when the answer is no; REQUEST_INVALID when there is nobody to ask */
async function confirm(io: Io, deleted: readonly Named[]): Promise<void> {
  const streams = deleted.filter((d) => d.kind === 'Stream').length;
  const loss =
    streams === 0
      ? ''
      : streams === 1
        ? ' and all records of the Stream'
        : ` and all records of the ${streams} Streams`;
  const what = `${deleted.map(nameOf).join(', ')}${loss}`;
  const isTerminal = (io.stdin as { isTTY?: boolean }).isTTY === true && io.stderr.isTTY === true;
  if (!isTerminal) throw new CommandFailure('REQUEST_INVALID', `this deletes ${what}; say --yes to mean it`);
  const { confirm: ask, isCancel } = await import('@clack/prompts');
  const answer = await ask({ message: `Delete ${what}?`, initialValue: false, input: io.stdin, output: io.stderr });
  if (isCancel(answer) || !answer) throw new CommandFailure('INTERRUPTED', 'nothing was deleted');
}
