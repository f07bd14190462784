/** The abuse-protection handshake of webhooks (cloudevents.md §8.2), without the network. */
import type { IncomingHttpHeaders } from 'node:http';

export type Consent =
  /** Requests per minute, a hard limit; undefined: as many as we like. */
  | { readonly kind: 'granted'; readonly perMinute: number | undefined }
  | { readonly kind: 'refused'; readonly reason: string };

export interface Handshake {
  /** The DNS name of this system. */
  readonly origin: string;
  /** Requests per minute we would like; undefined: nothing is said. */
  readonly perMinute: number | undefined;
  /** Where consent can be given later. */
  readonly callback: string | undefined;
}

export function handshakeHeaders({ origin, perMinute, callback }: Handshake): Record<string, string> {
  return {
    'webhook-request-origin': origin,
    ...(callback === undefined ? {} : { 'webhook-request-callback': callback }),
    ...(perMinute === undefined ? {} : { 'webhook-request-rate': String(perMinute) }),
  };
}

/** What the answer to OPTIONS says. Its status says nothing: only the headers consent. */
export function readConsent(headers: IncomingHttpHeaders, { origin, perMinute }: Handshake): Consent {
  const allowed = single(headers['webhook-allowed-origin']);
  if (allowed === undefined) return refused('the sink did not answer OPTIONS with WebHook-Allowed-Origin');
  if (allowed !== '*' && allowed.toLowerCase() !== origin.toLowerCase()) {
    return refused(`the sink allows the origin ${allowed.slice(0, 100)}, not ${origin}`);
  }
  const rate = single(headers['webhook-allowed-rate']);
  if (rate === undefined && perMinute !== undefined) {
    return refused('the sink did not answer the rate that was asked for with WebHook-Allowed-Rate');
  }
  if (rate === undefined || rate === '*') return { kind: 'granted', perMinute: undefined };
  const granted = readRate(rate);
  return granted === undefined
    ? refused(`WebHook-Allowed-Rate is ${JSON.stringify(rate.slice(0, 100))}, not a positive number or *`)
    : { kind: 'granted', perMinute: granted };
}

/** A positive number of requests per minute; undefined: it is none. */
export function readRate(text: string): number | undefined {
  return /^[0-9]{1,9}$/.test(text) && Number(text) > 0 ? Number(text) : undefined;
}

const refused = (reason: string): Consent => ({ kind: 'refused', reason });

const single = (value: string | string[] | undefined): string | undefined =>
  typeof value === 'string' ? value.trim() : undefined;
