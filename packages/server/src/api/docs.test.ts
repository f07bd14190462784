/** The examples of docs/http-api.md, run as they stand, in their order, on an empty server. */
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { openServer } from './testing/server.ts';

const PAGE = new URL('../../../../docs/http-api.md', import.meta.url);
const run = promisify(execFile);

interface Example {
  readonly language: string;
  readonly code: string;
  readonly answer: { readonly language: string; readonly text: string };
}

function examples(): Example[] {
  const page = fs.readFileSync(PAGE, 'utf8');
  const blocks = /```(sh|js)\n([^]*?)```\n```(json|text)\n([^]*?)```/g;
  return [...page.matchAll(blocks)].map(([, language, code, kind, text]) => ({
    language: language as string,
    code: code as string,
    answer: { language: kind as string, text: text as string },
  }));
}

/** `…` stands for anything, a whole value included. */
function like(expected: unknown): unknown {
  if (expected === '…') return expect.anything();
  if (typeof expected === 'string' && expected.includes('…')) return expect.stringMatching(pattern(expected));
  if (Array.isArray(expected)) return expected.map(like);
  if (typeof expected !== 'object' || expected === null) return expected;
  return Object.fromEntries(Object.entries(expected).map(([name, value]) => [name, like(value)]));
}

const pattern = (text: string): RegExp =>
  new RegExp(
    `^${text
      .trim()
      .split('…')
      .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join('.*')}$`,
  );

test('every example does what the page says', async () => {
  const server = await openServer();
  const all = examples();
  expect(all.length).toBeGreaterThan(10);
  for (const { language, code, answer } of all) {
    const here = code.replaceAll('127.0.0.1:7000', `127.0.0.1:${server.port}`);
    const { stdout } =
      language === 'sh'
        ? await run('bash', ['-c', here], { timeout: 10_000 })
        : await run(process.execPath, ['--input-type=module', '-e', here], { timeout: 10_000 });
    if (answer.language === 'json') expect(JSON.parse(stdout), code).toEqual(like(JSON.parse(answer.text)));
    else expect(stdout.replaceAll('\r', '').trim(), code).toMatch(pattern(answer.text));
  }
  expect(server.bugs).toEqual([]);
}, 60_000);
