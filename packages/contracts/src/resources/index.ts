export { changesBetween, type Change, same } from './diff.ts';
export { DOCUMENTS_MAX, itemsOf, readDocuments, type ReadDocuments, type SourceDocument } from './documents.ts';
export { explain, type Explained, type ExplainedField } from './explain.ts';
export { jsonSchema, schemaFile } from './json-schema.ts';
export { type Column, type Kind, type KindName, kindNamed, KINDS } from './kinds.ts';
export {
  ALLOW_DESTRUCTIVE_UPDATE,
  API_V1,
  API_V1BETA1,
  type Condition,
  type Metadata,
  type Resource,
  type Status,
} from './metadata.ts';
export { type Labels, parseSelector, type Selector } from './selector.ts';
export { MAX_EVENT_BYTES_MIN, STREAM_FIELDS_KEPT, type StreamSpec } from './stream.ts';
export { groupSettingsOf, SECRET_FIELDS, type SubscriptionSpec } from './subscription.ts';
export { type FieldError, validate, type Validation, type Wanted } from './validate.ts';
