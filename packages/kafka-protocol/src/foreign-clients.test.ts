/**
 * Random responses of ours, read by the parsers of @platformatic/kafka, version by version: everything must be consumed
 * and every field that both name alike must have the same value.
 */
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { CODECS, type MessageCodec } from './generated/codecs.ts';
import { encodeBatch } from './records/encode-batch.ts';
import { SCHEMAS } from './schemas/index.ts';
import type { FieldType, Struct } from './schemas/notation.ts';
import { Dice, type RandomMessage, randomMessage } from './schemas/random-message.ts';
import { Writer } from './wire/writer.ts';

const root = dirname(createRequire(import.meta.url).resolve('@platformatic/kafka'));
const load = (path: string): Promise<Record<string, unknown>> => import(/* @vite-ignore */ pathToFileURL(path).href);
const { Reader: TheirReader } = (await load(join(root, 'protocol/reader.js'))) as {
  Reader: { from(b: Buffer): { remaining: number } };
};

type Parse = (correlationId: number, key: number, version: number, reader: { remaining: number }) => object;

const parsers = new Map<string, string>();
for (const folder of ['producer', 'consumer', 'metadata', 'admin']) {
  for (const file of readdirSync(join(root, 'apis', folder))) {
    if (file.endsWith('.js')) parsers.set(file.replace('.js', ''), join(root, 'apis', folder, file));
  }
}

const kebab = (name: string): string => name.replace(/(?<=[a-z])[A-Z]/g, (c) => `-${c}`).toLowerCase();
const cases = SCHEMAS.flatMap((api) =>
  Array.from({ length: api.served.max - api.served.min + 1 }, (_, i) => {
    const version = api.served.min + i;
    return { api, version, title: `${api.name} v${version}`, path: parsers.get(`${kebab(api.name)}-v${version}`) };
  }),
).filter((c): c is typeof c & { path: string } => c.path !== undefined);

/** Errors make their parsers throw, and records must be record batches: everything else stays random. */
function tamed(value: unknown, name: string = ''): unknown {
  if (name.endsWith('rrorCode')) return 0;
  if (name === 'recordErrors') return [];
  if (name === 'records') return encodeBatch([{ timestamp: 1, value: 'x' }]);
  if (name === 'unknownTags') return undefined;
  if (Buffer.isBuffer(value) || value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map((v) => tamed(v));
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, tamed(v, k)]));
}

/** The message without the fields that its version does not have: there they fill in what they like. */
function carried(struct: Struct, message: RandomMessage, version: number): RandomMessage {
  const present = struct.fields.filter((f) => version >= f.versions.min && version <= f.versions.max);
  const value = (type: FieldType, v: unknown): unknown => {
    if (v === null || type.kind === 'primitive') return v;
    if (type.kind === 'array') return (v as unknown[]).map((element) => value(type.element, element));
    return carried(type.struct, v as RandomMessage, version);
  };
  return Object.fromEntries(present.map((f) => [f.name, value(f.type, message[f.name])]));
}

/** Checks every field that both have. @returns how many were compared */
function compare(ours: unknown, theirs: unknown, path: string): number {
  if (typeof theirs === 'bigint') return compare(ours, Number(theirs), path);
  if (theirs === undefined || path.endsWith('.records')) return 0;
  if (Array.isArray(ours) && Array.isArray(theirs)) {
    expect(theirs.length, path).toBe(ours.length);
    return ours.reduce((n: number, value, i) => n + compare(value, theirs[i], `${path}[${i}]`), 0);
  }
  if (Buffer.isBuffer(ours) || ours === null || theirs === null || typeof ours !== 'object') {
    const plain = typeof theirs === 'string' && /^[0-9a-f-]{36}$/.test(theirs) ? theirs.replaceAll('-', '') : theirs;
    if (ours === null && (plain === '' || typeof plain === 'object')) return 0; // they read some nulls as empty
    expect(plain, path).toEqual(ours);
    return 1;
  }
  const fields = theirs as Record<string, unknown>;
  return Object.entries(ours).reduce((n, [k, v]) => n + compare(v, fields[k], `${path}.${k}`), 0);
}

describe('@platformatic/kafka reads our responses', () => {
  test.each(cases)('$title', async ({ api, version, path }) => {
    const { parseResponse } = (await load(path)) as { parseResponse: Parse };
    const codec = CODECS.get(api.key) as MessageCodec;
    let compared = 0;
    for (let seed = 0; seed < 30; seed++) {
      const message = tamed(randomMessage(api, api.response, version, new Dice(seed))) as RandomMessage;
      const w = new Writer();
      codec.encodeResponse(w, message, version);
      const reader = TheirReader.from(w.takeBuffer());
      compared += compare(
        carried(api.response, message, version),
        parseResponse(1, api.key, version, reader),
        api.name,
      );
      expect(reader.remaining, `bytes left by ${path}`).toBe(0);
    }
    const isReshaped = api.name === 'FindCoordinator' && version < 4; // they answer in the shape of v4
    if (!isReshaped) expect(compared).toBeGreaterThan(20);
  });
});
