/**
 * What a client program of the scenario needs: its arguments and the one JSON line per step.
 * The Python, Java and Go programs do the same by hand.
 */

export interface ClientArguments {
  bootstrap: string;
  host: string;
  port: number;
  /** Beginning of every topic and group name of this run. */
  prefix: string;
  /** Partitions an auto-created topic must have; 0 = not known. */
  partitions: number;
}

export function clientArguments(argv = process.argv.slice(2)): ClientArguments {
  const [bootstrap, prefix, partitions] = argv;
  if (bootstrap === undefined || prefix === undefined) throw new Error('usage: BOOTSTRAP PREFIX [PARTITIONS]');
  const colon = bootstrap.lastIndexOf(':');
  return {
    bootstrap,
    host: bootstrap.slice(0, colon),
    port: Number(bootstrap.slice(colon + 1)),
    prefix,
    partitions: Number(partitions ?? 0),
  };
}

/** Thrown by a step that this client cannot do; printed as ok = null with the reason. */
export class NotApplicable extends Error {}

/** Runs one step with its own time limit and prints its line. */
export async function step(name: string, body: () => Promise<string>, timeoutMs = 30_000): Promise<void> {
  const started = performance.now();
  let ok: boolean | null = true;
  let detail: string;
  try {
    detail = await withTimeout(body(), timeoutMs);
  } catch (error) {
    ok = error instanceof NotApplicable ? null : false;
    detail = error instanceof Error ? error.message : String(error);
  }
  const ms = Math.round(performance.now() - started);
  process.stdout.write(`${JSON.stringify({ step: name, ok, detail, ms })}\n`);
}

function withTimeout<T>(promise: Promise<T>, ms: number): Promise<T> {
  return new Promise((done, failed) => {
    const timer = setTimeout(() => failed(new Error(`not finished after ${ms} ms`)), ms);
    promise.then(done, failed).finally(() => clearTimeout(timer));
  });
}

export function check(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms for ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** The values of the codec steps: compressible, distinct, in order. */
export function codecValues(codec: string, count = 200): string[] {
  return Array.from({ length: count }, (_, index) => `${codec}-${index}-${'abcdefgh'.repeat(12)}`);
}

/** A large value that does not compress away and names itself. */
export function largeValue(bytes = 900_000): Buffer {
  const value = Buffer.alloc(bytes);
  let state = 12345;
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    value[i] = state >>> 24;
  }
  return value;
}
