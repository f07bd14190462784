import { HadronError } from '@hadron/base';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { advanceCursor, decodeCursor, encodeCursor } from './cursor.ts';

const offset = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constantFrom(0, 127, 128, Number.MAX_SAFE_INTEGER));
const topicId = fc.stringMatching(/^[0-9a-f]{32}$/);

function codeOf(fn: () => unknown): string | undefined {
  try {
    fn();
    return undefined;
  } catch (error) {
    return error instanceof HadronError ? error.code : String(error);
  }
}

describe('a cursor', () => {
  test('comes back as it was, and is 10 bytes a partition at most', () => {
    fc.assert(
      fc.property(
        topicId,
        fc.option(fc.nat(100), { nil: undefined }),
        fc.array(offset, { minLength: 1, maxLength: 40 }),
        (id, p, offsets) => {
          const text = encodeCursor(id, p, offsets);
          expect(text).toMatch(/^[\w-]+$/);
          expect(Buffer.from(text, 'base64url').length).toBeLessThanOrEqual(10 * offsets.length);
          expect(decodeCursor(id, p, text)).toEqual(offsets);
        },
      ),
    );
  });

  test('its text is 10 characters a partition at most while offsets are below 10¹³', () => {
    expect(encodeCursor('a'.repeat(32), undefined, [10 ** 9]).length).toBeLessThanOrEqual(10);
    const many = new Array<number>(100).fill(10 ** 13 - 1);
    expect(encodeCursor('a'.repeat(32), undefined, many).length).toBeLessThanOrEqual(1_000);
  });

  test('advances behind one record, of all partitions or of one', () => {
    const id = 'a'.repeat(32);
    const all = advanceCursor(id, undefined, encodeCursor(id, undefined, [5, 6]), { partition: 3, offset: 9 });
    expect(decodeCursor(id, undefined, all)).toEqual([5, 6, 0, 10]);
    expect(advanceCursor(id, undefined, all, { partition: 3, offset: 4 })).toBe(all);
    const one = advanceCursor(id, 7, encodeCursor(id, 7, [5]), { partition: 7, offset: 5 });
    expect(decodeCursor(id, 7, one)).toEqual([6]);
  });

  test('of another stream, another life of it or another selection is refused', () => {
    const text = encodeCursor('a'.repeat(32), undefined, [5, 6]);
    expect(codeOf(() => decodeCursor('b'.repeat(32), undefined, text))).toBe('REQUEST_INVALID');
    expect(codeOf(() => decodeCursor('a'.repeat(32), 0, text))).toBe('REQUEST_INVALID');
    const one = encodeCursor('a'.repeat(32), 1, [5]);
    expect(codeOf(() => decodeCursor('a'.repeat(32), 2, one))).toBe('REQUEST_INVALID');
  });

  test('any other text is refused, or read as offsets that can be', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.base64String(),
          fc.uint8Array().map((b) => Buffer.from(b).toString('base64url')),
        ),
        (text) => {
          let read: number[] = [];
          const code = codeOf(() => {
            read = decodeCursor('a'.repeat(32), undefined, text);
          });
          expect(
            code === undefined ? read.every((o) => Number.isSafeInteger(o) && o >= 0) : code === 'REQUEST_INVALID',
          ).toBe(true);
        },
      ),
    );
    const good = Buffer.from(encodeCursor('a'.repeat(32), undefined, [Number.MAX_SAFE_INTEGER]), 'base64url');
    for (let cut = 0; cut < good.length; cut++) {
      expect(codeOf(() => decodeCursor('a'.repeat(32), undefined, good.toString('base64url', 0, cut)))).toBe(
        'REQUEST_INVALID',
      );
    }
  });
});
