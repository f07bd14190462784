/** What belongs to a group and what somebody asks of it (delivery.md D5, D6, D11), and the limits of the engine (D23). */
import { HadronError } from '@hadron/base';
import {
  DEFAULT_POLICY,
  DEFAULT_WINDOW,
  type DeliveryPolicy,
  type GroupRequest,
  type GroupSettings,
} from '@hadron/contracts';
import { compileFilters } from '@hadron/contracts/filters';

/** Bounds of everything that can grow (D23). */
export interface DeliverySettings {
  /** Read and not settled, per group and partition; reading stops there (D12). */
  readonly unsettledMax: number;
  readonly sessionsPerGroupMax: number;
  readonly groupsPerStreamMax: number;
  /** Most that one session may have out. */
  readonly sessionOutMax: number;
  readonly sessionBytesMax: number;
  /** Recent bytes of streams kept for groups that lag or redeliver. */
  readonly cacheBytes: number;
  /** `retention.bytes` of a dead-letter stream that is made by itself (D19). */
  readonly deadLetterBytes: number;
  /** Skipped events are recorded at most so much later (D13). */
  readonly skipDelayMs: number;
}

export const DELIVERY_DEFAULTS: DeliverySettings = {
  unsettledMax: 1_000_000,
  sessionsPerGroupMax: 1_000,
  groupsPerStreamMax: 20_000,
  sessionOutMax: 100_000,
  sessionBytesMax: 64 * 1024 * 1024,
  cacheBytes: 32 * 1024 * 1024,
  deadLetterBytes: 1024 * 1024 * 1024,
  skipDelayMs: 1_000,
};

const NAME_MAX = 255;
const WINDOW_MAX = 1_000;
const BACKOFF_STEPS_MAX = 100;
const RATE_MAX = 100_000;
/** Longer than any time of a policy needs to be, and safe to add to a clock. */
const TIME_MAX_MS = 365 * 24 * 3600 * 1000;
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f]/;

/** @throws HadronError GROUP_ID_INVALID */
export function checkGroupName(name: string): void {
  if (name === '' || name.length > NAME_MAX || CONTROL.test(name)) {
    throw new HadronError(
      'GROUP_ID_INVALID',
      `a group name has 1 to ${NAME_MAX} characters and no control characters; choose another`,
      { field: 'group' },
    );
  }
}

/**
 * The settings of a new group: what is asked for, else the door's defaults, else ours.
 * @throws HadronError FILTER_INVALID, REQUEST_INVALID with the field
 */
export function resolveGroup(asked: GroupRequest, door: GroupRequest = {}): GroupSettings {
  const pick = <K extends keyof GroupRequest>(key: K): GroupRequest[K] => asked[key] ?? door[key];
  const ordering = pick('ordering') ?? 'key';
  const durable = pick('durable') ?? true;
  const settings: GroupSettings = {
    durable,
    start: pick('start') ?? { from: durable ? 'beginning' : 'latest' },
    ordering,
    window: pick('window') ?? DEFAULT_WINDOW[ordering],
    filters: pick('filters') ?? [],
    policy: mergePolicy(mergePolicy(DEFAULT_POLICY, door.policy), asked.policy),
    rateLimit: pick('rateLimit'),
    holdRetention: pick('holdRetention') ?? false,
  };
  check(settings);
  return settings;
}

/** Settings with what is asked for put in its place. @throws HadronError FILTER_INVALID, REQUEST_INVALID */
export function changeGroup(settings: GroupSettings, asked: GroupRequest): GroupSettings {
  for (const key of ['start', 'durable', 'ordering'] as const) {
    if (asked[key] === undefined || same(asked[key], settings[key])) continue;
    const how = key === 'start' ? 'seek instead' : 'create another group';
    throw new HadronError('REQUEST_INVALID', `${key} of a group cannot change; ${how}`, { field: `settings.${key}` });
  }
  const changed: GroupSettings = {
    ...settings,
    window: asked.window ?? settings.window,
    filters: asked.filters ?? settings.filters,
    policy: mergePolicy(settings.policy, asked.policy),
    rateLimit: 'rateLimit' in asked ? asked.rateLimit : settings.rateLimit,
    holdRetention: asked.holdRetention ?? settings.holdRetention,
  };
  check(changed);
  return changed;
}

/** D5: whoever names another value than the group has is told both. @throws HadronError GROUP_SETTINGS_DIFFER */
export function checkSame(group: string, settings: GroupSettings, asked: GroupRequest): void {
  const differ = (field: string, has: unknown, wants: unknown): void => {
    if (wants === undefined || same(has, wants)) return;
    throw new HadronError(
      'GROUP_SETTINGS_DIFFER',
      `group ${group} has ${field} ${shown(has)}, this asks for ${shown(wants)}; leave it out, or change the group`,
      { field: `settings.${field}` },
    );
  };
  for (const [key, wants] of Object.entries(asked)) {
    if (key === 'policy') {
      for (const [k, v] of Object.entries(asked.policy ?? {}))
        differ(`policy.${k}`, settings.policy[k as keyof DeliveryPolicy], v);
    } else differ(key, settings[key as keyof GroupSettings], wants);
  }
}

function mergePolicy(policy: DeliveryPolicy, asked: GroupRequest['policy']): DeliveryPolicy {
  const given = Object.entries(asked ?? {}).filter(([, value]) => value !== undefined);
  return { ...policy, ...(Object.fromEntries(given) as Partial<DeliveryPolicy>) };
}

function check(s: GroupSettings): void {
  const within = (field: string, value: number, min: number, max: number): void => {
    if (Number.isSafeInteger(value) && value >= min && value <= max) return;
    throw new HadronError('REQUEST_INVALID', `settings.${field} is ${shown(value)}; allowed: ${min} to ${max}`, {
      field: `settings.${field}`,
    });
  };
  within('window', s.window, 1, WINDOW_MAX);
  within('policy.timeoutMs', s.policy.timeoutMs, 1, TIME_MAX_MS);
  within('policy.maxProcessingMs', s.policy.maxProcessingMs, 1, TIME_MAX_MS);
  within('policy.maxDeliveries', s.policy.maxDeliveries, 0, 1_000_000);
  within('policy.backoffMs.length', s.policy.backoffMs.length, 1, BACKOFF_STEPS_MAX);
  for (const [i, ms] of s.policy.backoffMs.entries()) within(`policy.backoffMs[${i}]`, ms, 0, TIME_MAX_MS);
  if (s.start.from === 'offset') within('start.offset', s.start.offset, 0, Number.MAX_SAFE_INTEGER);
  if (s.rateLimit !== undefined) {
    within('rateLimit.count', s.rateLimit.count, 1, RATE_MAX);
    within('rateLimit.perMs', s.rateLimit.perMs, 1, TIME_MAX_MS);
    if (s.rateLimit.by === 'key' && s.ordering !== 'key') {
      throw new HadronError('REQUEST_INVALID', 'a rate limit by key needs ordering key', {
        field: 'settings.rateLimit.by',
      });
    }
  }
  compileFilters(s.filters);
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));

/** With the members of objects in one order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([k, v]) => [k, sorted(v)]),
  );
}

const shown = (value: unknown): string => JSON.stringify(value) ?? 'none';
