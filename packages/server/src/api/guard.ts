/**
 * Browsers can reach a server on this machine on behalf of any page. There is no authentication that would stop them, so
 * what tells such requests apart is looked at: the name they came by (a page that rebinds its own name to 127.0.0.1 still
 * says that name) and the page they came from.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { HadronError } from '@hadron/base';
import { isLoopback } from '../settings/index.ts';

export interface GuardSettings {
  /** Listens on addresses of this machine only. */
  readonly loopbackOnly: boolean;
  /** Origins of pages that may call, such as `https://app.example.com`; `*` for all. */
  readonly origins: readonly string[];
}

/**
 * Whether a request may pass. HTTP/2 without TLS is not spoken by browsers: its `:authority` may be any name.
 * @throws HadronError PERMISSION_DENIED, saying which setting allows it
 */
export function guard(headers: IncomingHttpHeaders, isHttp2: boolean, { loopbackOnly, origins }: GuardSettings): void {
  const { host, origin } = headers;
  if (origin !== undefined && !isAllowedOrigin(origin, origins) && !isOwnOrigin(origin, host)) {
    throw new HadronError(
      'PERMISSION_DENIED',
      `pages of ${shown(origin)} may not call this server: start it with --cors-origins ${shown(origin)} if they should`,
      { field: 'origin' },
    );
  }
  if (origin === undefined && headers['sec-fetch-site'] === 'cross-site') {
    throw new HadronError('PERMISSION_DENIED', 'another site may not send a browser here; open the address itself', {
      field: 'sec-fetch-site',
    });
  }
  if (loopbackOnly && !isHttp2 && host !== undefined && !isLocalHost(host) && !isHostOfOrigin(host, origins)) {
    throw new HadronError(
      'PERMISSION_DENIED',
      `this server listens on this machine only and is not ${shown(host)}: call it localhost, or start it with --cors-origins http://${shown(host)}`,
      { field: 'host' },
    );
  }
}

export function isAllowedOrigin(origin: string, origins: readonly string[]): boolean {
  return origins.includes(origin) || origins.includes('*');
}

/** The page came from this very server. */
function isOwnOrigin(origin: string, host: string | undefined): boolean {
  return host !== undefined && (origin === `http://${host}` || origin === `https://${host}`);
}

function isHostOfOrigin(host: string, origins: readonly string[]): boolean {
  return origins.some((origin) => origin === '*' || isOwnOrigin(origin, host));
}

function isLocalHost(host: string): boolean {
  const name = host
    .replace(/:\d*$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
  return isLoopback(name) || name.endsWith('.localhost');
}

const shown = (text: string): string => text.slice(0, 200).replaceAll(/[^\w.:/[\]*-]/g, '?');
