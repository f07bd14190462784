/**
 * What can be wrong with bytes that claim to be Kafka protocol, or with a message that a version cannot carry.
 *
 * Reasons are stable: the server decides by them (close the connection, answer an error code), messages are free text.
 */
export type ProtocolErrorReason =
  /** A value reaches past the end of its frame, its tagged field or its record. */
  | 'truncated'
  /** The message was complete before its bytes were. */
  | 'trailing-bytes'
  /** A length is negative or larger than what is left. */
  | 'length'
  /** More array elements, tagged fields or decompressed bytes than we are willing to hold. */
  | 'limit'
  /** Null where this version does not allow it. */
  | 'null'
  /** A variable-length integer longer than its type. */
  | 'varint'
  /** A 64-bit integer that a JavaScript number cannot hold exactly, or a value that its field's type cannot hold. */
  | 'value'
  /** A tagged field that does not fill its size, or a tag given twice. */
  | 'tag'
  /** An API or version that this package does not serve. */
  | 'version'
  /** A field has a value that the version to be encoded cannot carry. */
  | 'field-version'
  /** Compressed bytes that do not decompress. */
  | 'compression'
  /** A codec number that does not exist. */
  | 'codec'
  /** A record whose framing does not add up. */
  | 'record';

/** The only error that decoding, encoding and decompressing throw, whatever the input. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly reason: ProtocolErrorReason;

  constructor(reason: ProtocolErrorReason, message: string, options?: { cause?: unknown }) {
    super(`${reason}: ${message}`, options);
    this.reason = reason;
  }
}
