/**
 * The part of the API that is JSON in, JSON out: a stream, its groups, its dead letters. The HTTP door has these routes among
 * its own; whoever is in the same process asks them by {@link controlPlane}, so that both are one.
 */
import { HadronError } from '@hadron/base';
import { allowAll, type Authorize } from '@hadron/broker';
import { ControlCall } from './control-call.ts';
import { deadLetterRoutes } from './dead-letters.ts';
import { groupRoutes } from './groups.ts';
import { type ControlRoute, type Params, Router } from './router.ts';
import type { AskServices, Services } from './services.ts';

/** @param authorize asked about what a path does not name */
export function controlRoutes(services: AskServices, authorize: Authorize): readonly ControlRoute[] {
  return [streamRoute(services), ...groupRoutes(services), ...deadLetterRoutes(services, authorize)];
}

function streamRoute(services: AskServices): ControlRoute {
  return {
    method: 'GET',
    pattern: '/v1/streams/{stream}',
    action: 'read',
    target: (param) => ({ kind: 'Stream', name: param('stream') }),
    async handle(call) {
      // How records become events is for those who read records: here they are read as events.
      const { name, topicId, partitions } = await services().events.info(call.param('stream'));
      call.sendJson(200, { name, topicId, partitions });
    },
  };
}

/** Asks a route. @throws HadronError REQUEST_INVALID no such method and path, or a member of `body`; else what the service says */
export type ControlPlane = (method: string, target: string, body: unknown) => Promise<unknown>;

/** The routes of {@link controlRoutes} without a server, for whoever is in this process and may do everything. What goes in and comes out is what JSON would carry, and no more. */
export function controlPlane(services: Services): ControlPlane {
  const router = new Router(controlRoutes(() => services, allowAll));
  return async (method, target, body) => {
    const question = target.indexOf('?');
    const path = question < 0 ? target : target.slice(0, question);
    const found = router.find(method, path);
    if (found === undefined || !('route' in found)) {
      throw new HadronError(
        'REQUEST_INVALID',
        `${method} ${path.slice(0, 200)} is not served in process; docs/http-api.md has what is`,
      );
    }
    const call = new DirectCall(found.param, question < 0 ? '' : target.slice(question), body);
    await found.route.handle(call);
    return call.answer;
  };
}

class DirectCall extends ControlCall {
  readonly signal = new AbortController().signal;
  answer: unknown;
  private readonly given: unknown;

  constructor(param: Params, search: string, body: unknown) {
    super(param, search);
    this.given = body;
  }

  async json(): Promise<unknown> {
    return this.given === undefined ? {} : JSON.parse(JSON.stringify(this.given));
  }

  send(_status: number, _contentType: string, body: string): void {
    this.answer = JSON.parse(body);
  }
}
