/** Structured logs: pino, one JSON object a line on standard error, where a start's banner does not get in the way. */
import type { Logger } from '@hadron/base';
import type { LogLevel } from './settings/server-settings.ts';

/** Loaded lazily: the first line costs the import, not the start. */
export async function createLogger(level: LogLevel): Promise<Logger> {
  const { pino } = await import('pino');
  const log = pino(
    { level, base: null, timestamp: () => `,"time":"${new Date().toISOString()}"` },
    pino.destination({ dest: 2, sync: true }),
  );
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
  };
}
