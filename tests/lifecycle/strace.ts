/** Reads what `strace -f -ttt -T -yy -xx` wrote: which call began and ended when, on which file or socket, with which bytes. */

export interface Call {
  readonly name: string;
  /** What the descriptor is: a path, or `TCP:[…]`. */
  readonly on: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly result: number;
  /** Bytes of all string arguments; empty for syncs. */
  readonly bytes: Buffer;
}

const WHOLE = /^(\d+) +(\d+\.\d+) (\w+)\((.*)\) += (-?\d+).*<(\d+\.\d+)>$/s;
const BEGUN = /^(\d+) +(\d+\.\d+) (\w+)\((.*?) *<unfinished \.\.\.>$/s;
const RESUMED = /^(\d+) +(\d+\.\d+) <\.\.\. (\w+) resumed>(.*)\) += (-?\d+).*<(\d+\.\d+)>$/s;

export function parseStrace(text: string): Call[] {
  const calls: Call[] = [];
  const begun = new Map<string, { startMs: number; args: string }>();
  for (const line of text.split('\n')) {
    const start = BEGUN.exec(line);
    if (start !== null) {
      const [, thread, at, name, args] = start as unknown as string[];
      begun.set(`${thread} ${name}`, { startMs: Number(at) * 1_000, args: args! });
      continue;
    }
    const end = RESUMED.exec(line);
    if (end !== null) {
      const [, thread, at, name, args, result] = end as unknown as string[];
      const first = begun.get(`${thread} ${name}`);
      begun.delete(`${thread} ${name}`);
      // The time of this line is when the call returned.
      if (first !== undefined) calls.push(call(name!, first.args + args!, first.startMs, Number(at) * 1_000, result!));
      continue;
    }
    const whole = WHOLE.exec(line);
    if (whole === null) continue;
    const [, , at, name, args, result, seconds] = whole as unknown as string[];
    const startMs = Number(at) * 1_000;
    calls.push(call(name!, args!, startMs, startMs + Number(seconds) * 1_000, result!));
  }
  return calls.sort((a, b) => a.startMs - b.startMs);
}

function call(name: string, args: string, startMs: number, endMs: number, result: string): Call {
  const on = /^\d+<(.*?)>(?=[,)]|$)/s.exec(args)?.[1] ?? '';
  const strings = [...args.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hex]) =>
    Buffer.from(hex!.replaceAll('\\x', ''), 'hex'),
  );
  return { name, on: unescape(on), startMs, endMs, result: Number(result), bytes: Buffer.concat(strings) };
}

/** With -xx paths are hexadecimal too. */
function unescape(text: string): string {
  return text.replaceAll(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
