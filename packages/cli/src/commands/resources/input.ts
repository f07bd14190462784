/** What `-f` names: files, folders, standard input. Read and parsed here, so that errors name the file and its line. */
import fs from 'node:fs';
import path from 'node:path';
import { readDocuments, type SourceDocument } from '@hadron/contracts/resources';
import { CommandFailure } from '../../failure.ts';
import type { Io } from '../../io.ts';

export interface InputDocument extends SourceDocument {
  /** As it was given; `-` for standard input. */
  readonly file: string;
}

const EXTENSIONS = new Set(['.yaml', '.yml', '.json']);

/** @throws CommandFailure REQUEST_INVALID: a file that cannot be read, or is not YAML; nothing to apply */
export async function readInput(io: Io, given: readonly string[], recursive: boolean): Promise<InputDocument[]> {
  const documents: InputDocument[] = [];
  for (const name of given) {
    for (const file of name === '-' ? ['-'] : filesOf(io, name, recursive)) {
      const text = file === '-' ? await standardInput(io) : readFile(io, file);
      const read = readDocuments(text, documents.length + 1);
      if (!read.ok) {
        const [{ line, message } = { line: undefined, message: 'cannot be read' }] = read.errors;
        throw new CommandFailure('RESOURCE_INVALID', `${place(file, line)} ${message}; nothing was applied`);
      }
      documents.push(...read.documents.map((d) => ({ ...d, file })));
    }
  }
  if (documents.length === 0)
    throw new CommandFailure(
      'REQUEST_INVALID',
      `no documents in ${given.join(', ')}; expected YAML or JSON with apiVersion, kind, metadata, spec`,
    );
  return documents;
}

/** `orders.yaml:7:` */
export const place = (file: string, line: number | undefined): string =>
  `${file === '-' ? 'standard input' : file}${line === undefined ? '' : `:${line}`}:`;

function filesOf(io: Io, name: string, recursive: boolean): string[] {
  const full = path.resolve(io.cwd, name);
  if (stat(full, name).isFile()) return [name];
  const found = fs
    .readdirSync(full, { withFileTypes: true, recursive })
    .filter((entry) => entry.isFile() && EXTENSIONS.has(path.extname(entry.name)))
    .map((entry) => path.join(name, path.relative(full, path.join(entry.parentPath, entry.name))))
    .sort();
  if (found.length === 0) {
    const below = recursive ? '' : '; -R looks into its folders too';
    throw new CommandFailure('REQUEST_INVALID', `${name} has no .yaml, .yml or .json files${below}`);
  }
  return found;
}

function stat(full: string, name: string): fs.Stats {
  try {
    const stats = fs.statSync(full);
    if (stats.isFile() || stats.isDirectory()) return stats;
  } catch (error) {
    throw unreadable(name, error);
  }
  throw new CommandFailure('REQUEST_INVALID', `${name} is neither a file nor a folder; use - for standard input`);
}

function readFile(io: Io, file: string): string {
  try {
    return fs.readFileSync(path.resolve(io.cwd, file), 'utf8');
  } catch (error) {
    throw unreadable(file, error);
  }
}

const unreadable = (name: string, cause: unknown): CommandFailure =>
  new CommandFailure('REQUEST_INVALID', `cannot read ${name} (${(cause as { code?: string }).code ?? 'unknown'})`, {
    cause,
  });

async function standardInput(io: Io): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of io.stdin) chunks.push(Buffer.from(chunk as Uint8Array | string));
  return Buffer.concat(chunks).toString('utf8');
}
