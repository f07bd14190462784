/** What other commands ask over the Kafka protocol: offsets that a consumer group committed, how many records there are. */
import type { Admin } from '@platformatic/kafka';
import { clientSettings, withClient } from './kafka-client.ts';
import type { Server } from './server.ts';

const EARLIEST = -2n;
const LATEST = -1n;

/** The Kafka address that the server tells of itself. */
export async function bootstrapOf({ request }: Server): Promise<string> {
  type Info = { readonly kafka: readonly { readonly host: string; readonly port: number }[] };
  const [first] = ((await request('GET', '/v1')) as Info).kafka;
  const { host = '127.0.0.1', port = 9092 } = first ?? {};
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

async function withAdmin<R>(bootstrap: string, work: (admin: Admin) => Promise<R>): Promise<R> {
  const { Admin } = await import('@platformatic/kafka');
  return withClient(new Admin(clientSettings(bootstrap)), bootstrap, work);
}

export interface StartOffset {
  readonly partition: number;
  readonly offset: number;
}

/** What a consumer group committed on a topic; partitions without a commit are left out. */
export function committedOffsets(
  bootstrap: string,
  groupId: string,
  topic: string,
  partitions: number,
): Promise<readonly StartOffset[]> {
  return withAdmin(bootstrap, async (admin) => {
    const partitionIndexes = Array.from({ length: partitions }, (_, i) => i);
    const [group] = await admin.listConsumerGroupOffsets({
      groups: [{ groupId, topics: [{ name: topic, partitionIndexes }] }],
    });
    const found = group?.topics.find(({ name }) => name === topic)?.partitions ?? [];
    return found.flatMap(({ partitionIndex, committedOffset }) =>
      committedOffset < 0n ? [] : [{ partition: partitionIndex, offset: Number(committedOffset) }],
    );
  });
}

/** Between the oldest offset and the end, of one partition or all. */
export function recordCount(bootstrap: string, topic: string, partitions: readonly number[]): Promise<number> {
  return withAdmin(bootstrap, async (admin) => {
    const sum = async (timestamp: bigint): Promise<number> => {
      const wanted = partitions.map((partitionIndex) => ({ partitionIndex, timestamp }));
      const [answer] = await admin.listOffsets({ topics: [{ name: topic, partitions: wanted }] });
      return (answer?.partitions ?? []).reduce((total, { offset }) => total + Number(offset), 0);
    };
    return (await sum(LATEST)) - (await sum(EARLIEST));
  });
}
