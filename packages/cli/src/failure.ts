/**
 * What a command says when it fails: one line with a code, what happened and what to do; and the exit code, by what a script
 * would do next. The stack only with --verbose or HADRON_DEBUG set.
 *
 *   0    done
 *   1    refused, or wrong: another try ends the same
 *   3    what was named is not there
 *   4    not now: nobody answers, or a limit is reached; another try may help
 *   130  interrupted
 */
import { ERRORS, type ErrorCode } from '@hadron/base';
import { colours, type Io, type OutputFormat } from './io.ts';

/** A failure of the command itself, beyond the codes of @hadron/base: the server cannot be reached, an answer was an error. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Ends the command with this code and without a word: the result was printed. */
export class ExitCode extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** The exit code of any thrown value. */
export function exitCodeOf(error: unknown): number {
  const { code } = describeFailure(error);
  if (code === 'INTERRUPTED') return 130;
  if (code === 'INTERNAL' || !Object.hasOwn(ERRORS, code)) return 1;
  const { kind, retry } = ERRORS[code as ErrorCode];
  if (kind === 'not-found') return 3;
  return retry === 'after-backoff' ? 4 : 1;
}

export interface FailureLine {
  readonly code: string;
  readonly message: string;
}

/** Code and sentence of any thrown value. */
export function describeFailure(error: unknown): FailureLine {
  if (error instanceof CommandFailure) return { code: error.code, message: error.message };
  const code = (error as { code?: unknown } | null)?.code;
  const message = error instanceof Error ? error.message : String(error);
  if (typeof code === 'string' && Object.hasOwn(ERRORS, code)) {
    const prefix = `${code}: `;
    return { code, message: message.startsWith(prefix) ? message.slice(prefix.length) : message };
  }
  return { code: 'INTERNAL', message: `${message} (this is a bug; set HADRON_DEBUG=1 to see where)` };
}

export function printFailure(io: Io, error: unknown, output: OutputFormat, verbose: boolean = false): void {
  const { code, message } = describeFailure(error);
  const line = message.replaceAll(/\s*\n\s*/g, ' ');
  if (output === 'json') io.stderr.write(`${JSON.stringify({ error: { code, message: line } })}\n`);
  else io.stderr.write(`${colours(io, 'stderr').red(`hadron: ${code}:`)} ${line}\n`);
  if ((verbose || (io.env['HADRON_DEBUG'] ?? '') !== '') && error instanceof Error) {
    io.stderr.write(`${error.stack}\n`);
    if (error.cause instanceof Error) io.stderr.write(`caused by ${error.cause.stack}\n`);
  }
}
