import { Redis } from 'ioredis';
import { setTimeout as wait } from 'node:timers/promises';
import { KitError } from './error.ts';
import { freePort } from './ports.ts';
import { type RedisServer, startRedis } from './redis.ts';

const SLOTS = 16_384;
const TIMEOUT_MS = 120_000;
/** Until a test wants it otherwise nobody is taken for dead, however busy the machine is (the server's own default is as long). */
const NODE_TIMEOUT_MS = 15_000;

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
  /** For how long a node must be silent until the others take it for dead, and a replica stands in for it. */
  setNodeTimeout(ms: number): Promise<void>;
  /** Moves a slot with its keys to another master while clients go on, as `redis-cli --cluster reshard` does; all nodes agree on it then. */
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
          'cluster-node-timeout': `${NODE_TIMEOUT_MS}`,
          // An election may fail as often as it likes: the replica stays good enough for the next one.
          'cluster-replica-validity-factor': '0',
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
  const [first, ...others] = nodes as [RedisClusterNode, ...RedisClusterNode[]];
  for (const [i, node] of nodes.entries()) {
    // Of two with the same epoch one takes a new one, at any time, and with it every slot that it still believes to be its own.
    await node.ask('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
    if (i >= masters) continue;
    const [from, to] = [i, i + 1].map((at) => Math.floor((SLOTS * at) / masters)) as [number, number];
    await node.ask('CLUSTER', 'ADDSLOTSRANGE', from, to - 1);
  }
  const namesOf = (all: readonly { readonly id: string }[]): string =>
    all
      .map(({ id }) => id)
      .toSorted()
      .join(' ');
  await until('all nodes know each other', async () => {
    const views = await Promise.all(nodes.map(viewOf));
    // A handshake that takes longer than the node timeout is forgotten, and nobody begins it again.
    for (const [i, node] of others.entries()) {
      if (views[i + 1]?.some(({ id }) => id === first.id) !== true)
        await node.ask('CLUSTER', 'MEET', '127.0.0.1', first.port, buses[0] as number);
    }
    return views.every((view) => namesOf(view) === namesOf(nodes));
  });
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
    const views = await Promise.all(nodes.map(viewOf));
    // One that does not know of a replica yet would not have it agree on a slot.
    const believe = views.map((view) => JSON.stringify(view.toSorted((a, b) => (a.id < b.id ? -1 : 1))));
    if (new Set(believe).size > 1) return false;
    for (const [i, node] of nodes.entries()) {
      if (!String(await node.ask('CLUSTER', 'INFO')).includes('cluster_state:ok')) return false;
      if (i >= masters && !String(await node.ask('INFO', 'replication')).includes('master_link_status:up'))
        return false;
    }
    return true;
  });
}

/** What a node believes of one that it knows. */
interface Known {
  readonly id: string;
  readonly master: string;
  readonly slots: readonly string[];
}

/** Whom a node knows well; those whose hand it still shakes have no name yet (valkey.io/commands/cluster-nodes). */
async function viewOf(node: RedisClusterNode): Promise<readonly Known[]> {
  const lines = String(await node.ask('CLUSTER', 'NODES'))
    .trim()
    .split('\n');
  return lines.flatMap((line) => {
    const [id = '', , flags = '', master = '', , , , , ...slots] = line.split(' ');
    return /handshake|noaddr/.test(flags) ? [] : [{ id, master, slots }];
  });
}

function clusterOf(nodes: readonly RedisClusterNode[], stop: () => Promise<void>): RedisCluster {
  const ownerOf = async (node: RedisClusterNode, slot: number): Promise<RedisClusterNode | undefined> => {
    const answer = await node.ask('CLUSTER', 'SLOTS').catch(() => undefined);
    if (!Array.isArray(answer)) return undefined;
    const range = (answer as [number, number, [string, number, string]][]).find(
      ([from, to]) => from <= slot && slot <= to,
    );
    return nodes.find(({ id }) => id === range?.[2][2]);
  };
  const masterOf = async (slot: number): Promise<RedisClusterNode> => {
    for (const node of nodes) {
      const found = await ownerOf(node, slot);
      if (found !== undefined) return found;
    }
    throw new KitError(`no node of the cluster says who has slot ${slot}.`);
  };
  /** Replicas have to agree within 2 s; where they are slower nothing is changed, and it is said again. */
  const tell = (node: RedisClusterNode, slot: number, ...state: readonly [string, string]): Promise<void> =>
    until(`a node takes in that slot ${slot} is ${state[0]}`, () =>
      node.ask('CLUSTER', 'SETSLOT', slot, ...state).then(
        () => true,
        (error: unknown) => {
          if (/NOREPLICAS/.test(String(error))) return false;
          throw error;
        },
      ),
    );
  return {
    url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    nodes,
    masterOf,
    setNodeTimeout: async (ms) => {
      for (const node of nodes) await node.ask('CONFIG', 'SET', 'cluster-node-timeout', ms);
    },
    moveSlot: async (slot, to) => {
      const from = await masterOf(slot);
      await tell(to, slot, 'IMPORTING', from.id);
      await tell(from, slot, 'MIGRATING', to.id);
      for (;;) {
        const keys = (await from.ask('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[];
        if (keys.length === 0) break;
        await from.ask('MIGRATE', '127.0.0.1', to.port, '', 0, TIMEOUT_MS, 'REPLACE', 'KEYS', ...keys);
      }
      // The one that takes it first, so that the slot is never nobody's.
      for (const node of [to, from]) await tell(node, slot, 'NODE', to.id);
      await until(`all nodes agree on who has slot ${slot}`, async () => {
        const owners = await Promise.all(nodes.map((node) => ownerOf(node, slot)));
        const strays = nodes.filter((_, i) => owners[i] !== to);
        // Replicas take no such word, and hear of it from their masters.
        for (const node of strays) await node.ask('CLUSTER', 'SETSLOT', slot, 'NODE', to.id).catch(() => undefined);
        return strays.length === 0;
      });
    },
    flush: async () => void (await Promise.allSettled(nodes.map((node) => node.ask('FLUSHALL')))),
    stop,
  };
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + TIMEOUT_MS;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new KitError(`within ${TIMEOUT_MS / 1000} s it did not come so far that ${what}.`);
    await wait(100);
  }
}
