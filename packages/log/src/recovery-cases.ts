/**
 * Every state of a folder that recovery knows, by name (log.md G10). `recovery.test.ts` builds each and opens it twice.
 * The decision is made in `recovery.ts`; the name is what the server logs and what `Recovered.cases` lists.
 */
export interface RecoveryCase {
  /** What is found. */
  readonly sign: string;
  readonly decision: string;
  readonly rule: string;
}

export const RECOVERY_CASES = {
  'empty-folder': { sign: 'no checkpoint, no commit file', decision: 'begin with LSN 1', rule: 'G10' },
  'clean-stop': { sign: 'the last frame says that nothing follows', decision: 'replay; epochs stay', rule: 'G13' },
  'unclean-stop': {
    sign: 'the last frame is another',
    decision: 'replay; raise the epoch of `os` logs before serving',
    rule: 'G6',
  },
  'torn-tail': {
    sign: 'a broken frame above every durable LSN seen, none behind it',
    decision: 'cut there',
    rule: 'G2',
  },
  'torn-set': {
    sign: 'the head of a frame is whole, its body is not, above every durable LSN',
    decision: 'cut there: all of the set or none',
    rule: 'G4',
  },
  'frames-behind-a-cut': {
    sign: 'whole frames behind a torn one',
    decision: 'void: the next file begins at the cut',
    rule: 'G2',
  },
  'former-life': {
    sign: 'frames whose checksum is seeded with another incarnation',
    decision: 'not frames of this file',
    rule: 'G1',
  },
  'zero-tail': { sign: 'zeros behind the last frame', decision: 'the end', rule: 'G10' },
  'unbegun-file': { sign: 'a commit file without a header', decision: 'a spare', rule: 'G15' },
  'covered-file': {
    sign: 'a commit file whose frames the checkpoint covers, perhaps half overwritten',
    decision: 'a spare',
    rule: 'G12',
  },
  'damaged-body': {
    sign: 'a broken body at or below a durable LSN',
    decision: 'fence the positions its head names',
    rule: 'G2',
  },
  'damaged-head': {
    sign: 'a broken head at or below a durable LSN, or frames missing there',
    decision: 'refuse to open: which logs it hit cannot be known',
    rule: 'G2',
  },
  'reference-without-bytes': {
    sign: 'a reference frame above every durable LSN whose bytes do not match',
    decision: 'cut there',
    rule: 'G3',
  },
  'damaged-reference': { sign: 'the same at or below a durable LSN', decision: 'fence the positions', rule: 'G3' },
  'lost-os-bytes': { sign: 'the same in an `os` log', decision: 'the log ends there; its epoch is raised', rule: 'G6' },
  'checkpoint-half-written': {
    sign: 'a temporary checkpoint file',
    decision: 'removed; the one before holds',
    rule: 'G12',
  },
  'checkpoint-newer': { sign: 'frames at positions that the checkpoint holds', decision: 'skipped', rule: 'G9' },
  'missing-segment': { sign: 'a segment of the checkpoint has no file', decision: 'fence its positions', rule: 'G10' },
  'short-segment': {
    sign: 'a segment file ends before the checkpoint says',
    decision: 'fence what is missing',
    rule: 'G10',
  },
  'extra-segment': {
    sign: 'a segment file that nothing names: flushed or compacted but not checkpointed',
    decision: 'removed',
    rule: 'G10',
  },
  'dead-log': {
    sign: 'frames of a log that is removed later, or was',
    decision: 'skipped; its files are removed',
    rule: 'G9',
  },
  'trimmed-segments': {
    sign: 'segments below the log start',
    decision: 'removed, no matter what they hold',
    rule: 'G14',
  },
} as const satisfies Record<string, RecoveryCase>;

export type RecoveryCaseName = keyof typeof RECOVERY_CASES;
