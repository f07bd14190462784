/** Answers to deliveries out of JSON, for pull and for sessions. */
import type { AnswerItem } from '@hadron/broker';
import type { Verdict } from '@hadron/contracts';
import { integer, list, object, oneOf, optional, text } from './shape.ts';

const ITEMS_MAX = 10_000;
const DELAY_MAX_MS = 365 * 86_400_000;
const REASON_MAX = 10_000;
const KINDS = ['ack', 'nack', 'term', 'extend'] as const;

/** @throws RequestRefused naming the item and its member */
export function parseAnswers(value: unknown, field: string): readonly AnswerItem[] {
  return list(value, field, ITEMS_MAX).map((item, i) => {
    const at = `${field}[${i}]`;
    const { token, verdict } = object(item, at, ['token', 'verdict']);
    return { token: text(token, `${at}.token`), verdict: parseVerdict(verdict, `${at}.verdict`) };
  });
}

function parseVerdict(value: unknown, field: string): Verdict {
  const { kind, reason, delayMs } = object(value, field, ['kind', 'reason', 'delayMs']);
  const why = optional(reason, `${field}.reason`, text)?.slice(0, REASON_MAX);
  switch (oneOf(kind, `${field}.kind`, KINDS)) {
    case 'ack':
      return { kind: 'ack' };
    case 'extend':
      return { kind: 'extend' };
    case 'term':
      return { kind: 'term', reason: why };
    case 'nack':
      return {
        kind: 'nack',
        reason: why,
        delayMs: optional(delayMs, `${field}.delayMs`, (v, f) => integer(v, f, 0, DELAY_MAX_MS)),
      };
  }
}
