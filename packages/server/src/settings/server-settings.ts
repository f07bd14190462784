/** The settings of the server around the broker: where it keeps its data, where it listens. The broker's own are in @hadron/broker. */
import { type BrokerSettings, int, list, oneOf, type Setting } from '@hadron/broker';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Ports, both ends included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Everything `startServer` needs to know. */
export interface ServerSettings {
  /** Absolute path. */
  readonly dataDir: string;
  /** 0 lets the system choose. */
  readonly kafkaPort: number;
  readonly httpPort: number;
  /** Nobody asked for this HTTP port, so the next free one does as well. */
  readonly httpPortIsDefault: boolean;
  /** Another port with /metrics, /healthz and /readyz alone. */
  readonly metricsPort?: number;
  /** For clients of the original Hadron. */
  readonly originalPorts?: PortRange;
  /** Origins of pages that may call the API from a browser. */
  readonly corsOrigins: readonly string[];
  /** Addresses to listen on; the ports are the same on each. */
  readonly listen: readonly string[];
  /** Nobody asked for these addresses, so one the machine does not have (::1) may be left out. */
  readonly listenIsDefault: boolean;
  /** The address told to clients; without it, the one they came in on. */
  readonly advertise?: HostPort;
  /** Of this server's resources. */
  readonly namespace: string;
  /** The default of the topic config hadron.durability. */
  readonly durability: 'fsync' | 'os';
  readonly logLevel: LogLevel;
  readonly broker: BrokerSettings;
}

const filled = (allowed: string, fallback: string, doc: string): Setting<string> => ({
  type: 'string',
  fallback,
  allowed,
  doc,
  parse: (text) => (text === '' ? undefined : text),
});

const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;

/** Named as the flag is: `kafka-port` is `--kafka-port`, `HADRON_KAFKA_PORT`, and `kafka-port:` in the file. */
export const SERVER_SETTINGS = {
  data: filled('a folder', '.hadron/data', 'The folder that holds all data; made when missing.'),
  'kafka-port': int(9092, { min: 0, max: 65_535, doc: 'The port for Kafka clients.' }),
  'http-port': int(7000, {
    min: 0,
    max: 65_535,
    doc: 'The port for the API (HTTP, gRPC, WebSocket), /metrics, /healthz and /readyz.',
  }),
  'metrics-port': int(0, {
    min: 0,
    max: 65_535,
    doc: 'Another port for /metrics, /healthz and /readyz alone, such as 7002 of the original; 0: none.',
  }),
  'original-ports': {
    type: 'string',
    fallback: '',
    allowed: 'FIRST-LAST, for example 7100-7199',
    doc: 'Ports for clients of the original Hadron, one for each stream and each of its partitions; without a range they are told apart by the host name alone.',
    parse: (text: string) => (text === '' || parsePortRange(text) !== undefined ? text : undefined),
  } satisfies Setting<string>,
  'cors-origins': {
    ...list('', undefined, {
      doc: 'The pages that may call the API from a browser, by their origin. Without one of them, requests of other sites are refused.',
    }),
    allowed: 'origins such as https://app.example.com, separated by commas; * for every page; or empty',
    parse: (text: string) => {
      const origins = text.split(',').map((origin) => origin.trim().replace(/\/$/, ''));
      if (text.trim() === '') return [];
      return origins.every((origin) => /^(\*|https?:\/\/[^/\s?#@]+)$/.test(origin)) ? [...new Set(origins)] : undefined;
    },
  } satisfies Setting<readonly string[]>,
  listen: {
    ...list('127.0.0.1,::1', undefined, {
      doc: 'The addresses to listen on. There is no authentication yet: beyond loopback, everybody who reaches the port can read and write.',
    }),
    allowed: 'one or more IP addresses or host names, separated by commas',
    parse: (text: string) => {
      const hosts = text.split(',').map((host) => host.trim().replace(/^\[(.*)\]$/, '$1'));
      return hosts.every((host) => /^[A-Za-z0-9_.:%-]+$/.test(host)) ? [...new Set(hosts)] : undefined;
    },
  } satisfies Setting<readonly string[]>,
  advertise: {
    type: 'string',
    fallback: '',
    allowed: 'HOST:PORT, for example broker.example.com:9092 or [::1]:9092',
    doc: 'The address told to clients; without it, the one they came in on.',
    parse: (text: string) => (text === '' || parseHostPort(text) !== undefined ? text : undefined),
  } satisfies Setting<string>,
  namespace: {
    ...filled(
      'a name as Kubernetes takes it: at most 63 lower-case letters, digits and "-"',
      'default',
      "The namespace of this server's resources: one server is one namespace.",
    ),
    parse: (text: string) => (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text) ? text : undefined),
  } satisfies Setting<string>,
  durability: oneOf('fsync', ['fsync', 'os'], {
    doc: 'When a record is acknowledged: fsync, after it is on stable storage; os, when the operating system has it. A topic overrides it with hadron.durability.',
  }),
  'log-level': oneOf('info', LEVELS, { doc: 'The least important log lines that are written.' }),
} as const;

export type ServerKey = keyof typeof SERVER_SETTINGS;

/** `first-last`, both included. Undefined when it is none. */
export function parsePortRange(text: string): PortRange | undefined {
  const [, first, last] = /^(\d{1,5})-(\d{1,5})$/.exec(text.trim()) ?? [];
  const range = { first: Number(first), last: Number(last) };
  return range.first >= 1 && range.first <= range.last && range.last <= 65_535 ? range : undefined;
}

/** `host:port`, with brackets around an IPv6 address. Undefined when it is neither. */
export function parseHostPort(text: string): HostPort | undefined {
  const found = /^(?:\[([0-9A-Fa-f:.%]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text.trim());
  const port = Number(found?.[3]);
  const host = found?.[1] ?? found?.[2];
  return host !== undefined && port >= 1 && port <= 65_535 ? { host, port } : undefined;
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether an address is reachable from this machine only. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
