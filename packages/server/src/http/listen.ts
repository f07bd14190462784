/**
 * Listening on every address of `listen` with one port. The default port being taken is no reason to fail: the next free
 * one is used and the caller prints it. A port that somebody asked for is used or refused.
 */
import type { AddressInfo, Server } from 'node:net';
import { HadronError } from '@hadron/base';
import { formatHostPort, type HostPort } from '../settings/server-settings.ts';

export interface ListenOptions {
  readonly listen: readonly string[];
  /** Addresses nobody asked for: one this machine does not have is left out. */
  readonly listenIsDefault: boolean;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly portIsDefault: boolean;
  /** The flag that says the port, for messages. */
  readonly flag: string;
}

const PORTS_TRIED = 100;

/**
 * Makes a server per address and listens.
 * @throws HadronError PORT_IN_USE, or SETTING_INVALID when an address is not one of this machine
 */
export async function listenOnAll(create: () => Server, options: ListenOptions): Promise<readonly Server[]> {
  const last = options.portIsDefault ? options.port + PORTS_TRIED : options.port;
  for (let port = options.port; ; port++) {
    const servers = await listenOn(create, options, port);
    if (servers !== undefined) return servers;
    if (port >= last) {
      throw new HadronError(
        'PORT_IN_USE',
        `HTTP port ${options.port} is taken: stop what uses it, or choose another with ${options.flag} (0 for any)`,
      );
    }
  }
}

/** Listens on every address, or on none: undefined when the port is taken on one of them. */
async function listenOn(
  create: () => Server,
  { listen, listenIsDefault, flag }: ListenOptions,
  port: number,
): Promise<Server[] | undefined> {
  const servers: Server[] = [];
  let chosen = port; // 0 becomes what the system gave the first address
  for (const host of listen) {
    const server = create();
    try {
      await listening(server, host, chosen, listen.includes('0.0.0.0'));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      const absent = code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT';
      if (absent && listenIsDefault && listen.length > 1) continue;
      await stopListening(servers);
      if (code === 'EADDRINUSE') return undefined;
      if (code === 'EACCES') {
        throw new HadronError(
          'SETTING_INVALID',
          `HTTP port ${port} needs rights this user does not have: choose one above 1023 with ${flag}`,
        );
      }
      throw new HadronError(
        'SETTING_INVALID',
        `cannot listen on ${formatHostPort({ host, port })} (${code}): check --listen`,
        { cause: error },
      );
    }
    servers.push(server);
    chosen = (server.address() as AddressInfo).port;
  }
  return servers;
}

/** `::` takes IPv4 connections as well, unless 0.0.0.0 is listened on beside it. */
function listening(server: Server, host: string, port: number, ipv6Only: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, ipv6Only }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** No new connections from now on. Resolves when the last connection of these servers has ended. */
export function stopListening(servers: readonly Server[]): Promise<void> {
  return Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())))).then(
    () => undefined,
  );
}

/** Where servers listen: one per address, all with the same port. */
export function addressesOf(servers: readonly Server[]): readonly HostPort[] {
  return servers.map((server) => {
    const { address, port } = server.address() as AddressInfo;
    return { host: address, port };
  });
}
