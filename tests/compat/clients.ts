/**
 * The clients of the table as data: how each is made ready on this machine, how it is started, and for how long.
 * A client that cannot be made ready is skipped with the reason; nothing here fails a run.
 */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { kit, kitTotal, prepareKit } from './cesql/kit.ts';
import { kafkaJars } from './launch.ts';
import { migrationSteps } from './migration/steps.ts';
import { cacheDir, lastLine, mavenJars, repoRoot, run, which, works } from './lib/shell.ts';

/** What `prepare` finds: a command that takes BOOTSTRAP PREFIX PARTITIONS, or why there is none. */
type Prepared = { command: string[] } | { skipped: string };

export interface CompatClient {
  readonly name: string;
  readonly about: string;
  /** Hard limit for all its steps together. */
  readonly limitMs: number;
  /** True: it tests a package of ours and speaks to no server. */
  readonly serverless?: true;
  /** Own steps instead of the common scenario. */
  readonly steps?: readonly string[];
  prepare(): Promise<Prepared>;
}

/** The common scenario, in the order of the table. */
export const scenario: readonly string[] = [
  'codec none',
  'codec gzip',
  'codec snappy',
  'codec lz4',
  'codec zstd',
  'headers',
  'nulls',
  'large',
  'seek by time',
  'idempotent',
  'commit',
  'group',
  'static member',
  'admin',
  'auto-create',
];

const here = join(repoRoot, 'tests/compat');
const nodeScript = (url: string): string[] => [
  process.execPath,
  '--disable-warning=TimeoutNegativeWarning', // kafkajs
  fileURLToPath(url),
];

/** Pinned, so that a new release is a decision. */
const confluentKafkaVersion = '2.16.1';

const fromNodeModules = async (name: string, script: string): Promise<Prepared> =>
  existsSync(join(repoRoot, 'node_modules', name))
    ? { command: nodeScript(script) }
    : { skipped: `${name} is not in node_modules (npm ci)` };

export const clients: readonly CompatClient[] = [
  {
    name: 'kcat',
    about: 'kcat from Debian (librdkafka 2.0.2)',
    limitMs: 90_000,
    prepare: () => fromDebian('kcat', 'kcat', { command: nodeScript(import.meta.resolve('./kcat/run.ts')) }),
  },
  {
    name: 'kafkajs',
    about: 'kafkajs 2.2.4',
    limitMs: 90_000,
    prepare: () => fromNodeModules('kafkajs', import.meta.resolve('./kafkajs/run.ts')),
  },
  {
    name: 'platformatic',
    about: '@platformatic/kafka',
    limitMs: 90_000,
    prepare: () => fromNodeModules('@platformatic/kafka', import.meta.resolve('./platformatic/run.ts')),
  },
  {
    name: 'python',
    about: `confluent-kafka ${confluentKafkaVersion} (current librdkafka)`,
    limitMs: 90_000,
    async prepare() {
      if (!works('python3', '--version')) return { skipped: 'python3 is not installed' };
      const venv = cacheDir('compat', 'python');
      const python = join(venv, 'bin/python');
      const probe = `import confluent_kafka as c; assert c.__version__ == "${confluentKafkaVersion}"`;
      if (!works(python, '-c', probe)) {
        const made = await run(['python3', '-m', 'venv', venv], { timeoutMs: 60_000 });
        if (made.code !== 0) return { skipped: `python3 -m venv: ${lastLine(made)}` };
        const wanted = `confluent-kafka==${confluentKafkaVersion}`;
        const pip = await run([python, '-m', 'pip', 'install', '-q', wanted], { timeoutMs: 180_000 });
        if (pip.code !== 0) return { skipped: `pip install ${wanted}: ${lastLine(pip)}` };
      }
      return { command: [python, join(here, 'python/run.py')] };
    },
  },
  {
    name: 'java',
    about: 'kafka-clients 4.3.1 (Java producer, consumer, admin)',
    limitMs: 90_000,
    async prepare() {
      if (!works('javac', '--version')) return { skipped: 'no JDK (javac) is installed' };
      const dir = cacheDir('compat', 'java');
      const jars = await mavenJars(join(here, 'java/pom.xml'), join(dir, 'libs'));
      if ('missing' in jars) return { skipped: jars.missing };
      const source = join(here, 'java/Compat.java');
      const classes = join(dir, 'classes');
      if (!newer(join(classes, 'Compat.class'), source)) {
        mkdirSync(classes, { recursive: true });
        const built = await run(['javac', '-encoding', 'UTF-8', '-cp', jars.jars, '-d', classes, source], {
          timeoutMs: 120_000,
        });
        if (built.code !== 0) return { skipped: `javac: ${lastLine(built)}` };
      }
      return { command: ['java', '-Xmx256m', '-Dfile.encoding=UTF-8', '-cp', `${classes}:${jars.jars}`, 'Compat'] };
    },
  },
  { name: 'franz-go', about: 'franz-go (Go)', limitMs: 90_000, prepare: () => goProgram('franz') },
  { name: 'sarama', about: 'sarama (Go)', limitMs: 90_000, prepare: () => goProgram('sarama') },
  {
    name: 'kafka-tools',
    about: "Kafka 4.3.1's command-line tools",
    limitMs: 150_000,
    // biome-ignore format: a list
    steps: ['kafka-topics', 'console', 'get-offsets', 'verifiable', 'describe topics', 'configs', 'consumer groups',
      'more partitions', 'delete records', 'log dirs'],
    async prepare() {
      if (!works('java', '-version')) return { skipped: 'Java is not installed' };
      const jars = await kafkaJars();
      return 'missing' in jars
        ? { skipped: jars.missing }
        : { command: nodeScript(import.meta.resolve('./kafka-tools/run.ts')) };
    },
  },
  {
    name: 'cesql',
    about: 'the conformance cases of CESQL 1.0',
    limitMs: 30_000,
    serverless: true,
    steps: [...Object.values(kit).map((file) => file.step), kitTotal.step],
    async prepare() {
      const kit = await prepareKit();
      if ('skipped' in kit) return kit;
      const script = fileURLToPath(import.meta.resolve('./cesql/run.ts'));
      return { command: [process.execPath, '--conditions=hadron-source', script, kit.dir] };
    },
  },
  {
    name: 'migration',
    about: "BullMQ's and Redis Streams' side of docs/coming-from-*.md",
    limitMs: 120_000,
    serverless: true,
    steps: migrationSteps,
    prepare() {
      const script = fileURLToPath(import.meta.resolve('./migration/run.ts'));
      return fromDebian('redis-server', 'redis-server', {
        command: [process.execPath, '--conditions=hadron-source', script],
      });
    },
  },
];

/** `prepared`, where the program is there or Debian's package of it can be installed. */
async function fromDebian(program: string, name: string, prepared: Prepared): Promise<Prepared> {
  if (which(program) !== undefined) return prepared;
  if (which('apt-get') === undefined) return { skipped: `${program} is not installed` };
  if (process.getuid?.() !== 0) return { skipped: `${program} is not installed (apt-get install ${name}, as root)` };
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  await run(['apt-get', 'update', '-qq'], { env, timeoutMs: 120_000 });
  const installed = await run(['apt-get', 'install', '-y', '-qq', name], { env, timeoutMs: 180_000 });
  return installed.code === 0 ? prepared : { skipped: `apt-get install ${name}: ${lastLine(installed)}` };
}

async function goProgram(name: string): Promise<Prepared> {
  const go = which('go');
  if (go === undefined) return { skipped: 'Go is not installed' };
  const program = join(cacheDir('compat', 'go'), name);
  // The first build compiles the modules (about 30 s); later ones are a look at the build cache.
  const built = await run([go, 'build', '-o', program, `./${name}`], {
    cwd: join(here, 'go'),
    timeoutMs: 300_000,
    env: { GOTOOLCHAIN: 'local', GOFLAGS: '-mod=readonly' },
  });
  return built.code === 0 ? { command: [program] } : { skipped: `go build: ${lastLine(built)}` };
}

function newer(file: string, than: string): boolean {
  return existsSync(file) && statSync(file).mtimeMs >= statSync(than).mtimeMs;
}
