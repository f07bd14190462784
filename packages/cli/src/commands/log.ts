/**
 * `hadron log …`: a data folder seen from outside, read-only, whether a server runs on it or not. The looking is done by
 * the log engine (packages/log/src/inspect.ts); here it becomes tables, JSON and a progress bar.
 */
import path from 'node:path';
import { HadronError } from '@hadron/base';
import { didYouMean, recordFormat } from '@hadron/broker';
import { CODEC_NAMES, RecordCursor, readBatchHeader } from '@hadron/kafka-protocol/records';
import {
  bytesFormat,
  type DumpedUnit,
  dumpLog,
  type Finding,
  inspectFolder,
  type LogImage,
  verifyFolder,
} from '@hadron/log';
import { CommandFailure } from '../failure.ts';
import { type Io, printJson, printTable, say } from '../io.ts';
import type { OutputOptions } from '../options.ts';
import { progressBar } from '../progress.ts';

interface LogOptions extends OutputOptions {
  readonly data: string;
}

interface LsOptions extends LogOptions {
  readonly files?: boolean;
}

interface DumpOptions extends LogOptions {
  readonly from?: number;
  readonly max?: number;
  readonly records?: boolean;
}

const FORMATS = [recordFormat, bytesFormat];
/** Where the engine's file names begin, seen from the data folder. */
const SHARD = 'shards/0';

export async function ls(io: Io, options: LsOptions): Promise<void> {
  const { manifest, shard } = await inspectFolder(path.resolve(io.cwd, options.data), { formats: FORMATS });
  const logs = [...shard.logs].sort((a, b) => (a.name < b.name ? -1 : 1));
  if (options.output === 'json') {
    const { checkpoint, lastLsn, durableLsn, commitFiles } = shard;
    // What is undefined is left out of JSON: the tail is the engine's own.
    const shown = logs.map((log) => ({ ...log, tail: undefined, format: log.format?.name ?? null }));
    printJson(io, { folder: manifest, checkpoint, lastLsn, durableLsn, logs: shown, commitFiles });
    return;
  }
  await printTable(
    io,
    ['id', 'log', 'format', 'durability', 'epoch', 'start', 'end', 'segments', 'bytes'],
    logs.map((log) =>
      [
        log.id,
        log.name,
        log.format?.name ?? `unknown (${log.formatId})`,
        log.durability,
        log.epochs.at(-1)?.epoch ?? 0,
        log.start,
        log.end,
        log.segments.length,
        log.bytes,
      ].map(String),
    ),
  );
  if (options.files !== true) return;
  const segments = logs.flatMap((log) =>
    log.segments.map(({ file, base, end, bytes, tailBytes }) => [
      file,
      log.name,
      `[${base}, ${end})`,
      bytes,
      tailBytes,
    ]),
  );
  io.stdout.write('\n');
  const heads = ['segment', 'log', 'offsets', 'bytes', 'in commit log'];
  await printTable(
    io,
    heads,
    segments.map((row) => row.map(String)),
  );
  io.stdout.write('\n');
  const commits = shard.commitFiles.map((f) => [f.file, f.sequence, `${f.firstLsn} to ${f.lastLsn}`, f.frames, f.end]);
  await printTable(
    io,
    ['commit file', 'sequence', 'frames numbered', 'frames', 'ends with'],
    commits.map((row) => row.map(String)),
  );
}

export async function dump(io: Io, name: string, options: DumpOptions): Promise<void> {
  const { shard } = await inspectFolder(path.resolve(io.cwd, options.data), { formats: FORMATS });
  const log = shard.logs.find((candidate) => candidate.name === name || String(candidate.id) === name);
  if (log === undefined) {
    const names = shard.logs.map((candidate) => candidate.name);
    const hint = didYouMean(name, names) || '; `hadron log ls` shows what there is';
    throw new CommandFailure('LOG_NOT_FOUND', `there is no log ${name} in ${options.data}${hint}`);
  }
  let shown = 0;
  let damaged = 0;
  for await (const unit of dumpLog(shard, log, { from: options.from ?? 0 })) {
    if (unit.damage !== undefined) damaged += 1;
    io.stdout.write(options.output === 'json' ? jsonLine(log, unit, options) : textLines(log, unit, options));
    shown += 1;
    if (shown === options.max) break;
  }
  if (damaged > 0) throw damageFailure(damaged, options);
}

/** What the header of a record batch says. */
function detailsOf(log: LogImage, { bytes, damage }: DumpedUnit): Record<string, string | number | boolean> {
  if (log.format !== recordFormat || damage !== undefined) return {};
  const header = readBatchHeader(bytes, 0);
  return {
    records: header.recordCount,
    leaderEpoch: header.leaderEpoch,
    codec: CODEC_NAMES[header.codec] ?? `unknown (${header.codec})`,
    maxTimestamp: header.maxTimestamp,
    ...(header.isControl ? { control: true } : {}),
    ...(header.isTransactional ? { transactional: true } : {}),
    ...(header.producerId < 0
      ? {}
      : { producerId: header.producerId, producerEpoch: header.producerEpoch, baseSequence: header.baseSequence }),
  };
}

interface ShownRecord {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly headers: Readonly<Record<string, string | null>>;
}

function* recordsOf(log: LogImage, { bytes, damage }: DumpedUnit): Generator<ShownRecord> {
  if (log.format !== recordFormat || damage !== undefined) return;
  const cursor = new RecordCursor();
  cursor.open(bytes);
  while (cursor.next()) {
    const { offset, timestamp } = cursor;
    const headers = Object.fromEntries(cursor.headers().map(({ key, value }) => [key, readable(value)]));
    yield { offset, timestamp, key: readable(cursor.key()), value: readable(cursor.value()), headers };
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Text as text, anything else in base64. */
function readable(bytes: Buffer | null): string | null {
  if (bytes === null) return null;
  try {
    return utf8.decode(bytes);
  } catch {
    return `base64:${bytes.toString('base64')}`;
  }
}

function jsonLine(log: LogImage, unit: DumpedUnit, options: DumpOptions): string {
  const { position, extent, file, byte, bytes, damage } = unit;
  return `${JSON.stringify({
    baseOffset: position,
    nextOffset: position + extent,
    bytes: bytes.length,
    file,
    byte,
    ...detailsOf(log, unit),
    ...(damage === undefined ? {} : { damage }),
    ...(options.records === true ? { recordList: [...recordsOf(log, unit)] } : {}),
  })}\n`;
}

function textLines(log: LogImage, unit: DumpedUnit, options: DumpOptions): string {
  const { position, extent, file, byte, bytes, damage } = unit;
  const details = Object.entries(detailsOf(log, unit)).map(([key, value]) => `${key}=${value}`);
  const what = damage === undefined ? details.join(' ') : `DAMAGED: ${damage}`;
  const lines = [`[${position}, ${position + extent})  ${bytes.length} B  ${file}:${byte}  ${what}`];
  for (const record of options.records === true ? recordsOf(log, unit) : []) {
    const { offset, timestamp, key, value, headers } = record;
    const more = Object.keys(headers).length === 0 ? '' : `  ${JSON.stringify(headers)}`;
    lines.push(`  ${offset}  ${timeText(timestamp)}  ${key ?? '-'}  ${value ?? '(deleted)'}${more}`);
  }
  return `${lines.join('\n')}\n`;
}

/** Producers may write any number; dates end with the year 275760. */
function timeText(timestamp: number): string {
  return Math.abs(timestamp) <= 8.64e15 ? new Date(timestamp).toISOString() : String(timestamp);
}

export async function verify(io: Io, options: LogOptions): Promise<void> {
  const progress = await progressBar(io, 'Verifying', 0, 'bytes');
  const found: Finding[] = [];
  let bytes = 0;
  try {
    const onProgress = (done: number, total: number) => {
      bytes = done;
      progress.update(done, total);
    };
    const folder = path.resolve(io.cwd, options.data);
    for await (const finding of verifyFolder(folder, { formats: FORMATS, onProgress })) found.push(finding);
  } finally {
    progress.stop();
  }
  const damage = found.filter((finding) => !finding.harmless);
  const harmless = found.filter((finding) => finding.harmless);
  if (options.output === 'json') printJson(io, { bytes, damage, harmless });
  else {
    for (const finding of damage) io.stdout.write(`${findingLine(finding)}\n`);
    for (const finding of harmless) say(io, `${findingLine(finding)} (harmless: the next start puts it right)`);
  }
  if (damage.length > 0) throw damageFailure(damage.length, options);
  if (options.output !== 'json') say(io, `${bytes} bytes read, nothing damaged.`);
}

function findingLine({ file, byte, log, from, to, what }: Finding): string {
  const where = log === undefined || from < 0 ? '' : `  ${log} [${from}, ${to})`;
  return `${path.posix.join(SHARD, file)}:${byte}${where}  ${what}`;
}

function damageFailure(places: number, { data }: LogOptions): HadronError {
  const what = places === 1 ? '1 place is damaged' : `${places} places are damaged`;
  return new HadronError('DATA_DAMAGED', `${what} in ${data}; restore those files from a copy`);
}
