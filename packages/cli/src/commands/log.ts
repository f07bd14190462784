/**
 * `hadron log …`: a data folder seen from outside, read-only, whether a server runs on it or not. The looking is done by
 * the log engine (packages/log/src/inspect.ts); here it becomes tables, JSON and a progress bar.
 */
import path from 'node:path';
import { HadronError } from '@hadron/base';
import { recordFormat } from '@hadron/broker';
import { CODEC_NAMES, readBatchHeader } from '@hadron/kafka-protocol/records';
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

interface DumpOptions extends LogOptions {
  readonly from?: number;
  readonly max?: number;
}

const FORMATS = [recordFormat, bytesFormat];

export async function ls(io: Io, options: LogOptions): Promise<void> {
  const { manifest, shard } = await inspectFolder(path.resolve(io.cwd, options.data), { formats: FORMATS });
  const logs = shard.logs
    .map((log) => ({
      id: log.id,
      name: log.name,
      format: log.format?.name ?? `format ${log.formatId}`,
      durability: log.durability,
      start: log.start,
      end: log.end,
      bytes: log.bytes,
      segments: log.segments.map(({ file, base, end, bytes, tailBytes }) => ({ file, base, end, bytes, tailBytes })),
      damaged: log.fences.length,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  if (options.output === 'json') {
    const { checkpoint, lastLsn, durableLsn, commitFiles } = shard;
    printJson(io, { ...manifest, checkpoint, lastLsn, durableLsn, logs, commitFiles });
    return;
  }
  if (logs.length === 0) {
    say(io, `No logs in ${options.data}.`);
    return;
  }
  const rows = logs.map((log) => [log.id, log.name, log.format, log.start, log.end, log.segments.length, log.bytes]);
  await printTable(
    io,
    ['id', 'log', 'format', 'start', 'end', 'segments', 'bytes'],
    rows.map((row) => row.map(String)),
  );
  const commitBytes = shard.commitFiles.reduce((sum, file) => sum + file.bytes, 0);
  say(io, `${logs.length} logs, ${shard.commitFiles.length} commit files of ${commitBytes} bytes.`);
}

export async function dump(io: Io, name: string, options: DumpOptions): Promise<void> {
  const { shard } = await inspectFolder(path.resolve(io.cwd, options.data), { formats: FORMATS });
  const log = shard.logs.find((candidate) => candidate.name === name || String(candidate.id) === name);
  if (log === undefined) {
    throw new CommandFailure(
      'LOG_NOT_FOUND',
      `there is no log ${name} in ${options.data}; \`hadron log ls\` lists them`,
    );
  }
  let shown = 0;
  for await (const unit of dumpLog(shard, log, { from: options.from ?? 0 })) {
    const { position, extent, file, byte, bytes, damage } = unit;
    const details = detailsOf(log, unit);
    if (options.output === 'json') {
      const range = { position, next: position + extent, bytes: bytes.length, file, byte };
      io.stdout.write(`${JSON.stringify({ ...range, ...details, ...(damage === undefined ? {} : { damage }) })}\n`);
    } else {
      const more = Object.entries(details).map(([key, value]) => `${key}=${value}`);
      const what = damage === undefined ? more.join(' ') : `DAMAGED: ${damage}`;
      io.stdout.write(`[${position}, ${position + extent})  ${bytes.length} B  ${file}:${byte}  ${what}\n`);
    }
    shown += 1;
    if (shown === options.max) break;
  }
}

/** What the header of a record batch says. */
function detailsOf(log: LogImage, { bytes, damage }: DumpedUnit): Record<string, string | number> {
  if (log.format !== recordFormat || damage !== undefined) return {};
  const header = readBatchHeader(bytes, 0);
  return {
    records: header.recordCount,
    epoch: header.leaderEpoch,
    codec: CODEC_NAMES[header.codec] ?? header.codec,
    maxTimestamp: header.maxTimestamp,
    ...(header.producerId < 0
      ? {}
      : { producerId: header.producerId, producerEpoch: header.producerEpoch, baseSequence: header.baseSequence }),
  };
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
    const places = damaged === 1 ? '1 place is damaged' : `${damaged} places are damaged`;
    throw new HadronError('DATA_DAMAGED', `${places} in ${options.data}; restore those files from a copy`);
  }
  if (options.output !== 'json') say(io, `${bytes} bytes read, nothing acknowledged is damaged.`);
}

function describe({ file, byte, log, from, to, what, harmless }: Finding): string {
  const where = log === undefined || from < 0 ? '' : `  ${log} [${from}, ${to})`;
  return `${harmless ? 'note   ' : 'DAMAGED'}  ${file}:${byte}${where}  ${what}`;
}
