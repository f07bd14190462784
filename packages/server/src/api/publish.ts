/** `POST /v1/streams/{stream}/events`: events in, in binary, structured or batch mode (cloudevents.md §4). */
import { ERRORS, type ErrorCode, HadronError } from '@hadron/base';
import type { CloudEvent, PublishResult } from '@hadron/contracts';
import { contentMode, parseJsonBatch, parseJsonEvent, readHttpEvent, refusedWhole } from '@hadron/contracts/events';
import { parseProtoBatch, parseProtoEvent } from '@hadron/contracts/protobuf';
import type { Call } from './call.ts';
import type { Route } from './router.ts';
import type { AskServices } from './services.ts';

/** A request's events, all together. Each event has the limit of its stream. */
const EVENTS_BYTES_MAX = 32 * 1024 * 1024;
const PARTITION_MAX = 0x7fff_ffff;

export function publishRoute(services: AskServices): Route {
  return {
    method: 'POST',
    pattern: '/v1/streams/{stream}/events',
    action: 'publish',
    target: (param) => ({ kind: 'Stream', name: param('stream') }),
    handle(call) {
      const mode = contentMode(call.request.headers['content-type']);
      const options = { atomic: call.flag('atomic'), partition: call.number('partition', 0, PARTITION_MAX) };
      call.body(EVENTS_BYTES_MAX, (body) => {
        const { events } = services();
        const stream = call.param('stream');
        if (mode === 'json-batch' || mode === 'protobuf-batch') {
          const parsed = mode === 'json-batch' ? parseJsonBatch(body) : parseProtoBatch(body);
          const good = options.atomic ? allGood(parsed) : parsed.filter(isEvent);
          if (good.length === 0) return sendResults(call, parsed, []);
          return events.publish(stream, good, options, (error, results) => {
            if (error === undefined) sendResults(call, parsed, results);
            else call.fail(error);
          });
        }
        const event =
          mode === 'binary'
            ? readHttpEvent(call.request.rawHeaders, body)
            : mode === 'json'
              ? parseJsonEvent(body)
              : parseProtoEvent(body);
        events.publish(stream, [event], options, (error, results) => {
          const [result] = results;
          if (error !== undefined) call.fail(error);
          else if (result === undefined || 'error' in result) call.fail(errorOf(result));
          else call.send(200, 'application/json', `{"results":[${stored(event, result.partition, result.offset)}]}`);
        });
      });
    },
  };
}

function isEvent(item: CloudEvent | HadronError): item is CloudEvent {
  return !(item instanceof HadronError);
}

/** @throws HadronError of the first that is invalid, with its place */
function allGood(parsed: readonly (CloudEvent | HadronError)[]): readonly CloudEvent[] {
  return parsed.map((item, i) => {
    if (item instanceof HadronError) throw refusedWhole(item, i);
    return item;
  });
}

/** A result per event of the batch, in order: those that could not be read have their error already. */
function sendResults(
  call: Call,
  parsed: readonly (CloudEvent | HadronError)[],
  results: readonly PublishResult[],
): void {
  let out = '';
  let next = 0;
  for (const item of parsed) {
    if (out !== '') out += ',';
    if (item instanceof HadronError) {
      out += JSON.stringify({ error: { code: item.code, message: item.detail, field: item.field } });
      continue;
    }
    const result = results[next++];
    if (result !== undefined && !('error' in result)) out += stored(item, result.partition, result.offset);
    else out += JSON.stringify({ id: item.id, source: item.source, error: result?.error });
  }
  call.send(200, 'application/json', `{"results":[${out}]}`);
}

function stored({ id, source }: CloudEvent, partition: number, offset: number): string {
  return `{"id":${JSON.stringify(id)},"source":${JSON.stringify(source)},"partition":${partition},"offset":${offset}}`;
}

function errorOf(result: PublishResult | undefined): HadronError {
  if (result === undefined || !('error' in result)) return new HadronError('INTERNAL', 'the event has no result');
  const { code, message, field } = result.error;
  if (!Object.hasOwn(ERRORS, code)) return new HadronError('INTERNAL', message);
  return new HadronError(code as ErrorCode, message, { field });
}
