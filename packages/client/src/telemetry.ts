/**
 * OpenTelemetry where its API is installed, by its conventions for CloudEvents: a span for each event published, whose
 * context travels in the event (`traceparent`, `tracestate`), and one for each time it is processed, as its child.
 *
 * https://opentelemetry.io/docs/specs/semconv/cloudevents/cloudevents-spans/
 */
import type * as OpenTelemetry from '@opentelemetry/api';
import type { Message } from './types.ts';

/** The parts of `@opentelemetry/api` that are used. */
type TelemetryApi = Pick<typeof OpenTelemetry, 'context' | 'propagation' | 'trace' | 'SpanKind' | 'SpanStatusCode'>;

/** What is known of an event before it exists. */
interface Identity {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string | undefined;
}

export interface PublishSpan {
  /** `traceparent` and `tracestate` for the event. */
  readonly attributes: Readonly<Record<string, string>>;
  end(error?: unknown): void;
}

/**
 * Spans through this API: for browsers, or where the client cannot find it by itself. In Node it is used where it is
 * installed, without a word.
 *
 * @param api the module `@opentelemetry/api`
 * @example
 * ```ts
 * import * as api from '@opentelemetry/api';
 * import { connect } from '@hadron/client/browser';
 * import { openTelemetry } from '@hadron/client/telemetry';
 * const client = connect({ source: '/page', telemetry: openTelemetry(api) });
 * ```
 */
export function openTelemetry(api: TelemetryApi): Telemetry {
  return new Telemetry(api);
}

/**
 * What {@link openTelemetry} makes, for `connect({ telemetry })`.
 *
 * @example
 * ```ts
 * import * as api from '@opentelemetry/api';
 * import { openTelemetry, type Telemetry } from '@hadron/client/telemetry';
 * const telemetry: Telemetry = openTelemetry(api);
 * ```
 */
export class Telemetry {
  readonly #api: TelemetryApi;

  /** @internal */
  constructor(api: TelemetryApi) {
    this.#api = api;
  }

  publish(stream: string, event: Identity): PublishSpan {
    const { context, propagation, trace, SpanKind } = this.#api;
    const span = this.#tracer.startSpan(`publish ${stream}`, {
      kind: SpanKind.PRODUCER,
      attributes: { ...attributesOf(event), ...messaging('publish', stream) },
    });
    const attributes: Record<string, string> = {};
    propagation.inject(trace.setSpan(context.active(), span), attributes);
    return { attributes: traceContext(attributes), end: (error) => this.#end(span, error) };
  }

  /** Calls `work` inside the span, in the context that came with the event. */
  async process<T>(stream: string, group: string, message: Message, work: () => T): Promise<Awaited<T>> {
    const { context, propagation, trace, SpanKind } = this.#api;
    const parent = propagation.extract(context.active(), Object.fromEntries(message.attributes));
    const span = this.#tracer.startSpan(
      `process ${stream}`,
      {
        kind: SpanKind.CONSUMER,
        attributes: {
          ...attributesOf(message),
          ...messaging('process', stream),
          'messaging.consumer.group.name': group,
          'messaging.destination.partition.id': String(message.partition),
        },
      },
      parent,
    );
    try {
      const result = await context.with(trace.setSpan(parent, span), work);
      this.#end(span, undefined);
      return result;
    } catch (error) {
      this.#end(span, error);
      throw error;
    }
  }

  /** Asked for each time: tests and applications may set their provider late. */
  get #tracer(): OpenTelemetry.Tracer {
    return this.#api.trace.getTracer('@hadron/client');
  }

  #end(span: OpenTelemetry.Span, error: unknown): void {
    if (error !== undefined) {
      span.recordException(error instanceof Error ? error : 'something that is no Error was thrown');
      span.setStatus({ code: this.#api.SpanStatusCode.ERROR });
    }
    span.end();
  }
}

function attributesOf(event: Identity): OpenTelemetry.Attributes {
  return {
    'cloudevents.event_id': event.id,
    'cloudevents.event_source': event.source,
    'cloudevents.event_spec_version': '1.0',
    'cloudevents.event_type': event.type,
    ...(event.subject === undefined ? {} : { 'cloudevents.event_subject': event.subject }),
  };
}

function messaging(operation: string, stream: string): OpenTelemetry.Attributes {
  return { 'messaging.system': 'hadron', 'messaging.operation.name': operation, 'messaging.destination.name': stream };
}

/** Other propagators may use names that no CloudEvents attribute can have. */
function traceContext(carrier: Readonly<Record<string, string>>): Record<string, string> {
  const { traceparent, tracestate } = carrier;
  return {
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(tracestate === undefined || tracestate === '' ? {} : { tracestate }),
  };
}
