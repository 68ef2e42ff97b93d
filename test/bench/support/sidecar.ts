import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { parseConfig, rulesOfSource } from '@tidemark/proto';
import { createInterface } from 'node:readline';
import { scratchFolder, startKafka } from '../../kit/index.ts';
import { createTopic } from '../../kit/names.ts';
import { programOf } from '../../kit/programs.ts';
import { Stream } from '../../integration/support/stream.ts';

const document = {
  sources: { main: { topic: 'bench' } },
  namespaces: { user: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] } },
};

export interface BenchSidecar {
  readonly port: number;
  readonly pid: number;
  /** Of its metrics, by their name with labels. */
  metric(name: string): Promise<number>;
  stop(): Promise<void>;
}

/** A sidecar that follows a real Kafka, alone with it. */
export async function startBenchSidecar(env: Readonly<Record<string, string>> = {}): Promise<BenchSidecar> {
  const scratch = scratchFolder('bench');
  const config = join(scratch.path, 'tidemark.yaml');
  writeFileSync(config, JSON.stringify(document));
  const kafka = await startKafka();
  await createTopic({ kafka }, 'bench', {});
  const parsed = parseConfig(document);
  if (!parsed.ok) throw new Error('the configuration is not valid');
  const covers = rulesOfSource(parsed.config, 'main').namespaces.map(({ hash }) => hash);
  const stream = new Stream({ brokers: kafka.brokers, topic: 'bench', covers });
  await stream.start();
  stream.beat(1000);
  const program = await programOf('sidecar');
  const child = spawn(
    process.execPath,
    [
      ...(process.env['BENCH_FLAGS'] ?? '').split(' ').filter((flag) => flag !== ''),
      ...program.args,
      '--config',
      config,
    ],
    {
      env: {
        ...process.env,
        ...program.env,
        TIDEMARK_KAFKA_BROKERS: kafka.brokers.join(','),
        TIDEMARK_LISTEN: '127.0.0.1:0',
        TIDEMARK_ADMIN_LISTEN: '127.0.0.1:0',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const lines = createInterface({ input: child.stdout });
  const said = (msg: string): Promise<Record<string, string>> =>
    new Promise((resolve, reject) => {
      lines.on('line', (line) => {
        if (line.includes(`"msg":"${msg}"`)) resolve(JSON.parse(line) as Record<string, string>);
      });
      child.once('exit', (code) => reject(new Error(`the sidecar ended with ${code}`)));
    });
  const [bound] = await Promise.all([said('listening'), said('ready')]);
  const portOf = (address: string): number => Number(address.split(':').at(-1));
  const adminPort = portOf(bound['admin'] as string);
  return {
    port: portOf(bound['url'] as string),
    pid: child.pid as number,
    async metric(name) {
      const text = await page(adminPort, '/metrics');
      const line = text.split('\n').find((each) => each.startsWith(`${name} `));
      if (line === undefined) throw new Error(`there is no metric ${name}`);
      return Number(line.slice(name.length + 1));
    },
    async stop() {
      child.kill('SIGTERM');
      await once(child, 'exit');
      await stream.stop();
      await kafka.stop();
      await scratch.remove();
    },
  };
}

export function page(
  port: number,
  path: string,
  asked: { method?: string; headers?: Record<string, string>; body?: Buffer } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', headers = {}, body } = asked;
    const outgoing = request({ port, host: '127.0.0.1', path, method, headers }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
      answer.on('end', () => resolve(text));
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Fills keys through the interface, as an application would: a miss, then a PUT with its lease. */
export async function fillKeys(port: number, options: { from: number; to: number; bytes: number }): Promise<void> {
  const body = Buffer.alloc(options.bytes, 'x');
  let next = options.from;
  const worker = async (): Promise<void> => {
    while (next < options.to) {
      const path = pathOf(next++);
      const lease = await leaseFor(port, path);
      await page(port, path, {
        method: 'PUT',
        headers: { 'tidemark-lease': lease, 'content-type': 'application/json', 'content-length': String(body.length) },
        body,
      });
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}

export function pathOf(n: number): string {
  return `/v1/cache/user/${encodeURIComponent(`user:${n}`)}`;
}

export function leaseFor(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ port, host: '127.0.0.1', path, headers: { 'cache-control': 'no-cache' } }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(String(answer.headers['tidemark-lease'])));
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}
