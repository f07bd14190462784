/**
 * The messages of `hadron.v1.Streams` (proto/hadron/v1/streams.proto), encoded and decoded by hand: this is the hot path
 * of the binary door and of the SDK. The same bytes as the generated code makes, which a test holds (streams.test.ts).
 *
 * Encoders append to a writer, so that several messages leave in one piece. Decoders give views of the bytes they were
 * handed, not copies, and pass over unknown fields. All decoders @throws HadronError REQUEST_INVALID. What servers decode
 * has a number of items that is bounded, however small they are: an object is made of each.
 */
import { HadronError } from '@hadron/base/errors';
import type { SettledAs, Verdict } from '../delivery.ts';
import type { RecordSettings } from '../events/record.ts';
import { BATCH_EVENTS_MAX, batchTooLarge } from '../events/validate.ts';
import type { AnswerResult, PublishResult, StreamInfo } from '../transport.ts';
import { BYTES, ProtoReader, type ProtoWriter, tag, VARINT } from './wire.ts';

/** Of one message. */
const ANSWERS_MAX = 100_000;

export interface PublishRequest {
  /** Given back in the response. */
  readonly sequence: number;
  /** Empty: as in the request before. */
  readonly stream: string;
  /** Messages of io.cloudevents.v1, each still encoded. Of this and the next two, one is there. */
  readonly events: readonly Uint8Array[] | undefined;
  /** One Kafka record batch v2, for one partition. */
  readonly recordBatch: Uint8Array | undefined;
  /** One for each of several partitions, all or none. */
  readonly recordBatches?: readonly PartitionBatch[] | undefined;
  readonly partition: number | undefined;
  readonly atomic: boolean;
}

export interface PartitionBatch {
  readonly partition: number;
  readonly recordBatch: Uint8Array;
}

export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly field: string;
}

export interface PublishResponse {
  readonly sequence: number;
  /** The whole batch was refused. */
  readonly error: WireError | undefined;
  /** Of a record batch. */
  readonly partition: number;
  readonly baseOffset: number;
  /** Of events, in order; of record batches of several partitions, where each begins. */
  readonly results: readonly PublishResult[];
}

/** The first message of a session. */
export interface Open {
  readonly stream: string;
  readonly group: string;
  /** A GroupRequest as JSON; empty: as the group is. */
  readonly settingsJson: string;
  readonly credit: number;
}

export interface Answers {
  readonly sequence: number;
  readonly items: readonly { readonly token: string; readonly verdict: Verdict }[];
}

export type ConsumeRequest =
  | { readonly kind: 'open'; readonly open: Open }
  | { readonly kind: 'credit'; readonly credit: number }
  | { readonly kind: 'answers'; readonly answers: Answers }
  | { readonly kind: 'drain' };

export interface WireDelivery {
  readonly token: string;
  readonly partition: number;
  readonly offset: number;
  readonly attempt: number;
  readonly redrive: number;
  /** Bytes as latin1. Undefined: a lane of its own. */
  readonly lane: string | undefined;
  /** A record of a record batch v2 without its length prefix. */
  readonly record: { readonly bytes: Uint8Array; readonly timestampMs: number };
}

export interface Opened {
  readonly session: string;
  readonly settingsJson: string;
  readonly topicId: string;
  /** Undefined: as by default. */
  readonly records?: RecordSettings | undefined;
}

export interface Answered {
  readonly sequence: number;
  readonly results: readonly AnswerResult[];
}

export type ConsumeResponse =
  | { readonly kind: 'opened'; readonly opened: Opened }
  | { readonly kind: 'deliveries'; readonly deliveries: readonly WireDelivery[] }
  | { readonly kind: 'answered'; readonly answered: Answered }
  | { readonly kind: 'withdrawn'; readonly tokens: readonly string[] }
  | { readonly kind: 'drained' };

export interface TailRequest {
  readonly stream: string;
  /** Undefined: latest. */
  readonly from:
    | 'beginning'
    | 'latest'
    | { readonly timeMs: number }
    | { readonly cursor: string }
    | { readonly offset: number };
  readonly partition: number | undefined;
}

export interface WireTailRecord {
  readonly partition: number;
  readonly offset: number;
  readonly record: { readonly bytes: Uint8Array; readonly timestampMs: number };
}

export interface TailResponse {
  readonly records: readonly WireTailRecord[];
  /** Resumes behind these records. */
  readonly cursor: string;
}

export type InfoResponse = StreamInfo;

export interface NewProducerResponse {
  readonly producerId: number;
  readonly producerEpoch: number;
}

const EMPTY = new Uint8Array(0);

const int = (field: number): number => tag(field, VARINT);
const len = (field: number): number => tag(field, BYTES);

// Strings and numbers that are their default are left out, as proto3 does.
const text = (w: ProtoWriter, fieldTag: number, value: string): void => {
  if (value !== '') w.string(fieldTag, value);
};
const number = (w: ProtoWriter, fieldTag: number, value: number): void => {
  if (value !== 0) w.uint(fieldTag, value);
};

// --- Publish -------------------------------------------------------------------------------------------------------

export function encodePublishRequest(w: ProtoWriter, m: PublishRequest): void {
  number(w, int(1), m.sequence);
  text(w, len(2), m.stream);
  if (m.events !== undefined) {
    let size = 0;
    for (const event of m.events) size += event.length + 4;
    const batch = w.open(len(3), size);
    for (const event of m.events) w.bytes(len(1), event);
    w.close(batch);
  }
  if (m.recordBatch !== undefined) w.bytes(len(4), m.recordBatch);
  if (m.partition !== undefined) w.uint(int(5), m.partition);
  if (m.atomic) w.uint(int(6), 1);
  if (m.recordBatches !== undefined) {
    let size = 0;
    for (const { recordBatch } of m.recordBatches) size += recordBatch.length + 16;
    const batches = w.open(len(7), size);
    for (const { partition, recordBatch } of m.recordBatches) {
      const item = w.open(len(1), recordBatch.length + 12);
      number(w, int(1), partition);
      if (recordBatch.length > 0) w.bytes(len(2), recordBatch);
      w.close(item);
    }
    w.close(batches);
  }
}

/** @throws HadronError EVENT_TOO_LARGE more than 10,000 events */
export function decodePublishRequest(bytes: Uint8Array): PublishRequest {
  const r = new ProtoReader(bytes);
  let sequence = 0;
  let stream = '';
  let events: Uint8Array[] | undefined;
  let recordBatch: Uint8Array | undefined;
  let recordBatches: PartitionBatch[] | undefined;
  let partition: number | undefined;
  let atomic = false;
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === int(1)) sequence = r.uint64();
    else if (t === len(2)) stream = r.string();
    else if (t === len(3)) {
      recordBatch = undefined;
      recordBatches = undefined;
      events ??= [];
      const batch = r.message();
      for (let b = batch.next(); b !== 0; b = batch.next()) {
        if (b !== len(1)) batch.skip();
        else if (events.length >= BATCH_EVENTS_MAX) throw batchTooLarge();
        else events.push(batch.bytes());
      }
    } else if (t === len(4)) {
      events = undefined;
      recordBatches = undefined;
      recordBatch = r.bytes();
    } else if (t === int(5)) partition = r.uint32();
    else if (t === int(6)) atomic = r.bool();
    else if (t === len(7)) {
      events = undefined;
      recordBatch = undefined;
      recordBatches ??= [];
      const batches = r.message();
      for (let b = batches.next(); b !== 0; b = batches.next()) {
        if (b !== len(1)) batches.skip();
        else if (recordBatches.length < BATCH_EVENTS_MAX) recordBatches.push(decodePartitionBatch(batches.message()));
        else throw new HadronError('REQUEST_INVALID', `a message has at most ${BATCH_EVENTS_MAX} record batches`);
      }
    } else r.skip();
  }
  return { sequence, stream, events, recordBatch, recordBatches, partition, atomic };
}

function decodePartitionBatch(r: ProtoReader): PartitionBatch {
  let partition = 0;
  let recordBatch: Uint8Array = EMPTY;
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === int(1)) partition = r.uint32();
    else if (t === len(2)) recordBatch = r.bytes();
    else r.skip();
  }
  return { partition, recordBatch };
}

function encodeError(w: ProtoWriter, fieldTag: number, error: WireError): void {
  const opened = w.open(fieldTag, error.code.length + error.message.length + error.field.length + 6);
  text(w, len(1), error.code);
  text(w, len(2), error.message);
  text(w, len(3), error.field);
  w.close(opened);
}

function decodeError(r: ProtoReader): WireError {
  let code = '';
  let message = '';
  let field = '';
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) code = r.string();
    else if (t === len(2)) message = r.string();
    else if (t === len(3)) field = r.string();
    else r.skip();
  }
  return { code, message, field };
}

export function encodePublishResponse(w: ProtoWriter, m: PublishResponse): void {
  number(w, int(1), m.sequence);
  if (m.error !== undefined) encodeError(w, len(2), m.error);
  number(w, int(3), m.partition);
  number(w, int(4), m.baseOffset);
  for (const result of m.results) {
    const opened = w.open(len(5), 8);
    if ('error' in result) encodeError(w, len(3), { ...result.error, field: result.error.field ?? '' });
    else {
      number(w, int(1), result.partition);
      number(w, int(2), result.offset);
    }
    w.close(opened);
  }
}

export function decodePublishResponse(bytes: Uint8Array): PublishResponse {
  const r = new ProtoReader(bytes);
  let sequence = 0;
  let error: WireError | undefined;
  let partition = 0;
  let baseOffset = 0;
  const results: PublishResult[] = [];
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === int(1)) sequence = r.uint64();
    else if (t === len(2)) error = decodeError(r.message());
    else if (t === int(3)) partition = r.uint32();
    else if (t === int(4)) baseOffset = r.uint64();
    else if (t === len(5)) results.push(decodeResult(r.message()));
    else r.skip();
  }
  return { sequence, error, partition, baseOffset, results };
}

function decodeResult(r: ProtoReader): PublishResult {
  let partition = 0;
  let offset = 0;
  let error: WireError | undefined;
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === int(1)) partition = r.uint32();
    else if (t === int(2)) offset = r.uint64();
    else if (t === len(3)) error = decodeError(r.message());
    else r.skip();
  }
  return error === undefined ? { partition, offset } : { error };
}

// --- Consume -------------------------------------------------------------------------------------------------------

const VERDICTS = ['ack', 'nack', 'term', 'extend'] as const;

export function encodeConsumeRequest(w: ProtoWriter, m: ConsumeRequest): void {
  if (m.kind === 'credit') w.uint(int(2), m.credit);
  else if (m.kind === 'drain') w.uint(int(4), 1);
  else if (m.kind === 'open') {
    const { stream, group, settingsJson, credit } = m.open;
    const opened = w.open(len(1), stream.length + group.length + settingsJson.length + 16);
    text(w, len(1), stream);
    text(w, len(2), group);
    text(w, len(3), settingsJson);
    number(w, int(4), credit);
    w.close(opened);
  } else {
    const { sequence, items } = m.answers;
    const opened = w.open(len(3), items.length * 50);
    number(w, int(1), sequence);
    for (const { token, verdict } of items) {
      const item = w.open(len(2), token.length + 4);
      text(w, len(1), token);
      number(w, int(2), VERDICTS.indexOf(verdict.kind));
      if ('reason' in verdict && verdict.reason !== undefined) text(w, len(3), verdict.reason);
      if ('delayMs' in verdict && verdict.delayMs !== undefined) w.uint(int(4), verdict.delayMs);
      w.close(item);
    }
    w.close(opened);
  }
}

export function decodeConsumeRequest(bytes: Uint8Array): ConsumeRequest {
  const r = new ProtoReader(bytes);
  let request: ConsumeRequest | undefined;
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) request = { kind: 'open', open: decodeOpen(r.message()) };
    else if (t === int(2)) request = { kind: 'credit', credit: r.uint32() };
    else if (t === len(3)) request = { kind: 'answers', answers: decodeAnswers(r.message()) };
    else if (t === int(4)) {
      r.bool();
      request = { kind: 'drain' };
    } else r.skip();
  }
  if (request === undefined)
    throw new HadronError('REQUEST_INVALID', 'a message of a session is one of open, credit, answers, drain');
  return request;
}

function decodeOpen(r: ProtoReader): Open {
  let stream = '';
  let group = '';
  let settingsJson = '';
  let credit = 0;
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) stream = r.string();
    else if (t === len(2)) group = r.string();
    else if (t === len(3)) settingsJson = r.string();
    else if (t === int(4)) credit = r.uint32();
    else r.skip();
  }
  return { stream, group, settingsJson, credit };
}

function decodeAnswers(r: ProtoReader): Answers {
  let sequence = 0;
  const items: { token: string; verdict: Verdict }[] = [];
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === int(1)) sequence = r.uint64();
    else if (t !== len(2)) r.skip();
    else if (items.length < ANSWERS_MAX) items.push(decodeAnswer(r.message()));
    else throw new HadronError('REQUEST_INVALID', `a message has at most ${ANSWERS_MAX} answers; send several`);
  }
  return { sequence, items };
}

function decodeAnswer(r: ProtoReader): { token: string; verdict: Verdict } {
  let token = '';
  let verdict = 0;
  let reason: string | undefined;
  let delayMs: number | undefined;
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) token = r.string();
    else if (t === int(2)) verdict = r.uint32();
    else if (t === len(3)) reason = r.string();
    else if (t === int(4)) delayMs = r.uint64();
    else r.skip();
  }
  const kind = VERDICTS[verdict];
  if (kind === undefined)
    throw new HadronError('REQUEST_INVALID', `verdict ${verdict} does not exist: 0 ack, 1 nack, 2 term, 3 extend`);
  if (kind === 'nack') return { token, verdict: { kind, reason, delayMs } };
  if (kind === 'term') return { token, verdict: { kind, reason } };
  return { token, verdict: { kind } };
}

export function encodeConsumeResponse(w: ProtoWriter, m: ConsumeResponse): void {
  if (m.kind === 'deliveries') encodeDeliveries(w, m.deliveries, 0, m.deliveries.length);
  else if (m.kind === 'answered') encodeAnswered(w, m.answered);
  else if (m.kind === 'drained') w.uint(int(5), 1);
  else if (m.kind === 'opened') {
    const { session, settingsJson, topicId, records } = m.opened;
    const opened = w.open(len(1), session.length + settingsJson.length + topicId.length + 10);
    text(w, len(1), session);
    text(w, len(2), settingsJson);
    text(w, len(3), topicId);
    if (records !== undefined) encodeRecordSettings(w, len(4), records);
    w.close(opened);
  } else {
    const opened = w.open(len(4), m.tokens.length * 40);
    for (const token of m.tokens) w.string(len(1), token);
    w.close(opened);
  }
}

/** A ConsumeResponse with `deliveries[from … to)`. */
export function encodeDeliveries(w: ProtoWriter, deliveries: readonly WireDelivery[], from: number, to: number): void {
  let size = 0;
  for (let i = from; i < to; i++) size += deliverySize(deliveries[i] as WireDelivery) + 4;
  const all = w.open(len(2), size);
  for (let i = from; i < to; i++) {
    const d = deliveries[i] as WireDelivery;
    const item = w.open(len(1), deliverySize(d));
    text(w, len(1), d.token);
    number(w, int(2), d.partition);
    number(w, int(3), d.offset);
    number(w, int(4), d.attempt);
    number(w, int(5), d.redrive);
    if (d.lane !== undefined) w.latin1(len(6), d.lane);
    if (d.record.bytes.length > 0) w.bytes(len(7), d.record.bytes);
    if (d.record.timestampMs !== 0) w.int64(int(8), d.record.timestampMs);
    w.close(item);
  }
  w.close(all);
}

/** Bytes of a delivery on the wire, about. */
export const deliverySize = (d: WireDelivery): number =>
  d.token.length + d.record.bytes.length + (d.lane?.length ?? 0) + 28;

export function encodeAnswered(w: ProtoWriter, { sequence, results }: Answered): void {
  const opened = w.open(len(3), results.length * 2 + 4);
  number(w, int(1), sequence);
  for (const result of results) {
    const item = w.open(len(2), 0);
    if (!result.ok) {
      text(w, len(1), result.code);
      text(w, len(2), result.message);
      text(w, len(3), result.settled ?? '');
    }
    w.close(item);
  }
  w.close(opened);
}

export function decodeConsumeResponse(bytes: Uint8Array): ConsumeResponse {
  const r = new ProtoReader(bytes);
  let response: ConsumeResponse | undefined;
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) response = { kind: 'opened', opened: decodeOpened(r.message()) };
    else if (t === len(2)) response = { kind: 'deliveries', deliveries: decodeDeliveries(r.message()) };
    else if (t === len(3)) response = { kind: 'answered', answered: decodeAnswered(r.message()) };
    else if (t === len(4)) response = { kind: 'withdrawn', tokens: decodeTokens(r.message()) };
    else if (t === int(5)) {
      r.bool();
      response = { kind: 'drained' };
    } else r.skip();
  }
  if (response === undefined)
    throw new HadronError('REQUEST_INVALID', 'a message of a session that this version does not know');
  return response;
}

function decodeOpened(r: ProtoReader): Opened {
  let session = '';
  let settingsJson = '';
  let topicId = '';
  let records: RecordSettings | undefined;
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) session = r.string();
    else if (t === len(2)) settingsJson = r.string();
    else if (t === len(3)) topicId = r.string();
    else if (t === len(4)) records = decodeRecordSettings(r.message());
    else r.skip();
  }
  return { session, settingsJson, topicId, records };
}

function decodeDeliveries(r: ProtoReader): WireDelivery[] {
  const deliveries: WireDelivery[] = [];
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) deliveries.push(decodeDelivery(r.message()));
    else r.skip();
  }
  return deliveries;
}

function decodeDelivery(r: ProtoReader): WireDelivery {
  let token = '';
  let partition = 0;
  let offset = 0;
  let attempt = 0;
  let redrive = 0;
  let lane: string | undefined;
  let bytes: Uint8Array = EMPTY;
  let timestampMs = 0;
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) token = r.string();
    else if (t === int(2)) partition = r.uint32();
    else if (t === int(3)) offset = r.uint64();
    else if (t === int(4)) attempt = r.uint32();
    else if (t === int(5)) redrive = r.uint32();
    else if (t === len(6)) lane = latin1(r.bytes());
    else if (t === len(7)) bytes = r.bytes();
    else if (t === int(8)) timestampMs = r.int64();
    else r.skip();
  }
  return { token, partition, offset, attempt, redrive, lane, record: { bytes, timestampMs } };
}

function latin1(bytes: Uint8Array): string {
  let s = '';
  for (let i = 0; i < bytes.length; i++) s += String.fromCharCode(bytes[i] as number);
  return s;
}

function decodeAnswered(r: ProtoReader): Answered {
  let sequence = 0;
  const results: AnswerResult[] = [];
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === int(1)) sequence = r.uint64();
    else if (t === len(2)) results.push(decodeAnswerResult(r.message()));
    else r.skip();
  }
  return { sequence, results };
}

function decodeAnswerResult(r: ProtoReader): AnswerResult {
  let code = '';
  let message = '';
  let settled = '';
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) code = r.string();
    else if (t === len(2)) message = r.string();
    else if (t === len(3)) settled = r.string();
    else r.skip();
  }
  if (code === '') return { ok: true };
  return settled === '' ? { ok: false, code, message } : { ok: false, code, message, settled: settled as SettledAs };
}

function decodeTokens(r: ProtoReader): string[] {
  const tokens: string[] = [];
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) tokens.push(r.string());
    else r.skip();
  }
  return tokens;
}

// --- Tail, Info, NewProducer ---------------------------------------------------------------------------------------

export function encodeTailRequest(w: ProtoWriter, { stream, from, partition }: TailRequest): void {
  text(w, len(1), stream);
  if (from === 'beginning') w.uint(int(2), 1);
  else if (from === 'latest') w.uint(int(3), 1);
  else if ('timeMs' in from) w.int64(int(4), from.timeMs);
  else if ('cursor' in from) w.string(len(5), from.cursor);
  else w.uint(int(6), from.offset);
  if (partition !== undefined) w.uint(int(7), partition);
}

export function decodeTailRequest(bytes: Uint8Array): TailRequest {
  const r = new ProtoReader(bytes);
  let stream = '';
  let from: TailRequest['from'] = 'latest';
  let partition: number | undefined;
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) stream = r.string();
    else if (t === int(2)) {
      r.bool();
      from = 'beginning';
    } else if (t === int(3)) {
      r.bool();
      from = 'latest';
    } else if (t === int(4)) from = { timeMs: r.int64() };
    else if (t === len(5)) from = { cursor: r.string() };
    else if (t === int(6)) from = { offset: r.uint64() };
    else if (t === int(7)) partition = r.uint32();
    else r.skip();
  }
  return { stream, from, partition };
}

/** A TailResponse with `records[from … to)`. */
export function encodeTailResponse(
  w: ProtoWriter,
  { records, cursor }: TailResponse,
  from: number = 0,
  to: number = records.length,
): void {
  for (let i = from; i < to; i++) {
    const { partition, offset, record } = records[i] as WireTailRecord;
    const item = w.open(len(1), record.bytes.length + 20);
    number(w, int(1), partition);
    number(w, int(2), offset);
    if (record.bytes.length > 0) w.bytes(len(3), record.bytes);
    if (record.timestampMs !== 0) w.int64(int(4), record.timestampMs);
    w.close(item);
  }
  text(w, len(2), cursor);
}

export function decodeTailResponse(bytes: Uint8Array): TailResponse {
  const r = new ProtoReader(bytes);
  const records: WireTailRecord[] = [];
  let cursor = '';
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) {
      const item = r.message();
      let partition = 0;
      let offset = 0;
      let record: Uint8Array = EMPTY;
      let timestampMs = 0;
      for (let i = item.next(); i !== 0; i = item.next()) {
        if (i === int(1)) partition = item.uint32();
        else if (i === int(2)) offset = item.uint64();
        else if (i === len(3)) record = item.bytes();
        else if (i === int(4)) timestampMs = item.int64();
        else item.skip();
      }
      records.push({ partition, offset, record: { bytes: record, timestampMs } });
    } else if (t === len(2)) cursor = r.string();
    else r.skip();
  }
  return { records, cursor };
}

/** An InfoRequest. */
export function encodeInfoRequest(w: ProtoWriter, stream: string): void {
  text(w, len(1), stream);
}

/** @returns the stream of an InfoRequest */
export function decodeInfoRequest(bytes: Uint8Array): string {
  const r = new ProtoReader(bytes);
  let stream = '';
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) stream = r.string();
    else r.skip();
  }
  return stream;
}

export function encodeInfoResponse(w: ProtoWriter, { name, topicId, partitions, records }: InfoResponse): void {
  text(w, len(1), name);
  text(w, len(2), topicId);
  number(w, int(3), partitions);
  if (records !== undefined) encodeRecordSettings(w, len(4), records);
}

export function decodeInfoResponse(bytes: Uint8Array): InfoResponse {
  const r = new ProtoReader(bytes);
  let name = '';
  let topicId = '';
  let partitions = 0;
  let records: RecordSettings | undefined;
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) name = r.string();
    else if (t === len(2)) topicId = r.string();
    else if (t === int(3)) partitions = r.uint32();
    else if (t === len(4)) records = decodeRecordSettings(r.message());
    else r.skip();
  }
  return { name, topicId, partitions, records };
}

const INTERPRET = ['lenient', 'off', 'required'] as const;

function encodeRecordSettings(w: ProtoWriter, fieldTag: number, records: RecordSettings): void {
  const { interpret, type, datacontenttype, attributesFromHeaders } = records;
  const opened = w.open(fieldTag, type.length + (datacontenttype?.length ?? 0) + attributesFromHeaders.size * 32 + 8);
  number(w, int(1), INTERPRET.indexOf(interpret));
  text(w, len(2), type);
  if (datacontenttype !== undefined) w.string(len(3), datacontenttype);
  for (const [header, attribute] of attributesFromHeaders) {
    const item = w.open(len(4), header.length + attribute.length + 4);
    text(w, len(1), header);
    text(w, len(2), attribute);
    w.close(item);
  }
  w.close(opened);
}

function decodeRecordSettings(r: ProtoReader): RecordSettings {
  let interpret = 0;
  let type = '';
  let datacontenttype: string | undefined;
  const attributesFromHeaders = new Map<string, string>();
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === int(1)) interpret = r.uint32();
    else if (t === len(2)) type = r.string();
    else if (t === len(3)) datacontenttype = r.string();
    else if (t === len(4)) {
      const item = r.message();
      let header = '';
      let attribute = '';
      for (let i = item.next(); i !== 0; i = item.next()) {
        if (i === len(1)) header = item.string();
        else if (i === len(2)) attribute = item.string();
        else item.skip();
      }
      attributesFromHeaders.set(header, attribute);
    } else r.skip();
  }
  // One that this version does not know reads what looks like an event.
  return { interpret: INTERPRET[interpret] ?? 'lenient', type, datacontenttype, attributesFromHeaders };
}

export function encodeNewProducerResponse(w: ProtoWriter, { producerId, producerEpoch }: NewProducerResponse): void {
  number(w, int(1), producerId);
  number(w, int(2), producerEpoch);
}

export function decodeNewProducerResponse(bytes: Uint8Array): NewProducerResponse {
  const r = new ProtoReader(bytes);
  let producerId = 0;
  let producerEpoch = 0;
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === int(1)) producerId = r.uint64();
    else if (t === int(2)) producerEpoch = r.uint32();
    else r.skip();
  }
  return { producerId, producerEpoch };
}
