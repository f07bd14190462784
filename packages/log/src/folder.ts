/**
 * A data folder: who it belongs to and who may use it now.
 *
 *     hadron.json      format, cluster id, node id: made once, durable before anything else is
 *     lock, lock.json  held while a server runs (folder-lock.ts)
 *     shards/0/        logs, see shard.ts (log.md G20: a partition's shard is recorded; one shard for now)
 *
 * Every byte is described in docs/format.md.
 */
import * as fs from 'node:fs';
import { resolve } from 'node:path';
import { type Clock, HadronError, type Logger, type Random, systemClock, systemRandom } from '@hadron/base';
import { FolderLock } from './folder-lock.ts';

/** Changes when an older Hadron could do harm in a folder of this layout. */
export const FOLDER_FORMAT = 1;
export const MANIFEST_FILE = 'hadron.json';

export interface Manifest {
  readonly format: number;
  /** 22 characters of base64url: 16 random bytes, as Kafka writes its cluster ids. */
  readonly clusterId: string;
  readonly nodeId: number;
}

export interface Folder {
  /** Absolute. */
  readonly path: string;
  readonly clusterId: string;
  readonly nodeId: number;
  shardDirectory(shard: number): string;
  /** Lets the next server in. The last thing a server does with the folder. */
  release(): void;
}

export interface FolderOptions {
  readonly logger?: Logger;
  readonly random?: Random;
  readonly clock?: Clock;
}

/**
 * Makes the folder if need be, takes its lock and reads who it belongs to.
 * @throws HadronError DATA_FOLDER_IN_USE, DATA_FOLDER_UNUSABLE, DATA_FORMAT_NEWER, DATA_DAMAGED: nothing was changed
 */
export async function openFolder(directory: string, options: FolderOptions = {}): Promise<Folder> {
  const path = resolve(directory);
  const { random = systemRandom, clock = systemClock } = options;
  let lock: FolderLock | undefined;
  try {
    makeWritable(path);
    lock = FolderLock.take(path, clock);
    const manifest = readManifest(path) ?? makeManifest(path, random, options.logger);
    makeWritable(`${path}/shards/0`);
    const held = lock;
    return {
      path,
      clusterId: manifest.clusterId,
      nodeId: manifest.nodeId,
      shardDirectory: (shard) => `${path}/shards/${shard}`,
      release: () => held.release(),
    };
  } catch (error) {
    lock?.release();
    throw error instanceof HadronError ? error : unusable(path, error as NodeJS.ErrnoException);
  }
}

/**
 * The manifest of a folder, which may be in use by a server.
 * @returns undefined when there is none
 * @throws HadronError DATA_FORMAT_NEWER, DATA_DAMAGED; errors of the file system
 */
export function readManifest(path: string): Manifest | undefined {
  const file = `${path}/${MANIFEST_FILE}`;
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    if (!fs.existsSync(`${path}/shards/0/commit`)) return undefined;
    throw damaged(file, 'is missing');
  }
  let m: Partial<Manifest> | null;
  try {
    m = JSON.parse(text) as Partial<Manifest> | null;
  } catch {
    throw damaged(file, 'is not JSON');
  }
  if (typeof m?.format !== 'number') throw damaged(file, 'has no format number');
  if (m.format > FOLDER_FORMAT) {
    throw new HadronError(
      'DATA_FORMAT_NEWER',
      `${path} has format ${m.format}, this Hadron reads up to ${FOLDER_FORMAT}; start the newer Hadron that wrote it, or use another folder (--data DIR)`,
    );
  }
  if (typeof m.clusterId !== 'string' || !/^[\w-]{22}$/.test(m.clusterId)) throw damaged(file, 'has no cluster id');
  if (typeof m.nodeId !== 'number' || !Number.isInteger(m.nodeId)) throw damaged(file, 'has no node id');
  return { format: m.format, clusterId: m.clusterId, nodeId: m.nodeId };
}

function makeManifest(path: string, random: Random, logger: Logger | undefined): Manifest {
  // Kafka's tools take a leading "-" for an option.
  let clusterId = '-';
  while (clusterId.startsWith('-')) clusterId = Buffer.from(random.bytes(16)).toString('base64url');
  const manifest: Manifest = { format: FOLDER_FORMAT, clusterId, nodeId: 1 };
  const file = `${path}/${MANIFEST_FILE}`;
  const fd = fs.openSync(`${file}.tmp`, 'w', 0o644);
  try {
    fs.writeFileSync(fd, `${JSON.stringify(manifest, undefined, 2)}\n`);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  fs.renameSync(`${file}.tmp`, file);
  syncDirectory(path);
  logger?.info({ path, clusterId }, 'a new data folder');
  return manifest;
}

/** Makes the directory, durable with every parent that had to be made, and checks that files can be made in it. */
function makeWritable(path: string): void {
  // One by one: where mkdir answers ENOENT under a parent that exists (/proc), Node's recursive mkdir never returns.
  const missing = [path];
  for (let at = resolve(path, '..'); !fs.existsSync(at); at = resolve(at, '..')) missing.push(at);
  for (const directory of missing.reverse()) {
    try {
      fs.mkdirSync(directory);
    } catch (error) {
      // It is there already, or another start made it just now.
      if ((error as NodeJS.ErrnoException).code === 'EEXIST' && fs.statSync(directory).isDirectory()) continue;
      throw error;
    }
    syncDirectory(resolve(directory, '..'));
  }
  fs.accessSync(path, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
}

function syncDirectory(path: string): void {
  if (process.platform === 'win32') return; // cannot be opened there; NTFS logs its own metadata
  const fd = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(fd);
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes((error as NodeJS.ErrnoException).code ?? ''))
      throw error;
  } finally {
    fs.closeSync(fd);
  }
}

const WAY_OUT: Record<string, string> = {
  EACCES: 'this user may not write there; give it the folder (chown), or use another (--data DIR)',
  EPERM: 'this user may not write there; give it the folder (chown), or use another (--data DIR)',
  EROFS: 'the disk is read-only; mount it writable, or use another folder (--data DIR)',
  ENOTDIR: 'a part of the path is a file; use another folder (--data DIR)',
  EEXIST: 'there is a file of that name; use another folder (--data DIR)',
  ENOSPC: 'the disk is full; make room, or use another folder (--data DIR)',
  EDQUOT: "the user's quota is spent; make room, or use another folder (--data DIR)",
};

function unusable(path: string, error: NodeJS.ErrnoException): HadronError {
  const code = error.code ?? '';
  const way = WAY_OUT[code] ?? `${error.message}; use another folder (--data DIR)`;
  return new HadronError('DATA_FOLDER_UNUSABLE', `${path} cannot hold the data (${code}): ${way}`, { cause: error });
}

function damaged(file: string, what: string): HadronError {
  return new HadronError(
    'DATA_DAMAGED',
    `${file} ${what}; restore it from a backup, or write it anew: {"format": ${FOLDER_FORMAT}, "clusterId": "<22 characters of base64url>", "nodeId": 1}`,
  );
}
