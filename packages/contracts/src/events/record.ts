/**
 * The Kafka binding (cloudevents.md §5): an event as a record, any record as an event.
 *
 * Events are stored in binary mode: `ce_` headers, `content-type`, data as value (§5.2). A record without them is an event
 * too, computed from what it says and where it lies, identically at every read (§5.3). Reading never fails and never
 * changes the record.
 */
import { HadronError } from '@hadron/base/errors';
import type { AttributeType, CloudEvent, EventRecord, RecordHeader } from './event.ts';
import { parseJsonEvent } from './json.ts';
import { isMediaType, isStructured, structuredMode } from './media-type.ts';
import { decodeUtf8, encodeUtf8 } from './text.ts';
import {
  ATTRIBUTES_MAX,
  attributeOf,
  attributeProblem,
  isLegalString,
  isPositionName,
  isRequiredName,
  knownType,
  requiredProblem,
  valueProblem,
  versionProblem,
} from './validate.ts';

/** Types that names do not tell (§5.5.5): `name:Integer,…`. */
const TYPES_HEADER = 'hadron-types';

// ------------------------------------------------------------------------------------------------------ event → record

/** The record key of an event published here, as text (§5.5.1). Undefined: none. Its UTF-8 is the key. */
export function eventKey(event: CloudEvent): string | undefined {
  return event.attributes.get('partitionkey') ?? event.attributes.get('subject');
}

/** The headers of an event's record, in the order in which they are stored. */
export function eachRecordHeader(event: CloudEvent, emit: (key: string, value: string) => void): void {
  emit('ce_specversion', '1.0');
  emit('ce_id', event.id);
  emit('ce_source', event.source);
  emit('ce_type', event.type);
  for (const [name, value] of event.attributes) {
    if (name === 'datacontenttype') emit('content-type', value);
    else if (!isPositionName(name)) emit(`ce_${name}`, value);
  }
  if (event.types === undefined) return;
  const types = typesHeader(event);
  if (types !== '') emit(TYPES_HEADER, types);
}

function typesHeader(event: CloudEvent): string {
  let out = '';
  for (const [name, type] of event.types ?? [])
    if (type !== knownType(name) && event.attributes.has(name) && !isPositionName(name))
      out += `${out === '' ? '' : ','}${name}:${type}`;
  return out;
}

/**
 * The record of an event (K2–K4, §5.2). hadronpartition and hadronoffset are dropped. On the way into a batch
 * `writeEventRecord` does the same without the objects.
 */
export function eventToRecord(event: CloudEvent): EventRecord {
  const key = eventKey(event);
  const headers: RecordHeader[] = [];
  eachRecordHeader(event, (name, value) => headers.push({ key: name, value: encodeUtf8(value) }));
  return { key: key === undefined ? null : encodeUtf8(key), value: event.data ?? null, headers };
}

// ------------------------------------------------------------------------------------------------------ record → event

/** How a stream sees records without CloudEvents headers (§5.3, §5.4). */
export interface RecordSettings {
  /** `off`: no record is read as an event of its own. `required`: producers cannot add others; those that are there are seen. */
  readonly interpret: 'off' | 'lenient' | 'required';
  readonly type: string;
  /** Where the record names none. */
  readonly datacontenttype: string | undefined;
  /** Record header → attribute: subject, dataschema or an extension. A value that the attribute cannot have is left out. */
  readonly attributesFromHeaders: ReadonlyMap<string, string>;
}

export const DEFAULT_RECORD_SETTINGS: RecordSettings = {
  interpret: 'lenient',
  type: 'rs.hadron.record.v1',
  datacontenttype: undefined,
  attributesFromHeaders: new Map(),
};

/** Where a record lies: what a plain record's identity is made of. */
export interface RecordContext {
  readonly stream: string;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: number;
  /** Milliseconds since 1970; negative: the record has none. */
  readonly timestampMs: number;
  /** Default {@link DEFAULT_RECORD_SETTINGS}. */
  readonly settings?: RecordSettings | undefined;
}

/** The event that a record is. Its data is the record's value or, in structured mode, may be a part of it. */
export function recordToEvent(record: EventRecord, context: RecordContext): CloudEvent {
  if (context.settings?.interpret !== 'off') {
    const read = readRecordEvent(record);
    if (typeof read === 'object') return read;
  }
  return plainEvent(record, context);
}

/**
 * What a record is. `plain` with a `problem` looks like an event and is none (K6).
 * Streams with `required` refuse what is `plain` (§5.4).
 */
export function classifyRecord(record: EventRecord): {
  readonly kind: 'binary' | 'structured' | 'plain';
  readonly problem?: string | undefined;
} {
  const read = readRecordEvent(record);
  if (typeof read !== 'object') return { kind: 'plain', problem: read };
  return { kind: contentTypeIsStructured(record) ? 'structured' : 'binary' };
}

/**
 * One attribute of the event that a record is, without making the event where that can be avoided. For several
 * attributes of one record {@link recordLookup} is quicker.
 */
export function attributeOfRecord(record: EventRecord, name: string, context: RecordContext): string | undefined {
  return recordLookup(record, context)(name);
}

/** The attributes of the event that a record is, for filters. The record is looked at once, at the first question. */
export function recordLookup(record: EventRecord, context: RecordContext): (name: string) => string | undefined {
  let read: CloudEvent | 'plain' | undefined;
  return (name) => {
    if (read === undefined) {
      const event = context.settings?.interpret === 'off' ? undefined : readRecordEvent(record);
      read = typeof event === 'object' ? event : 'plain';
    }
    return read === 'plain' ? plainAttribute(record, context, name) : attributeOf(read, name);
  };
}

function contentTypeOf(record: EventRecord): string | undefined {
  for (const { key, value } of record.headers)
    if (key === 'content-type') return value === null ? undefined : decodeUtf8(value);
  return undefined;
}

function contentTypeIsStructured(record: EventRecord): boolean {
  const contentType = contentTypeOf(record);
  return contentType !== undefined && isStructured(contentType);
}

/** @returns the event; or why the record is none; or undefined, if it does not look like one */
function readRecordEvent(record: EventRecord): CloudEvent | string | undefined {
  const { headers } = record;
  let looksLikeOne = false;
  for (let i = 0; i < headers.length; i++) {
    const header = headers[i] as RecordHeader;
    if (isAttributeHeader(header.key)) looksLikeOne = true;
    else if (header.key === 'content-type') {
      const contentType = header.value === null ? undefined : decodeUtf8(header.value);
      if (contentType !== undefined && isStructured(contentType)) return readStructured(record, contentType);
      if (looksLikeOne) break;
    }
  }
  return looksLikeOne ? readBinary(record) : undefined;
}

function isAttributeHeader(key: string): boolean {
  return key.charCodeAt(0) === 0x63 /* c */ && key.charCodeAt(1) === 0x65 /* e */ && key.charCodeAt(2) === 0x5f /* _ */;
}

/** K1, K5: everything is in the value. */
function readStructured(record: EventRecord, contentType: string): CloudEvent | string {
  if (record.value === null) return 'value is null, and a structured event is in the value';
  if (structuredMode(contentType) !== 'json') return `content-type ${contentType.slice(0, 100)} is not read in records`;
  try {
    return withoutPosition(parseJsonEvent(record.value));
  } catch (error) {
    if (error instanceof HadronError) return error.message;
    throw error;
  }
}

/** A producer cannot say where a record lies. */
function withoutPosition(event: CloudEvent): CloudEvent {
  if (!event.attributes.has('hadronpartition') && !event.attributes.has('hadronoffset')) return event;
  return { ...event, attributes: new Map([...event.attributes].filter(([name]) => !isPositionName(name))) };
}

/** K2, K6, K7. */
function readBinary(record: EventRecord): CloudEvent | string {
  const attributes = new Map<string, string>();
  let id: string | undefined;
  let source: string | undefined;
  let type: string | undefined;
  let version: string | undefined;
  let contentType: string | undefined;
  let misplaced: string | undefined;
  let types: string | undefined;
  for (const { key, value } of record.headers) {
    if (value === null) continue; // as null in JSON: absent
    if (!isAttributeHeader(key)) {
      if (key === 'content-type' && contentType === undefined) {
        contentType = decodeUtf8(value) ?? '';
        const problem = attributeProblem('datacontenttype', contentType);
        if (problem !== undefined) return `content-type ${problem}`;
        attributes.set('datacontenttype', contentType);
      } else if (key === TYPES_HEADER) types ??= decodeUtf8(value);
      continue;
    }
    const name = key.slice(3);
    const text = decodeUtf8(value);
    if (text === undefined) return `${shown(key)} is not UTF-8`;
    switch (name) {
      case 'id':
        if (id !== undefined) return twice(key);
        id = text;
        continue;
      case 'source':
        if (source !== undefined) return twice(key);
        source = text;
        continue;
      case 'type':
        if (type !== undefined) return twice(key);
        type = text;
        continue;
      case 'specversion':
        if (version !== undefined) return twice(key);
        version = text;
        continue;
      case 'datacontenttype':
        if (misplaced !== undefined) return twice(key);
        misplaced = text; // counts if there is no content-type (K7)
        continue;
    }
    if (isPositionName(name)) continue;
    if (attributes.has(name)) return twice(key);
    if (attributes.size >= ATTRIBUTES_MAX) return `has more than ${ATTRIBUTES_MAX} attributes`;
    const problem = attributeProblem(name, text);
    if (problem !== undefined) return `${shown(key)} ${problem}`;
    attributes.set(name, text);
  }
  let problem: string | undefined;
  if (contentType === undefined && misplaced !== undefined) {
    problem = attributeProblem('datacontenttype', misplaced);
    if (problem !== undefined) return `ce_datacontenttype ${problem}`;
    attributes.set('datacontenttype', misplaced);
  }
  problem = versionProblem(version);
  if (problem !== undefined) return `ce_specversion ${problem}`;
  if ((problem = requiredProblem('id', id)) !== undefined) return `ce_id ${problem}`;
  if ((problem = requiredProblem('source', source)) !== undefined) return `ce_source ${problem}`;
  if ((problem = requiredProblem('type', type)) !== undefined) return `ce_type ${problem}`;
  return {
    id: id as string,
    source: source as string,
    type: type as string,
    attributes,
    types: types === undefined ? undefined : readTypes(types, attributes),
    data: record.value ?? undefined,
  };
}

function twice(key: string): string {
  return `${shown(key)} is given twice`;
}

/** A name as messages show it: whoever sent it chose its length. */
function shown(key: string): string {
  return key.length > 100 ? `${key.slice(0, 100)}…` : key;
}

const TYPES: ReadonlySet<string> = new Set<AttributeType>([
  'Boolean',
  'Integer',
  'String',
  'Binary',
  'URI',
  'URI-reference',
  'Timestamp',
]);

/** What does not fit its attribute is passed over: the header tells of types, it does not make an event invalid. */
function readTypes(
  text: string,
  attributes: ReadonlyMap<string, string>,
): ReadonlyMap<string, AttributeType> | undefined {
  const types = new Map<string, AttributeType>();
  for (const entry of text.split(',')) {
    const colon = entry.indexOf(':');
    const name = entry.slice(0, colon);
    const type = entry.slice(colon + 1) as AttributeType;
    const value = attributes.get(name);
    if (colon < 0 || value === undefined || !TYPES.has(type) || type === knownType(name)) continue;
    if (valueProblem(type, value) === undefined) types.set(name, type);
  }
  return types.size === 0 ? undefined : types;
}

// ----------------------------------------------------------------------------------------------------- plain records §5.3

/** 9999-12-31T23:59:59.999Z, the last moment that RFC 3339 can write. */
const LAST_MS = 253_402_300_799_999;

function plainEvent(record: EventRecord, context: RecordContext): CloudEvent {
  const settings = context.settings ?? DEFAULT_RECORD_SETTINGS;
  const attributes = new Map<string, string>();
  const set = (name: string): void => {
    const value = plainAttribute(record, context, name);
    if (value !== undefined) attributes.set(name, value);
  };
  set('datacontenttype');
  set('time');
  set('partitionkey');
  set('traceparent');
  set('tracestate');
  for (const name of settings.attributesFromHeaders.values())
    if (!attributes.has(name) && !isRequiredName(name)) set(name);
  return {
    id: `${context.partition}-${context.offset}`,
    source: plainSource(context),
    type: settings.type,
    attributes,
    types: undefined,
    data: record.value ?? undefined,
  };
}

function plainSource(context: RecordContext): string {
  return `/streams/${context.stream}/${context.topicId}`;
}

function plainAttribute(record: EventRecord, context: RecordContext, name: string): string | undefined {
  const settings = context.settings ?? DEFAULT_RECORD_SETTINGS;
  switch (name) {
    case 'specversion':
      return '1.0';
    case 'id':
      return `${context.partition}-${context.offset}`;
    case 'source':
      return plainSource(context);
    case 'type':
      return settings.type;
    case 'time': {
      const { timestampMs } = context;
      return timestampMs >= 0 && timestampMs <= LAST_MS ? new Date(timestampMs).toISOString() : undefined;
    }
    case 'datacontenttype': {
      const contentType = contentTypeOf(record);
      return contentType !== undefined && isMediaType(contentType) ? contentType : settings.datacontenttype;
    }
    case 'partitionkey': {
      const key = record.key === null || record.key.length === 0 ? undefined : decodeUtf8(record.key);
      return key !== undefined && isLegalString(key) ? key : undefined;
    }
    case 'traceparent':
    case 'tracestate': {
      const value = headerValue(record, name, name);
      if (value !== undefined) return value;
    }
  }
  for (const [header, attribute] of settings.attributesFromHeaders)
    if (attribute === name) {
      const value = headerValue(record, header, name);
      if (value !== undefined) return value;
    }
  return undefined;
}

/** The first header of that key, if it can be the attribute's value. */
function headerValue(record: EventRecord, header: string, attribute: string): string | undefined {
  for (const { key, value } of record.headers)
    if (key === header) {
      const text = value === null ? undefined : decodeUtf8(value);
      return text !== undefined && attributeProblem(attribute, text) === undefined ? text : undefined;
    }
  return undefined;
}
