/** `hadron stream export` and `import`: a stream as a file of NDJSON, one CloudEvent a line, and back. */
import fs from 'node:fs';
import path from 'node:path';
import { finished } from 'node:stream/promises';
import { CommandFailure } from '../../failure.ts';
import { counted, type Io, printJson, say } from '../../io.ts';
import { bootstrapOf, recordCount } from '../../kafka-offsets.ts';
import { linesOf } from '../../lines.ts';
import type { ServerOptions } from '../../options.ts';
import { meter } from '../../progress.ts';
import { withServer } from '../../server.ts';
import { openInput, readEvent } from './input.ts';
import { publishLines } from './publish.ts';
import { stopping } from './stopping.ts';
import { storedLines } from './tail.ts';
import { upload } from './upload.ts';

export interface ExportOptions extends ServerOptions {
  readonly file?: string;
  readonly force?: boolean;
  readonly from?: string;
  readonly partition?: number;
}

/** Lines are written together up to this. */
const WRITE_CHARACTERS = 256 * 1024;

export async function exportStream(io: Io, stream: string, options: ExportOptions): Promise<void> {
  const { file = '-' } = options;
  const output = file === '-' ? io.stdout : createFile(path.resolve(io.cwd, file), file, options.force === true);
  const stop = stopping(io);
  // On a terminal the events themselves are what is seen.
  const isSeen = io.stderr.isTTY === true && (file !== '-' || io.stdout.isTTY !== true);
  const progress = isSeen
    ? await meter(io, `Exporting ${stream}`, 'events', await totalOf(stream, options))
    : undefined;
  let count = 0;
  try {
    let text = '';
    const flush = async (): Promise<void> => {
      const some = text;
      text = '';
      await new Promise<void>((resolve, reject) =>
        output.write(some, (e) => (e instanceof Error ? reject(e) : resolve())),
      );
      progress?.update(count, count);
    };
    for await (const line of storedLines(stream, options, stop.signal)) {
      text += `${line}\n`;
      count += 1;
      if (text.length >= WRITE_CHARACTERS) await flush();
    }
    await flush();
    if (output !== io.stdout) {
      output.end();
      await finished(output);
    }
  } catch (error) {
    if (!stop.isOutputGone(error)) throw error;
  } finally {
    progress?.stop();
    stop.dispose();
  }
  if (stop.signal.aborted && file !== '-')
    throw new CommandFailure('INTERRUPTED', `${file} has ${counted(count, 'event')} of ${stream}, not all`);
  if (file === '-') return;
  if (options.output === 'json') printJson(io, { stream, file, events: count });
  else say(io, `${counted(count, 'event')} of ${stream} to ${file}`);
}

/** @throws CommandFailure REQUEST_INVALID */
function createFile(full: string, name: string, force: boolean): fs.WriteStream {
  try {
    return fs.createWriteStream(full, { fd: fs.openSync(full, force ? 'w' : 'wx') });
  } catch (error) {
    const { code = 'unknown' } = error as { code?: string };
    const why = code === 'EEXIST' ? `${name} exists; --force writes over it` : `cannot write ${name} (${code})`;
    throw new CommandFailure('REQUEST_INVALID', why, { cause: error });
  }
}

/** For the bar alone: where it cannot be known there is none. */
async function totalOf(stream: string, options: ExportOptions): Promise<number | undefined> {
  if (options.from !== undefined && options.from !== 'beginning') return undefined;
  try {
    return await withServer(options, async (server) => {
      const { partitions } = await server.client.admin.stream(stream);
      const all = Array.from({ length: partitions }, (_, i) => i);
      return recordCount(
        await bootstrapOf(server),
        stream,
        options.partition === undefined ? all : [options.partition],
      );
    });
  } catch {
    return undefined;
  }
}

export interface ImportOptions extends ServerOptions {
  readonly file?: string;
  readonly partition?: number;
}

export async function importStream(io: Io, stream: string, options: ImportOptions): Promise<void> {
  await withServer(options, async ({ client }) => {
    await client.admin.stream(stream);
    const input = openInput(io, options.file);
    const { partition, output } = options;
    await publishLines(io, stream, input, { quiet: true, output }, (tell) =>
      upload({ stream: client.stream(stream), input, lines: linesOf(input.stream), make: readEvent, partition, tell }),
    );
  });
}
