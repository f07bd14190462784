/** `hadron get` and `hadron describe`. */
import type { Resource } from '@hadron/contracts/resources';
import { CommandFailure } from '../../failure.ts';
import { colours, type Io, printTable } from '../../io.ts';
import type { ServerAddress } from '../../options.ts';
import { onStopSignals } from '../../signals.ts';
import { Api, resourcesPath } from './api.ts';
import { columnsOf, type Format, type KindInfo, nameOf, printResources } from './output.ts';

export interface GetOptions extends ServerAddress {
  readonly selector?: string;
  readonly output: Format;
  readonly watch?: boolean;
}

interface Listed {
  readonly resourceVersion: string;
  readonly items: readonly Resource[];
}

interface WatchLine {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'ERROR';
  readonly object: Resource;
  readonly code?: string;
  readonly message?: string;
}

export async function get(io: Io, kindName: string, names: readonly string[], options: GetOptions): Promise<void> {
  const api = new Api(options);
  if (options.watch === true && names.length > 0)
    throw new CommandFailure('REQUEST_INVALID', '--watch shows all of a kind; select with -l instead of a name');
  if (options.selector !== undefined && names.length > 0)
    throw new CommandFailure('REQUEST_INVALID', 'give names or a selector (-l), not both');
  const kind = await kindOf(api, kindName);
  if (options.watch === true) {
    await watch(io, api, kind, options);
    return;
  }
  if (names.length === 0) {
    const { items } = await list(api, kind, options.selector);
    await printResources(io, options.output, kind, items, false);
    return;
  }
  const items: Resource[] = [];
  for (const name of names) items.push(await api.get<Resource>(resourcesPath(kind.kind, name)));
  await printResources(io, options.output, kind, items, items.length === 1);
}

/** By any name of it. @throws CommandFailure RESOURCE_NOT_FOUND */
async function kindOf(api: Api, name: string): Promise<KindInfo> {
  interface Known extends KindInfo {
    readonly plural: string;
    readonly shortNames: readonly string[];
  }
  const { kinds } = await api.get<{ kinds: readonly Known[] }>('/v1/kinds');
  const wanted = name.toLowerCase();
  const kind = kinds.find((k) => [k.kind.toLowerCase(), k.plural, ...k.shortNames].includes(wanted));
  if (kind !== undefined) return kind;
  throw new CommandFailure(
    'RESOURCE_NOT_FOUND',
    `there is no kind ${name}; there are ${kinds.map((k) => k.plural).join(', ')}`,
  );
}

const listPath = ({ kind }: KindInfo, selector: string | undefined): string =>
  resourcesPath(kind) + (selector === undefined ? '' : `?labelSelector=${encodeURIComponent(selector)}`);

const list = (api: Api, kind: KindInfo, selector: string | undefined): Promise<Listed> =>
  api.get<Listed>(listPath(kind, selector));

const RECONNECT_MS = 1_000;

/** What there is, then every change, over restarts of the server, until Ctrl-C. */
async function watch(io: Io, api: Api, kind: KindInfo, { selector, output }: GetOptions): Promise<void> {
  const stop = new AbortController();
  const removeSignals = onStopSignals({ first: () => stop.abort(), second: () => process.exit(130) });
  const print = linePrinter(io, kind, output);
  try {
    let listed = await list(api, kind, selector);
    let version = listed.resourceVersion;
    const known = new Map<string, Resource>();
    const remember = ({ type, object }: WatchLine): void => {
      if (type === 'DELETED') known.delete(object.metadata.name);
      else known.set(object.metadata.name, object);
    };
    const tell = async (line: WatchLine): Promise<void> => {
      remember(line);
      await print(line);
    };
    for (const object of listed.items) await tell({ type: 'ADDED', object });
    while (!stop.signal.aborted) {
      const base = listPath(kind, selector);
      const path = `${base}${base.includes('?') ? '&' : '?'}watch=true&resourceVersion=${version}`;
      try {
        for await (const line of api.lines<WatchLine>(path, stop.signal)) {
          if (line.type === 'ERROR') break;
          version = line.object.metadata.resourceVersion;
          await tell(line);
        }
      } catch (error) {
        if (!(error instanceof CommandFailure)) throw error;
        if (error.code === 'RESOURCE_CONFLICT') {
          // Too much happened while nobody was connected: what differs is told as changes.
          listed = await list(api, kind, selector);
          version = listed.resourceVersion;
          for (const line of differences(known, listed.items)) await tell(line);
          continue;
        }
        if (error.code !== 'CONNECTION_FAILED') throw error;
      }
      await pause(stop.signal);
    }
  } finally {
    removeSignals();
  }
}

function* differences(known: ReadonlyMap<string, Resource>, items: readonly Resource[]): Generator<WatchLine> {
  const present = new Set(items.map((item) => item.metadata.name));
  for (const [name, object] of [...known]) if (!present.has(name)) yield { type: 'DELETED', object };
  for (const object of items) {
    const before = known.get(object.metadata.name);
    if (before === undefined) yield { type: 'ADDED', object };
    else if (before.metadata.resourceVersion !== object.metadata.resourceVersion) yield { type: 'MODIFIED', object };
  }
}

const pause = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, signal.aborted ? 0 : RECONNECT_MS);
    signal.addEventListener('abort', done);
  });

/** One change after another: lines as they come, so columns are as wide as their headings and what came before. */
function linePrinter(io: Io, kind: KindInfo, output: Format): (line: WatchLine) => Promise<void> | void {
  if (output === 'json') return ({ type, object }) => void io.stdout.write(`${JSON.stringify({ type, object })}\n`);
  if (output === 'yaml')
    return async ({ object }) => void io.stdout.write(`---\n${(await import('./yaml.ts')).asYaml([object])}`);
  if (output === 'name') return ({ type, object }) => void io.stdout.write(`${type.toLowerCase()} ${nameOf(object)}\n`);
  const columns = columnsOf(kind, output);
  const widths = columns.map((c) => Math.max(c.name.length, c.name === 'name' ? 20 : 0));
  const row = (event: string, cells: readonly string[]): string => {
    const padded = cells.map((text, i) => {
      widths[i] = Math.max(widths[i] ?? 0, text.length);
      return text.padEnd(widths[i] ?? 0);
    });
    return [event.padEnd(8), ...padded].join('  ').trimEnd();
  };
  let isFirst = true;
  return ({ type, object }) => {
    const { dim } = colours(io, 'stdout');
    if (isFirst)
      io.stdout.write(
        `${dim(
          row(
            'EVENT',
            columns.map((c) => c.name.toUpperCase()),
          ),
        )}\n`,
      );
    isFirst = false;
    io.stdout.write(
      `${row(
        type.toLowerCase(),
        columns.map((c) => c.value(object)),
      )}\n`,
    );
  };
}

export async function describe(
  io: Io,
  kindName: string,
  name: string,
  options: ServerAddress & { readonly output: Extract<Format, 'table' | 'json' | 'yaml'> },
): Promise<void> {
  const api = new Api(options);
  const kind = await kindOf(api, kindName);
  const resource = await api.get<Resource>(resourcesPath(kind.kind, name));
  if (options.output !== 'table') {
    await printResources(io, options.output, kind, [resource], true);
    return;
  }
  const { bold, dim } = colours(io, 'stdout');
  const { metadata, spec, status } = resource;
  const { conditions, ...rest } = status;
  const { asYaml } = await import('./yaml.ts');
  const block = (title: string, value: object): void => {
    if (Object.keys(value).length === 0) return;
    const yaml = asYaml([value]);
    io.stdout.write(`\n${dim(title)}\n${yaml.replaceAll(/^(?=.)/gm, '  ')}`);
  };
  io.stdout.write(`${bold(nameOf(resource))}\n`);
  block('METADATA', metadata);
  block('SPEC', spec);
  block('STATUS', rest);
  if (conditions.length === 0) return;
  io.stdout.write('\n');
  await printTable(
    io,
    ['condition', 'status', 'reason', 'since', 'message'],
    conditions.map((c) => [c.type, c.status, c.reason, c.lastTransitionTime, c.message]),
  );
}
