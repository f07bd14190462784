/**
 * `stream.StreamController`, the service of the original Hadron, so that its Rust client and command line work unmodified
 * (hadron.md §4). Which stream and partition is meant is said by the address (places.ts, ports.ts).
 */
import { HadronError } from '@hadron/base';
import { type Call, type Method, unary } from '../rpc/call.ts';
import { type RpcRoute, RpcRefused, type RpcServices, Status } from '../rpc/index.ts';
import { formatHostPort, isLoopback } from '../settings/index.ts';
import { decodePublish, encodeMetadata, encodePublished, type OldPartition } from './messages.ts';
import { type AddressedStream, authorityOf, type Place, placeOfAuthority } from './places.ts';
import type { OriginalPorts } from './ports.ts';
import { Subscription } from './subscription.ts';

export interface OriginalServices extends RpcServices {
  /** Undefined: there is no such stream. */
  readonly find: (name: string) => AddressedStream | undefined;
  /** Calls `fn` when any stream may have changed. @returns a function that ends it */
  readonly watch: (fn: () => void) => () => void;
  /** Undefined: addresses are told apart by name only. */
  readonly ports: Pick<OriginalPorts, 'placeOf' | 'portsOf' | 'watch'> | undefined;
  /** The host that clients are told instead of the one they came by. */
  readonly advertisedHost: string | undefined;
}

/** `rest` is what the name was called with behind the stream and partition. Undefined: it came by a port. */
type Address = Place & { readonly rest: string | undefined };

export function originalRoutes(services: OriginalServices): RpcRoute[] {
  const controller = new Controller(services);
  return [
    { path: '/stream.StreamController/Metadata', method: controller.metadata },
    { path: '/stream.StreamController/StreamPublish', method: controller.publish },
    { path: '/stream.StreamController/StreamSubscribe', method: controller.subscribe },
    { path: '/stream.StreamController/PipelineSubscribe', method: controller.subscribePipeline },
  ];
}

class Controller {
  private readonly services: OriginalServices;

  constructor(services: OriginalServices) {
    this.services = services;
  }

  /** The full list at once and at every change. It never ends: clients reconnect without any delay (§4.7 row 3). */
  readonly metadata: Method = (call) => {
    authenticate(call);
    const { stream, rest } = this.address(call);
    this.services.authorize(call.identity, 'read', { kind: 'Stream', name: stream });
    let told: string | undefined;
    const tell = (): void => {
      const partitions = this.partitions(call, stream, rest);
      const said = JSON.stringify(partitions);
      if (said === told) return;
      told = said;
      call.send(encodeMetadata, partitions);
    };
    const ends = [this.services.watch(tell), this.services.ports?.watch(tell)];
    tell();
    return {
      message: () => undefined,
      finished: () => undefined,
      stopping: () => undefined,
      lost() {
        for (const end of ends) end?.();
      },
    };
  };

  /** One batch, atomic, on the addressed partition, synced whatever acknowledgement was asked for. */
  readonly publish: Method = (call) => {
    authenticate(call);
    const { stream, partition } = this.partitionAddress(call);
    this.services.authorize(call.identity, 'publish', { kind: 'Stream', name: stream });
    return unary(decodePublish, encodePublished, (events) => {
      if (events.length === 0)
        throw new HadronError('REQUEST_INVALID', 'a batch has at least one event', { field: 'batch' });
      return new Promise<number>((resolve, reject) => {
        this.services.ask().events.publish(stream, events, { atomic: true, partition }, (error, results) => {
          const last = results.at(-1);
          if (error !== undefined) reject(error);
          else if (last === undefined || 'error' in last) reject(new TypeError('an atomic batch has no result'));
          else resolve(last.offset);
        });
      });
    })(call);
  };

  readonly subscribe: Method = (call) => {
    authenticate(call);
    return new Subscription(this.services, call, this.partitionAddress(call));
  };

  /** There are no pipelines yet, so each of them is unknown; clients back off and ask again (P6). */
  readonly subscribePipeline: Method = (call) => {
    authenticate(call);
    this.address(call);
    throw new HadronError('RESOURCE_NOT_FOUND', 'there is no such pipeline: this server has none');
  };

  /** @throws HadronError TOPIC_NOT_FOUND */
  private address(call: Call): Address {
    const byPort = this.services.ports?.placeOf(call.local.port);
    if (byPort !== undefined) return { ...byPort, rest: undefined };
    const byName = placeOfAuthority(call.authority, (name) => this.find(name));
    if (byName !== undefined) return byName;
    throw new HadronError(
      'TOPIC_NOT_FOUND',
      `${JSON.stringify(call.authority.slice(0, 200))} names no stream: call {stream}.… or {stream}-{partition}.…, or use the stream's port (hadron get stream NAME -o wide; --original-ports)`,
    );
  }

  /** @throws HadronError TOPIC_NOT_FOUND; REQUEST_INVALID where the address is that of several partitions */
  private partitionAddress(call: Call): Address & { readonly partition: number } {
    const address = this.address(call);
    const { stream, partition } = address;
    if (partition !== undefined) return { ...address, partition };
    if (this.find(stream)?.partitions === 1) return { ...address, partition: 0 };
    throw new HadronError(
      'REQUEST_INVALID',
      `this is the address of all partitions of ${stream}: use that of one of them, as Metadata tells`,
    );
  }

  private find(name: string): AddressedStream | undefined {
    return name.startsWith('__') ? undefined : this.services.find(name);
  }

  private partitions(call: Call, stream: string, rest: string | undefined): OldPartition[] {
    const count = this.find(stream)?.partitions ?? 0;
    const ports = this.services.ports?.portsOf(stream)?.partitions;
    if (ports === undefined && rest !== undefined) {
      return Array.from({ length: count }, (_, partition) => {
        const internal = authorityOf(stream, partition, rest);
        return { partition, internal, external: internal };
      });
    }
    const { advertisedHost } = this.services;
    const host = advertisedHost ?? call.local.host.replace(/^::ffff:(?=\d)/, '');
    return (ports ?? []).slice(0, count).map((port, partition) => {
      const internal = formatHostPort({ host, port });
      return { partition, internal, external: isLoopback(host) ? '' : internal };
    });
  }
}

/**
 * Row 11, 13 of §4.7; §4.5. Any token will do until there are tokens.
 * @throws HadronError with status UNAUTHENTICATED
 */
function authenticate(call: Call): void {
  const header = call.header('authorization');
  if (header !== undefined && /^bearer +\S/i.test(header)) return;
  throw new RpcRefused(
    'PERMISSION_DENIED',
    Status.UNAUTHENTICATED,
    header === undefined
      ? 'send the header "authorization: bearer TOKEN"; while this server has no tokens any will do'
      : 'only "authorization: bearer TOKEN" is understood; users and passwords are not',
  );
}
