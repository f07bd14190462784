/**
 * Request and response headers (R1).
 *
 *   request v1   api_key int16 · api_version int16 · correlation_id int32 · client_id nullable string
 *   request v2   the same, then tagged fields; client_id keeps its int16 length although the message is flexible
 *   response v0  correlation_id int32
 *   response v1  the same, then tagged fields
 */
import { requestHeaderVersion, responseHeaderVersion } from '../apis.ts';
import type { Reader } from './reader.ts';
import type { UnknownTags } from './tags.ts';
import type { Writer } from './writer.ts';

export interface RequestHeader {
  apiKey: number;
  apiVersion: number;
  correlationId: number;
  clientId: string | null;
  unknownTags?: UnknownTags;
}

export interface ResponseHeader {
  correlationId: number;
  unknownTags?: UnknownTags;
}

/**
 * Reads the header at the start of a frame (after its length); the reader then stands at the body.
 * It works for APIs and versions that are not served, so that they can be logged (R3) or answered (R2).
 */
export function decodeRequestHeader(r: Reader): RequestHeader {
  const apiKey = r.i16();
  const apiVersion = r.i16();
  const correlationId = r.i32();
  const clientId = r.nullableString();
  const unknownTags = requestHeaderVersion(apiKey, apiVersion) === 2 ? r.unknownTags() : undefined;
  return { apiKey, apiVersion, correlationId, clientId, unknownTags };
}

export function encodeRequestHeader(w: Writer, header: RequestHeader): void {
  w.i16(header.apiKey);
  w.i16(header.apiVersion);
  w.i32(header.correlationId);
  w.nullableString(header.clientId);
  if (requestHeaderVersion(header.apiKey, header.apiVersion) === 2) w.unknownTags(header.unknownTags);
}

export function decodeResponseHeader(r: Reader, apiKey: number, apiVersion: number): ResponseHeader {
  const correlationId = r.i32();
  const unknownTags = responseHeaderVersion(apiKey, apiVersion) === 1 ? r.unknownTags() : undefined;
  return { correlationId, unknownTags };
}

export function encodeResponseHeader(w: Writer, apiKey: number, apiVersion: number, correlationId: number): void {
  w.i32(correlationId);
  if (responseHeaderVersion(apiKey, apiVersion) === 1) w.unknownTags(undefined);
}

/** Bytes of the length in front of every frame. */
export const FRAME_LENGTH_BYTES = 4;

/** Key, version, correlation id and a null client id: a frame that claims less is not one (R17). */
export const REQUEST_BYTES_MIN = 10;
