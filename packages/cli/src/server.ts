/** A client of the server that `--url` names, for as long as a command works; its failures in the words of the command line. */
import { HadronError } from '@hadron/base';
import type { Client } from '@hadron/client';
import type { Transport } from '@hadron/contracts';
import { CommandFailure } from './failure.ts';
import type { ServerAddress } from './options.ts';

export interface Server {
  readonly client: Client;
  /** For what the client has no method for: the HTTP API, JSON in and out. */
  readonly request: Transport['request'];
}

/** The `source` of events that do not say theirs. */
export const SOURCE = 'hadron-cli';

/** A first connection stands within this, or there is no server. */
const CONNECT_TIMEOUT = '5s';

/**
 * What to connect to. Names below localhost are this machine (RFC 6761), which not every resolver knows.
 * @throws CommandFailure REQUEST_INVALID
 */
export function connectableUrl(url: string): string {
  const parsed = URL.parse(url);
  if (parsed === null || !/^https?:$/.test(parsed.protocol))
    throw new CommandFailure('REQUEST_INVALID', `--url ${url}: expected a URL, for example http://127.0.0.1:7000`);
  if (parsed.hostname.endsWith('.localhost')) parsed.hostname = 'localhost';
  return parsed.href.replace(/\/+$/, '');
}

/**
 * Runs `work` with a client and closes it, whatever happens.
 * @param carry puts something between the client and its transport
 */
export async function withServer<R>(
  { url, token }: ServerAddress,
  work: (server: Server) => Promise<R>,
  carry: (transport: Transport) => Transport = (transport) => transport,
): Promise<R> {
  const address = connectableUrl(url);
  const [{ connect }, { binaryTransport }] = await Promise.all([
    import('@hadron/client'),
    import('@hadron/client/binary'),
  ]);
  const transport = carry(binaryTransport({ url: address, token }));
  const client = connect({ source: SOURCE, transport, telemetry: false, connectTimeout: CONNECT_TIMEOUT });
  try {
    return await work({ client, request: (...request) => transport.request(...request) });
  } catch (error) {
    throw serverFailure(error, url);
  } finally {
    await client.close();
  }
}

/** What the client says of connections is meant for programs. */
function serverFailure(error: unknown, url: string): unknown {
  if (!(error instanceof HadronError) || error.code !== 'CONNECTION_FAILED') return error;
  const [, why] = /no connection to \S+( \(\w+\))?/.exec(error.message) ?? [];
  return new CommandFailure(
    error.code,
    `no Hadron answers at ${url}${why ?? ''}; start one with "hadron start", or name another with --url or HADRON_URL`,
    { cause: error },
  );
}
