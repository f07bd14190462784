/** The Kafka client of the `kafka` commands: @platformatic/kafka, loaded when a command needs it, its errors put in one line. */
import { parseHostPort } from '@hadron/server';
import { CommandFailure } from './failure.ts';

/** What all clients of the command line are made with. */
export function clientSettings(bootstrap: string) {
  const brokers = bootstrap.split(',').map((text) => {
    const address = parseHostPort(text);
    if (address === undefined) {
      throw new CommandFailure(
        'REQUEST_INVALID',
        `--bootstrap ${text}: expected HOST:PORT, for example 127.0.0.1:9092`,
      );
    }
    return address;
  });
  return {
    clientId: 'hadron-cli',
    bootstrapBrokers: brokers,
    connectTimeout: 3_000,
    timeout: 10_000,
    retries: 1,
    retryDelay: 100,
  };
}

/** What a protocol error means, where the server adds nothing. */
const MEANING: Readonly<Record<string, string>> = {
  INVALID_TOPIC_EXCEPTION: 'not a topic name: use letters, digits, ".", "_" and "-", at most 249',
  INVALID_CONFIG: 'a topic config is unknown or its value is not allowed',
  INVALID_PARTITIONS: 'not a number of partitions this server allows',
  MESSAGE_TOO_LARGE: 'a record is larger than max.message.bytes of the topic',
};

/** What to do about it. */
const REMEDY: Readonly<Record<string, string>> = {
  UNKNOWN_TOPIC_OR_PARTITION: '`hadron kafka topics list` shows what there is',
  TOPIC_ALREADY_EXISTS: '`hadron kafka topics describe NAME` shows it',
  KAFKA_STORAGE_ERROR: 'the disk is full or failing; the server goes on by itself when it recovers',
};

export function unknownTopic(topic: string): CommandFailure {
  return new CommandFailure(
    'UNKNOWN_TOPIC_OR_PARTITION',
    `there is no topic ${topic}; ${REMEDY['UNKNOWN_TOPIC_OR_PARTITION']}`,
  );
}

interface KafkaError {
  readonly code?: string;
  readonly message?: string;
  readonly apiId?: string;
  readonly serverErrorMessage?: string | null;
  readonly errors?: readonly unknown[];
  readonly cause?: unknown;
}

/** The failure behind an error of the client, which wraps errors in errors. */
export function kafkaFailure(error: unknown, bootstrap: string): unknown {
  if (error instanceof CommandFailure) return error;
  const protocol = findKafkaError(error, (e) => typeof e.apiId === 'string');
  if (protocol !== undefined) {
    const code = protocol.apiId as string;
    const said = (protocol.serverErrorMessage || MEANING[code] || protocol.message || 'the server refused').replace(
      /\.$/,
      '',
    );
    const remedy = REMEDY[code];
    return new CommandFailure(code, remedy === undefined ? said : `${said}; ${remedy}`, { cause: error });
  }
  const network = findKafkaError(
    error,
    (e) => e.code === 'PLT_KFK_NETWORK' || e.code === 'PLT_KFK_TIMEOUT' || e.code === 'ECONNREFUSED',
  );
  if (network !== undefined) {
    const advice = 'start one with `npm start`, or name another with --bootstrap HOST:PORT';
    return new CommandFailure('CONNECTION_FAILED', `no server answers at ${bootstrap}: ${advice}`, { cause: error });
  }
  const misuse = findKafkaError(error, (e) => e.code === 'PLT_KFK_USER');
  if (misuse !== undefined) return new CommandFailure('REQUEST_INVALID', misuse.message ?? 'refused', { cause: error });
  return error;
}

/** The first error that matches among an error, those it is made of, and its causes. */
export function findKafkaError(
  error: unknown,
  match: (error: KafkaError) => boolean,
  depth = 0,
): KafkaError | undefined {
  if (typeof error !== 'object' || error === null || depth > 8) return undefined;
  const candidate = error as KafkaError;
  if (match(candidate)) return candidate;
  for (const inner of [...(candidate.errors ?? []), candidate.cause]) {
    const found = findKafkaError(inner, match, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

interface Closable {
  close(): unknown;
}

/** Runs `work` with a client and closes it, whatever happens. */
export async function withClient<C extends Closable, R>(
  client: C,
  bootstrap: string,
  work: (client: C) => Promise<R>,
): Promise<R> {
  try {
    return await work(client);
  } catch (error) {
    throw kafkaFailure(error, bootstrap);
  } finally {
    await Promise.resolve(client.close()).catch(() => {}); // a connection that is gone closes badly; the work is done
  }
}
