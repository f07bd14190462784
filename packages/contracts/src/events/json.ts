/**
 * The JSON format (cloudevents.md §3, J1–J12; §5.5.3): one event, a batch, and one event per line.
 *
 * Reading keeps the text of `data` as it is; nothing of it is parsed into values and written again. Writing embeds data as
 * JSON only if it is exactly one JSON text, so that a stored value can never add members to the event around it.
 */
import { HadronError } from '@hadron/base/errors';
import type { AttributeType, CloudEvent, EventPosition } from './event.ts';
import { isJsonText, skipSpace, skipString, skipValue, stringAt } from './json-text.ts';
import { isJsonType, isTextType, JSON_TYPE } from './media-type.ts';
import { decodeBase64, decodeUtf8, encodeBase64, encodeUtf8 } from './text.ts';
import {
  ATTRIBUTES_MAX,
  attributeProblem,
  BATCH_EVENTS_MAX,
  batchTooLarge,
  eachLeaving,
  invalid,
  isRequiredName,
  knownType,
  requiredProblem,
  tooMany,
  typeOf,
  versionProblem,
} from './validate.ts';

// ------------------------------------------------------------------------------------------------------------- reading

/** A text, and the bytes it was decoded from if each character is one of them. */
class Source {
  readonly text: string;
  readonly #ascii: Uint8Array | undefined;

  constructor(input: Uint8Array | string) {
    if (typeof input === 'string') {
      if (!input.isWellFormed()) throw notJson('unpaired surrogates');
      this.text = input;
      this.#ascii = undefined;
    } else {
      const text = decodeUtf8(input);
      if (text === undefined) throw notJson('bytes that are not UTF-8');
      this.text = text;
      this.#ascii = text.length === input.length ? input : undefined;
    }
  }

  /** The bytes of a part: a view of the input where that is possible. */
  bytes(from: number, to: number): Uint8Array {
    return this.#ascii?.subarray(from, to) ?? encodeUtf8(this.text.slice(from, to));
  }

  /** Where the first token is. A byte order mark is passed. */
  start(): number {
    return skipSpace(this.text, this.text.charCodeAt(0) === 0xfeff ? 1 : 0);
  }
}

function notJson(problem: string): HadronError {
  return new HadronError('EVENT_INVALID', `the body is not JSON: ${problem}`);
}

function unexpected(source: Source, at: number): HadronError {
  const place = at >= source.text.length ? 'it ends too early' : `unexpected text at character ${at}`;
  return notJson(place);
}

/** `at`, if it is the index behind something that was read. @throws HadronError EVENT_INVALID if it is the place of a fault */
function behind(source: Source, at: number): number {
  if (at < 0) throw unexpected(source, ~at);
  return at;
}

/**
 * Reads an event of the JSON format. Its data may be a view of `input`.
 * @throws HadronError EVENT_INVALID; `field` names the member
 */
export function parseJsonEvent(input: Uint8Array | string): CloudEvent {
  const source = new Source(input);
  const reader = new EventReader(source);
  const end = skipSpace(source.text, reader.read(source.start()));
  if (end !== source.text.length) throw unexpected(source, end);
  return reader.event();
}

/**
 * Reads a batch (J10): a result per event, in order. An event that is invalid does not make the others so.
 * @throws HadronError EVENT_INVALID the whole is not a JSON array; EVENT_TOO_LARGE more than 10,000 events
 */
export function parseJsonBatch(input: Uint8Array | string): (CloudEvent | HadronError)[] {
  const source = new Source(input);
  const { text } = source;
  let at = source.start();
  if (text.charCodeAt(at) !== 0x5b) throw notJson('a batch is an array of events');
  const results: (CloudEvent | HadronError)[] = [];
  at = skipSpace(text, at + 1);
  if (text.charCodeAt(at) === 0x5d) at++;
  else
    for (;;) {
      if (results.length >= BATCH_EVENTS_MAX) throw batchTooLarge();
      const end = behind(source, skipValue(text, at));
      results.push(readOne(source, at));
      at = skipSpace(text, end);
      const code = text.charCodeAt(at++);
      if (code === 0x5d) break;
      if (code !== 0x2c) throw unexpected(source, at - 1);
      at = skipSpace(text, at);
    }
  at = skipSpace(text, at);
  if (at !== text.length) throw unexpected(source, at);
  return results;
}

function readOne(source: Source, at: number): CloudEvent | HadronError {
  try {
    const reader = new EventReader(source);
    reader.read(at);
    return reader.event();
  } catch (error) {
    if (error instanceof HadronError) return error;
    throw error;
  }
}

/** Takes the members of one object, then judges them together: what `data` means depends on a member that may follow. */
class EventReader {
  readonly #input: Source;
  readonly #attributes = new Map<string, string>();
  #types: Map<string, AttributeType> | undefined;
  #id: string | undefined;
  #type: string | undefined;
  #source: string | undefined;
  #version: string | undefined;
  /** Names of members that were null: absent, but not to be given twice (J3, J12). */
  #nulls: Set<string> | undefined;
  /** Where the value of data and data_base64 begins and ends; -1: no such member. */
  #dataFrom = -1;
  #dataTo = -1;
  #base64From = -1;
  #base64To = -1;

  constructor(source: Source) {
    this.#input = source;
  }

  /** @returns the index behind the object */
  read(from: number): number {
    const source = this.#input;
    const { text } = source;
    if (text.charCodeAt(from) !== 0x7b) {
      if (from >= text.length) throw notJson('it is empty');
      throw new HadronError(
        'EVENT_INVALID',
        'an event in JSON is an object with members id, source, type, specversion',
      );
    }
    let at = skipSpace(text, from + 1);
    if (text.charCodeAt(at) === 0x7d) return at + 1;
    for (;;) {
      const nameEnd = behind(source, skipString(text, at));
      const name = stringAt(text, at, nameEnd);
      at = skipSpace(text, nameEnd);
      if (text.charCodeAt(at) !== 0x3a) throw unexpected(source, at);
      at = skipSpace(text, at + 1);
      const end = behind(source, skipValue(text, at));
      this.#member(name, at, end);
      at = skipSpace(text, end);
      const code = text.charCodeAt(at);
      if (code === 0x7d) return at + 1;
      if (code !== 0x2c) throw unexpected(source, at);
      at = skipSpace(text, at + 1);
    }
  }

  #member(name: string, from: number, to: number): void {
    const { text } = this.#input;
    if (name === 'data') {
      if (this.#dataFrom >= 0) throw duplicate(name);
      this.#dataFrom = from;
      this.#dataTo = to;
      return;
    }
    const code = text.charCodeAt(from);
    if (this.#has(name)) throw duplicate(name);
    if (code === 0x6e) {
      this.#nulls ??= new Set();
      if (this.#nulls.size > ATTRIBUTES_MAX) throw tooMany();
      this.#nulls.add(name);
      return;
    }
    if (name === 'data_base64') {
      if (code !== 0x22) throw invalid(name, 'must be a string of base64');
      this.#base64From = from;
      this.#base64To = to;
      return;
    }
    if (isRequiredName(name)) {
      if (code !== 0x22) throw invalid(name, 'must be a string');
      const value = stringAt(text, from, to);
      if (name === 'id') this.#id = value;
      else if (name === 'source') this.#source = value;
      else if (name === 'type') this.#type = value;
      else this.#version = value;
      return;
    }
    this.#attribute(name, code, from, to);
  }

  #attribute(name: string, code: number, from: number, to: number): void {
    const { text } = this.#input;
    let value: string;
    let type: AttributeType | undefined;
    if (code === 0x22) value = stringAt(text, from, to);
    else if (code === 0x74 || code === 0x66) {
      value = text.slice(from, to);
      type = 'Boolean';
    } else {
      value = text.slice(from, to);
      if (value === '-0') value = '0';
      type = 'Integer';
    }
    const field = name.length > 100 ? `${name.slice(0, 100)}…` : name;
    if (code === 0x7b || code === 0x5b)
      throw invalid(
        field,
        'must be a string, a number without fraction, true or false; objects and arrays belong in data',
      );
    // Of the attributes of the specification only strings are strings; an extension keeps the type that it was given (§9.2).
    if (type !== undefined && SPECIFIED_STRINGS.has(name)) throw invalid(field, 'must be a string');
    const problem = attributeProblem(name, value, type);
    if (problem !== undefined) throw invalid(field, problem);
    if (this.#attributes.size >= ATTRIBUTES_MAX) throw tooMany();
    this.#attributes.set(name, value);
    if (type !== undefined && type !== knownType(name)) (this.#types ??= new Map()).set(name, type);
  }

  #has(name: string): boolean {
    if (this.#nulls?.has(name) === true) return true;
    switch (name) {
      case 'id':
        return this.#id !== undefined;
      case 'source':
        return this.#source !== undefined;
      case 'type':
        return this.#type !== undefined;
      case 'specversion':
        return this.#version !== undefined;
      case 'data_base64':
        return this.#base64From >= 0;
      default:
        return this.#attributes.has(name);
    }
  }

  /** @throws HadronError EVENT_INVALID */
  event(): CloudEvent {
    let problem = versionProblem(this.#version);
    if (problem !== undefined) throw invalid('specversion', problem);
    if ((problem = requiredProblem('id', this.#id)) !== undefined) throw invalid('id', problem);
    if ((problem = requiredProblem('source', this.#source)) !== undefined) throw invalid('source', problem);
    if ((problem = requiredProblem('type', this.#type)) !== undefined) throw invalid('type', problem);
    const data = this.#data();
    return {
      id: this.#id as string,
      source: this.#source as string,
      type: this.#type as string,
      attributes: this.#attributes,
      types: this.#types,
      data,
    };
  }

  #data(): Uint8Array | undefined {
    const { text } = this.#input;
    if (this.#base64From >= 0) {
      if (this.#dataFrom >= 0) throw invalid('data_base64', 'and data exclude each other; send one of them');
      const data = decodeBase64(stringAt(text, this.#base64From, this.#base64To));
      if (data === undefined) throw invalid('data_base64', 'must be base64 (RFC 4648, with padding)');
      return data;
    }
    const from = this.#dataFrom;
    if (from < 0) return undefined;
    const contentType = this.#attributes.get('datacontenttype');
    if (contentType === undefined) this.#attributes.set('datacontenttype', JSON_TYPE);
    if (contentType === undefined || isJsonType(contentType)) return this.#input.bytes(from, this.#dataTo);
    if (text.charCodeAt(from) !== 0x22)
      throw invalid(
        'data',
        `must be a string where datacontenttype is ${contentType.slice(0, 100)}; or send data_base64`,
      );
    const data = stringAt(text, from, this.#dataTo);
    if (!data.isWellFormed()) throw invalid('data', 'has unpaired surrogates; send data_base64');
    return encodeUtf8(data);
  }
}

const SPECIFIED_STRINGS = new Set(['datacontenttype', 'dataschema', 'subject', 'time']);

function duplicate(name: string): HadronError {
  const field = name.slice(0, 100);
  return invalid(field, 'is given twice; send it once');
}

// ------------------------------------------------------------------------------------------------------------- writing

/** The event in the JSON format. `position` travels as hadronpartition and hadronoffset. */
export function writeJsonEvent(event: CloudEvent, position?: EventPosition): string {
  return write(event, position, false);
}

/** {@link writeJsonEvent} without line breaks, for NDJSON and SSE: between the tokens of data they become spaces. */
export function writeJsonLine(event: CloudEvent, position?: EventPosition): string {
  return write(event, position, true);
}

/** Events in the JSON batch format. */
export function writeJsonBatch(events: Iterable<CloudEvent>): string {
  let out = '';
  for (const event of events) out += `${out === '' ? '[' : ','}${write(event, undefined, false)}`;
  return out === '' ? '[]' : `${out}]`;
}

function write(event: CloudEvent, position: EventPosition | undefined, oneLine: boolean): string {
  let out = `{"specversion":"1.0","id":${quote(event.id)},"source":${quote(event.source)},"type":${quote(event.type)}`;
  eachLeaving(event, position, (name, value) => {
    const type = typeOf(event, name);
    out += `,"${name}":${type === 'Integer' || type === 'Boolean' ? value : quote(value)}`;
  });
  return event.data === undefined ? `${out}}` : `${out},${dataMember(event, event.data, oneLine)}}`;
}

const NEEDS_ESCAPE = /[^\x20\x21\x23-\x5b\x5d-\x7e]/;

function quote(text: string): string {
  return NEEDS_ESCAPE.test(text) ? JSON.stringify(text) : `"${text}"`;
}

/** §5.5.3: as JSON if it is that, as a string if it is text, else base64. */
function dataMember(event: CloudEvent, data: Uint8Array, oneLine: boolean): string {
  const contentType = event.attributes.get('datacontenttype');
  if (contentType !== undefined) {
    const isJson = isJsonType(contentType);
    if (isJson || isTextType(contentType)) {
      const text = decodeUtf8(data);
      if (text !== undefined) {
        if (!isJson) return `"data":${quote(text)}`;
        // A line break that is part of JSON text stands between tokens: within strings it is escaped.
        if (isJsonText(text)) return `"data":${oneLine ? text.replace(/[\r\n]/g, ' ') : text}`;
      }
    }
  }
  return `"data_base64":"${encodeBase64(data)}"`;
}
