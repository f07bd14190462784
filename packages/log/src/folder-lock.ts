/**
 * The lock of a data folder: one that the kernel drops when its process dies (log.md G19).
 *
 * `lock` is an empty file on which an exclusive transaction of `node:sqlite` is held open; that is a record lock of the
 * operating system on every platform, and costs 0.5 ms. `lock.json` beside it says who holds it, for the message only:
 * whether the folder is free is never decided by what it says.
 *
 * Always true: nobody in this process opens `lock` but this file. POSIX drops a process's record locks when it closes
 * *any* descriptor of the file.
 */
import * as fs from 'node:fs';
import { hostname } from 'node:os';
import { type Clock, HadronError } from '@hadron/base';

/** Long enough for a process that was just killed to be gone, short enough for a person. */
const WAIT_MS = 1000;
const SQLITE_BUSY = 5;

interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly startedAt: string;
}

export class FolderLock {
  readonly #directory: string;
  readonly #release: () => void;
  #held = true;

  private constructor(directory: string, release: () => void) {
    this.#directory = directory;
    this.#release = release;
  }

  /** @throws HadronError DATA_FOLDER_IN_USE, DATA_FOLDER_UNUSABLE */
  static take(directory: string, clock: Clock): FolderLock {
    const lock = new FolderLock(directory, lockFile(directory));
    try {
      const holder: Holder = {
        pid: process.pid,
        host: hostname(),
        startedAt: new Date(clock.wallMs()).toISOString(),
      };
      // Renamed into place, so that whoever is refused at this moment reads the old one or the new one.
      const tmp = `${directory}/lock.json.tmp`;
      fs.writeFileSync(tmp, `${JSON.stringify(holder)}\n`);
      fs.renameSync(tmp, `${directory}/lock.json`);
    } catch (error) {
      // A full disk must not keep a server from starting (G16); it only loses its name in somebody's message.
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== 'ENOSPC' && code !== 'EDQUOT') {
        lock.release();
        throw error;
      }
    }
    return lock;
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    fs.rmSync(`${this.#directory}/lock.json`, { force: true });
    this.#release();
  }
}

/** @returns what lets go of the lock */
function lockFile(directory: string): () => void {
  const { DatabaseSync } = sqlite();
  const db = new DatabaseSync(`${directory}/lock`, { timeout: WAIT_MS });
  try {
    // In memory: the transaction never writes, and no journal file is left behind by a kill.
    db.exec('PRAGMA journal_mode = MEMORY');
    db.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    db.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    throw new HadronError(
      'DATA_FOLDER_IN_USE',
      `${directory} is in use by ${holderOf(directory)}; stop it first, or start with a folder of its own (--data DIR)`,
    );
  }
  return () => db.close();
}

/** Who holds the lock, as far as can be told. A name that cannot be true is not given. */
function holderOf(directory: string): string {
  try {
    const { pid, host, startedAt } = JSON.parse(fs.readFileSync(`${directory}/lock.json`, 'utf8')) as Holder;
    if (host === hostname()) process.kill(pid, 0);
    return `the Hadron server with process id ${pid} on ${host}, running since ${startedAt}`;
  } catch (error) {
    // EPERM: it lives and belongs to somebody else.
    const code = (error as NodeJS.ErrnoException).code;
    return code === 'EPERM' ? 'a Hadron server of another user' : 'another process';
  }
}

/** `node:sqlite`, without the line on stderr by which Node calls it experimental: nothing here but a lock rests on it. */
function sqlite(): typeof import('node:sqlite') {
  const { emitWarning } = process;
  process.emitWarning = () => undefined;
  try {
    const found = process.getBuiltinModule('node:sqlite') as typeof import('node:sqlite') | undefined;
    if (found !== undefined) return found;
  } finally {
    process.emitWarning = emitWarning;
  }
  throw new HadronError(
    'DATA_FOLDER_UNUSABLE',
    `Node ${process.version} has no node:sqlite, which locks the data folder; use Node 24 ("npm start" brings one)`,
  );
}
