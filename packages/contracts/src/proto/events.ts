/**
 * The protobuf format of CloudEvents, `io.cloudevents.v1` (cloudevents.md §6.1), written by hand: no generated message
 * stands between the bytes and the event. All seven attribute types survive.
 */
import { HadronError } from '@hadron/base/errors';
import type { AttributeType, CloudEvent, EventPosition } from '../events/event.ts';
import { isJsonType, isProtobufType, isTextType } from '../events/media-type.ts';
import { decodeBase64, decodeUtf8, encodeBase64 } from '../events/text.ts';
import {
  ATTRIBUTES_MAX,
  attributeProblem,
  BATCH_EVENTS_MAX,
  batchTooLarge,
  eachLeaving,
  formatMoment,
  invalid,
  isProtoMoment,
  isRequiredName,
  knownType,
  parseMoment,
  requiredProblem,
  tooMany,
  typeOf,
  versionProblem,
} from '../events/validate.ts';
import { BYTES, ProtoReader, ProtoWriter, tag, VARINT } from './wire.ts';

const ID = tag(1, BYTES);
const SOURCE = tag(2, BYTES);
const SPEC_VERSION = tag(3, BYTES);
const TYPE = tag(4, BYTES);
const ATTRIBUTES = tag(5, BYTES);
const BINARY_DATA = tag(6, BYTES);
const TEXT_DATA = tag(7, BYTES);
const PROTO_DATA = tag(8, BYTES);

/** Of a map entry, and of Any: type_url and value. */
const FIRST = tag(1, BYTES);
const SECOND = tag(2, BYTES);

const CE_BOOLEAN = tag(1, VARINT);
const CE_INTEGER = tag(2, VARINT);
const CE_STRING = tag(3, BYTES);
const CE_BYTES = tag(4, BYTES);
const CE_URI = tag(5, BYTES);
const CE_URI_REF = tag(6, BYTES);
const CE_TIMESTAMP = tag(7, BYTES);

/** Of Timestamp. */
const SECONDS = tag(1, VARINT);
const NANOS = tag(2, VARINT);

const EVENTS = tag(1, BYTES);

// ------------------------------------------------------------------------------------------------------------- reading

/**
 * Reads an event. Its data may be a view of `bytes`.
 * @throws HadronError EVENT_INVALID, `field` names the attribute; REQUEST_INVALID the bytes are no protobuf message
 */
export function parseProtoEvent(bytes: Uint8Array): CloudEvent {
  return readEvent(new ProtoReader(bytes));
}

/**
 * Reads a batch: a result per event, in order. An event that is invalid does not make the others so.
 * @throws HadronError REQUEST_INVALID the bytes are no protobuf message; EVENT_TOO_LARGE more than 10,000 events
 */
export function parseProtoBatch(bytes: Uint8Array): (CloudEvent | HadronError)[] {
  const reader = new ProtoReader(bytes);
  const results: (CloudEvent | HadronError)[] = [];
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field !== EVENTS) {
      reader.skip();
      continue;
    }
    if (results.length >= BATCH_EVENTS_MAX) throw batchTooLarge();
    const message = reader.message();
    try {
      results.push(readEvent(message));
    } catch (error) {
      if (!(error instanceof HadronError)) throw error;
      results.push(error);
    }
  }
  return results;
}

function readEvent(reader: ProtoReader): CloudEvent {
  let id: string | undefined;
  let source: string | undefined;
  let version: string | undefined;
  let type: string | undefined;
  let data: Uint8Array | undefined;
  let typeUrl: string | undefined;
  const attributes = new Attributes();
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    switch (field) {
      case ID:
        id = text(reader);
        break;
      case SOURCE:
        source = text(reader);
        break;
      case SPEC_VERSION:
        version = text(reader);
        break;
      case TYPE:
        type = text(reader);
        break;
      case ATTRIBUTES:
        attributes.read(reader.message());
        break;
      // Of the forms of data the last one counts, as in every oneof.
      case BINARY_DATA:
        data = reader.bytes();
        typeUrl = undefined;
        break;
      case TEXT_DATA:
        data = reader.bytes();
        typeUrl = undefined;
        if (decodeUtf8(data) === undefined) throw invalid('text_data', 'is not UTF-8; send binary_data');
        break;
      case PROTO_DATA:
        ({ typeUrl, value: data } = readAny(reader.message()));
        break;
      default:
        reader.skip();
    }
  }
  let problem = versionProblem(version);
  if (problem !== undefined) throw invalid('spec_version', problem);
  if ((problem = requiredProblem('id', id)) !== undefined) throw invalid('id', problem);
  if ((problem = requiredProblem('source', source)) !== undefined) throw invalid('source', problem);
  if ((problem = requiredProblem('type', type)) !== undefined) throw invalid('type', problem);
  if (typeUrl !== undefined) attributes.describe(typeUrl);
  return {
    id: id as string,
    source: source as string,
    type: type as string,
    attributes: attributes.values,
    types: attributes.types,
    data,
  };
}

/** As `reader.string()`, and quicker for what is short. */
function text(reader: ProtoReader): string {
  const decoded = decodeUtf8(reader.bytes());
  if (decoded === undefined) throw new HadronError('EVENT_INVALID', 'a text of the event is not UTF-8');
  return decoded;
}

function readAny(reader: ProtoReader): { typeUrl: string; value: Uint8Array } {
  let typeUrl = '';
  let value = new Uint8Array(0);
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === FIRST) typeUrl = text(reader);
    else if (field === SECOND) value = reader.bytes() as Uint8Array<ArrayBuffer>;
    else reader.skip();
  }
  return { typeUrl, value };
}

class Attributes {
  readonly values = new Map<string, string>();
  types: Map<string, AttributeType> | undefined;

  /** An entry of the map. A name given twice has its last value, as in every map of protobuf. */
  read(entry: ProtoReader): void {
    let name = '';
    let value: Value | undefined;
    for (let field = entry.next(); field !== 0; field = entry.next()) {
      if (field === FIRST) name = text(entry);
      else if (field === SECOND) value = readValue(entry.message());
      else entry.skip();
    }
    const shown = name.slice(0, 100);
    if (isRequiredName(name))
      throw invalid(`attributes.${name}`, 'is no optional attribute; set the field of the message');
    if (value === undefined) throw invalid(shown, 'has no value; set one of the ce_ fields or leave it out');
    const problem = attributeProblem(name, value.text, value.type);
    if (problem !== undefined) throw invalid(shown, problem);
    if (this.values.size >= ATTRIBUTES_MAX) throw tooMany();
    this.values.set(name, value.text);
    // A string may stand for any type that the name tells.
    if (value.type !== 'String' && value.type !== knownType(name)) (this.types ??= new Map()).set(name, value.type);
    else this.types?.delete(name);
  }

  /** What proto_data says of itself: on other doors its bytes are the data (§6.1). */
  describe(typeUrl: string): void {
    if (!this.values.has('datacontenttype')) this.values.set('datacontenttype', 'application/protobuf');
    if (this.values.has('dataschema')) return;
    const problem = attributeProblem('dataschema', typeUrl);
    if (problem !== undefined)
      throw invalid('proto_data.type_url', 'must name a message, for example type.googleapis.com/shop.Order');
    this.values.set('dataschema', typeUrl);
  }
}

interface Value {
  readonly type: AttributeType;
  readonly text: string;
}

function readValue(reader: ProtoReader): Value | undefined {
  let value: Value | undefined;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    switch (field) {
      case CE_BOOLEAN:
        value = { type: 'Boolean', text: String(reader.bool()) };
        break;
      case CE_INTEGER:
        value = { type: 'Integer', text: String(reader.int64()) };
        break;
      case CE_STRING:
        value = { type: 'String', text: text(reader) };
        break;
      case CE_BYTES:
        value = { type: 'Binary', text: encodeBase64(reader.bytes()) };
        break;
      case CE_URI:
        value = { type: 'URI', text: text(reader) };
        break;
      case CE_URI_REF:
        value = { type: 'URI-reference', text: text(reader) };
        break;
      case CE_TIMESTAMP:
        value = { type: 'Timestamp', text: readTimestamp(reader.message()) };
        break;
      default:
        reader.skip();
    }
  }
  return value;
}

function readTimestamp(reader: ProtoReader): string {
  let seconds = 0;
  let nanos = 0;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === SECONDS) seconds = reader.int64();
    else if (field === NANOS) nanos = reader.int64();
    else reader.skip();
  }
  // Out of range is empty, which no timestamp is: the attribute is refused under its name.
  return isProtoMoment(seconds, nanos) ? formatMoment(seconds, nanos) : '';
}

// ------------------------------------------------------------------------------------------------------------- writing

/** The event as bytes. `position` travels as hadronpartition and hadronoffset. */
export function writeProtoEvent(event: CloudEvent, position?: EventPosition): Uint8Array {
  const out = new ProtoWriter((event.data?.length ?? 0) + 512);
  write(out, event, position);
  return out.written();
}

/** A batch of events as bytes. */
export function writeProtoBatch(events: Iterable<CloudEvent>): Uint8Array {
  const out = new ProtoWriter();
  for (const event of events) {
    const opened = out.open(EVENTS, (event.data?.length ?? 0) + 200);
    write(out, event, undefined);
    out.close(opened);
  }
  return out.written();
}

function write(out: ProtoWriter, event: CloudEvent, position: EventPosition | undefined): void {
  out.string(ID, event.id);
  out.string(SOURCE, event.source);
  out.string(SPEC_VERSION, '1.0');
  out.string(TYPE, event.type);
  eachLeaving(event, position, (name, value) => {
    const entry = out.open(ATTRIBUTES, name.length + value.length + 6);
    out.string(FIRST, name);
    const opened = out.open(SECOND, value.length + 2);
    writeValue(out, typeOf(event, name), value);
    out.close(opened);
    out.close(entry);
  });
  if (event.data !== undefined) writeData(out, event, event.data);
}

function writeValue(out: ProtoWriter, type: AttributeType, text: string): void {
  switch (type) {
    case 'Boolean':
      out.uint(CE_BOOLEAN, text === 'true' ? 1 : 0);
      return;
    case 'Integer':
      out.int64(CE_INTEGER, Number(text));
      return;
    case 'String':
      out.string(CE_STRING, text);
      return;
    case 'Binary':
      out.bytes(CE_BYTES, decodeBase64(text) ?? new Uint8Array(0));
      return;
    case 'URI':
      out.string(CE_URI, text);
      return;
    case 'URI-reference':
      out.string(CE_URI_REF, text);
      return;
    case 'Timestamp':
      writeTimestamp(out, text);
      return;
  }
}

/** The moment, in UTC. What a Timestamp cannot say (a leap second, more than nine digits, the year 0) stays text. */
function writeTimestamp(out: ProtoWriter, text: string): void {
  const moment = parseMoment(text);
  const nanos = Number(moment?.fraction.slice(0, 9).padEnd(9, '0'));
  if (
    moment === undefined ||
    moment.isLeapSecond ||
    /[1-9]/.test(moment.fraction.slice(9)) ||
    !isProtoMoment(moment.seconds, nanos)
  ) {
    out.string(CE_STRING, text);
    return;
  }
  const opened = out.open(CE_TIMESTAMP, 12);
  if (moment.seconds !== 0) out.int64(SECONDS, moment.seconds);
  if (nanos !== 0) out.uint(NANOS, nanos);
  out.close(opened);
}

const MESSAGE_NAME = /(?:^|\/)[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*$/;

/** JSON and text as text_data, protobuf whose type is told as proto_data, everything else as binary_data (§6.1). */
function writeData(out: ProtoWriter, event: CloudEvent, data: Uint8Array): void {
  const contentType = event.attributes.get('datacontenttype');
  const schema = event.attributes.get('dataschema');
  if (contentType !== undefined && schema !== undefined && isProtobufType(contentType) && MESSAGE_NAME.test(schema)) {
    const opened = out.open(PROTO_DATA, data.length + schema.length + 8);
    out.string(FIRST, schema);
    out.bytes(SECOND, data);
    out.close(opened);
    return;
  }
  const isText =
    contentType !== undefined &&
    (isJsonType(contentType) || (/^text\//i.test(contentType) && isTextType(contentType))) &&
    decodeUtf8(data) !== undefined;
  out.bytes(isText ? TEXT_DATA : BINARY_DATA, data);
}
