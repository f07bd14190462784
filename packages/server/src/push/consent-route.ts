/** The callback URL of the handshake (§8.2.3): whoever has its key, by program or browser, consents by calling it. */
import { HadronError } from '@hadron/base';
import type { Route } from '../api/index.ts';
import type { PushService } from './push-service.ts';

/** What `callbackUrl` ends in, before the key. */
export const CONSENT_PATH = '/v1/push/consent/';

/** The rate stands in the header `WebHook-Allowed-Rate` or in the query as `rate`. */
export function consentRoutes(push: Pick<PushService, 'consent'>): readonly Route[] {
  return (['GET', 'POST'] as const).map((method) => ({
    method,
    pattern: `${CONSENT_PATH}{key}`,
    action: 'change',
    target: () => ({ kind: 'Subscription', name: undefined }),
    // A person follows a link out of a mail, to the name that the world knows this server by.
    unguarded: true,
    handle(call) {
      const rate = call.header('webhook-allowed-rate') ?? call.query('rate');
      // HEAD comes here as GET; whatever looks whether a link is there does not consent.
      if (call.headOnly || !push.consent(call.param('key'), rate)) {
        throw new HadronError(
          'RESOURCE_NOT_FOUND',
          'no Subscription waits for this consent: it has been given, the Subscription has changed, or the rate is neither a positive number nor *',
          { field: 'key' },
        );
      }
      call.sendJson(200, { consent: 'given' });
    },
  }));
}
