/** Events from and to plain JavaScript values: what applications write and read. */
import { HadronError } from '@hadron/base/errors';
import type { AttributeType, CloudEvent } from './event.ts';
import { isJsonType, isTextType, JSON_TYPE } from './media-type.ts';
import { decodeUtf8, encodeBase64, encodeUtf8 } from './text.ts';
import { invalid, isRequiredName, knownType, typeOf, validateEvent } from './validate.ts';

/** A value of an extension. `undefined` and `null` leave it out. */
export type ExtensionValue = string | number | boolean | Date | Uint8Array | null | undefined;

/** What {@link cloudEvent} makes an event of. Members that are not named here are extensions. */
export interface CloudEventInit {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject?: string | undefined;
  /** A Date has milliseconds; an RFC 3339 string keeps its precision and offset. */
  readonly time?: string | Date | undefined;
  readonly dataschema?: string | undefined;
  /** Default: `application/json`, unless data is bytes or absent. */
  readonly datacontenttype?: string | undefined;
  /**
   * Bytes are taken as they are. Where datacontenttype is JSON, any other value becomes its JSON text, a string and null
   * too; for every other datacontenttype it must be a string. Undefined: no data.
   */
  readonly data?: unknown;
  readonly [extension: string]: unknown;
}

/**
 * Makes an event and checks it.
 * @throws HadronError EVENT_INVALID; `field` names the member
 * @example
 * const event = cloudEvent({ id: '1', source: '/shop', type: 'order.placed', data: { total: 12 }, urgent: true });
 */
export function cloudEvent(init: CloudEventInit): CloudEvent {
  const event = draftEvent(init);
  validateEvent(event);
  return event;
}

/**
 * As {@link cloudEvent}, and its values are not judged: whoever gets it does that. For clients that have to be small.
 * @throws HadronError EVENT_INVALID what has no form at all; `field` names the member
 */
export function draftEvent(init: CloudEventInit): CloudEvent {
  const { id, source, type } = init;
  for (const name of ['id', 'source', 'type'] as const)
    if (init[name] !== undefined && typeof init[name] !== 'string') throw invalid(name, 'must be a string');
  if (init['specversion'] !== undefined && init['specversion'] !== '1.0')
    throw invalid('specversion', 'must be 1.0, the only version served');
  const attributes = new Map<string, string>();
  const types = new Map<string, AttributeType>();
  for (const [name, value] of Object.entries(init)) {
    if (name === 'data' || isRequiredName(name) || value === undefined || value === null) continue;
    if (name === 'data_base64') throw invalid(name, 'is where the JSON form of an event has bytes; set data');
    const [text, given] = canonical(name, value);
    attributes.set(name, text);
    if (given !== 'String' && given !== knownType(name)) types.set(name, given);
  }
  const data = dataBytes(init.data, attributes);
  return { id, source, type, attributes, types: types.size === 0 ? undefined : types, data };
}

function canonical(name: string, value: unknown): readonly [string, AttributeType] {
  if (typeof value === 'string') return [value, 'String'];
  if (typeof value === 'boolean') return [String(value), 'Boolean'];
  if (typeof value === 'number') return [String(value === 0 ? 0 : value), 'Integer'];
  if (value instanceof Uint8Array) return [encodeBase64(value), 'Binary'];
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw invalid(name, 'is an invalid Date');
    return [value.toISOString(), 'Timestamp'];
  }
  throw invalid(name, 'must be a string, a whole number, a boolean, a Date or a Uint8Array; objects belong in data');
}

function dataBytes(data: unknown, attributes: Map<string, string>): Uint8Array | undefined {
  if (data === undefined || data instanceof Uint8Array) return data;
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  let contentType = attributes.get('datacontenttype');
  if (contentType === undefined) attributes.set('datacontenttype', (contentType = JSON_TYPE));
  if (isJsonType(contentType)) return encodeUtf8(jsonText(data));
  if (typeof data !== 'string')
    throw invalid('data', `must be a string or a Uint8Array where datacontenttype is ${contentType}`);
  if (!data.isWellFormed()) throw invalid('data', 'has unpaired surrogates; send a Uint8Array');
  return encodeUtf8(data);
}

function jsonText(data: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(data);
  } catch (cause) {
    throw new HadronError('EVENT_INVALID', `data cannot be written as JSON: ${(cause as Error).message}`, {
      cause,
      field: 'data',
    });
  }
  if (text === undefined) throw invalid('data', 'has no JSON form; send an object, a string or a Uint8Array');
  return text;
}

/**
 * The data of an event as a value: parsed where it is JSON, a string where it is text, else the bytes; undefined if there
 * is none.
 * @throws HadronError EVENT_INVALID it says that it is JSON and is not
 */
export function eventData(event: CloudEvent): unknown {
  const { data } = event;
  const contentType = event.attributes.get('datacontenttype');
  if (data === undefined || contentType === undefined) return data;
  if (isJsonType(contentType)) {
    const text = decodeUtf8(data);
    try {
      if (text !== undefined) return JSON.parse(text) as unknown;
    } catch {
      // said below
    }
    throw invalid('data', `is not JSON though datacontenttype is ${contentType}; read the bytes of event.data instead`);
  }
  return isTextType(contentType) ? (decodeUtf8(data) ?? data) : data;
}

/**
 * An event as an object of plain values, as {@link cloudEvent} takes it: extensions that are Booleans or Integers as
 * such, every other attribute as a string, data as {@link eventData} gives it.
 * @throws HadronError EVENT_INVALID data says that it is JSON and is not
 */
export function toPlainEvent(event: CloudEvent): CloudEventInit & { readonly specversion: '1.0' } {
  const plain: Record<string, unknown> = {};
  for (const [name, value] of event.attributes) {
    const type = typeOf(event, name);
    plain[name] = type === 'Integer' ? Number(value) : type === 'Boolean' ? value === 'true' : value;
  }
  if (event.data !== undefined) plain['data'] = eventData(event);
  return { specversion: '1.0', id: event.id, source: event.source, type: event.type, ...plain };
}
