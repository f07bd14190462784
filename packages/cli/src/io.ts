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

export type Colours = ReturnType<typeof picocolors.createColors>;

/** Colours for one stream: none with NO_COLOR; with FORCE_COLOR always; else on a terminal. */
export function colours(io: Io, stream: 'stdout' | 'stderr'): Colours {
  const isSet = (name: string): boolean => !['', '0', 'false'].includes(io.env[name] ?? '');
  const none = (io.env['NO_COLOR'] ?? '') !== '';
  return picocolors.createColors(!none && (isSet('FORCE_COLOR') || io[stream].isTTY === true));
}

/** Whether an error of an output stream only says that nobody reads it any more. */
export function isReaderGone(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown };
  return code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED';
}

/** Writes to stdout. Resolves when it was taken. @throws the stream's error, EPIPE where the reader has gone */
export function write(io: Io, text: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) =>
    io.stdout.write(text, (error) => (error === null || error === undefined ? resolve() : reject(error))),
  );
}

/**
 * Text that came from elsewhere, safe to show: control characters, by which a terminal can be made to do things, as \xNN.
 * Line breaks and tabs stay unless `oneLine`.
 */
export function printable(text: string, oneLine: boolean = false): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (c) =>
    !oneLine && (c === '\n' || c === '\t') ? c : `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/** One line for people, on stderr: stdout is for results. */
export function say(io: Io, line: string): void {
  io.stderr.write(`${line}\n`);
}

/** `1 event`, `1,200 events` */
export const counted = (n: number, what: string): string => `${n.toLocaleString('en')} ${what}${n === 1 ? '' : 's'}`;

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
