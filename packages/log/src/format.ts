/**
 * What the engine must know of the bytes it stores, and no more.
 *
 * A log's position counts *extent*: records in a partition, bytes in a journal. Only the format can tell how much extent
 * some bytes carry, where one unit (a record batch; any byte range) ends, and whether it is whole.
 */

/** One unit found by {@link LogFormat.scan}; reused between calls so that scanning allocates nothing. */
export interface Unit {
  /** Length of the unit in bytes. */
  bytes: number;
  /** Position of its first element. */
  position: number;
  /** How far it advances the log's position. */
  extent: number;
  /** Largest timestamp inside in wall milliseconds, -1 when it has none. */
  maxTimestamp: number;
}

export const newUnit = (): Unit => ({ bytes: 0, position: 0, extent: 0, maxTimestamp: -1 });

export interface LogFormat {
  /** Stored with every log; never changes its meaning. */
  readonly id: number;
  readonly name: string;
  /** Bytes that {@link scan} needs to see before it can tell a unit's length. */
  readonly headerBytes: number;
  /**
   * Reads the unit that begins at `at` into `unit`. Only the header need be present.
   * @returns false when `b[at, end)` does not begin with a plausible unit
   */
  scan(b: Uint8Array, at: number, end: number, unit: Unit): boolean;
  /** Whether the whole unit `b[at, at + length)` is intact (its checksum). */
  intact(b: Uint8Array, at: number, length: number): boolean;
  /** Writes position and leader epoch into the freshly copied bytes of one append (one or more units). */
  place(b: Uint8Array, at: number, length: number, position: number, epoch: number): void;
}

/** Plain bytes: position = byte offset. The format of journals, and of engine tests that need no record batches. */
export const bytesFormat: LogFormat = {
  id: 2,
  name: 'bytes',
  headerBytes: 0,
  // A run of bytes has no inner framing: everything that is there is one unit. Its position cannot be read from it.
  scan(_b, at, end, unit) {
    if (end <= at) return false;
    unit.bytes = end - at;
    unit.extent = end - at;
    unit.position = -1;
    unit.maxTimestamp = -1;
    return true;
  },
  intact: () => true,
  place() {},
};
