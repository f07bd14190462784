/** What `pub` and `import` publish: events made of an argument, or of the lines of a file or of standard input. */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { HadronError } from '@hadron/base';
import type { CloudEvent } from '@hadron/contracts';
import { cloudEvent, parseJsonEvent } from '@hadron/contracts/events';
import { CommandFailure } from '../../failure.ts';
import type { Io } from '../../io.ts';
import { pairs } from '../../options.ts';
import { SOURCE } from '../../server.ts';

export interface EventOptions {
  readonly type?: string;
  readonly id?: string;
  readonly source?: string;
  readonly subject?: string;
  /** Attributes, NAME=VALUE. */
  readonly option?: readonly string[];
  /** Data is base64. */
  readonly binary?: boolean;
  /** Milliseconds. */
  readonly delay?: number;
}

export interface Input {
  readonly stream: Readable;
  /** Bytes; undefined where it is not known. */
  readonly size: number | undefined;
}

/** `-` is standard input. @throws CommandFailure REQUEST_INVALID */
export function openInput(io: Io, file: string | undefined): Input {
  if (file === undefined || file === '-') return { stream: io.stdin, size: undefined };
  const full = path.resolve(io.cwd, file);
  try {
    const stats = fs.statSync(full);
    if (stats.isDirectory()) throw new CommandFailure('REQUEST_INVALID', `${file} is a folder; name a file`);
    fs.accessSync(full, fs.constants.R_OK);
    return { stream: fs.createReadStream(full), size: stats.isFile() ? stats.size : undefined };
  } catch (error) {
    if (error instanceof CommandFailure) throw error;
    const { code = 'unknown' } = error as { code?: string };
    throw new CommandFailure('REQUEST_INVALID', `cannot read ${file} (${code})`, { cause: error });
  }
}

/** Makes an event of the bytes of its data. @throws HadronError EVENT_INVALID */
export type MakeEvent = (data: Buffer) => CloudEvent;

const OWN_OPTION: Readonly<Record<string, string>> = { id: '--id', source: '--source', type: '--type' };

/**
 * @param lines data comes in lines: what is not JSON is refused there, where a single one is taken as text
 * @throws CommandFailure REQUEST_INVALID
 */
export function eventMaker(options: EventOptions, lines: boolean): MakeEvent {
  const { type, id, source = SOURCE, subject, binary = false, delay } = options;
  if (type === undefined)
    throw new CommandFailure('REQUEST_INVALID', '--type is missing, for example --type order.placed');
  const attributes = Object.fromEntries(pairs('-o', options.option));
  for (const name of Object.keys(attributes)) {
    const own = OWN_OPTION[name];
    if (own !== undefined) throw new CommandFailure('REQUEST_INVALID', `-o ${name}=…: say it with ${own}`);
  }
  return (given) => {
    const data = binary ? fromBase64(given) : given;
    const contentType = attributes['datacontenttype'] ?? (binary ? undefined : contentTypeOf(data, lines));
    if (contentType !== undefined && isJsonType(contentType) && !isJson(data)) throw notJson(contentType);
    const now = Date.now();
    return cloudEvent({
      time: new Date(now),
      ...(delay === undefined ? {} : { deliverat: new Date(now + delay) }),
      ...attributes,
      ...(subject === undefined ? {} : { subject }),
      id: id ?? randomUUID(),
      source,
      type,
      datacontenttype: contentType,
      data,
    });
  };
}

/** A whole CloudEvent in the JSON format, as `sub --format ndjson` and `stream export` print it. */
export const readEvent: MakeEvent = (line) => parseJsonEvent(line);

function contentTypeOf(data: Buffer, lines: boolean): string {
  if (isJson(data)) return 'application/json';
  if (!lines) return 'text/plain';
  throw notJson(undefined);
}

function notJson(contentType: string | undefined): HadronError {
  const message =
    contentType === undefined
      ? 'the line is not a JSON value; for other text give -o datacontenttype=text/plain'
      : `the data is not JSON, which datacontenttype=${contentType} says`;
  return new HadronError('EVENT_INVALID', message, { field: 'data' });
}

const isJsonType = (contentType: string): boolean => /^[^;]*[/+]json *(;|$)/i.test(contentType);

function isJson(data: Buffer): boolean {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data));
    return true;
  } catch {
    return false;
  }
}

function fromBase64(given: Buffer): Buffer {
  const text = given.toString('latin1').trim();
  if (text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text)) return Buffer.from(text, 'base64');
  throw new HadronError('EVENT_INVALID', 'the data is not base64, which --binary asks for', { field: 'data' });
}
