/** Reader, Writer and headers: the primitives under every message. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { requestHeaderVersion, responseHeaderVersion } from '../apis.ts';
import { ApiKey } from '../generated/apis.ts';
import { ProtocolError } from '../protocol-error.ts';
import { decodeRequestHeader, encodeRequestHeader, encodeResponseHeader } from './headers.ts';
import { Reader } from './reader.ts';
import { formatUuid, toUuid } from './uuid.ts';
import { Writer } from './writer.ts';

/** What the writer makes of `write`, read back by `read`, everything consumed. */
function through<T>(write: (w: Writer) => void, read: (r: Reader) => T): T {
  const w = new Writer({ chunkBytes: 8 });
  write(w);
  const r = new Reader(w.takeBuffer());
  const value = read(r);
  r.expectEnd();
  return value;
}

describe('primitives come back', () => {
  test('64-bit integers, up to the last safe one', () => {
    const safe = fc.oneof(
      fc.maxSafeInteger(),
      fc.constantFrom(0, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER),
    );
    fc.assert(
      fc.property(
        safe,
        (v) =>
          through(
            (w) => w.i64(v),
            (r) => r.i64(),
          ) === v,
      ),
    );
  });

  test('unsigned varints', () => {
    const u32 = fc.oneof(fc.nat(), fc.constantFrom(0, 127, 128, 16383, 16384, 0xffff_ffff));
    fc.assert(
      fc.property(
        u32,
        (v) =>
          through(
            (w) => w.uvarint(v),
            (r) => r.uvarint(),
          ) === v,
      ),
    );
  });

  test('strings of any length and script, classic and compact', () => {
    const text = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 400 }), fc.string({ maxLength: 70 }));
    fc.assert(
      fc.property(text, (s) => {
        expect(
          through(
            (w) => w.string(s),
            (r) => r.string(),
          ),
        ).toBe(s);
        expect(
          through(
            (w) => w.compactString(s),
            (r) => r.compactString(),
          ),
        ).toBe(s);
      }),
    );
    expect(
      through(
        (w) => w.nullableString(null),
        (r) => r.nullableString(),
      ),
    ).toBeNull();
    expect(
      through(
        (w) => w.compactNullableString(null),
        (r) => r.compactNullableString(),
      ),
    ).toBeNull();
  });

  test('UUIDs, with and without dashes', () => {
    const id = '00112233445566778899aabbccddeeff';
    expect(
      through(
        (w) => w.uuid(id),
        (r) => r.uuid(),
      ),
    ).toBe(id);
    expect(
      through(
        (w) => w.uuid(formatUuid(id)),
        (r) => r.uuid(),
      ),
    ).toBe(id);
    expect(toUuid('00112233-4455-6677-8899-AABBCCDDEEFF')).toBe(id);
  });
});

describe('refused', () => {
  test('64-bit integers that a number cannot hold', () => {
    for (const hex of ['7fffffffffffffff', '8000000000000000', '0020000000000000', 'ffe0000000000000']) {
      expect(() => new Reader(Buffer.from(hex, 'hex')).i64()).toThrow('value');
    }
    expect(() => new Writer().i64(2 ** 53)).toThrow(ProtocolError);
  });

  test('numbers out of range of their field', () => {
    expect(() => new Writer().i8(128)).toThrow(ProtocolError);
    expect(() => new Writer().i16(-32769)).toThrow(ProtocolError);
    expect(() => new Writer().i32(2 ** 31)).toThrow(ProtocolError);
    expect(() => new Writer().i32(1.5)).toThrow(ProtocolError);
    expect(() => new Writer().string('x'.repeat(32768))).toThrow(ProtocolError);
  });

  test('varints beyond 32 bits', () => {
    for (const hex of ['ffffffff1f', 'ffffffffff01', '8080808080']) {
      expect(() => new Reader(Buffer.from(hex, 'hex')).uvarint()).toThrow(ProtocolError);
    }
  });

  test('null where it is not allowed, and lengths below -1', () => {
    expect(() => new Reader(Buffer.from('ffff', 'hex')).string()).toThrow('null');
    expect(() => new Reader(Buffer.from('fffe', 'hex')).nullableString()).toThrow('length');
    expect(() => new Reader(Buffer.from('00', 'hex')).compactString()).toThrow('null');
    expect(() => new Reader(Buffer.from('fffffffe', 'hex')).nullableByteString()).toThrow('length');
  });

  test('a tagged field that does not fill its size', () => {
    const r = new Reader(Buffer.from('0405', 'hex'));
    expect(() => r.enterTag()).toThrow('truncated');
    const short = new Reader(Buffer.from('020102', 'hex'));
    const end = short.enterTag();
    short.i8();
    expect(() => short.leaveTag(end)).toThrow('tag');
  });
});

describe('frames and parts', () => {
  const large = Buffer.alloc(5000, 7);

  test('large slices pass by uncopied, small ones are copied, the length counts both', () => {
    const w = new Writer();
    w.beginFrame();
    w.i32(1);
    w.pass(large);
    w.pass(Buffer.alloc(10, 9));
    expect(w.endFrame()).toBe(4 + 4 + 5000 + 10);
    const parts = w.takeParts();
    expect(parts.map((p) => p.length)).toEqual([8, 5000, 10]);
    expect(parts[1]).toBe(large);
    expect(parts[0]?.readInt32BE(0)).toBe(4 + 5000 + 10);
  });

  test('parts taken earlier never change', () => {
    const w = new Writer({ chunkBytes: 64 });
    const taken: { part: Buffer; copy: Buffer }[] = [];
    for (let n = 0; n < 50; n++) {
      w.beginFrame();
      w.string('x'.repeat(n));
      if (n % 7 === 0) w.pass(large);
      w.endFrame();
      for (const part of w.takeParts()) taken.push({ part, copy: Buffer.from(part) });
    }
    for (const { part, copy } of taken) expect(part.equals(copy)).toBe(true);
  });

  test('a dropped frame leaves no trace, whatever it had done', () => {
    const texts = fc.array(fc.oneof(fc.constant(large), fc.nat({ max: 200 })), { maxLength: 8 });
    fc.assert(
      fc.property(fc.array(fc.record({ steps: texts, drop: fc.boolean() }), { maxLength: 6 }), (frames) => {
        const w = new Writer({ chunkBytes: 32 });
        const plain = new Writer();
        for (const { steps, drop } of frames) {
          for (const target of drop ? [w] : [w, plain]) {
            target.beginFrame();
            for (const step of steps) {
              if (typeof step === 'number') target.raw(Buffer.alloc(step, step));
              else target.pass(step);
            }
            if (drop) target.dropFrame();
            else target.endFrame();
          }
        }
        expect(w.size).toBe(plain.size);
        expect(w.takeBuffer().equals(plain.takeBuffer())).toBe(true);
      }),
    );
  });

  test('tagged fields of any size get the right length', () => {
    for (const size of [0, 1, 127, 128, 16383, 16384, 70_000]) {
      const w = new Writer({ chunkBytes: 16 });
      const mark = w.beginTag(5);
      w.raw(Buffer.alloc(size, 3));
      w.endTag(mark);
      const r = new Reader(w.takeBuffer());
      expect(r.uvarint()).toBe(5);
      const end = r.enterTag();
      expect(r.slice(r.remaining)).toEqual(Buffer.alloc(size, 3));
      r.leaveTag(end);
      r.expectEnd();
    }
  });
});

describe('headers (R1)', () => {
  test('client_id is a classic string also in header v2', () => {
    const w = new Writer();
    encodeRequestHeader(w, { apiKey: ApiKey.Fetch, apiVersion: 12, correlationId: 7, clientId: 'me' });
    expect(w.takeBuffer().toString('hex')).toBe('0001' + '000c' + '00000007' + '0002' + '6d65' + '00');
  });

  test('ApiVersions answers with header v0 in every version', () => {
    for (let version = 0; version <= 9; version++) expect(responseHeaderVersion(ApiKey.ApiVersions, version)).toBe(0);
    const w = new Writer();
    encodeResponseHeader(w, ApiKey.ApiVersions, 3, 9);
    expect(w.takeBuffer().toString('hex')).toBe('00000009');
  });

  test('headers of unknown APIs and versions can be read: they are logged, or answered (R2, R3)', () => {
    const unknown = Buffer.from('03e7' + '0001' + '00000007' + 'ffff' + 'aabb', 'hex');
    expect(decodeRequestHeader(new Reader(unknown))).toMatchObject({ apiKey: 999, apiVersion: 1, clientId: null });
    expect(requestHeaderVersion(ApiKey.ApiVersions, 99)).toBe(2);
    const negative = Buffer.from('ffff' + 'ffff' + '00000007' + '0000', 'hex');
    expect(decodeRequestHeader(new Reader(negative))).toMatchObject({ apiKey: -1, apiVersion: -1, clientId: '' });
  });

  test('ApiVersions of the future needs its tag byte (contract §10.2)', () => {
    const header = Buffer.from('0012' + '0005' + '00000007' + '0000', 'hex');
    expect(() => decodeRequestHeader(new Reader(header))).toThrow('truncated');
  });
});
