/** grpc.health.v1: what load balancers and Kubernetes' gRPC probes ask. */
import { type Clock, HadronError, type Timer } from '@hadron/base';
import { ProtoReader, type ProtoWriter, tag } from '@hadron/contracts/protobuf';
import { type Call, type Method, serverStream, unary } from './call.ts';

const SERVING = 1;
const NOT_SERVING = 2;
const SERVICE_UNKNOWN = 3;

/** A change is noticed after so long. */
const WATCH_MS = 1_000;

export interface HealthOptions {
  /** Services by name; the empty name is the server as a whole. */
  readonly services: ReadonlySet<string>;
  readonly isServing: () => boolean;
  readonly clock: Clock;
}

const decode = (bytes: Uint8Array): string => {
  const r = new ProtoReader(bytes);
  let service = '';
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === tag(1, 2)) service = r.string();
    else r.skip();
  }
  return service;
};

const encode = (w: ProtoWriter, status: number): void => w.uint(tag(1, 0), status);

export function healthCheck({ services, isServing }: HealthOptions): Method {
  return unary(decode, encode, (service) => {
    if (!services.has(service))
      throw new HadronError(
        'RESOURCE_NOT_FOUND',
        `there is no service ${service.slice(0, 100)}; ask for "" or one of ours`,
      );
    return isServing() ? SERVING : NOT_SERVING;
  });
}

export function healthWatch({ services, isServing, clock }: HealthOptions): Method {
  return serverStream(decode, (service, call: Call) => {
    let told: number | undefined;
    let timer: Timer | undefined;
    const look = (): void => {
      const status = !services.has(service) ? SERVICE_UNKNOWN : isServing() ? SERVING : NOT_SERVING;
      if (status !== told) call.send(encode, status);
      told = status;
      timer = clock.setTimer(WATCH_MS, look);
    };
    look();
    return { lost: () => timer?.cancel() };
  });
}
