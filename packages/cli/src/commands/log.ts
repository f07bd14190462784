/**
 * `hadron log …`: a data folder seen from outside, read-only, whether a server runs on it or not. The looking is done by
 * the log engine (packages/log/src/inspect.ts); here it becomes tables, JSON and a progress bar.
 */
import path from 'node:path';
import { HadronError } from '@hadron/base';
import { recordFormat } from '@hadron/broker';
import { CODEC_NAMES, readBatchHeader, recordsOf } from '@hadron/kafka-protocol/records';
import {
  bytesFormat,
  type DumpedUnit,
  dumpLog,
  type Finding,
  inspectFolder,
  type LogImage,
  type ShardImage,
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

export async function ls(io: Io, options: LsOptions): Promise<void> {
  const { manifest, shard } = await inspectFolder(path.resolve(io.cwd, options.data), { formats: FORMATS });
  const logs = [...shard.logs].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  if (options.output === 'json') {
    const { checkpoint, lastLsn, durableLsn, commitFiles, unbegun } = shard;
    printJson(io, {
      ...manifest,
      checkpoint: checkpoint ?? null,
      lastLsn,
      durableLsn,
      logs: logs.map(({ tail: _, formatId, format, snapshot, ...log }) => ({
        ...log,
        format: formatOf(format, formatId),
        snapshot: snapshot ?? null,
      })),
      commitFiles,
      unbegunCommitFiles: unbegun,
    });
    return;
  }
  if (logs.length === 0) {
    say(io, `No logs in ${options.data}.`);
    return;
  }
  const rows = logs.map((l) => {
    const format = formatOf(l.format, l.formatId);
    return [
      l.id,
      l.name,
      format,
      l.durability,
      l.epochs.at(-1)?.epoch ?? '',
      l.start,
      l.end,
      l.segments.length,
      l.bytes,
    ];
  });
  const head = ['id', 'log', 'format', 'durability', 'epoch', 'start', 'end', 'segments', 'bytes'];
  await printTable(io, head, texts(rows));
  if (options.files === true) await printFiles(io, shard, logs);
  const commitBytes = shard.commitFiles.reduce((sum, file) => sum + file.bytes, 0);
  say(io, `${logs.length} logs, ${shard.commitFiles.length} commit files of ${commitBytes} bytes.`);
  const fenced = logs.reduce((n, l) => n + l.fences.length, 0);
  if (fenced > 0) say(io, `${fenced} damaged places are fenced: \`hadron log verify\` names them.`);
}

const formatOf = (format: LogImage['format'], id: number): string => format?.name ?? `unknown (${id})`;

async function printFiles(io: Io, shard: ShardImage, logs: readonly LogImage[]): Promise<void> {
  const segments = logs.flatMap((l) =>
    l.segments.map((s) => {
      const newest = s.maxTimestamp < 0 ? '' : new Date(s.maxTimestamp).toISOString();
      return [l.name, s.file, s.base, s.end, s.bytes, s.tailBytes, hex(s.crc), newest];
    }),
  );
  const segmentHead = ['log', 'segment', 'base', 'end', 'bytes', 'in commit log', 'crc', 'newest record'];
  io.stdout.write('\n');
  await printTable(io, segmentHead, texts(segments));
  const snapshots = logs.flatMap(({ name, snapshot: s }) =>
    s === undefined ? [] : [[name, s.file, s.position, s.bytes]],
  );
  if (snapshots.length > 0) {
    io.stdout.write('\n');
    await printTable(io, ['log', 'snapshot', 'position', 'bytes'], texts(snapshots));
  }
  const commit = shard.commitFiles.map((f) => {
    const range = f.frames === 0 ? '' : `${f.firstLsn}-${f.lastLsn}`;
    const state = f.covered ? 'may be overwritten' : 'needed';
    return [f.file, f.sequence, hex(f.incarnation), range, f.frames, f.bytes, f.end, state];
  });
  const commitHead = ['commit file', 'sequence', 'incarnation', 'LSNs', 'frames', 'bytes', 'ends with', 'state'];
  io.stdout.write('\n');
  await printTable(io, commitHead, texts(commit));
}

export async function dump(io: Io, name: string, options: DumpOptions): Promise<void> {
  const { shard } = await inspectFolder(path.resolve(io.cwd, options.data), { formats: FORMATS });
  const log = find(shard, name, options);
  let shown = 0;
  let damaged = 0;
  for await (const unit of dumpLog(shard, log, { from: options.from ?? 0 })) {
    if (unit.damage !== undefined) damaged++;
    const text =
      options.output === 'json' ? JSON.stringify(unitJson(log, unit, options)) : unitText(log, unit, options);
    // A pipe that is full is waited for: a log may be larger than memory.
    if (!io.stdout.write(`${text}\n`)) await new Promise<void>((resolve) => io.stdout.once('drain', () => resolve()));
    shown += 1;
    if (shown === options.max) break;
  }
  if (damaged > 0) {
    throw new HadronError('DATA_DAMAGED', `${places(damaged)} in ${log.name}; \`hadron log verify\` tells more`);
  }
}

function find(shard: ShardImage, name: string, options: DumpOptions): LogImage {
  const found = shard.logs.find((l) => l.name === name) ?? shard.logs.find((l) => String(l.id) === name);
  if (found !== undefined) return found;
  const partitions = shard.logs.filter((l) => l.name.startsWith(`${name}-`)).map((l) => l.name);
  const hint =
    partitions.length > 0 ? `did you mean ${partitions.slice(0, 3).join(', ')}?` : '`hadron log ls` lists them';
  throw new CommandFailure('LOG_NOT_FOUND', `there is no log ${name} in ${options.data}; ${hint}`);
}

/** What the header of a record batch says. */
function detailsOf(log: LogImage, { bytes, damage }: DumpedUnit): Record<string, string | number | boolean> {
  if (log.format !== recordFormat || damage !== undefined) return {};
  const h = readBatchHeader(bytes, 0);
  return {
    records: h.recordCount,
    epoch: h.leaderEpoch,
    codec: CODEC_NAMES[h.codec] ?? h.codec,
    maxTimestamp: h.maxTimestamp,
    ...(h.producerId < 0
      ? {}
      : { producerId: h.producerId, producerEpoch: h.producerEpoch, baseSequence: h.baseSequence }),
    ...(h.isLogAppendTime ? { logAppendTime: true } : {}),
    ...(h.hasDeleteHorizon ? { deleteHorizon: h.baseTimestamp } : {}),
  };
}

interface RecordShown {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly headers: readonly (readonly [string, string | null])[];
}

/** Undefined when they were not asked for, or there are none to be had. */
function recordsIn(log: LogImage, unit: DumpedUnit, options: DumpOptions): RecordShown[] | undefined {
  if (options.records !== true || log.format !== recordFormat || unit.damage !== undefined) return undefined;
  return [...recordsOf(unit.bytes)].map((r) => ({
    offset: r.offset,
    timestamp: r.timestamp,
    key: textOf(r.key),
    value: textOf(r.value),
    headers: r.headers.map((h) => [h.key, textOf(h.value)] as const),
  }));
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Text as it is, other bytes in base64. */
function textOf(b: Buffer | null): string | null {
  if (b === null) return null;
  try {
    return utf8.decode(b);
  } catch {
    return `base64:${b.toString('base64')}`;
  }
}

function unitJson(log: LogImage, unit: DumpedUnit, options: DumpOptions): object {
  const { position, extent, bytes, file, byte, damage } = unit;
  return {
    position,
    next: position + extent,
    bytes: bytes.length,
    file,
    byte,
    ...detailsOf(log, unit),
    ...(damage === undefined ? {} : { damage }),
    recordList: recordsIn(log, unit, options),
  };
}

function unitText(log: LogImage, unit: DumpedUnit, options: DumpOptions): string {
  const { position, extent, bytes, file, byte, damage } = unit;
  const details = Object.entries(detailsOf(log, unit)).map(([key, value]) => `${key}=${value}`);
  const what = damage === undefined ? details.join(' ') : `DAMAGED: ${damage}`;
  const lines = [`[${position}, ${position + extent})  ${bytes.length} B  ${file}:${byte}  ${what}`];
  for (const r of recordsIn(log, unit, options) ?? []) {
    const headers = r.headers.map(([key, value]) => `  ${key}=${JSON.stringify(value)}`).join('');
    const at = r.timestamp < 0 ? '-' : new Date(r.timestamp).toISOString();
    lines.push(`    ${r.offset}  ${at}  ${JSON.stringify(r.key)}  ${JSON.stringify(r.value)}${headers}`);
  }
  return lines.join('\n');
}

export async function verify(io: Io, options: LogOptions): Promise<void> {
  const progress = await progressBar(io, 'Verifying', 0, 'bytes');
  const findings: Finding[] = [];
  let bytes = 0;
  try {
    const onProgress = (done: number, total: number) => {
      bytes = done;
      progress.update(done, total);
    };
    const folder = path.resolve(io.cwd, options.data);
    for await (const found of verifyFolder(folder, { formats: FORMATS, onProgress })) findings.push(found);
  } finally {
    progress.stop();
  }
  if (options.output === 'json') printJson(io, { bytes, findings });
  else for (const found of findings) io.stdout.write(`${describe(found)}\n`);
  const damaged = findings.filter((found) => !found.harmless).length;
  if (damaged > 0) {
    throw new HadronError('DATA_DAMAGED', `${places(damaged)} in ${options.data}; restore those files from a copy`);
  }
  if (options.output !== 'json') say(io, `${bytes} bytes read, nothing that is known to be acknowledged is damaged.`);
}

const places = (n: number): string => (n === 1 ? '1 place is damaged' : `${n} places are damaged`);

function describe({ file, byte, log, from, to, what, harmless }: Finding): string {
  const where = log === undefined || from < 0 ? '' : `  ${log} [${from}, ${to})`;
  const at = path.posix.normalize(`shards/0/${file}`);
  return `${harmless ? 'note   ' : 'DAMAGED'}  ${at}:${byte}${where}  ${what}`;
}

const hex = (n: number): string => n.toString(16).padStart(8, '0');

const texts = (rows: readonly (readonly (string | number)[])[]): string[][] => rows.map((row) => row.map(String));
