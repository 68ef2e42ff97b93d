import { Redis } from 'ioredis';
import { setTimeout as wait } from 'node:timers/promises';
import { KitError } from './error.ts';
import { freePort } from './ports.ts';
import { type RedisServer, startRedis } from './redis.ts';

const SLOTS = 16_384;
const FORM_TIMEOUT_MS = 30_000;

/** One server of a cluster, and a connection to it alone. */
export interface RedisClusterNode extends RedisServer {
  readonly id: string;
  ask(name: string, ...args: (string | number)[]): Promise<unknown>;
}

export interface RedisCluster {
  /** As TIDEMARK_REDIS_URL has it; it names every node. */
  readonly url: string;
  /** The first ones began as masters, the others as replicas of them, in turn. */
  readonly nodes: readonly RedisClusterNode[];
  /** Who has a slot now, as a node that is up says. */
  masterOf(slot: number): Promise<RedisClusterNode>;
  /** Moves a slot with its keys to another master while clients go on, as `redis-cli --cluster reshard` does. */
  moveSlot(slot: number, to: RedisClusterNode): Promise<void>;
  flush(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a cluster of Valkey: unlike Redis 6.2, it can be told on which port its nodes talk to each other. */
export async function startRedisCluster(options: {
  readonly masters: number;
  readonly replicas: number;
}): Promise<RedisCluster> {
  const { masters, replicas } = options;
  const servers: RedisServer[] = [];
  const admins: Redis[] = [];
  const stop = async (): Promise<void> => {
    for (const admin of admins) admin.disconnect();
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    const buses: number[] = [];
    for (let i = 0; i < masters + replicas; i++) {
      const bus = await freePort();
      const settings = {
        ...{
          'cluster-enabled': 'yes',
          'cluster-node-timeout': '4000',
          databases: '1',
          'repl-diskless-sync-delay': '0',
        },
        'cluster-port': `${bus}`,
      };
      servers.push(await startRedis({ flavour: 'valkey', settings }));
      buses.push(bus);
    }
    const connect = ({ url }: RedisServer): Redis => {
      const admin = new Redis(url, { protocol: 2, maxRetriesPerRequest: 1, retryStrategy: () => 100 });
      admin.on('error', () => undefined); // commands fail by themselves
      return admin;
    };
    admins.push(...servers.map(connect));
    const nodes = await Promise.all(
      servers.map(async (server, i): Promise<RedisClusterNode> => {
        const ask = (name: string, ...args: (string | number)[]): Promise<unknown> =>
          (admins[i] as Redis).call(name, ...args);
        return Object.assign(server, { ask, id: String(await ask('CLUSTER', 'MYID')) });
      }),
    );
    await form(nodes, { masters, buses });
    return clusterOf(nodes, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function form(
  nodes: readonly RedisClusterNode[],
  { masters, buses }: { masters: number; buses: readonly number[] },
): Promise<void> {
  const [first] = nodes as [RedisClusterNode];
  for (const [i, node] of nodes.entries()) {
    if (i > 0) await node.ask('CLUSTER', 'MEET', '127.0.0.1', first.port, buses[0] as number);
    if (i >= masters) continue;
    const [from, to] = [i, i + 1].map((at) => Math.floor((SLOTS * at) / masters)) as [number, number];
    await node.ask('CLUSTER', 'ADDSLOTSRANGE', from, to - 1);
  }
  const knowsAll = async (node: RedisClusterNode): Promise<boolean> =>
    String(await node.ask('CLUSTER', 'INFO')).includes(`cluster_known_nodes:${nodes.length}`);
  await until('all nodes know each other', async () => (await Promise.all(nodes.map(knowsAll))).every(Boolean));
  for (const [i, node] of nodes.slice(masters).entries()) {
    const master = nodes[i % masters] as RedisClusterNode;
    await until('a replica knows its master', () =>
      node.ask('CLUSTER', 'REPLICATE', master.id).then(
        () => true,
        () => false,
      ),
    );
  }
  await until('the cluster works', async () => {
    for (const [i, node] of nodes.entries()) {
      if (!String(await node.ask('CLUSTER', 'INFO')).includes('cluster_state:ok')) return false;
      if (i >= masters && !String(await node.ask('INFO', 'replication')).includes('master_link_status:up'))
        return false;
    }
    return true;
  });
}

function clusterOf(nodes: readonly RedisClusterNode[], stop: () => Promise<void>): RedisCluster {
  const masterOf = async (slot: number): Promise<RedisClusterNode> => {
    for (const node of nodes) {
      const answer = await node.ask('CLUSTER', 'SLOTS').catch(() => undefined);
      if (!Array.isArray(answer)) continue;
      const range = (answer as [number, number, [string, number, string]][]).find(
        ([from, to]) => from <= slot && slot <= to,
      );
      const found = nodes.find(({ id }) => id === range?.[2][2]);
      if (found !== undefined) return found;
    }
    throw new KitError(`no node of the cluster says who has slot ${slot}.`);
  };
  return {
    url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    nodes,
    masterOf,
    moveSlot: async (slot, to) => {
      const from = await masterOf(slot);
      await to.ask('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id);
      await from.ask('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id);
      for (;;) {
        const keys = (await from.ask('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[];
        if (keys.length === 0) break;
        await from.ask('MIGRATE', '127.0.0.1', to.port, '', 0, 5_000, 'REPLACE', 'KEYS', ...keys);
      }
      // The one that takes it first, so that the slot is never nobody's.
      for (const node of [to, from, ...nodes])
        await node.ask('CLUSTER', 'SETSLOT', slot, 'NODE', to.id).catch(() => undefined);
    },
    flush: async () => void (await Promise.allSettled(nodes.map((node) => node.ask('FLUSHALL')))),
    stop,
  };
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + FORM_TIMEOUT_MS;
  while (!(await isSo())) {
    if (Date.now() > deadline)
      throw new KitError(`within ${FORM_TIMEOUT_MS / 1000} s it did not come so far that ${what}.`);
    await wait(100);
  }
}
