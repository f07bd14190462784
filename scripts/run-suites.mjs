/** Runs suites one after the other, each with its time, and adds up what their last lines say. */
import { spawn } from 'node:child_process';
import { StringDecoder } from 'node:string_decoder';
import { ROOT } from './sources.mjs';

const SUMMARY = /^(\d+) passed, (\d+) failed$/;
const GRACE_MS = 5_000;

/**
 * Runs one command with its output shown; its summary line is taken off the end and returned as counts.
 * @param {string} name
 * @param {string[]} argv       file and arguments
 * @param {number} limitSeconds
 * @returns {Promise<{ name: string, passed: number, failed: number, seconds: number }>}
 */
export async function runSuite(name, argv, limitSeconds, env = {}) {
  const started = performance.now();
  process.stdout.write(`\n── ${name}\n`);
  const [file, ...args] = argv;
  const child = spawn(file, args, { cwd: ROOT, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  const forward = (signal) => child.kill(signal);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, forward);

  let counts;
  let pending = '';
  const line = (text) => {
    // eslint-disable-next-line no-control-regex -- colours around the summary are not part of it
    const found = SUMMARY.exec(text.replaceAll(/\u001b\[[0-9;]*m/g, '').trim());
    if (found) counts = { passed: Number(found[1]), failed: Number(found[2]) };
    else process.stdout.write(`${text}\n`);
  };
  const decoder = new StringDecoder('utf8');
  child.stdout.on('data', (chunk) => {
    const lines = (pending + decoder.write(chunk)).split('\n');
    pending = lines.pop() ?? '';
    for (const text of lines) line(text);
  });

  let late = false;
  const limit = setTimeout(() => {
    late = true;
    process.stdout.write(`${name}: stopped after ${limitSeconds} s\n`);
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), GRACE_MS).unref();
  }, limitSeconds * 1000);
  const code = await new Promise((resolve) => {
    child.on('error', (error) => {
      process.stdout.write(`${name}: ${error.message}\n`);
      resolve(1);
    });
    child.on('close', (status) => resolve(status ?? 1));
  });
  clearTimeout(limit);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(signal, forward);
  if (pending !== '') line(pending);

  const { passed, failed } = counts ?? { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1 };
  // A suite that was stopped, or that failed without naming a failed test, failed all the same.
  const failures = failed > 0 ? failed : code !== 0 || late ? 1 : 0;
  const seconds = (performance.now() - started) / 1000;
  process.stdout.write(`── ${name}: ${passed} passed, ${failures} failed in ${seconds.toFixed(1)} s\n`);
  return { name, passed, failed: failures, seconds };
}

/** Prints the time of each suite and, as the last line, the sum. Sets the exit code. */
export function report(results) {
  const width = Math.max(...results.map((r) => r.name.length));
  process.stdout.write('\n');
  for (const r of results) {
    const counts = `${r.passed} passed, ${r.failed} failed`;
    process.stdout.write(`${r.name.padEnd(width)}  ${r.seconds.toFixed(1).padStart(6)} s  ${counts}\n`);
  }
  const sum = (key) => results.reduce((total, r) => total + r[key], 0);
  process.stdout.write(`\n${sum('passed')} passed, ${sum('failed')} failed\n`);
  process.exitCode = sum('failed') === 0 ? 0 : 1;
}

/** @param {string[]} command argv of a suite */
export function nodeArgv(command) {
  return [process.execPath, '--conditions=hadron-source', ...command];
}
