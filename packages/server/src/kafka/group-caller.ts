/** Between group handlers and the coordinator's shell. */
import { HadronError } from '@hadron/base';
import type { Action, GroupCaller, GroupResponse } from '@hadron/broker';
import type { KafkaRequest } from './connection.ts';
import type { KafkaDoor } from './door.ts';
import { groupCode } from './error-codes.ts';

/** A caller that answers `request`. `failed` gets a Kafka code that makes the client look for its coordinator again. */
export function caller<R extends GroupResponse>(
  door: KafkaDoor,
  request: KafkaRequest,
  answer: (response: R) => void,
  failed: (code: number) => void,
): GroupCaller<R> {
  return {
    answer,
    failed(error) {
      const code = groupCode(error.code);
      door.error(request.apiKey, code);
      failed(code);
    },
  };
}

/**
 * Asks the coordinator, if whoever calls may do this to the group. To take part in a group is to subscribe; to ask for it is
 * to read.
 */
export function askCoordinator<R extends GroupResponse>(
  door: KafkaDoor,
  action: Action,
  groupId: string,
  to: GroupCaller<R>,
  decide: Parameters<typeof door.core.groups.run<R>>[1],
): void {
  if (door.forbids(action, groupId, 'KafkaGroup')) {
    to.failed(new HadronError('PERMISSION_DENIED', `${action} of group ${groupId} is not allowed`));
  } else door.core.groups.run<R>(to, decide);
}

/** The coordinator keeps it longer than the frame lives. */
export const copyOf = (bytes: Buffer): Buffer => Buffer.from(bytes);

export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
