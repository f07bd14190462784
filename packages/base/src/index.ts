export * from './assert.ts';
export * from './bytes.ts';
export * from './clock.ts';
export * from './crc32c.ts';
export * from './errors.ts';
export * from './logger.ts';
export * from './metrics.ts';
export * from './random.ts';
