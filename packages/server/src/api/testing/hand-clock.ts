/** For tests: a real broker behind a door whose time is moved by hand. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Clock, silentLogger, systemClock, systemRandom } from '@hadron/base';
import { Broker, resolveBrokerSettings } from '@hadron/broker';
import { nodeFileSystem } from '@hadron/log';
import { onTestFinished } from 'vitest';

/** Time stands until it is told to go. */
export class HandClock implements Clock {
  private nowMs = 0;
  private timers: { readonly at: number; readonly fn: () => void }[] = [];
  monotonicMs = (): number => this.nowMs;
  wallMs = (): number => this.nowMs;
  defer = (fn: () => void): void => systemClock.defer(fn);
  setTimer(delayMs: number, fn: () => void): { cancel(): void } {
    const timer = { at: this.nowMs + delayMs, fn };
    this.timers.push(timer);
    return { cancel: () => void (this.timers = this.timers.filter((t) => t !== timer)) };
  }
  advance(ms: number): void {
    this.nowMs += ms;
    const due = this.timers.filter((t) => t.at <= this.nowMs);
    this.timers = this.timers.filter((t) => t.at > this.nowMs);
    for (const { fn } of due) fn();
  }
}

/** Ends with the test. */
export async function openBroker(): Promise<Broker> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'hadron-door-'));
  const broker = await Broker.open({
    fs: nodeFileSystem,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    directory,
    clusterId: 'test',
    nodeId: 0,
    settings: resolveBrokerSettings({}),
  });
  onTestFinished(async () => {
    await broker.close();
    fs.rmSync(directory, { recursive: true, force: true });
  });
  return broker;
}
