/** docs/format.md tells what the code does: magics, versions, names. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CHECKPOINT_HEADER_BYTES, CHECKPOINT_MAGIC, CHECKPOINT_VERSION } from './checkpoint-file.ts';
import { SNAPSHOT_HEADER_BYTES, SNAPSHOT_MAGIC, SNAPSHOT_VERSION } from './checkpointer.ts';
import { COMMIT_FILE_HEADER_BYTES, COMMIT_FILE_MAGIC, COMMIT_FILE_VERSION } from './commit-log.ts';
import { FOLDER_FORMAT } from './folder.ts';
import { ENTRY_BYTES, EntryKind, FRAME_HEAD_BYTES, FRAME_MAGIC } from './frame.ts';
import { INDEX_HEADER_BYTES, INDEX_VERSION } from './index-file.ts';

const doc = readFileSync(new URL('../../../docs/format.md', import.meta.url), 'utf8');
const section = (title: string): string =>
  doc
    .slice(doc.indexOf(`\n## ${title}`))
    .slice(1)
    .split('\n## ')[0] as string;

describe('docs/format.md', () => {
  it.each([
    ['commit/NNN.log', 'HDCL', COMMIT_FILE_MAGIC, COMMIT_FILE_VERSION, COMMIT_FILE_HEADER_BYTES],
    ['checkpoint ', 'HDCK', CHECKPOINT_MAGIC, CHECKPOINT_VERSION, CHECKPOINT_HEADER_BYTES],
    ['segments/*.idx', 'HDIX', undefined, INDEX_VERSION, INDEX_HEADER_BYTES],
    ['snapshots/*.snap', 'HDSN', SNAPSHOT_MAGIC, SNAPSHOT_VERSION, SNAPSHOT_HEADER_BYTES],
  ])('%s', (title, name, magic, version, headerBytes) => {
    const text = section(title);
    const number = Buffer.from(name).readUInt32BE();
    if (magic !== undefined) expect(number).toBe(magic);
    expect(text).toContain(`magic \`${name}\`, 0x${number.toString(16)} |`);
    expect(text).toContain(`| 4 | u16 | version, ${version} |`);
    expect(text).toMatch(new RegExp(`(\\| ${headerBytes} \\| +\\| |byte ${headerBytes} )`));
  });

  it('frames and entries', () => {
    const text = section('commit/NNN.log');
    expect(Buffer.from('HDF1').readUInt32BE()).toBe(FRAME_MAGIC);
    expect(text).toContain(`magic \`HDF1\`, 0x${FRAME_MAGIC.toString(16)} |`);
    expect(text).toContain(`| ${FRAME_HEAD_BYTES} | | entry table: ${ENTRY_BYTES} bytes an entry |`);
    for (const [name, kind] of Object.entries(EntryKind)) {
      expect(text).toContain(`| ${kind} | \`${name.replace(/[A-Z]/, (c) => ` ${c.toLowerCase()}`)}\``);
    }
  });

  it('the folder', () => {
    expect(doc).toContain(`{ "format": ${FOLDER_FORMAT}, "clusterId"`);
  });
});
