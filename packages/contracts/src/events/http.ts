/**
 * The HTTP binding's binary mode (cloudevents.md §4.2, §4.3): attributes in `ce-` headers, data in the body. Which mode a
 * message has says `contentMode`; structured and batch messages are the formats' own (`json.ts`, `../proto/events.ts`).
 */
import type { HadronError } from '@hadron/base/errors';
import type { CloudEvent, EventPosition } from './event.ts';
import { decodeUtf8 } from './text.ts';
import {
  ATTRIBUTES_MAX,
  attributeProblem,
  eachLeaving,
  invalid,
  isRequiredName,
  requiredProblem,
  tooMany,
  versionProblem,
} from './validate.ts';

/**
 * Header fields as they came: Node's `rawHeaders` (name, value, name, value …), a fetch `Headers`, or pairs. Values are
 * byte strings, as HTTP libraries give them: one character per byte.
 */
export type HttpHeaders = readonly string[] | Iterable<readonly [name: string, value: string]>;

/**
 * Reads an event in binary mode. An empty body is no data; `body` becomes the event's data as it is.
 * @throws HadronError EVENT_INVALID; `field` names the header
 */
export function readHttpEvent(headers: HttpHeaders, body: Uint8Array): CloudEvent {
  const reader = new HeaderReader();
  if (Array.isArray(headers) && typeof headers[0] === 'string') {
    const flat = headers as readonly string[];
    for (let i = 0; i + 1 < flat.length; i += 2) reader.header(flat[i] as string, flat[i + 1] as string);
  } else for (const [name, value] of headers as Iterable<readonly [string, string]>) reader.header(name, value);
  return reader.event(body.length === 0 ? undefined : body);
}

class HeaderReader {
  readonly #attributes = new Map<string, string>();
  #id: string | undefined;
  #source: string | undefined;
  #type: string | undefined;
  #version: string | undefined;

  header(name: string, value: string): void {
    const first = name.charCodeAt(0) | 0x20;
    if (first !== 0x63 /* c */) return;
    if ((name.charCodeAt(1) | 0x20) === 0x65 /* e */ && name.charCodeAt(2) === 0x2d /* - */)
      this.#attribute(name.slice(3).toLowerCase(), value);
    else if (name.length === 12 && name.toLowerCase() === 'content-type') this.#contentType(value);
  }

  #attribute(name: string, raw: string): void {
    const value = decodeHeaderValue(raw);
    if (value === undefined)
      throw invalid(headerName(name), 'is not UTF-8, percent-encoded where it is not ASCII (for example %E2%82%AC)');
    switch (name) {
      case 'id':
        if (this.#id !== undefined) throw twice(name);
        this.#id = value;
        return;
      case 'source':
        if (this.#source !== undefined) throw twice(name);
        this.#source = value;
        return;
      case 'type':
        if (this.#type !== undefined) throw twice(name);
        this.#type = value;
        return;
      case 'specversion':
        if (this.#version !== undefined) throw twice(name);
        this.#version = value;
        return;
      case 'datacontenttype':
        throw invalid('ce-datacontenttype', 'must not be there; Content-Type says what the body is');
    }
    if (this.#attributes.has(name)) throw twice(name);
    const problem = attributeProblem(name, value);
    if (problem !== undefined) throw invalid(headerName(name), problem);
    if (this.#attributes.size >= ATTRIBUTES_MAX) throw tooMany();
    this.#attributes.set(name, value);
  }

  #contentType(value: string): void {
    if (this.#attributes.has('datacontenttype')) throw invalid('content-type', 'is given twice; send it once');
    if (value === '') return;
    const problem = attributeProblem('datacontenttype', value);
    if (problem !== undefined) throw invalid('content-type', problem);
    this.#attributes.set('datacontenttype', value);
  }

  event(data: Uint8Array | undefined): CloudEvent {
    let problem = versionProblem(this.#version);
    if (problem !== undefined) throw missing('ce-specversion', problem, this.#version);
    if ((problem = requiredProblem('id', this.#id)) !== undefined) throw missing('ce-id', problem, this.#id);
    if ((problem = requiredProblem('source', this.#source)) !== undefined)
      throw missing('ce-source', problem, this.#source);
    if ((problem = requiredProblem('type', this.#type)) !== undefined) throw missing('ce-type', problem, this.#type);
    return {
      id: this.#id as string,
      source: this.#source as string,
      type: this.#type as string,
      attributes: this.#attributes,
      types: undefined,
      data,
    };
  }
}

function headerName(attribute: string): string {
  return `ce-${attribute.length > 100 ? `${attribute.slice(0, 100)}…` : attribute}`;
}

function twice(attribute: string): HadronError {
  return invalid(headerName(attribute), 'is given twice; send it once');
}

function missing(field: string, problem: string, value: string | undefined): HadronError {
  if (value !== undefined) return invalid(field, problem);
  return invalid(field, `${problem}. Send it as a header, or the whole event as application/cloudevents+json`);
}

/** The headers of an event in binary mode, for Node's `writeHead` and fetch alike. The body is `event.data`. */
export function writeHttpHeaders(event: CloudEvent, position?: EventPosition): [name: string, value: string][] {
  const headers: [string, string][] = [
    ['ce-specversion', '1.0'],
    ['ce-id', encodeHeaderValue(event.id)],
    ['ce-source', encodeHeaderValue(event.source)],
    ['ce-type', encodeHeaderValue(event.type)],
  ];
  eachLeaving(event, position, (name, value) => {
    if (isRequiredName(name)) return;
    if (name === 'datacontenttype') headers.push(['content-type', value]);
    else headers.push([`ce-${name}`, encodeHeaderValue(value)]);
  });
  return headers;
}

// --------------------------------------------------------------------------------------------------------------- §4.3

const NEEDS_ENCODING = /[^\x21\x23\x24\x26-\x7e]/;
const TO_ENCODE = /[^\x21\x23\x24\x26-\x7e]+/gu;

/** Space, `"`, `%` and everything outside U+0021–U+007E as the bytes of its UTF-8, `%XY`. */
export function encodeHeaderValue(value: string): string {
  return NEEDS_ENCODING.test(value) ? value.toWellFormed().replace(TO_ENCODE, encodeURIComponent) : value;
}

const NEEDS_DECODING = /["%\x80-\xff]/;

/**
 * Undoes quoted strings, then one round of percent-encoding. A `%` that no two hex digits follow stays, and so does a
 * quote that nothing closes: senders that do not encode are common.
 * @returns undefined if the escapes, or bytes above ASCII, are not valid UTF-8
 */
export function decodeHeaderValue(raw: string): string | undefined {
  if (!NEEDS_DECODING.test(raw)) return raw;
  return decodeBytes(raw.includes('"') ? unquote(raw) : raw);
}

/** One pass, whatever the quotes and backslashes: a header cannot make it slow. */
function unquote(raw: string): string {
  let out = '';
  let from = 0; // what lies before is in `out`
  for (;;) {
    const open = raw.indexOf('"', from);
    if (open < 0) return out + raw.slice(from);
    let inner = '';
    let at = open + 1;
    while (at < raw.length && raw[at] !== '"') {
      if (raw[at] === '\\') at++;
      inner += raw[at++] ?? '';
    }
    if (at >= raw.length) return out + raw.slice(from); // nothing closes it
    out += raw.slice(from, open) + inner;
    from = at + 1;
  }
}

function decodeBytes(text: string): string | undefined {
  const bytes = new Uint8Array(text.length);
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const high = code === 0x25 ? hexDigit(text.charCodeAt(i + 1)) : -1;
    const low = high < 0 ? -1 : hexDigit(text.charCodeAt(i + 2));
    if (low >= 0) {
      bytes[length++] = high * 16 + low;
      i += 2;
    } else if (code <= 0xff) bytes[length++] = code;
    else return undefined; // no header of a wire has it
  }
  return decodeUtf8(bytes.subarray(0, length));
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
