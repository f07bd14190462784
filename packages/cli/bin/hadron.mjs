#!/usr/bin/env node
/**
 * The `hadron` command: checks the Node version, switches on V8's compile cache (start-up is most of what a short command
 * costs), and hands over to the bundle. Plain JavaScript that parses on Node 14, so that an old Node gets a sentence.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import nodeModule from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const bundle = path.join(here, '../dist/hadron.mjs');
const workspace = path.join(here, '../../..'); // the checkout, when this is one
const inCheckout = fs.existsSync(path.join(workspace, 'scripts/bootstrap.mjs'));
const [major, minor] = process.versions.node.split('.').map(Number);

if (major < 22 || (major === 22 && minor < 19)) {
  const pinned = path.join(workspace, 'node_modules/.bin/node');
  if (inCheckout && fs.existsSync(pinned)) {
    const child = spawn(pinned, process.argv.slice(1), { stdio: 'inherit' });
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
    child.on('exit', (code, signal) => process.exit(signal ? 128 + (os.constants.signals[signal] || 0) : code || 0));
  } else {
    console.error(
      `hadron: Node ${process.versions.node} is too old: install Node 22.19 or newer from https://nodejs.org`,
    );
    process.exitCode = 1;
  }
} else if (!fs.existsSync(bundle)) {
  console.error('hadron: not built yet: run `npm run build` in the checkout first');
  process.exitCode = 1;
} else {
  try {
    const user = typeof process.getuid === 'function' ? process.getuid() : 0;
    nodeModule.enableCompileCache?.(
      inCheckout ? path.join(workspace, '.cache/compile') : path.join(os.tmpdir(), `hadron-compile-${user}`),
    );
  } catch {
    // a cache that cannot be used costs a few milliseconds, nothing else
  }
  await import('../dist/hadron.mjs');
}
