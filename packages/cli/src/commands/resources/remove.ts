/** `hadron delete`: asks first, because records do not come back. */
import { confirm } from '../../ask.ts';
import { CommandFailure } from '../../failure.ts';
import { type Io, printJson } from '../../io.ts';
import type { ServerAddress } from '../../options.ts';
import { Api, resourcesPath } from './api.ts';

export interface DeleteOptions extends ServerAddress {
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
  const api = new Api(options);
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
  await confirm(io, loss(planned.flatMap((p) => p.deleted)), options);
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

/** `Delete stream/orders and all records of the Stream` */
function loss(deleted: readonly Named[]): string {
  const streams = deleted.filter((d) => d.kind === 'Stream').length;
  const records = ['', ' and all records of the Stream'][streams] ?? ` and all records of the ${streams} Streams`;
  return `Delete ${deleted.map(nameOf).join(', ')}${records}`;
}
