/**
 * A CloudEvent as Hadron keeps it: canonical strings for attributes, bytes for data (cloudevents.md §2, §9.2).
 *
 * Data is always the bytes that are stored as the record's value. JSON data is the JSON text as it came (J11), text is
 * UTF-8. What the bytes mean is said by `datacontenttype` alone.
 */

/** The types of CloudEvents 1.0, spelled as in the header `hadron-types`. */
export type AttributeType = 'Boolean' | 'Integer' | 'String' | 'Binary' | 'URI' | 'URI-reference' | 'Timestamp';

export interface CloudEvent {
  /** Non-empty; unique within `source`. */
  readonly id: string;
  readonly source: string;
  readonly type: string;
  /**
   * Every other attribute but `specversion` (always 1.0): datacontenttype, dataschema, subject, time and extensions, as
   * canonical strings in the order in which they came.
   */
  readonly attributes: ReadonlyMap<string, string>;
  /** Types that came with the event and that the name alone does not tell (§9.2). Undefined: none. */
  readonly types?: ReadonlyMap<string, AttributeType> | undefined;
  /** Undefined: the event has no data, which differs from empty data and from JSON null. */
  readonly data: Uint8Array | undefined;
}

/** A record header: names may repeat. */
export interface RecordHeader {
  readonly key: string;
  readonly value: Uint8Array | null;
}

/** What a Kafka record says, decoded. */
export interface EventRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

/** Where an event lies. Travels as the extensions hadronpartition and hadronoffset (§5.5.4). */
export interface EventPosition {
  readonly partition: number;
  readonly offset: number;
}
