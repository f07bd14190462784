/** What a media type says about data, and about the form of a whole message (cloudevents.md J1, J6, §4.1, §6.1). */
import { HadronError } from '@hadron/base/errors';

const SYNTAX = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+[ \t]*(?:;[\t\x20-\x7e]*)?$/;
const CHARSET = /;\s*charset\s*=\s*"?([^\s";]+)/i;

export function isMediaType(text: string): boolean {
  return text === JSON_TYPE || SYNTAX.test(text);
}

export const JSON_TYPE = 'application/json';

/** Type and subtype in lower case, without parameters. */
function essence(mediaType: string): string {
  const semicolon = mediaType.indexOf(';');
  return (semicolon < 0 ? mediaType : mediaType.slice(0, semicolon)).trim().toLowerCase();
}

/** J6: the data is a JSON text. */
export function isJsonType(mediaType: string): boolean {
  if (mediaType === JSON_TYPE) return true;
  const name = essence(mediaType);
  return name.endsWith('/json') || name.endsWith('+json');
}

/** §5.5.3: the data is text of people. One that declares another charset than UTF-8 is bytes. */
export function isTextType(mediaType: string): boolean {
  const name = essence(mediaType);
  if (!name.startsWith('text/') && !name.endsWith('+xml')) return false;
  const charset = CHARSET.exec(mediaType)?.[1]?.toLowerCase();
  return charset === undefined || charset === 'utf-8' || charset === 'utf8' || charset === 'us-ascii';
}

export function isProtobufType(mediaType: string): boolean {
  return essence(mediaType) === 'application/protobuf';
}

/** How a message holds events: attributes in headers, or all in the body in the format named. */
export type ContentMode = 'binary' | 'json' | 'json-batch' | 'protobuf' | 'protobuf-batch';

const MODES: Readonly<Record<string, ContentMode>> = {
  'application/cloudevents+json': 'json',
  'application/cloudevents-batch+json': 'json-batch',
  'application/cloudevents+protobuf': 'protobuf',
  'application/cloudevents-batch+protobuf': 'protobuf-batch',
};

/** The media types that {@link contentMode} knows, for Content-Type and Accept. */
export const MEDIA_TYPES = {
  json: 'application/cloudevents+json',
  'json-batch': 'application/cloudevents-batch+json',
  protobuf: 'application/cloudevents+protobuf',
  'protobuf-batch': 'application/cloudevents-batch+protobuf',
} as const satisfies Readonly<Record<Exclude<ContentMode, 'binary'>, string>>;

/** K1, §4.1: the message claims to hold whole events. */
export function isStructured(contentType: string): boolean {
  const code = contentType.charCodeAt(0) | 0x20;
  return code === 0x61 /* a */ && contentType.slice(0, 23).toLowerCase() === 'application/cloudevents';
}

/**
 * §4.1: the mode of a message by its Content-Type.
 * @throws HadronError MEDIA_TYPE_UNSUPPORTED a CloudEvents media type with a format that is not served
 */
export function contentMode(contentType: string | undefined): ContentMode {
  if (contentType === undefined || !isStructured(contentType)) return 'binary';
  const mode = structuredMode(contentType);
  if (mode !== undefined) return mode;
  throw new HadronError(
    'MEDIA_TYPE_UNSUPPORTED',
    `${JSON.stringify(contentType.slice(0, 100))} is not served; use one of ${Object.values(MEDIA_TYPES).join(', ')}, or binary mode with ce- headers`,
    { field: 'content-type' },
  );
}

/** Like {@link contentMode} for what {@link isStructured}. @returns undefined: a format that is not served */
export function structuredMode(contentType: string): ContentMode | undefined {
  const name = essence(contentType);
  return Object.hasOwn(MODES, name) ? MODES[name] : undefined;
}
