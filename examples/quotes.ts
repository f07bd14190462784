/**
 * Code in Markdown that comes from files that run. A comment in front of a code block names the file, and a region of it where it
 * is not the whole:
 *
 *   <!-- examples/flights/delays.ts#run -->
 *
 * `npm run quotes` writes the blocks anew; quotes.test.ts fails where one differs. A region is what stands between
 * `// #region name` and `// #endregion`, without its indentation and without words to the formatter.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** The pages with quotes. */
export const PAGES: readonly string[] = [
  'README.md',
  'docs/coming-from-bullmq.md',
  'docs/coming-from-redis-streams.md',
  'examples/README.md',
  'examples/orders/README.md',
];

const QUOTE = /^<!-- (\S+?)(?:#(\S+))? -->\n+```(\w+)\n[^]*?^```$/gm;

export interface Page {
  readonly text: string;
  /** With every quote as its file has it now. */
  readonly current: string;
  readonly quotes: number;
}

/** @throws Error where a file or region does not exist */
export function readPage(page: string): Page {
  const text = readFileSync(join(ROOT, page), 'utf8');
  let quotes = 0;
  const current = text.replace(QUOTE, (_, file: string, region: string | undefined, language: string) => {
    quotes += 1;
    const mark = region === undefined ? file : `${file}#${region}`;
    return `<!-- ${mark} -->\n\n\`\`\`${language}\n${quote(file, region)}\n\`\`\``;
  });
  return { text, current, quotes };
}

function quote(file: string, region: string | undefined): string {
  const all = readFileSync(join(ROOT, file), 'utf8').trimEnd().split('\n');
  if (region === undefined) return all.join('\n');
  const begin = all.findIndex((line) => line.trim() === `// #region ${region}`);
  const end = all.findIndex((line, i) => i > begin && line.trim() === '// #endregion');
  if (begin === -1 || end === -1) throw new Error(`${file} has no region ${region}`);
  const lines = all.slice(begin + 1, end).filter((line) => !line.includes('biome-ignore'));
  const indent = Math.min(...lines.filter((line) => line !== '').map((line) => line.search(/\S/)));
  return lines.map((line) => line.slice(indent)).join('\n');
}

if (import.meta.main) {
  for (const page of PAGES) {
    const { text, current, quotes } = readPage(page);
    if (current !== text) writeFileSync(join(ROOT, page), current);
    console.log(`${page}: ${quotes} quotes, ${current === text ? 'current' : 'written anew'}`);
  }
}
