import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Line, linesOf } from './lines.ts';

const read = async (chunks: readonly (Uint8Array | string)[], bytesMax?: number): Promise<Line[]> => {
  const lines: Line[] = [];
  for await (const line of linesOf(Readable.from(chunks, { objectMode: true }), bytesMax)) lines.push(line);
  return lines;
};

describe('lines', () => {
  test('are numbered; blank ones are left out; only a line feed ends one', async () => {
    const lines = await read(['a\r\n\n', ' \t\r\nb\u2028b', '\u2029\rb\nlast']);
    expect(lines.map(({ number, bytes }) => [number, bytes.toString()])).toEqual([
      [1, 'a'],
      [4, 'b\u2028b\u2029\rb'],
      [5, 'last'],
    ]);
    expect(lines.map(({ readBytes }) => readBytes)).toEqual([3, 19, 23]);
  });

  test('however the bytes come, the lines are the same', async () => {
    const text = fc.array(fc.constantFrom('a', 'é', '😀', '\n', '\r', ' ', '{"n":1}'), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(text, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), async (parts, sizes) => {
        const whole = Buffer.from(parts.join(''));
        const chunks: Uint8Array[] = [];
        for (let at = 0, i = 0; at < whole.length; i++) {
          const size = sizes[i % sizes.length] as number;
          chunks.push(whole.subarray(at, at + size));
          at += size;
        }
        const lines = await read(chunks);
        const expected = whole
          .toString()
          .split('\n')
          .map((line, i) => [i + 1, line.replace(/\r$/, '')] as const)
          .filter(([, line]) => /[^ \t\r]/.test(line));
        expect(lines.map(({ number, bytes }) => [number, bytes.toString()])).toEqual(expected);
        expect(lines.at(-1)?.readBytes ?? 0).toBeLessThanOrEqual(whole.length);
      }),
    );
  });

  test('one that is too long ends the reading, however it comes', async () => {
    expect(await read(['1234\n1234'], 4)).toHaveLength(2);
    for (const chunks of [['ok\n12345'], ['ok\n123', '45\n']])
      await expect(read(chunks, 4)).rejects.toMatchObject({ code: 'REQUEST_INVALID', message: /^line 2 is longer/ });
  });
});
