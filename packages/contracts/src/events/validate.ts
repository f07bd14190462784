/**
 * Names, types and values of attributes (cloudevents.md §2, §9.2, §10): one table of what is known by name, one judge.
 *
 * The judge returns what is wrong instead of throwing, because a record that is no event is not an error (§5.3).
 */
import { HadronError } from '@hadron/base/errors';
import type { AttributeType, CloudEvent, EventPosition } from './event.ts';
import { isMediaType } from './media-type.ts';
import { decodeBase64 } from './text.ts';

/** Attributes beyond this make an event invalid. */
export const ATTRIBUTES_MAX = 1000;
/** Events beyond this make a batch invalid; none of it is read then. */
export const BATCH_EVENTS_MAX = 10_000;
const INTEGER_MIN = -2_147_483_648;
const INTEGER_MAX = 2_147_483_647;

type Rule = 'media-type' | 'schema' | 'filled' | 'positive' | 'natural' | 'true';

interface Known {
  readonly type: AttributeType;
  readonly rule?: Rule;
}

const filled: Known = { type: 'String', rule: 'filled' };
const timestamp: Known = { type: 'Timestamp' };

/** What an attribute's name tells (§2.1, §10). */
const KNOWN: ReadonlyMap<string, Known> = new Map<string, Known>([
  ['datacontenttype', { type: 'String', rule: 'media-type' }],
  ['dataschema', { type: 'URI', rule: 'schema' }],
  ['subject', filled],
  ['time', timestamp],
  ['partitionkey', filled],
  ['sequence', filled],
  ['correlationid', filled],
  ['causationid', filled],
  ['expirytime', timestamp],
  ['recordedtime', timestamp],
  ['deliverat', timestamp],
  ['dataref', { type: 'URI-reference', rule: 'filled' }],
  ['sampledrate', { type: 'Integer', rule: 'positive' }],
  ['severitynumber', { type: 'Integer', rule: 'natural' }],
  ['dssematerial', { type: 'Binary' }],
  ['deprecated', { type: 'Boolean', rule: 'true' }],
  ['deprecationfrom', timestamp],
  ['deprecationsunset', timestamp],
  ['deprecationmigration', { type: 'URI' }],
  ['hadronpartition', { type: 'Integer', rule: 'natural' }],
]);

/** Where Hadron says the position of an event it gives (§5.5.4). Dropped from what is published. */
const POSITION_PARTITION = 'hadronpartition';
const POSITION_OFFSET = 'hadronoffset';

export function isPositionName(name: string): boolean {
  return name === POSITION_PARTITION || name === POSITION_OFFSET;
}

/** The position that an event got from a door carries, if it does. */
export function positionOf(event: CloudEvent): EventPosition | undefined {
  const partition = event.attributes.get(POSITION_PARTITION);
  const offset = event.attributes.get(POSITION_OFFSET);
  if (partition === undefined || offset === undefined || !/^\d{1,16}$/.test(offset)) return undefined;
  return { partition: Number(partition), offset: Number(offset) };
}

/**
 * Calls `emit` for every optional attribute and extension as it leaves by a door. The position, where one is told, takes
 * the place of one that the event carries.
 */
export function eachLeaving(
  event: CloudEvent,
  position: EventPosition | undefined,
  emit: (name: string, value: string) => void,
): void {
  for (const [name, value] of event.attributes) if (position === undefined || !isPositionName(name)) emit(name, value);
  if (position === undefined) return;
  emit(POSITION_PARTITION, String(position.partition));
  emit(POSITION_OFFSET, String(position.offset));
}

/** What the name alone tells of an attribute's type; `String` if nothing (§9.2). */
export function knownType(name: string): AttributeType {
  return KNOWN.get(name)?.type ?? 'String';
}

export function typeOf(event: CloudEvent, name: string): AttributeType {
  return event.types?.get(name) ?? knownType(name);
}

/** Any attribute by its name, `specversion` included, as filters ask for it. */
export function attributeOf(event: CloudEvent, name: string): string | undefined {
  switch (name) {
    case 'id':
      return event.id;
    case 'source':
      return event.source;
    case 'type':
      return event.type;
    case 'specversion':
      return '1.0';
    default:
      return event.attributes.get(name);
  }
}

// --------------------------------------------------------------------------------------------------------------- names

const NAME = /^[a-z0-9]+$/;

/** @returns what is wrong with the name of an extension or optional attribute, or undefined */
function nameProblem(name: string): string | undefined {
  if (!NAME.test(name)) return 'is no name of an attribute; use lower-case letters a-z and digits';
  return name === 'data' ? 'cannot be the name of an attribute; rename it' : undefined;
}

// -------------------------------------------------------------------------------------------------------------- values

/** Control characters, unpaired surrogates, non-characters (§2.2). */
const ILLEGAL = /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u;

export function isLegalString(value: string): boolean {
  return !ILLEGAL.test(value);
}

const URI_CHARACTERS = /^[\w!#$&'()*+,\-./:;=?@[\]~%]*$/;
const URI_BAD_ESCAPE = /%(?![\dA-Fa-f]{2})/;
const SCHEME = /^[A-Za-z][A-Za-z\d+.-]*:/;
/** `type.googleapis.com/shop.Order`: the name of a protobuf message, which is absolute though it has no scheme (§6.1). */
const TYPE_URL = /^[\w-]+(?:\.[\w-]+)+(?::\d+)?\/[\w./-]*[\w]$/;

function isUriReference(value: string): boolean {
  return URI_CHARACTERS.test(value) && !(value.includes('%') && URI_BAD_ESCAPE.test(value));
}

/** @returns what a value of the type must be, or undefined if it is */
export function valueProblem(type: AttributeType, value: string): string | undefined {
  switch (type) {
    case 'String':
      return isLegalString(value)
        ? undefined
        : 'has control characters, non-characters or unpaired surrogates; remove them';
    case 'Boolean':
      return value === 'true' || value === 'false' ? undefined : 'must be true or false';
    case 'Integer':
      return isInteger(value) ? undefined : `must be a whole number between ${INTEGER_MIN} and ${INTEGER_MAX}`;
    case 'Binary':
      return decodeBase64(value) === undefined ? 'must be base64 (RFC 4648, with padding)' : undefined;
    case 'URI':
      return SCHEME.test(value) && isUriReference(value)
        ? undefined
        : 'must be an absolute URI, for example https://example.com/x; percent-encode other characters';
    case 'URI-reference':
      return isUriReference(value) ? undefined : 'must be a URI reference; percent-encode other characters';
    case 'Timestamp':
      return isTimestamp(value) ? undefined : 'must be an RFC 3339 timestamp, for example 2026-01-31T23:59:59.123Z';
  }
}

function isInteger(value: string): boolean {
  if (!/^-?\d{1,10}$/.test(value)) return false;
  const n = Number(value);
  // Canonical: no leading zeros, no minus zero. Two spellings of one number would differ for every filter.
  return n >= INTEGER_MIN && n <= INTEGER_MAX && String(n) === value;
}

function ruleProblem(rule: Rule, value: string): string | undefined {
  switch (rule) {
    case 'media-type':
      return isMediaType(value) ? undefined : 'must be a media type, for example application/json';
    case 'schema':
      return TYPE_URL.test(value) ? undefined : valueProblem('URI', value);
    case 'filled':
      return value === '' ? 'must not be empty; leave it out instead' : undefined;
    case 'positive':
      return value.startsWith('-') || value === '0' ? 'must be above 0' : undefined;
    case 'natural':
      return value.startsWith('-') ? 'must not be negative' : undefined;
    case 'true':
      return value === 'true' ? undefined : 'can only be true; leave it out instead';
  }
}

/**
 * Judges an optional attribute or extension.
 * @param type as it came, where the form of the message tells types
 * @returns what is wrong with it, or undefined
 */
export function attributeProblem(name: string, value: string, type?: AttributeType): string | undefined {
  const known = KNOWN.get(name);
  if (known === undefined) {
    const problem = nameProblem(name);
    if (problem !== undefined) return problem;
    return valueProblem(type ?? 'String', value);
  }
  if (known.rule === 'schema') return ruleProblem(known.rule, value);
  let problem = valueProblem(known.type, value);
  if (problem === undefined && type !== undefined && type !== known.type) problem = valueProblem(type, value);
  if (problem !== undefined || known.rule === undefined) return problem;
  return ruleProblem(known.rule, value);
}

/** Judges id, source or type. @returns what is wrong with it, or undefined */
export function requiredProblem(name: 'id' | 'source' | 'type', value: string | undefined): string | undefined {
  if (value === undefined) return 'is missing; every event has id, source, type and specversion';
  if (value === '') return 'must not be empty';
  if (name === 'source') return valueProblem('URI-reference', value);
  return valueProblem('String', value);
}

export function versionProblem(value: string | undefined): string | undefined {
  if (value === '1.0') return undefined;
  if (value === undefined) return 'is missing; every event has id, source, type and specversion';
  return 'must be 1.0, the only version served';
}

/** `field` names the place as the sender wrote it: `ce-time`, `time`. */
export function invalid(field: string, problem: string): HadronError {
  return new HadronError('EVENT_INVALID', `${field} ${problem}`, { field });
}

/**
 * @throws HadronError EVENT_INVALID something that no CloudEvent may be; `field` names the attribute
 */
export function validateEvent(event: CloudEvent): void {
  const check = (field: string, problem: string | undefined): void => {
    if (problem !== undefined) throw invalid(field, problem);
  };
  check('id', requiredProblem('id', event.id));
  check('source', requiredProblem('source', event.source));
  check('type', requiredProblem('type', event.type));
  if (event.attributes.size > ATTRIBUTES_MAX) throw tooMany();
  for (const [name, value] of event.attributes) {
    if (isRequiredName(name)) throw invalid(name, 'is no optional attribute; set it as a member of the event');
    check(name, attributeProblem(name, value, event.types?.get(name)));
  }
}

export function tooMany(): HadronError {
  return new HadronError('EVENT_INVALID', `an event has at most ${ATTRIBUTES_MAX} attributes; put the rest into data`);
}

/** Why an atomic call is refused: the failure of one of its events, which it names. */
export function refusedWhole(error: HadronError, index: number): HadronError {
  const field = error.field === undefined ? `[${index}]` : `[${index}].${error.field}`;
  return new HadronError(error.code, `event ${index} of an atomic call: ${error.detail}; nothing was stored`, {
    field,
  });
}

export function batchTooLarge(): HadronError {
  return new HadronError('EVENT_TOO_LARGE', `a batch has at most ${BATCH_EVENTS_MAX} events; send several batches`);
}

export function isRequiredName(name: string): boolean {
  return name === 'id' || name === 'source' || name === 'type' || name === 'specversion';
}

// ---------------------------------------------------------------------------------------------------------- timestamps

const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const DAY_SECONDS = 86_400;

/** A moment: seconds since 1970 (a leap second counts as the one before it), and the digits behind the point. */
export interface Moment {
  readonly seconds: number;
  readonly fraction: string;
  readonly isLeapSecond: boolean;
}

/** @returns undefined if it is no RFC 3339 timestamp */
export function parseMoment(text: string): Moment | undefined {
  // Each number is -1 where its two digits are not two digits, and fails the check of its range.
  const century = twoDigits(text, 0);
  const decade = twoDigits(text, 2);
  const year = century * 100 + decade;
  const month = twoDigits(text, 5);
  const day = twoDigits(text, 8);
  const hour = twoDigits(text, 11);
  const minute = twoDigits(text, 14);
  const second = twoDigits(text, 17);
  const separator = text.charCodeAt(10) | 0x20;
  if (text[4] !== '-' || text[7] !== '-' || separator !== 0x74 /* t */ || text[13] !== ':' || text[16] !== ':')
    return undefined;
  if (century < 0 || decade < 0 || month < 1 || month > 12 || day < 1) return undefined;
  const isLeapYear = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  if (day > (DAYS[month - 1] as number) + (month === 2 && isLeapYear ? 1 : 0)) return undefined;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return undefined;

  let at = 19;
  let fraction = '';
  if (text[at] === '.') {
    const from = ++at;
    while (isDigit(text.charCodeAt(at))) at++;
    if (at === from) return undefined;
    fraction = text.slice(from, at);
  }
  let offset = 0;
  const zone = text[at];
  if (zone === '+' || zone === '-') {
    const hours = twoDigits(text, at + 1);
    const minutes = twoDigits(text, at + 4);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59 || text[at + 3] !== ':') return undefined;
    offset = (hours * 60 + minutes) * (zone === '-' ? -60 : 60);
    at += 6;
  } else if (zone === 'Z' || zone === 'z') at++;
  else return undefined;
  if (at !== text.length) return undefined;
  const seconds =
    daysSince1970(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + Math.min(second, 59) - offset;
  return { seconds, fraction, isLeapSecond: second === 60 };
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at);
  const ones = text.charCodeAt(at + 1);
  return isDigit(tens) && isDigit(ones) ? (tens - 0x30) * 10 + ones - 0x30 : -1;
}

function isTimestamp(text: string): boolean {
  return parseMoment(text) !== undefined;
}

/**
 * The milliseconds since 1970 that an RFC 3339 timestamp tells, rounded down; undefined if it is none. For `deliverat`,
 * `expirytime` and queries by time.
 */
export function parseTimestamp(text: string): number | undefined {
  const moment = parseMoment(text);
  if (moment === undefined) return undefined;
  return moment.seconds * 1000 + Number(moment.fraction.slice(0, 3).padEnd(3, '0'));
}

// Dates are counted in eras of 400 years, which all have as many days, from years that begin in March: the leap day is
// the last of its year then. Date does the same for more: it was a fifth of reading and writing protobuf.
const ERA_DAYS = 146_097;
/** From 0000-03-01 to 1970-01-01. */
const EPOCH_DAYS = 719_468;

function daysSince1970(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const leapDays = Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100);
  return era * ERA_DAYS + yearOfEra * 365 + leapDays + dayOfYear - EPOCH_DAYS;
}

/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what a protobuf Timestamp may hold. */
const SECONDS_MIN = -62_135_596_800;
const SECONDS_MAX = 253_402_300_799;

export function isProtoMoment(seconds: number, nanos: number): boolean {
  return seconds >= SECONDS_MIN && seconds <= SECONDS_MAX && nanos >= 0 && nanos < 1e9;
}

/** RFC 3339 in UTC, with 0, 3, 6 or 9 digits behind the point, of what {@link isProtoMoment}. */
export function formatMoment(seconds: number, nanos: number): string {
  const days = Math.floor(seconds / DAY_SECONDS);
  const time = seconds - days * DAY_SECONDS;
  const shifted = days + EPOCH_DAYS;
  const era = Math.floor(shifted / ERA_DAYS);
  const dayOfEra = shifted - era * ERA_DAYS;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const clock = `${two(Math.floor(time / 3600))}:${two(Math.floor(time / 60) % 60)}:${two(time % 60)}`;
  const whole = `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}T${clock}`;
  if (nanos === 0) return `${whole}Z`;
  if (nanos % 1e6 === 0) return `${whole}.${String(nanos / 1e6).padStart(3, '0')}Z`;
  if (nanos % 1e3 === 0) return `${whole}.${String(nanos / 1e3).padStart(6, '0')}Z`;
  return `${whole}.${String(nanos).padStart(9, '0')}Z`;
}

function two(n: number): string {
  return n < 10 ? `0${n}` : String(n);
}
