/** Every API, in every served version, in both directions: what is encoded comes back, and nothing else is accepted. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CODECS, type MessageCodec } from './generated/codecs.ts';
import { ProtocolError } from './protocol-error.ts';
import { SCHEMAS } from './schemas/index.ts';
import type { Api, Struct } from './schemas/notation.ts';
import { Dice, defaultValue, randomMessage } from './schemas/random-message.ts';
import { Reader } from './wire/reader.ts';
import { Writer } from './wire/writer.ts';

const RUNS_PER_VERSION = 30;

const directions = SCHEMAS.flatMap((api) => {
  const codec = CODECS.get(api.key) as MessageCodec;
  return [
    {
      title: `${api.name} request`,
      api,
      struct: api.request,
      encode: codec.encodeRequest,
      decode: codec.decodeRequest,
    },
    {
      title: `${api.name} response`,
      api,
      struct: api.response,
      encode: codec.encodeResponse,
      decode: codec.decodeResponse,
    },
  ];
});

function versionsOf(api: Api): number[] {
  return Array.from({ length: api.served.max - api.served.min + 1 }, (_, i) => api.served.min + i);
}

function encoded(encode: MessageCodec['encodeRequest'], message: unknown, version: number): Buffer {
  const w = new Writer({ chunkBytes: 64 }); // small, so that growing and splitting happen all the time
  encode(w, message, version);
  return w.takeBuffer();
}

describe.each(directions)('$title', ({ api, struct, encode, decode }) => {
  test.each(versionsOf(api))('v%i: decode(encode(m)) = m, and encode(decode(b)) = b', (version) => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const message = randomMessage(api, struct, version, new Dice(seed));
        const bytes = encoded(encode, message, version);
        const back = decode(new Reader(bytes), version);
        expect(back).toEqual(message);
        expect(encoded(encode, back, version).equals(bytes)).toBe(true);
      }),
      { numRuns: RUNS_PER_VERSION },
    );
  });

  test('a byte too few is refused; bytes behind a request are ignored as Kafka does, behind a response refused', () => {
    for (const version of versionsOf(api)) {
      const message = randomMessage(api, struct, version, new Dice(version));
      const bytes = encoded(encode, message, version);
      const longer = Buffer.concat([bytes, Buffer.from([0])]);
      if (struct.name.endsWith('Request')) expect(decode(new Reader(longer), version)).toEqual(message);
      else expect(() => decode(new Reader(longer), version)).toThrow(ProtocolError);
      if (bytes.length > 0) expect(() => decode(new Reader(bytes.subarray(0, -1)), version)).toThrow(ProtocolError);
    }
  });

  test('a value that the version cannot carry is refused, unless the field is ignorable', () => {
    for (const version of versionsOf(api)) {
      for (const field of struct.fields) {
        const isCarried = version >= field.versions.min && version <= field.versions.max;
        if (isCarried) continue;
        const message = randomMessage(api, struct, version, new Dice(7));
        message[field.name] = otherThanDefault(api, struct, field.name);
        const attempt = (): Buffer => encoded(encode, message, version);
        if (field.ignorable) expect(attempt).not.toThrow();
        else expect(attempt, `${struct.name}.${field.name} v${version}`).toThrow(/field-version/);
      }
    }
  });

  test('versions that are not served are refused', () => {
    const message = randomMessage(api, struct, api.served.max, new Dice(1));
    for (const version of [api.served.min - 1, api.served.max + 1, -1, Number.NaN]) {
      expect(() => decode(new Reader(Buffer.alloc(100)), version)).toThrow(ProtocolError);
      expect(() => encode(new Writer(), message, version)).toThrow(ProtocolError);
    }
  });
});

function otherThanDefault(api: Api, struct: Struct, name: string): unknown {
  const field = struct.fields.find((f) => f.name === name);
  if (field === undefined) throw new Error(name);
  for (let seed = 0; ; seed++) {
    const value = randomMessage(api, { ...struct, fields: [field] }, field.versions.max, new Dice(seed))[name];
    if (JSON.stringify(value) !== JSON.stringify(defaultValue(field))) return value;
  }
}
