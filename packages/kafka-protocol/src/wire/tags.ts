/** A tagged field that this version of the schema does not know. It is kept so that it survives decode and encode. */
export interface UnknownTag {
  readonly tag: number;
  /** Its bytes, uninterpreted; a slice of the decoded frame. */
  readonly data: Buffer;
}

/** In the order of arrival; `undefined` (by far the usual case) when there are none, so that no array is allocated. */
export type UnknownTags = readonly UnknownTag[] | undefined;
