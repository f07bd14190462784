/**
 * `hadron log …`: a data folder seen from outside, read-only. The work is done by the log engine ({@link FolderInspector},
 * which @hadron/log exports as `openInspector`); here it becomes tables, JSON lines and a progress bar.
 */
import path from 'node:path';
import { HadronError } from '@hadron/base';
import { CommandFailure } from '../failure.ts';
import { type Io, printJson, printTable, say } from '../io.ts';
import type { OutputOptions } from '../options.ts';
import { progressBar } from '../progress.ts';

/** One log of a folder. Offsets are records for partitions, bytes for journals; ranges are half-open. */
export interface LogSummary {
  readonly id: number;
  /** What the log was called when it was created ("orders-0"), or its id. */
  readonly name: string;
  readonly startOffset: number;
  readonly endOffset: number;
  readonly segments: number;
  readonly bytes: number;
}

export interface BatchSummary {
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly bytes: number;
  readonly file: string;
  readonly position: number;
  /** Of a record batch: leader epoch, producer, time, codec, … */
  readonly details: Readonly<Record<string, string | number>>;
}

/** Something in the folder that is not as it should be. */
export interface Damage {
  readonly file: string;
  readonly position: number;
  readonly problem: string;
}

/** A data folder, opened for reading; a server may be running on it. */
export interface FolderInspector {
  readonly formatVersion: number;
  logs(): readonly LogSummary[];
  /** The batches of one log from `from` on, oldest first. */
  batches(name: string, from: number): AsyncIterable<BatchSummary>;
  /** Reads everything and checks framing, continuity and checksums. */
  verify(progress: (doneBytes: number, totalBytes: number) => void): AsyncIterable<Damage>;
  close(): void;
}

interface LogOptions extends OutputOptions {
  readonly data: string;
}

interface DumpOptions extends LogOptions {
  readonly from?: number;
  readonly max?: number;
}

async function inspected<R>(io: Io, { data }: LogOptions, work: (folder: FolderInspector) => Promise<R>): Promise<R> {
  const engine = (await import('@hadron/log')) as unknown as { openInspector?: (dir: string) => FolderInspector };
  if (engine.openInspector === undefined) {
    throw new CommandFailure('UNSUPPORTED', 'this build of the log engine cannot be looked into from outside');
  }
  const folder = engine.openInspector(path.resolve(io.cwd, data));
  try {
    return await work(folder);
  } finally {
    folder.close();
  }
}

export async function ls(io: Io, options: LogOptions): Promise<void> {
  await inspected(io, options, async (folder) => {
    const logs = folder.logs();
    if (options.output === 'json') printJson(io, { formatVersion: folder.formatVersion, logs });
    else if (logs.length === 0) say(io, `No logs in ${options.data}.`);
    else {
      const rows = logs.map((log) =>
        [log.id, log.name, log.startOffset, log.endOffset, log.segments, log.bytes].map(String),
      );
      await printTable(io, ['id', 'log', 'start', 'end', 'segments', 'bytes'], rows);
    }
  });
}

export async function dump(io: Io, name: string, options: DumpOptions): Promise<void> {
  await inspected(io, options, async (folder) => {
    let shown = 0;
    for await (const batch of folder.batches(name, options.from ?? 0)) {
      if (options.output === 'json') io.stdout.write(`${JSON.stringify(batch)}\n`);
      else {
        const { baseOffset, endOffset, bytes, file, position, details } = batch;
        const more = Object.entries(details).map(([key, value]) => `${key}=${value}`);
        io.stdout.write(`[${baseOffset}, ${endOffset})  ${bytes} B  ${file}:${position}  ${more.join(' ')}\n`);
      }
      shown += 1;
      if (shown === options.max) break;
    }
  });
}

export async function verify(io: Io, options: LogOptions): Promise<void> {
  await inspected(io, options, async (folder) => {
    const progress = await progressBar(io, 'Verifying', 0, 'bytes');
    const damage: Damage[] = [];
    let bytes = 0;
    try {
      const seen = (done: number, total: number) => {
        bytes = done;
        progress.update(done, total);
      };
      for await (const found of folder.verify(seen)) damage.push(found);
    } finally {
      progress.stop();
    }
    if (options.output === 'json') printJson(io, { bytes, damage });
    else for (const { file, position, problem } of damage) io.stdout.write(`${file}:${position}  ${problem}\n`);
    if (damage.length > 0)
      throw new HadronError(
        'DATA_DAMAGED',
        `${damage.length} damaged places in ${options.data}; restore them from a backup or a copy`,
      );
    if (options.output !== 'json') say(io, `${bytes} bytes read, nothing damaged.`);
  });
}
