/** Members of JSON bodies, each looked at once: what is wrong names its field and what is allowed. */
import { RequestRefused } from './problem.ts';

export type Json = Readonly<Record<string, unknown>>;

function wrong(field: string, expected: string): RequestRefused {
  return new RequestRefused(400, `${field}: expected ${expected}`, { field });
}

/** @throws RequestRefused when it is no object, or has a member that is not `known` */
export function object(value: unknown, field: string, known: readonly string[]): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(field, 'an object');
  for (const name of Object.keys(value)) {
    if (!known.includes(name)) throw wrong(`${field}.${name.slice(0, 100)}`, `one of ${known.join(', ')}`);
  }
  return value as Json;
}

export function integer(value: unknown, field: string, min: number, max: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw wrong(field, `a whole number from ${min} to ${max}`);
}

export function text(value: unknown, field: string): string {
  if (typeof value === 'string' && value !== '') return value;
  throw wrong(field, 'a text that is not empty');
}

export function list(value: unknown, field: string, lengthMax: number): readonly unknown[] {
  if (Array.isArray(value) && value.length <= lengthMax) return value as unknown[];
  throw wrong(field, `a list of at most ${lengthMax}`);
}

export function oneOf<T extends string>(value: unknown, field: string, allowed: readonly T[]): T {
  if (allowed.includes(value as T)) return value as T;
  throw wrong(field, `one of ${allowed.join(', ')}`);
}

/** Absent and `null` are the same. */
export function optional<T>(value: unknown, field: string, read: (value: unknown, field: string) => T): T | undefined {
  return value === undefined || value === null ? undefined : read(value, field);
}
