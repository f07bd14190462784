/**
 * A load in a process of its own, so that its CPU can be told and its garbage is nobody else's:
 *
 *   node --conditions=hadron-source bench/load/main.ts NAME '{"url":"http://127.0.0.1:7000",…}'
 *
 * Prints the figures as one line of JSON; whatever goes wrong ends it with code 1.
 */
import { consumeRaw, consumeSdk, fill, latencyRaw, latencySdk } from './consume.ts';
import { listenSse, publishHttp } from './http.ts';
import type { Figures } from './measure.ts';
import { peerConsume, peerLatency, peerPublish } from './peers.ts';
import { publishRaw, publishSdk } from './publish.ts';

const loads = {
  publishRaw,
  publishSdk,
  fill,
  consumeRaw,
  consumeSdk,
  latencyRaw,
  latencySdk,
  publishHttp,
  listenSse,
  peerPublish,
  peerConsume,
  peerLatency,
} satisfies Record<string, (load: never) => Promise<Figures>>;

/** Which loads there are, and what each takes. */
export type Loads = { readonly [L in keyof typeof loads]: Parameters<(typeof loads)[L]>[0] };

const [name = '', options = '{}'] = process.argv.slice(2);
const load = loads[name as keyof Loads] as ((load: unknown) => Promise<Figures>) | undefined;
if (load === undefined) throw new Error(`no such load: ${name}; there are ${Object.keys(loads).join(', ')}`);
console.log(JSON.stringify(await load(JSON.parse(options))));
// Sockets that a load left open must not keep it.
process.exit(0);
