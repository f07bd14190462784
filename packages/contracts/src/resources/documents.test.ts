/** Text to documents: what YAML may do here and what not. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readDocuments } from './documents.ts';

const values = (text: string): unknown[] => {
  const read = readDocuments(text);
  if (!read.ok) throw new Error(read.errors[0]?.message);
  return read.documents.map((d) => d.value);
};
const refusal = (text: string): string => {
  const read = readDocuments(text);
  return read.ok ? 'taken' : `${read.errors[0]?.document}:${read.errors[0]?.line ?? '-'} ${read.errors[0]?.message}`;
};

test('several documents, empty ones between; JSON; a List', () => {
  expect(values('# nothing\n---\na: 1\n---\n---\nb: 2\n')).toEqual([{ a: 1 }, { b: 2 }]);
  expect(values('{"a": [1, "x"]}')).toEqual([{ a: [1, 'x'] }]);
  expect(values('apiVersion: v1\nkind: List\nitems:\n- a: 1\n- b: 2\n---\nc: 3')).toEqual([
    { a: 1 },
    { b: 2 },
    { c: 3 },
  ]);
  expect(values('[{"a": 1}, {"b": 2}]')).toEqual([{ a: 1 }, { b: 2 }]);
  expect(values('')).toEqual([]);
});

test('numbers of documents go on where the caller says', () => {
  const read = readDocuments('a: 1\n---\nb: 2', 5);
  expect(read.ok && read.documents.map((d) => d.document)).toEqual([5, 6]);
  expect(refusal('a: 1\n---\nb: [')).toMatch(/^2:3 is not YAML/);
});

test('a field has a line; a missing one that of its parent', () => {
  const read = readDocuments(
    'x: 1\n---\nkind: Stream\nspec:\n  partitions: 1\n  list:\n  - a\n  - b: 1\n---\nkind: List\nitems:\n- z:\n    y: 1\n',
  );
  const line = (document: number, path: string): number | undefined =>
    read.ok ? read.documents[document - 1]?.lineOf(path) : undefined;
  expect([line(2, 'spec.partitions'), line(2, 'spec.list[1].b'), line(2, 'spec.missing'), line(2, '')]).toEqual([
    5, 8, 4, 3,
  ]);
  expect([line(3, 'z.y'), line(3, 'z.no')]).toEqual([13, 12]);
});

describe('bounded', () => {
  const laughs = [
    'a: &a [x,x,x,x,x,x,x,x,x,x]',
    ...'bcdefghi'.split('').map((c) => {
      const before = String.fromCharCode(c.charCodeAt(0) - 1);
      return `${c}: &${c} [${Array.from({ length: 10 }, () => `*${before}`).join()}]`;
    }),
  ].join('\n');
  test.each([
    ['a billion laughs', laughs, /aliases/],
    ['many aliases', Array.from({ length: 1_001 }, (_, i) => `k${i}: &a${i} 1`).join('\n'), /1000 anchors/],
    ['brackets in brackets', '['.repeat(100_000), /64 levels/],
    ['objects in objects', '{a: '.repeat(100_000), /64 levels/],
    ['lists in lists', '- '.repeat(100_000), /lists in lists/],
    ['deep indentation', Array.from({ length: 5_000 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'), /./],
    ['keys that are no text', '? [a]\n: b', /keys that are not text/],
    ['a large file', 'a: b\n'.repeat(300_000), /1 MiB/],
    ['many documents', '---\na: 1\n'.repeat(10_001), /10000 documents/],
    ['a key twice', 'a: 1\nb: 2\na: 3', /^1:3 has the field "a" twice/],
    ['a tag', 'a: !!js/function x', /Unresolved tag/],
    ['a binary tag', 'a: !!binary aGk=', /Unresolved tag/],
    ['an unknown alias', 'a: *b', /alias/],
  ])('%s is refused, and soon', (_, text, message) => {
    const startMs = performance.now();
    expect(refusal(text)).toMatch(message);
    expect(performance.now() - startMs).toBeLessThan(3_000);
  });

  test('many keys are no trouble', () => {
    const text = Array.from({ length: 50_000 }, (_, i) => `k${i}: 1`).join('\n');
    const startMs = performance.now();
    expect(Object.keys(values(text)[0] as object)).toHaveLength(50_000);
    expect(performance.now() - startMs).toBeLessThan(5_000);
  });
});

test('anything is read or refused, never thrown', () => {
  const piece = fc.constantFrom(
    'a',
    ': ',
    '- ',
    '\n',
    '  ',
    '[',
    ']',
    '{',
    '}',
    '&a ',
    '*a',
    '"',
    "'",
    '|\n',
    '>',
    '#',
    '---\n',
    '...\n',
    '? ',
    '!!x ',
    '%',
    ',',
    '\t',
    '\u0000',
    '\ufeff',
    '<<: ',
  );
  const noise = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece, { maxLength: 60 }).map((p) => p.join('')),
  );
  fc.assert(
    fc.property(noise, (text) => {
      const read = readDocuments(text);
      if (read.ok) for (const d of read.documents) d.lineOf('spec.a[0]');
      else expect(read.errors).toHaveLength(1);
    }),
    { numRuns: 2_000 },
  );
});
