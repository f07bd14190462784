/**
 * Push as the server holds it. Costs a watch of the registry until there is a Subscription; then the rest of this folder is
 * loaded and follows the registry of the broker's present life, and of those that take over.
 */
import { hostname } from 'node:os';
import type { Clock, Logger, Random } from '@hadron/base';
import { type Broker, type BrokerCore, STORED_SUBSCRIPTION } from '@hadron/broker';
import type { ServerSettings } from '../settings/index.ts';
import { anyAddress, publicOnly, systemResolve } from './address-policy.ts';
import { CONSENT_PATH } from './consent-route.ts';
import type { PushService } from './push-service.ts';

export interface PushDoorOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings: Pick<ServerSettings, 'broker' | 'advertise'>;
}

export class Push {
  readonly #options: PushDoorOptions;
  #unwatchCore: (() => void) | undefined;
  #unwatchFirst: (() => void) | undefined;
  #service: PushService | undefined;
  #loading: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(options: PushDoorOptions) {
    this.#options = options;
  }

  start(): void {
    this.#unwatchCore = this.#options.broker.watchCore((core) => this.#meet(core));
  }

  /** As {@link PushService.consent}. */
  consent(key: string, rate: string | undefined): boolean {
    return this.#service?.consent(key, rate) ?? false;
  }

  /** As {@link PushService.counts}. */
  counts(): ReturnType<PushService['counts']> | readonly [] {
    return this.#service?.counts() ?? [];
  }

  /** Nothing new is sent. Resolves when nothing is under way, a second and a bit later at most. May be called again. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#unwatchCore?.();
    this.#unwatchFirst?.();
    await this.#loading;
    await this.#service?.close();
  }

  #meet(core: BrokerCore): void {
    this.#unwatchFirst?.();
    this.#unwatchFirst = undefined;
    const { done } = core.registry.list(STORED_SUBSCRIPTION).next();
    if (this.#service !== undefined || done !== true) return this.#serve(core);
    this.#unwatchFirst = core.registry.watch(STORED_SUBSCRIPTION, () => {
      this.#unwatchFirst?.();
      this.#serve(core);
    });
  }

  #serve(core: BrokerCore): void {
    this.#loading = this.#load(core).catch((error: unknown) => {
      this.#options.logger.error({ err: error }, 'push: Subscriptions are not delivered');
    });
  }

  async #load(core: BrokerCore): Promise<void> {
    const { broker, clock, random, logger, settings } = this.#options;
    const [{ PushService }, { subscriptions }] = await Promise.all([import('./push-service.ts'), core.resources()]);
    // Meanwhile another life may have begun, which is met as well.
    if (this.#closing !== undefined || broker.core !== core) return;
    const values = settings.broker.values;
    const callbackUrl = values['push.callback.url'];
    this.#service ??= new PushService({
      clock,
      random,
      logger,
      deliveries: () => broker.core.deliveries,
      origin: values['push.origin'] || (settings.advertise?.host ?? hostname()),
      policy: values['push.allow.private'] ? anyAddress : publicOnly,
      allowHttp: values['push.allow.http'],
      resolve: systemResolve,
      callbackUrl: callbackUrl === '' ? undefined : callbackUrl + CONSENT_PATH,
    });
    this.#service.follow(subscriptions);
  }
}
