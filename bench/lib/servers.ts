/**
 * The contestants of a comparison, their servers, and what the kernel says about a process. The servers themselves are
 * started by the launcher of the compatibility tests, so both always run the same thing.
 */
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type LaunchOptions, type RunningServer, startHadron, startKafka } from '../../tests/compat/launch.ts';
import { WireConnection } from '../../tests/compat/lib/wire.ts';

/**
 * floor: csink, accept + CRC + write + answer. durable and os: Hadron's two modes. kafka: its default, no sync.
 * kafka-sync: the same Kafka process, topics with flush.messages=1.
 */
export const contestants = ['floor', 'durable', 'os', 'kafka', 'kafka-sync'] as const;
export type Contestant = (typeof contestants)[number];

/** Settings that keep deleted benchmark topics from piling up on the disk. */
const quickDelete = { 'file.delete.delay.ms': '1000' };

function topicConfig(who: Contestant): Record<string, string> {
  if (who === 'kafka') return quickDelete;
  return who === 'kafka-sync' ? { ...quickDelete, 'flush.messages': '1' } : {};
}

/** Where all data of a benchmark lies: one file system for everybody. */
export interface Workplace {
  readonly dir: string;
  readonly settings: Record<string, string>;
}

export async function startContestant(
  who: Contestant,
  place: Workplace,
  more: LaunchOptions = {},
): Promise<RunningServer> {
  const dataDir = more.dataDir ?? freshDir(place, who);
  const settings = { ...place.settings, ...more.settings };
  switch (who) {
    case 'durable':
      return startHadron({ ...more, settings, dataDir, durability: 'fsync' });
    case 'os':
      return startHadron({ ...more, settings, dataDir, durability: 'os' });
    case 'kafka':
    case 'kafka-sync':
      // Hadron's settings are not passed on: Kafka runs with its defaults.
      return startKafka({ ...more, dataDir });
    case 'floor':
      throw new Error('the floor is started per run: withFloor');
  }
}

export function freshDir(place: Workplace, name: string): string {
  mkdirSync(place.dir, { recursive: true });
  return mkdtempSync(join(place.dir, `${name}-`));
}

/** Stops a server and removes what it wrote. */
export async function discard(server: RunningServer): Promise<void> {
  await server.stop();
  rmSync(server.dataDir, { recursive: true, force: true });
  rmSync(server.logFile, { force: true });
}

export async function createTopic(port: number, who: Contestant, name: string, partitions: number): Promise<void> {
  const wire = await WireConnection.open('127.0.0.1', port);
  try {
    await wire.createTopic(name, partitions, topicConfig(who));
  } finally {
    wire.close();
  }
}

export async function deleteTopic(port: number, name: string): Promise<void> {
  const wire = await WireConnection.open('127.0.0.1', port);
  try {
    await wire.deleteTopics(name);
  } finally {
    wire.close();
  }
}

/** Sum of the high watermarks: how many records a topic that lost none holds. */
export async function storedRecords(port: number, topic: string, partitions: number): Promise<number> {
  const wire = await WireConnection.open('127.0.0.1', port);
  try {
    return (await wire.offsets(topic, partitions, -1)).reduce((sum, offset) => sum + offset, 0);
  } finally {
    wire.close();
  }
}

/** CPU seconds (user + system, all threads) a process has used; the kernel counts in hundredths. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory in MB (10^6 bytes). */
export function rssMb(pid: number): number {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return (Number(line![1]) * 1024) / 1e6;
}

const megabyte = Buffer.alloc(1 << 20, 0x55);

/**
 * Writes and deletes as much as the coming run will write: a virtual machine that gave memory back to its host pays
 * seconds of CPU per GB for fresh page cache, whoever writes (see README, procedure).
 */
export function prewarm(place: Workplace, megabytes: number): void {
  mkdirSync(place.dir, { recursive: true });
  const path = join(place.dir, 'prewarm');
  const file = openSync(path, 'w');
  for (let i = 0; i < megabytes; i++) writeSync(file, megabyte);
  closeSync(file);
  unlinkSync(path);
}

export function freeGb(place: Workplace): number {
  mkdirSync(place.dir, { recursive: true });
  const stats = statfsSync(place.dir);
  return (stats.bavail * stats.bsize) / 1e9;
}
