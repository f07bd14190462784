/**
 * What every adapter of the file-system port must do, as cases for any test runner:
 *
 *     for (const c of fsContract) it(c.name, () => c.run(subject));
 *
 * Run against the simulated disk (sim-disk.test.ts) and the real one (packages/log/src/fs.test.ts). What survives power
 * loss is no part of it: on a real disk nobody can test that.
 */
import { deepStrictEqual as equal, ok, throws } from 'node:assert/strict';
import type { FileSystem, FsError, OpenFile } from '@hadron/log';

export interface FsContractSubject {
  readonly fs: FileSystem;
  /** An empty directory that exists. */
  readonly root: string;
  /** Waits for a promise that depends on the file system; a simulation runs its events meanwhile. */
  settle<T>(promise: Promise<T>): Promise<T>;
}

export interface FsContractCase {
  readonly name: string;
  run(subject: FsContractSubject): Promise<void>;
}

export const fsContract: readonly FsContractCase[] = [
  {
    name: 'create makes a file, keeps what is there, and reads back what was written',
    async run({ fs, root }) {
      const file = fs.openSync(`${root}/a`, 'create');
      equal(file.writeSync(bytes('hello'), 0), 5);
      equal(file.writeSync(bytes('p!'), 3), 2);
      file.closeSync();
      const again = fs.openSync(`${root}/a`, 'create');
      equal(fs.sizeSync(`${root}/a`), 5);
      equal(readAll(again, 5), 'help!');
      again.closeSync();
    },
  },
  {
    name: 'open modes: read and write need the file; read does not write',
    async run({ fs, root, settle }) {
      throws(() => fs.openSync(`${root}/none`, 'read'), code('ENOENT'));
      throws(() => fs.openSync(`${root}/none`, 'write'), code('ENOENT'));
      throws(() => fs.openSync(`${root}/no/dir`, 'create'), code('ENOENT'));
      equal((await settle(failure((done) => fs.open(`${root}/none`, 'write', done))))?.code, 'ENOENT');
      equal(fs.sizeSync(`${root}/none`), undefined);
      const file = await settle(open(fs, `${root}/a`, 'create'));
      file.closeSync();
      const writer = await settle(open(fs, `${root}/a`, 'write'));
      equal(writer.writeSync(bytes('x'), 0), 1);
      equal(readAll(writer, 1), 'x');
      writer.closeSync();
      const reader = fs.openSync(`${root}/a`, 'read');
      equal(readAll(reader, 10), 'x');
      throws(() => reader.writeSync(bytes('y'), 0));
      reader.closeSync();
    },
  },
  {
    name: 'write gathers its parts, also empty ones, many and none',
    async run({ fs, root, settle }) {
      const file = fs.openSync(`${root}/a`, 'create');
      equal(await settle(write(file, [bytes('ab'), bytes(''), bytes('cde')], 4)), 5);
      equal(await settle(write(file, [bytes('1234')], 0)), 4);
      equal(await settle(write(file, [], 0)), 0);
      equal(await settle(write(file, [bytes('')], 0)), 0);
      equal(readAll(file, 20), '1234abcde');
      const many = Array.from({ length: 3_000 }, (_, i) => bytes(String.fromCharCode(97 + (i % 26)))); // above IOV_MAX
      equal(await settle(write(file, many, 100)), 3_000);
      equal(readAll(file, 3_000, 100), many.map((b) => String.fromCharCode(b[0] as number)).join(''));
      file.closeSync();
    },
  },
  {
    name: 'a gap reads as zeros; reading ends at the end of the file',
    async run({ fs, root, settle }) {
      const file = fs.openSync(`${root}/a`, 'create');
      file.writeSync(bytes('z'), 5_000);
      equal(fs.sizeSync(`${root}/a`), 5_001);
      const into = new Uint8Array(10).fill(7);
      equal(file.readSync(into, 4_995), 6);
      equal([...into], [0, 0, 0, 0, 0, 122, 7, 7, 7, 7]);
      equal(file.readSync(into, 5_001), 0);
      equal(file.readSync(into, 9_000), 0);
      equal(await settle(read(file, into, 4_999)), 2);
      equal(await settle(read(file, into, 9_000)), 0);
      equal(await settle(read(file, new Uint8Array(0), 0)), 0);
      file.closeSync();
    },
  },
  {
    name: 'a window of a larger buffer is written and filled, no byte beside it',
    async run({ fs, root, settle }) {
      const file = fs.openSync(`${root}/a`, 'create');
      const large = bytes('0123456789');
      equal(file.writeSync(large.subarray(2, 5), 0), 3);
      equal(await settle(write(file, [large.subarray(7, 9), large.subarray(0, 1)], 3)), 3);
      const into = new Uint8Array(8).fill(46);
      equal(file.readSync(into.subarray(1, 4), 0), 3);
      equal(await settle(read(file, into.subarray(5, 7), 3)), 2);
      equal(text(into), '.234.78.');
      file.closeSync();
    },
  },
  {
    name: 'truncate cuts, and extends with zeros',
    async run({ fs, root }) {
      const file = fs.openSync(`${root}/a`, 'create');
      file.writeSync(bytes('abcdef'), 0);
      file.truncateSync(2);
      equal(fs.sizeSync(`${root}/a`), 2);
      file.truncateSync(4);
      equal(fs.sizeSync(`${root}/a`), 4);
      equal(readAll(file, 10), 'ab\0\0');
      file.closeSync();
    },
  },
  {
    name: 'callbacks come later, never before the call returns; datasync and syncDir succeed',
    async run({ fs, root, settle }) {
      let returned = false;
      const later = (start: (done: () => void) => void): Promise<void> =>
        new Promise((resolve, reject) => {
          returned = false;
          start(() => (returned ? resolve() : reject(new Error('called back before it returned'))));
          returned = true;
        });
      const file = fs.openSync(`${root}/a`, 'create');
      await settle(later((done) => file.write([bytes('x')], 0, done)));
      await settle(later((done) => file.write([], 0, done)));
      await settle(later((done) => file.read(new Uint8Array(1), 0, done)));
      await settle(later((done) => file.read(new Uint8Array(0), 0, done)));
      await settle(later((done) => file.datasync(done)));
      await settle(later((done) => fs.syncDir(root, done)));
      await settle(later((done) => fs.rename(`${root}/a`, `${root}/b`, done)));
      await settle(later((done) => fs.unlink(`${root}/b`, done)));
      await settle(later((done) => fs.unlink(`${root}/b`, done)));
      await settle(later((done) => fs.open(`${root}/none`, 'read', done)));
      await settle(later((done) => fs.space(root, done)));
      equal(await settle(failure((done) => file.datasync(done))), undefined);
      equal(await settle(failure((done) => fs.syncDir(root, done))), undefined);
      file.closeSync();
    },
  },
  {
    name: 'rename replaces its target; an open file follows its name',
    async run({ fs, root, settle }) {
      put(fs, `${root}/old`, 'old');
      put(fs, `${root}/new`, 'new');
      const reader = fs.openSync(`${root}/old`, 'read');
      equal(await settle(failure((done) => fs.rename(`${root}/new`, `${root}/old`, done))), undefined);
      equal(fs.listSync(root), ['old']);
      equal(readAll(reader, 10), 'old'); // the replaced file, until it is closed
      reader.closeSync();
      const replaced = fs.openSync(`${root}/old`, 'read');
      equal(readAll(replaced, 10), 'new');
      replaced.closeSync();
      equal((await settle(failure((done) => fs.rename(`${root}/none`, `${root}/x`, done))))?.code, 'ENOENT');
    },
  },
  {
    name: 'unlink: what is not there is no error; an open reader reads on',
    async run({ fs, root, settle }) {
      put(fs, `${root}/a`, 'abc');
      const reader = fs.openSync(`${root}/a`, 'read');
      equal(await settle(failure((done) => fs.unlink(`${root}/a`, done))), undefined);
      equal(fs.sizeSync(`${root}/a`), undefined);
      equal(readAll(reader, 10), 'abc');
      reader.closeSync();
      equal(await settle(failure((done) => fs.unlink(`${root}/a`, done))), undefined);
      equal(await settle(failure((done) => fs.unlink(`${root}/no/a`, done))), undefined);
    },
  },
  {
    name: 'directories: made with their parents, twice is fine; listed; a missing one is empty',
    async run({ fs, root, settle }) {
      fs.mkdirSync(`${root}/d/e/f`);
      fs.mkdirSync(`${root}/d/e/f`);
      put(fs, `${root}/d/e/x`, '');
      equal([...fs.listSync(`${root}/d/e`)].sort(), ['f', 'x']);
      equal(fs.listSync(`${root}/none`), []);
      equal(fs.sizeSync(`${root}/d/e/x`), 0);
      equal(fs.sizeSync(`${root}/d/e`), undefined);
      ok((await settle(failure((done) => fs.syncDir(`${root}/none`, done)))) !== undefined);
    },
  },
  {
    name: 'space is positive and not more than the total',
    async run({ fs, root, settle }) {
      const [free, total] = await settle(
        new Promise<[number, number]>((resolve, reject) =>
          fs.space(root, (error, f, t) => (error ? reject(error) : resolve([f, t]))),
        ),
      );
      ok(free > 0 && free <= total && Number.isSafeInteger(free) && Number.isSafeInteger(total));
    },
  },
  {
    name: 'close: calls under way finish',
    async run({ fs, root, settle }) {
      const file = fs.openSync(`${root}/a`, 'create');
      const writing = [0, 1, 2, 3].map((i) => write(file, [bytes(`${i}`.repeat(1_000))], i * 1_000));
      file.closeSync();
      equal(await settle(Promise.all(writing)), [1_000, 1_000, 1_000, 1_000]);
      equal(fs.sizeSync(`${root}/a`), 4_000);
    },
  },
];

/** Cases of misuse; apart, because the simulated disk also fails the run at each. */
export const fsMisuseContract: readonly FsContractCase[] = [
  misuse('write after close', (file) => {
    file.closeSync();
    file.writeSync(bytes('x'), 0);
  }),
  misuse('asynchronous write after close', (file) => {
    file.closeSync();
    file.write([bytes('x')], 0, () => {});
  }),
  misuse('read after close', (file) => {
    file.closeSync();
    file.readSync(new Uint8Array(1), 0);
  }),
  misuse('datasync after close', (file) => {
    file.closeSync();
    file.datasync(() => {});
  }),
  misuse('double close', (file) => {
    file.closeSync();
    file.closeSync();
  }),
  misuse('negative position', (file) => void file.writeSync(bytes('x'), -1)),
  misuse('position that is no integer', (file) => file.read(new Uint8Array(1), 0.5, () => {})),
];

function misuse(what: string, deed: (file: OpenFile) => void): FsContractCase {
  return {
    name: `misuse throws TypeError: ${what}`,
    async run({ fs, root }) {
      const file = fs.openSync(`${root}/a`, 'create');
      throws(() => deed(file), TypeError);
    },
  };
}

const bytes = (s: string): Uint8Array => new TextEncoder().encode(s);
const text = (b: Uint8Array): string => new TextDecoder().decode(b);

function readAll(file: OpenFile, max: number, position = 0): string {
  const into = new Uint8Array(max);
  return text(into.subarray(0, file.readSync(into, position)));
}

function put(fs: FileSystem, path: string, content: string): void {
  const file = fs.openSync(path, 'create');
  equal(file.writeSync(bytes(content), 0), content.length);
  file.closeSync();
}

function open(fs: FileSystem, path: string, mode: 'read' | 'write' | 'create'): Promise<OpenFile> {
  return new Promise((resolve, reject) => {
    fs.open(path, mode, (error, file) => (file === undefined ? reject(error) : resolve(file)));
  });
}

function write(file: OpenFile, parts: readonly Uint8Array[], position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    file.write(parts, position, (error, count) => (error ? reject(error) : resolve(count)));
  });
}

function read(file: OpenFile, into: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    file.read(into, position, (error, count) => (error ? reject(error) : resolve(count)));
  });
}

function failure(start: (done: (error: FsError | undefined) => void) => void): Promise<FsError | undefined> {
  return new Promise((resolve) => start(resolve));
}

const code = (expected: string) => (error: unknown) => (error as FsError).code === expected;
