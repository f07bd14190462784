/**
 * Which stream a command means: an argument, `--stream`, or the address. The original's command line names no stream: its URL
 * does, `http://{stream}.{namespace}.svc.…` (hadron.md §12, §16.4).
 */
import net from 'node:net';
import { CommandFailure } from '../../failure.ts';
import type { ServerOptions } from '../../options.ts';
import { Api } from '../resources/api.ts';

interface TargetOptions extends ServerOptions {
  readonly stream?: string;
}

/** Of `sub`, `tail`: `[stream]`. @throws CommandFailure REQUEST_INVALID */
export async function streamOf(argument: string | undefined, options: TargetOptions): Promise<string> {
  const name = argument ?? options.stream ?? (await streamOfAddress(options));
  if (name !== undefined) return name;
  throw new CommandFailure('REQUEST_INVALID', 'which stream? Name it behind the verb, for example "orders"');
}

/** Of `pub`: `[stream] [data]`; one alone is the data where the address or `--stream` names the stream. */
export async function streamAndData(
  args: readonly string[],
  options: TargetOptions,
): Promise<{ readonly name: string; readonly data: string | undefined }> {
  const [one, two] = args;
  if (two !== undefined) {
    if (options.stream === undefined) return { name: one as string, data: two };
    throw new CommandFailure('REQUEST_INVALID', `the stream is named twice: ${one} and --stream ${options.stream}`);
  }
  const named = options.stream ?? (await streamOfAddress(options));
  if (named !== undefined) return { name: named, data: one };
  return { name: await streamOf(one, options), data: undefined };
}

/** The longest beginning of the host name that is a stream. Addresses and localhost name none. */
async function streamOfAddress(options: ServerOptions): Promise<string | undefined> {
  const api = new Api(options);
  const { hostname } = new URL(options.url);
  if (!hostname.includes('.') || net.isIP(hostname) !== 0) return undefined;
  type Listed = { readonly items: readonly { readonly metadata: { readonly name: string } }[] };
  const { items } = await api.get<Listed>('/v1/resources/Stream');
  const names = new Set(items.map(({ metadata }) => metadata.name));
  for (let end = hostname.length; end > 0; end = hostname.lastIndexOf('.', end - 1)) {
    const name = hostname.slice(0, end);
    if (names.has(name)) return name;
  }
  return undefined;
}
