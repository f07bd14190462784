/**
 * The way in for `npm start`, `npm test` and everything that runs a file of this repository.
 *
 *   node scripts/bootstrap.mjs start [args…]      install what is missing, bundle what changed, run `hadron start`
 *   node scripts/bootstrap.mjs test [args…]       the same, with the type check, then the suites of `npm test`
 *   node scripts/bootstrap.mjs run FILE [args…]   the same as start, then FILE (TypeScript runs by type stripping)
 *
 * Plain JavaScript for Node >= 18 and nothing but built-in modules: it is what runs before anything is installed.
 * The three steps, each skipped when there is nothing to do (a second start costs two small JSON files and ~300 stats):
 *
 *   1. packages    node_modules holds what package-lock.json says, else `npm ci`
 *   2. runtime     node_modules/.bin/node (a pinned Node 24), else this one when it is new enough, else one line
 *   3. bundle      packages/cli/dist/hadron.mjs is newer than its sources, else scripts/build.mjs
 *
 * Signals: npm forwards SIGINT and SIGTERM to us, and a terminal sends Ctrl-C to the whole process group as well. So a
 * server may see one key press twice; it is the server that folds two signals of the same moment into one
 * (packages/cli/src/signals.ts). Where we are a process of our own in between, we forward everything and decide nothing.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { bundleIsFresh, ROOT } from './sources.mjs';

const NODE_MIN = [22, 19];
const STAMP = path.join(ROOT, 'node_modules', '.hadron-install');
const PINNED_NODE = path.join(ROOT, 'node_modules', '.bin', 'node');

const [command, ...args] = process.argv.slice(2);
if (command !== 'start' && command !== 'test' && !(command === 'run' && args.length > 0)) {
  fail('usage: node scripts/bootstrap.mjs start [args…] | test [args…] | run FILE [args…]', 2);
}
installPackages();
const node = chooseRuntime();
if (node === undefined) await continueHere();
else continueOn(node);

/** Step 1. `npm ci` when node_modules is not what the lock file says. */
function installPackages() {
  const lock = readText(path.join(ROOT, 'package-lock.json'));
  if (lock === undefined) fail('package-lock.json is missing: this checkout is not complete; run `git status`');
  const stamp = () => {
    const hidden = fs.statSync(path.join(ROOT, 'node_modules', '.package-lock.json'), { throwIfNoEntry: false });
    const state = `${process.platform}-${process.arch} ${hidden?.mtimeMs} ${hidden?.size}`;
    return createHash('sha256').update(lock).update(state).digest('hex');
  };
  if (readText(STAMP) === stamp()) return;
  if (!matchesLock(lock)) {
    say('Installing packages (npm ci), a minute at most …');
    // The npm that started us, when there is one; development packages always, whatever NODE_ENV says.
    const npm = process.env.npm_execpath;
    const [file, prefix] = npm?.endsWith('.js') || npm?.endsWith('.cjs') ? [process.execPath, [npm]] : ['npm', []];
    const argv = [...prefix, 'ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund'];
    // What npm prints goes to stderr, so that the output of `npm start -- --output json` stays clean.
    const done = spawnSync(file, argv, { cwd: ROOT, stdio: ['ignore', 2, 2] });
    if (done.error) fail(`npm could not be started (${done.error.message}): install npm, then try again`);
    if (done.status !== 0) fail('npm ci failed (see above): check the network or the registry, then try again');
  }
  fs.writeFileSync(STAMP, stamp());
}

/** Whether a finished install is there (npm writes node_modules/.package-lock.json last) with the versions of the lock file. */
function matchesLock(lock) {
  const installed = readJson(path.join(ROOT, 'node_modules', '.package-lock.json'))?.packages;
  if (installed === undefined) return false;
  for (const [where, wanted] of Object.entries(JSON.parse(lock).packages)) {
    if (where === '' || wanted.link) continue;
    const found = installed[where];
    if (found === undefined) {
      const elsewhere = wanted.optional && !(fits(wanted.os, process.platform) && fits(wanted.cpu, process.arch));
      const libc = wanted.optional && wanted.libc !== undefined; // glibc and musl builds: npm picked one
      const unneeded = wanted.optional && wanted.os === undefined; // an optional peer or a build that failed
      if (!elsewhere && !libc && !unneeded) return false;
    } else if (where.includes('node_modules/') && found.version !== wanted.version) return false;
  }
  return true;
}

function fits(allowed, here) {
  return allowed === undefined || [allowed].flat().includes(here);
}

/** Step 2. The Node binary to continue on, or undefined when this process is it already. */
function chooseRuntime() {
  const pinned = realPath(PINNED_NODE);
  if (pinned !== undefined) {
    if (pinned === realPath(process.execPath)) return undefined;
    // A binary for another libc or machine exists but does not run.
    if (spawnSync(pinned, ['--version'], { stdio: 'ignore' }).status === 0) return pinned;
  }
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) return undefined;
  return fail(
    `Node ${process.versions.node} is too old and no bundled Node exists for ${process.platform}-${process.arch}: ` +
      `install Node ${NODE_MIN.join('.')} or newer (24 is best) from https://nodejs.org, then try again`,
  );
}

/** This file once more, on another Node, as a child that has our terminal. */
function continueOn(node) {
  const env = { ...process.env, PATH: `${path.dirname(PINNED_NODE)}${path.delimiter}${process.env.PATH ?? ''}` };
  const child = spawn(node, [fileURLToPath(import.meta.url), command, ...args], { stdio: 'inherit', env });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => fail(`${node} could not be started: ${error.message}`));
  child.on('exit', (code, signal) => {
    process.exit(signal === null ? (code ?? 1) : 128 + (constants.signals[signal] ?? 0));
  });
}

/** Step 3 and the work itself. */
async function continueHere() {
  process.chdir(ROOT);
  // What we start finds the same Node by name.
  const bin = path.dirname(PINNED_NODE);
  if (!process.env.PATH?.startsWith(bin)) process.env.PATH = `${bin}${path.delimiter}${process.env.PATH ?? ''}`;
  if (command === 'test') {
    await runNode([path.join(ROOT, 'scripts/build.mjs')]);
    await runNode([path.join(ROOT, 'scripts/test.mjs'), ...args]);
    return;
  }
  if (!bundleIsFresh()) await runNode([path.join(ROOT, 'scripts/build.mjs'), '--bundle-only']);
  if (command === 'run') {
    process.exitCode = await runNode(['--conditions=hadron-source', ...args], { keepGoing: true });
    return;
  }
  const entry = path.join(ROOT, 'packages/cli/bin/hadron.mjs');
  process.argv = [process.execPath, entry, 'start', ...args];
  await import(pathToFileURL(entry).href);
}

/** Runs Node on `argv` with our terminal and our signals; ends this process with its code when it fails. */
function runNode(argv, { keepGoing = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, argv, { cwd: ROOT, stdio: 'inherit' });
    const forward = (signal) => child.kill(signal);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, forward);
    child.on('exit', (code, signal) => {
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(name, forward);
      const status = signal === null ? (code ?? 1) : 128 + (constants.signals[signal] ?? 0);
      if (status !== 0 && !keepGoing) process.exit(status);
      resolve(status);
    });
  });
}

function realPath(file) {
  try {
    return fs.realpathSync(file);
  } catch {
    return undefined;
  }
}

function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

function say(line) {
  process.stderr.write(`${line}\n`);
}

function fail(line, code = 1) {
  say(`hadron: ${line}`);
  process.exit(code);
}
