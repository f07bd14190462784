/**
 * Events in the JSON format between this client and a server of Hadron. What comes from there is valid, and what goes there
 * was checked when it was made, so nothing is checked here: the codec of the contracts package would do, and would be most
 * of what a page may load for all of this.
 *
 * JSON data that is read is written again by JavaScript: its values are exact, numbers beyond 2^53 too, its spaces are gone.
 */
import type { AttributeType, CloudEvent } from '@hadron/contracts';
import { typeOf } from '@hadron/contracts/events';

/** `JSON.rawJSON` and the source of a value: in Node from 21 on, in browsers since 2023; without them large numbers lose digits. */
const { rawJSON } = JSON as { rawJSON?: (text: string) => unknown };

/** A number that JavaScript would write otherwise than it came stays as it came. */
function keepNumber(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source;
  return typeof value === 'number' && source !== undefined && String(value) !== source
    ? (rawJSON?.(source) ?? value)
    : value;
}

/** @throws SyntaxError */
export function parseJson(text: string): unknown {
  return JSON.parse(text, keepNumber) as unknown;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const isJson = (contentType: string): boolean => /^[^;]*[/+]json *(;|$)/i.test(contentType);

/** @param value an event of the JSON format, from {@link parseJson} */
export function eventOfJson(value: unknown): CloudEvent {
  const { id, source, type, specversion: _, data, data_base64, ...rest } = value as Record<string, unknown>;
  const attributes = new Map<string, string>();
  const types = new Map<string, AttributeType>();
  for (const [name, attribute] of Object.entries(rest)) {
    attributes.set(name, String(attribute));
    if (typeof attribute === 'boolean') types.set(name, 'Boolean');
    else if (typeof attribute === 'number') types.set(name, 'Integer');
  }
  const contentType = attributes.get('datacontenttype') ?? '';
  let bytes: Uint8Array | undefined;
  if (typeof data_base64 === 'string') bytes = Uint8Array.from(atob(data_base64), (c) => c.charCodeAt(0));
  else if (data !== undefined) {
    // A string of another type is the text itself; with a JSON type, a JSON string.
    const isText = typeof data === 'string' && contentType !== '' && !isJson(contentType);
    bytes = encoder.encode(isText ? data : JSON.stringify(data));
    if (contentType === '') attributes.set('datacontenttype', 'application/json');
  }
  return {
    id: String(id),
    source: String(source),
    type: String(type),
    attributes,
    types: types.size === 0 ? undefined : types,
    data: bytes,
  };
}

/** The event in the JSON format. JSON data stays the text it is. */
export function jsonOfEvent(event: CloudEvent): string {
  const { id, source, type, attributes, data } = event;
  const members: Record<string, unknown> = { specversion: '1.0', id, source, type };
  for (const [name, value] of attributes) {
    const of = typeOf(event, name);
    members[name] = of === 'Integer' ? Number(value) : of === 'Boolean' ? value === 'true' : value;
  }
  const open = JSON.stringify(members).slice(0, -1);
  if (data === undefined) return `${open}}`;
  if (isJson(attributes.get('datacontenttype') ?? '')) {
    try {
      const text = decoder.decode(data);
      JSON.parse(text); // exactly one JSON text, or it goes as the bytes that it is
      return `${open},"data":${text}}`;
    } catch {
      // below
    }
  }
  let latin1 = '';
  for (const byte of data) latin1 += String.fromCharCode(byte);
  return `${open},"data_base64":"${btoa(latin1)}"}`;
}
