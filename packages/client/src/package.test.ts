/** The package as others get it: bundled for browsers, required from CommonJS, ended by SIGTERM; and its examples compile. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { describe, expect, test } from 'vitest';
import { openWorld } from './test-world.ts';

const SOURCES = import.meta.dirname;
const PACKAGE = path.dirname(SOURCES);
const ROOT = path.join(PACKAGE, '../..');
const BROWSER_BYTES_MAX = 14_500;

async function node(
  script: string,
  env: Record<string, string> = {},
): Promise<{ child: ReturnType<typeof spawn>; output: () => string }> {
  const child = spawn(process.execPath, ['--conditions=hadron-source', '--input-type=commonjs', '-e', script], {
    cwd: PACKAGE,
    env: { ...process.env, ...env, NODE_OPTIONS: '' },
  });
  let text = '';
  child.stdout.on('data', (chunk) => (text += String(chunk)));
  child.stderr.on('data', (chunk) => (text += String(chunk)));
  return { child, output: () => text };
}

describe('browsers', () => {
  test('the bundle is at most 15 KB compressed, without protobuf and without anything of Node', async () => {
    const { outputFiles, metafile } = await build({
      stdin: { contents: `export * from '@hadron/client';`, resolveDir: PACKAGE },
      bundle: true,
      minify: true,
      write: false,
      metafile: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2023',
      conditions: ['hadron-source', 'browser'],
    });
    const [file] = outputFiles;
    const inputs = Object.keys(metafile.inputs);
    expect(
      inputs.filter((name) => /protobuf|\/proto\/|kafka-protocol|\/binary\/|base\/src\/(?!errors)/.test(name)),
    ).toEqual([]);
    expect(file?.text).not.toMatch(/\bBuffer\b|node:|\brequire\(/);
    expect(inputs.some((name) => name.endsWith('client/src/browser.ts'))).toBe(true);
    expect(gzipSync(file?.contents ?? '', { level: 9 }).length).toBeLessThanOrEqual(BROWSER_BYTES_MAX);
  });
});

describe('Node', () => {
  test('require() works', async () => {
    const { child, output } = await node(`
      const { connect, defineEvents, HadronError, Terminal } = require('@hadron/client');
      const client = connect({ source: '/cjs' });
      console.log(typeof defineEvents, new Terminal('x') instanceof HadronError, client.stream('s').name);
      client.close();
    `);
    await once(child, 'close');
    expect(output().trim()).toBe('function true s');
  });

  test('on SIGTERM a consumer finishes what it has in hand, its ack is durable, and the process ends by the signal', async () => {
    const world = await openWorld();
    const url = await world.listen();
    const { child, output } = await node(
      `
      const { connect } = require('@hadron/client');
      const orders = connect({ source: '/worker', url: process.env.URL }).stream('orders');
      (async () => {
        await orders.publishMany([{ type: 'n', data: 1 }, { type: 'n', data: 2 }]);
        // Another client that takes longer: neither ends the process under the other.
        connect({ source: '/slow', url: process.env.URL }).stream('orders').run({ group: 'slow' }, async (m) => {
          await new Promise((resolve) => setTimeout(resolve, 1_000));
          console.log('slowly done', m.data);
        });
        await new Promise((resolve) => setTimeout(resolve, 200));
        await orders.run({ group: 'g' }, async (m) => {
          console.log('begun', m.data);
          await new Promise((resolve) => setTimeout(resolve, 300));
          console.log('done', m.data);
        });
        console.log('drained');
      })();
    `,
      { URL: url },
    );
    while (!output().includes('begun 1')) await new Promise((resolve) => setTimeout(resolve, 10));
    child.kill('SIGTERM');
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    expect(output().trim().split('\n')).toEqual(['begun 1', 'done 1', 'drained', 'slowly done 1']);
    expect([code, signal]).toEqual([null, 'SIGTERM']);
    const { connect } = await import('./index.ts');
    await using client = connect({ source: '/test', url });
    for await (const m of client.stream('orders').consume({ group: 'g' })) {
      expect([m.data, m.attempt]).toEqual([2, 1]);
      break;
    }
    await client.close();
    await world.close();
  });
});

describe('examples', () => {
  const files = (dir: string): string[] =>
    fs.readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
      const file = path.join(dir, entry.name);
      if (entry.isDirectory()) return files(file);
      return entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts') ? [file] : [];
    });

  test('every example in the sources and the README compiles', { timeout: 120_000 }, async () => {
    fs.mkdirSync(path.join(ROOT, '.cache'), { recursive: true });
    const folder = fs.mkdtempSync(path.join(ROOT, '.cache/examples-'));
    try {
      let count = 0;
      for (const file of [path.join(PACKAGE, 'README.md'), ...files(SOURCES)]) {
        const text = fs.readFileSync(file, 'utf8').replaceAll(/^ *\* ?/gm, '');
        for (const [, code = ''] of text.matchAll(/```ts\n(.*?)```/gs)) {
          const name = `${path.relative(PACKAGE, file).replaceAll(/\W/g, '-')}-${++count}.ts`;
          fs.writeFileSync(path.join(folder, name), `${code}\nexport {};\n`);
        }
      }
      expect(count).toBeGreaterThan(25);
      fs.writeFileSync(
        path.join(folder, 'tsconfig.json'),
        JSON.stringify({
          extends: path.join(ROOT, 'tsconfig.tests.json'),
          compilerOptions: { noUnusedLocals: false, noUnusedParameters: false, lib: ['ES2024', 'ESNext.Disposable'] },
          include: ['*.ts'],
        }),
      );
      const tsc = spawn(process.execPath, [path.join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', folder], {
        cwd: folder,
      });
      let output = '';
      tsc.stdout.on('data', (chunk) => (output += String(chunk)));
      await once(tsc, 'close');
      expect(output.split('\n').filter((line) => /^(?:[\w-]+\.ts\(|error)/.test(line))).toEqual([]);
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });

  test('every public name has one', () => {
    const names = new Set<string>();
    for (const entry of ['api.ts', 'index.ts', 'http/index.ts', 'binary/index.ts', 'in-process/index.ts']) {
      const text = fs.readFileSync(path.join(SOURCES, entry), 'utf8');
      for (const [, list = '', from = ''] of text.matchAll(/^export (?:type )?\{([^}]*)\} from '([^']*)'/gms)) {
        if (!from.startsWith('.')) continue; // documented where it is
        for (const name of list.split(',')) names.add(name.replace(/\btype\b/, '').trim());
      }
      for (const [, name = ''] of text.matchAll(/^export (?:async )?(?:function|class|interface|type|const) (\w+)/gm))
        names.add(name);
    }
    names.delete('');
    const without = [...names].filter((name) => {
      const declared = new RegExp(
        `/\\*\\*(?:(?!\\*/).)*\\*/\\s*export (?:declare )?(?:async )?(?:abstract )?(?:function|class|interface|type|const) ${name}\\b`,
        's',
      );
      return !files(SOURCES).some((file) => declared.exec(fs.readFileSync(file, 'utf8'))?.[0].includes('@example'));
    });
    expect(without).toEqual([]);
  });
});
