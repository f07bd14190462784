/**
 * A port for each stream and each (stream, partition), from the range of the setting `original-ports`. Numbers are kept in
 * the registry: a stream has the same ones after every restart. A stream that goes gives its numbers back.
 *
 * Always true: a number belongs to one place; what listens is what the registry says, as soon as it is durable.
 */
import type { Server } from 'node:net';
import { HadronError, type Logger } from '@hadron/base';
import type { BrokerCore } from '@hadron/broker';
import type { PortRange } from '../settings/index.ts';
import type { Place } from './places.ts';

/** What the registry keeps under kind {@link KIND} and the stream's name. */
interface StoredPorts {
  readonly topicId: string;
  /** Of the stream as a whole, then of its partitions. */
  readonly ports: readonly number[];
}

const KIND = 'OriginalPorts';

/** Ports of a stream, as far as the range reaches. */
export interface StreamPorts {
  readonly stream: number;
  readonly partitions: readonly number[];
}

export interface OriginalPortsOptions {
  readonly range: PortRange;
  readonly logger: Logger;
  /** Listens on one port. @throws HadronError PORT_IN_USE */
  readonly listen: (port: number) => Promise<readonly Server[]>;
}

type Core = Pick<BrokerCore, 'registry' | 'eventLog' | 'registryDurable'>;

export class OriginalPorts {
  private readonly options: OriginalPortsOptions;
  private readonly places = new Map<number, Place>();
  private readonly listeners = new Map<number, readonly Server[]>();
  private readonly watchers = new Set<() => void>();
  private core: Core | undefined;
  private unwatch: (() => void) | undefined;
  /** Changes are made one after the other. */
  private work: Promise<void> = Promise.resolve();
  private closed = false;

  constructor(options: OriginalPortsOptions) {
    this.options = options;
  }

  /** Serves the streams of this core, now and as they change. Resolves when the ports of what there is are open. */
  serve(core: Core): Promise<void> {
    this.unwatch?.();
    this.core = core;
    this.unwatch = core.eventLog.watchStreams(() => void this.reconcile());
    return this.reconcile();
  }

  /** What listens on a port. */
  placeOf(port: number): Place | undefined {
    return this.places.get(port);
  }

  /** Undefined: the stream has none, or they are not open yet. For a stream's status as well. */
  portsOf(stream: string): StreamPorts | undefined {
    const [whole, ...partitions] = this.stored(stream)?.ports ?? [];
    if (whole === undefined || !this.listeners.has(whole)) return undefined;
    const open = partitions.findIndex((port) => !this.listeners.has(port));
    return { stream: whole, partitions: open < 0 ? partitions : partitions.slice(0, open) };
  }

  /** Calls `fn` when ports were opened or closed. @returns a function that ends it */
  watch(fn: () => void): () => void {
    this.watchers.add(fn);
    return () => this.watchers.delete(fn);
  }

  close(): void {
    this.closed = true;
    this.unwatch?.();
    for (const port of [...this.listeners.keys()]) this.shut(port);
  }

  private stored(stream: string): StoredPorts | undefined {
    return this.core?.registry.get<StoredPorts>(KIND, stream)?.value;
  }

  private reconcile(): Promise<void> {
    this.work = this.work
      .then(() => this.assign())
      .catch((error: unknown) => {
        this.options.logger.error({ err: String(error) }, 'ports for the clients of the original could not be set up');
      });
    return this.work;
  }

  private async assign(): Promise<void> {
    const { core, options } = this;
    if (core === undefined || this.closed) return;
    const { registry, eventLog } = core;
    for (const { name, value } of [...registry.list<StoredPorts>(KIND)]) {
      if (eventLog.stream(name)?.topicId !== value.topicId) registry.delete(KIND, name);
    }
    const taken = new Set<number>();
    for (const { value } of registry.list<StoredPorts>(KIND)) for (const port of value.ports) taken.add(port);
    let next = options.range.first;
    const free = (): number | undefined => {
      while (taken.has(next)) next++;
      if (next > options.range.last) return undefined;
      taken.add(next);
      return next;
    };
    for (const stream of eventLog.streams()) {
      if (stream.name.startsWith('__')) continue;
      const wanted = 1 + stream.partitions.length;
      const before = registry.get<StoredPorts>(KIND, stream.name)?.value.ports ?? [];
      const ports = before.slice(0, wanted);
      for (let port = ports.length < wanted ? free() : undefined; port !== undefined; ) {
        ports.push(port);
        port = ports.length < wanted ? free() : undefined;
      }
      if (ports.length < wanted) {
        options.logger.warn(
          { stream: stream.name, partitions: stream.partitions.length, ports: ports.length },
          'original-ports has no free number left: clients of the original cannot reach all of this stream',
        );
      }
      if (ports.length !== before.length || ports.some((port, i) => port !== before[i]))
        registry.put<StoredPorts>(KIND, stream.name, { topicId: stream.topicId, ports });
    }
    // A number that might be given to another stream after a crash is not shown to anybody.
    if (!(await core.registryDurable()) || this.closed || core !== this.core) return;
    await this.open(registry);
    for (const fn of [...this.watchers]) fn();
  }

  private async open(registry: Core['registry']): Promise<void> {
    this.places.clear();
    for (const { name, value } of registry.list<StoredPorts>(KIND)) {
      value.ports.forEach((port, i) => this.places.set(port, { stream: name, partition: i === 0 ? undefined : i - 1 }));
    }
    for (const port of [...this.listeners.keys()]) if (!this.places.has(port)) this.shut(port);
    for (const [port, place] of this.places) {
      if (this.listeners.has(port)) continue;
      try {
        const servers = await this.options.listen(port);
        this.listeners.set(port, servers);
        if (this.closed) this.shut(port);
      } catch (error) {
        if (!(error instanceof HadronError)) throw error;
        this.options.logger.error(
          { port, ...place, err: error.message },
          'a port for clients of the original is taken',
        );
      }
    }
  }

  private shut(port: number): void {
    for (const server of this.listeners.get(port) ?? []) server.close();
    this.listeners.delete(port);
  }
}
