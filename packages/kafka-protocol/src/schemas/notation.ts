/**
 * The notation in which message schemas are written, and its parser. Only the generator and tests import this.
 *
 * One file per API, one text per file. The first line names the API; the two messages follow; a field is a line:
 *
 *     api 2 ListOffsets · serves 1-9 · flexible 6+
 *
 *     request
 *       replicaId       int32                        // the broker asking, -1 for a client
 *       isolationLevel  int8         2+
 *       topics          []Topic
 *         name          string
 *         partitions    []Partition
 *           partition   int32
 *           leaderEpoch int32        4+  = -1  ignorable
 *
 *     response
 *       ...
 *
 *     field   := name type [versions] [nullable versions] [tag n] [= default] [ignorable] [// meaning]
 *     type    := bool | int8 | int16 | int32 | int64 | uuid | string | bytes | records
 *              | Name (a struct: its fields are the deeper lines) | []type
 *     versions := 3+ | 0-12 | 2 | (left out: every served version)
 *
 * Rules, as in Kafka's own definitions:
 *  - Fields are on the wire in the order of the lines, in the versions given. Versions never served are not written down.
 *  - `type?` may be null in every version that has the field; `type?2+` from version 2.
 *  - `tag n`: not in line but among the tagged fields at the end of its struct, and only if it differs from its default.
 *    A tagged struct is null when it is not there.
 *  - Default: 0, false, '', no bytes, no elements; null for records and tagged structs; or what `=` says. Decoding a
 *    version without the field yields the default.
 *  - Encoding a version without the field refuses any value but the default, because dropping it would change what the
 *    message means; `ignorable` fields are dropped silently.
 *  - From the first `flexible` version, strings, bytes and arrays are compact and every struct ends in tagged fields.
 *
 * A struct `Topic` of the request of ListOffsets becomes the type `ListOffsetsRequestTopic`.
 */

export interface VersionRange {
  readonly min: number;
  readonly max: number;
}

export type PrimitiveType = 'bool' | 'int8' | 'int16' | 'int32' | 'int64' | 'uuid' | 'string' | 'bytes' | 'records';

export type FieldType =
  | { readonly kind: 'primitive'; readonly name: PrimitiveType }
  | { readonly kind: 'struct'; readonly struct: Struct }
  | { readonly kind: 'array'; readonly element: FieldType };

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  /** Within the served versions. */
  readonly versions: VersionRange;
  readonly nullable: VersionRange | undefined;
  readonly tag: number | undefined;
  /** As written after `=`; undefined for the type's own default. */
  readonly default: string | undefined;
  readonly ignorable: boolean;
  readonly doc: string;
}

export interface Struct {
  /** The name of the TypeScript type. */
  readonly name: string;
  readonly fields: readonly Field[];
}

export interface Api {
  readonly key: number;
  readonly name: string;
  /** What ApiVersions announces. */
  readonly advertised: VersionRange;
  /** What is decoded and encoded: the same, except for Produce (R6). */
  readonly served: VersionRange;
  /** First flexible version; one past the served ones if there is none. */
  readonly flexible: number;
  readonly request: Struct;
  readonly response: Struct;
}

const PRIMITIVES: ReadonlySet<string> = new Set([
  'bool',
  'int8',
  'int16',
  'int32',
  'int64',
  'uuid',
  'string',
  'bytes',
  'records',
]);

interface Line {
  readonly indent: number;
  readonly text: string;
}

/** @throws Error that quotes the offending line */
export function parseSchema(source: string): Api {
  const lines: Line[] = source
    .split('\n')
    .filter((l) => l.trim() !== '' && !l.trim().startsWith('//'))
    .map((l) => ({ indent: l.length - l.trimStart().length, text: l.trim() }));

  const head = lines.shift()?.text ?? '';
  const match =
    /^api (?<key>\d+) (?<name>\w+) · serves (?<served>[\d+-]+)(?: · advertises (?<advertised>[\d-]+))?(?: · flexible (?<flexible>\d+)\+)?$/.exec(
      head,
    );
  if (match?.groups === undefined) throw new Error(`Not an api line: ${head}`);
  const { key, name, served: servedText, advertised, flexible } = match.groups as Record<string, string | undefined>;
  const served = parseRange(servedText as string);

  const message = (kind: 'request' | 'response'): Struct => {
    const start = lines.findIndex((l) => l.indent === 0 && l.text === kind);
    if (start < 0) throw new Error(`${name}: no ${kind}`);
    const length = lines.slice(start + 1).findIndex((l) => l.indent === 0);
    const body = lines.slice(start + 1, length < 0 ? undefined : start + 1 + length);
    const messageName = `${name}${kind === 'request' ? 'Request' : 'Response'}`;
    return { name: messageName, fields: parseFields(body, messageName, served) };
  };

  return {
    key: Number(key),
    name: name as string,
    served,
    advertised: advertised === undefined ? served : parseRange(advertised),
    flexible: flexible === undefined ? served.max + 1 : Number(flexible),
    request: message('request'),
    response: message('response'),
  };
}

function parseFields(lines: readonly Line[], messageName: string, versions: VersionRange): Field[] {
  const fields: Field[] = [];
  const indent = lines[0]?.indent ?? 0;
  for (let i = 0; i < lines.length; ) {
    const line = lines[i] as Line;
    if (line.indent !== indent) throw new Error(`${messageName}: unexpected indentation: ${line.text}`);
    let next = i + 1;
    while (next < lines.length && (lines[next] as Line).indent > indent) next++;
    fields.push(parseField(line.text, lines.slice(i + 1, next), messageName, versions));
    i = next;
  }
  return fields;
}

const FIELD =
  /^(?<name>[a-z]\w*)\s+(?<type>(?:\[\])?\w+)(?<nullable>\?[\d+-]*)?(?:\s+(?<versions>\d+(?:\+|-\d+)?))?(?:\s+tag (?<tag>\d+))?(?:\s+= (?<default>\S+))?(?<ignorable>\s+ignorable)?(?:\s*\/\/ (?<doc>.*))?$/;

function parseField(text: string, deeper: readonly Line[], messageName: string, outer: VersionRange): Field {
  const groups = FIELD.exec(text)?.groups as Record<string, string | undefined> | undefined;
  if (groups === undefined) throw new Error(`${messageName}: not a field: ${text}`);
  const versions = parseVersions(groups['versions'] ?? '', outer);
  const { nullable } = groups;
  return {
    name: groups['name'] as string,
    type: parseType(groups['type'] as string, deeper, messageName, versions),
    versions,
    nullable: nullable === undefined ? undefined : parseVersions(nullable.slice(1), versions),
    tag: groups['tag'] === undefined ? undefined : Number(groups['tag']),
    default: groups['default'],
    ignorable: groups['ignorable'] !== undefined,
    doc: groups['doc'] ?? '',
  };
}

function parseType(text: string, deeper: readonly Line[], messageName: string, versions: VersionRange): FieldType {
  if (text.startsWith('[]')) {
    return { kind: 'array', element: parseType(text.slice(2), deeper, messageName, versions) };
  }
  if (PRIMITIVES.has(text)) {
    if (deeper.length > 0) throw new Error(`${messageName}: ${text} has no fields`);
    return { kind: 'primitive', name: text as PrimitiveType };
  }
  if (deeper.length === 0) throw new Error(`${messageName}: struct ${text} has no fields`);
  return {
    kind: 'struct',
    struct: { name: `${messageName}${text}`, fields: parseFields(deeper, messageName, versions) },
  };
}

/** `''` is all of `outer`; an open range ends where `outer` ends; the result lies within `outer`. */
function parseVersions(text: string, outer: VersionRange): VersionRange {
  if (text === '') return outer;
  const { min, max } = parseRange(text, outer.max);
  return { min: Math.max(min, outer.min), max: Math.min(max, outer.max) };
}

function parseRange(text: string, openEnd?: number): VersionRange {
  const match = /^(\d+)(?:(\+)|-(\d+))?$/.exec(text);
  if (match === null) throw new Error(`Not a version range: ${text}`);
  const min = Number(match[1]);
  const max = match[2] === '+' ? openEnd : Number(match[3] ?? min);
  if (max === undefined) throw new Error(`An open range has no meaning here: ${text}`);
  return { min, max };
}
