/** An Io that remembers what was written, for tests. */
import { Readable, Writable } from 'node:stream';
import type { Io } from './io.ts';

export interface FakeIo extends Io {
  readonly out: () => string;
  readonly err: () => string;
}

function recorder(isTTY: boolean): { stream: Writable & { isTTY: boolean }; text: () => string } {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk.toString());
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY }), text: () => chunks.join('') };
}

export function fakeIo({
  env = {},
  isTTY = false,
  input = '',
}: {
  env?: Record<string, string>;
  isTTY?: boolean;
  input?: string;
} = {}): FakeIo {
  const stdout = recorder(isTTY);
  const stderr = recorder(isTTY);
  return {
    stdin: Readable.from([input]),
    stdout: stdout.stream,
    stderr: stderr.stream,
    env,
    cwd: '/nowhere',
    out: stdout.text,
    err: stderr.text,
  };
}
