/** The world a command sees: streams, environment, folder. Handed in, so that a test runs commands without a process. */
import type { Readable, Writable } from 'node:stream';
import picocolors from 'picocolors';

export interface Io {
  readonly stdin: Readable;
  readonly stdout: Writable & { isTTY?: boolean };
  readonly stderr: Writable & { isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

export const processIo: Io = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
};

export type OutputFormat = 'table' | 'json';

/** Colours for one stream: none when it is not a terminal or NO_COLOR is set. */
export function colours(io: Io, stream: 'stdout' | 'stderr'): ReturnType<typeof picocolors.createColors> {
  const noColour = (io.env['NO_COLOR'] ?? '') !== '';
  return picocolors.createColors(!noColour && io[stream].isTTY === true);
}

/** One line for people, on stderr: stdout is for results. */
export function say(io: Io, line: string): void {
  io.stderr.write(`${line}\n`);
}

export function printJson(io: Io, value: unknown): void {
  // 64-bit numbers from the Kafka client come as bigint; the ones here are safe integers.
  const text = JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? Number(v) : v), 2);
  io.stdout.write(`${text}\n`);
}

/** Rows under headings, in columns, without frames: easy to read, easy to cut. */
export async function printTable(io: Io, head: readonly string[], rows: readonly (readonly string[])[]): Promise<void> {
  const { default: Table } = await import('cli-table3');
  const { dim } = colours(io, 'stdout');
  const none = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '', left: '', right: '' };
  const frame = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '' };
  const table = new Table({
    head: head.map((title) => dim(title.toUpperCase())),
    chars: { ...none, ...frame, 'bottom-left': '', 'bottom-right': '', middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  table.push(...rows.map((row) => [...row]));
  io.stdout.write(`${table.toString().replaceAll(/ +$/gm, '')}\n`);
}
