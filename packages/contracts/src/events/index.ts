export * from './event.ts';
export { readHttpEvent, writeHttpHeaders, type HttpHeaders } from './http.ts';
export { parseJsonBatch, parseJsonEvent, writeJsonBatch, writeJsonEvent, writeJsonLine } from './json.ts';
export { contentMode, MEDIA_TYPES, type ContentMode } from './media-type.ts';
export { cloudEvent, draftEvent, eventData, toPlainEvent, type CloudEventInit, type ExtensionValue } from './plain.ts';
export { eventAt, readRecord, type RecordOrigin, RecordWriter, writeEventRecord } from './record-bytes.ts';
export {
  attributeOfRecord,
  classifyRecord,
  DEFAULT_RECORD_SETTINGS,
  eventKey,
  eventToRecord,
  recordLookup,
  recordToEvent,
  type RecordContext,
  type RecordSettings,
} from './record.ts';
export { attributeOf, parseTimestamp, positionOf, refusedWhole, typeOf, validateEvent } from './validate.ts';
