import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  createStack,
  freePort,
  makeAuthority,
  scratchFolder,
  startServers,
  type ProcessHandle,
  type Servers,
  type Stack,
} from '../kit/index.ts';
import { tidemarkProcess } from '../kit/tidemark.ts';
import { App } from '../integration/support/app.ts';
import { eventually } from '../integration/support/eventually.ts';
import type { GarbageSurface } from './garbage.ts';
import type { Target } from './wire.ts';

/** Everything of ours that listens, on real servers. */
export interface Surfaces {
  readonly targets: Readonly<Record<GarbageSurface, Target>>;
  readonly stack: Stack;
  readonly processes: readonly ProcessHandle[];
  stop(): Promise<void>;
}

const config = {
  namespaces: {
    user: {
      ...{ source: 'main', maxItemBytes: '16KiB', invalidate: [{ table: 'public.users', keys: ['{id}'] }] },
      ttl: { soft: '1s', hard: '5s', staleIfError: '1m' },
      onInvalidate: 'stale',
    },
    plain: { source: 'main', maxItemBytes: '16KiB', invalidation: 'ttl_only' },
    varied: {
      ...{ source: 'main', maxItemBytes: '16KiB', invalidate: [{ table: 'public.users', keys: ['{id}'] }] },
      vary: { headers: ['accept-language'], identity: ['x-tenant'] },
    },
    loaded: {
      ...{ source: 'main', invalidate: [{ table: 'public.users', keys: ['{name}'] }] },
      load: { sql: 'select id, name from users where name = $1' },
      warm: { atStart: 10 },
    },
    written: {
      ...{ source: 'main', maxItemBytes: '16KiB', invalidate: [{ table: 'public.docs', keys: ['{id}'] }] },
      writeThrough: {
        put: {
          sql: 'insert into docs values ($1, $2) on conflict (id) do update set body = excluded.body',
          params: ['{key}', '{bytes}'],
        },
        delete: { sql: 'delete from docs where id = $1' },
      },
    },
  },
};
const injection = `mode: native
source: main
container: { name: tidemark, image: "nobody/tidemark:1" }
`;

/**
 * Starts them; waits inside are short, so that many requests that wait can be tried.
 *
 * @param options.servers default: servers of its own
 */
export async function startSurfaces(options: {
  readonly servers?: Servers | undefined;
  readonly onLine: (name: string, line: string) => void;
}): Promise<Surfaces> {
  const servers = options.servers ?? (await startServers({}));
  const own = options.servers === undefined ? servers : undefined;
  const [scratch, authority] = [scratchFolder('fuzz'), await makeAuthority('fuzz')];
  const stack = await createStack(servers, {
    config,
    initSql: `create table users (id bigint primary key, name text unique); alter table users replica identity full;
      insert into users values (1, 'a'), (2, 'b'); create table docs (id text primary key, body bytea)`,
    supervise: false,
    env: {
      sidecar: ({ postgres }) => ({
        ...{ TIDEMARK_COALESCE_TIMEOUT: '50ms', TIDEMARK_SESSION_TIMEOUT: '50ms' },
        ...{ TIDEMARK_LOAD_URL: postgres, TIDEMARK_WRITE_URL: postgres },
      }),
    },
    onLine: options.onLine,
  });
  const settings = join(scratch.path, 'injection.yaml');
  writeFileSync(settings, injection);
  const { certFile, keyFile } = await authority.issue('webhook');
  const [webhookPort, healthPort] = [await freePort(), await freePort()];
  const webhook = await tidemarkProcess({
    role: 'webhook',
    name: 'webhook',
    supervise: false,
    env: {
      TIDEMARK_INJECTION: settings,
      TIDEMARK_WEBHOOK_LISTEN: `127.0.0.1:${webhookPort}`,
      TIDEMARK_HTTP_LISTEN: `127.0.0.1:${healthPort}`,
      TIDEMARK_WEBHOOK_CERT_FILE: certFile,
      TIDEMARK_WEBHOOK_KEY_FILE: keyFile,
    },
  });
  webhook.log.subscribe((line) => options.onLine('webhook', line));
  await webhook.start();
  const [sidecar] = stack.sidecars;
  if (sidecar === undefined) throw new Error('the stack has no sidecar');
  const app = new App(sidecar.url);
  await eventually(
    async () => {
      if ((await app.get('user', 'is-it-cacheable', { 'cache-control': 'no-cache' })).lease === undefined)
        throw new Error('the sidecar gives no lease');
    },
    { withinMs: 30_000, everyMs: 50 },
  );
  const at = (url: string): Target => ({ port: Number(new URL(url).port) });
  return {
    stack,
    processes: [sidecar, stack.invalidator, stack.applier, webhook],
    targets: {
      sidecar: at(sidecar.url),
      socket: { path: sidecar.socket },
      admin: at(sidecar.admin),
      invalidator: at(stack.invalidator.url),
      applier: at(stack.applier.url),
      webhook: { port: webhookPort, tls: true },
      'webhook-plain': { port: webhookPort },
      'webhook-health': { port: healthPort },
    },
    stop: async () => {
      await webhook.stop();
      await stack.stop();
      await own?.stop();
      await Promise.all([authority.remove(), scratch.remove()]);
    },
  };
}

/** What a process holds, as Linux counts it. */
export interface Held {
  readonly rssMiB: number;
  readonly handles: number;
}

/** Undefined where there is no /proc. */
export function heldBy({ pid }: ProcessHandle): Held | undefined {
  if (pid === undefined || process.platform !== 'linux') return undefined;
  const kib = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return { rssMiB: Math.round(Number(kib) / 1024), handles: readdirSync(`/proc/${pid}/fd`).length };
}
