import type { KubernetesObject } from '@kubernetes/client-node';
import { compileRules } from '@tidemark/proto';
import { afterAll, beforeAll, beforeEach, expect, it, onTestFailed } from 'vitest';
import type { NamespaceStatus } from '../../invalidator/src/core/namespace-status.ts';
import { eventually } from '../integration/support/eventually.ts';
import { Feed } from '../integration/support/feed.ts';
import { PublishedConfigs } from '../integration/support/published.ts';
import { createStack, scratchFolder, type Stack } from '../kit/index.ts';
import { uniqueWord, withKafkaAdmin } from '../kit/names.ts';
import { type Cluster, startCluster } from '../kit/kube/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { defineCacheNamespaces } from './support/definition.ts';
import { type Replica, Replicas, SHORT } from './support/replicas.ts';

// CacheNamespaces of a real API server become part of the configuration: in the stream, in the configuration topic and in
// their own status.

const API = { apiVersion: 'tidemark.dev/v1', kind: 'CacheNamespace' } as const;
const [OURS, OTHERS] = ['shop', 'lab'];

interface Rule {
  readonly table: string;
  readonly keys?: readonly string[];
  readonly tags?: readonly string[];
}
interface Spec {
  readonly source?: string;
  readonly invalidation?: string;
  readonly ttl?: object;
  readonly invalidate?: readonly Rule[];
}
type Resource = KubernetesObject & { readonly status?: NamespaceStatus };

const soon = { withinMs: 60_000 };

const topic = `${uniqueWord()}.config`;
const scratch = scratchFolder('cache-namespaces');
let cluster: Cluster;
let stack: Stack;
let feed: Feed;
let configs: PublishedConfigs;
let replicas: Replicas;
let leader: Replica;

const env = (more: Readonly<Record<string, string>> = SHORT) => ({
  TIDEMARK_CONFIG_TOPIC: topic,
  TIDEMARK_CACHE_NAMESPACES: 'true',
  ...more,
});

beforeAll(async () => {
  [cluster, stack] = await Promise.all([
    startCluster(),
    createStack(sharedServers(), {
      sidecars: 0,
      applier: false,
      redis: false,
      invalidator: false,
      initSql: `
        create table users (id int primary key, team text);
        create table orders (id int primary key, user_id int);
        create table late (id int, v int);
      `,
      config: {
        namespaces: { fixed: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] } },
      },
    }),
  ]);
  for (const name of [OURS, OTHERS])
    await cluster.objects.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  replicas = new Replicas({ stack, cluster, lease: 'tidemark', folder: scratch.path });
  leader = await replicas.start('first', env());
  await replicas.leader();
  // What a paused leader had under way may come after what its successor wrote.
  feed = await Feed.open(stack, undefined, { expectsLate: true });
  configs = new PublishedConfigs({ brokers: stack.brokers, topic });
}, 300_000);

afterAll(async () => {
  await configs?.stop();
  await feed?.stop();
  await replicas?.stop();
  await Promise.all([stack?.stop(), cluster?.stop()]);
  await withKafkaAdmin(sharedServers().kafka.brokers, (admin) => admin.deleteTopics({ topics: [topic] }));
  await scratch.remove();
});

beforeEach(() => {
  onTestFailed(() => void process.stderr.write(`${replicas.logs().slice(-60).join('\n')}\n`));
});

const put = (name: string, spec: Spec, namespace = OURS) =>
  cluster.objects.apply({ ...API, metadata: { name, namespace }, spec });
const remove = (name: string, namespace = OURS) => cluster.objects.delete({ ...API, metadata: { name, namespace } });
const rules = (...invalidate: readonly Rule[]): Spec => ({ invalidate });

async function statusOf(name: string, namespace = OURS): Promise<NamespaceStatus> {
  const found = await cluster.objects.get<Resource>({ ...API, metadata: { name, namespace } });
  if (found?.status === undefined) throw new Error(`${name} has no status yet`);
  return found.status;
}

/** Conditions by type: status and reason. */
async function conditions(name: string, namespace = OURS): Promise<Readonly<Record<string, string>>> {
  const { conditions: found } = await statusOf(name, namespace);
  return Object.fromEntries(found.map(({ type, status, reason }) => [type, `${status} ${reason}`]));
}

const says = (name: string, expected: Readonly<Record<string, string>>, namespace = OURS) =>
  eventually(async () => expect(await conditions(name, namespace)).toEqual(expected), {
    everyMs: 50,
    withinMs: 60_000,
  });
const ACCEPTED = { Accepted: 'True Accepted', Served: 'True Covered' };

function hashOf(name: string, { invalidate = [] }: Spec): bigint {
  const filled = invalidate.map(({ table, keys = [], tags = [] }) => ({ table, keys, tags }));
  return compileRules([{ name, source: 'main', rules: filled }]).namespaces[0]!.hash;
}

const published = (name: string, spec: Spec | undefined) =>
  eventually(() => {
    const { namespaces } = configs.last.document as { namespaces: Record<string, unknown> };
    expect(namespaces[name]).toEqual(spec && { source: 'main', ...spec });
  }, soon);

it('without the definition the document alone is published, and the resources are followed once it is there', async () => {
  await eventually(() => expect(Object.keys(configs.last.config.namespaces)).toEqual(['fixed']), soon);
  expect(leader.logs().join('\n')).toContain('expected the CustomResourceDefinition');
  await defineCacheNamespaces(cluster);
  await eventually(async () => expect(await leader.metric('config_resources_followed')).toBe(1), soon);
});

it('a resource becomes part of the configuration: of the stream, of the topic, and it says so', async () => {
  const spec = rules({ table: 'public.orders', keys: ['{id}'] });
  await put('orders', spec);
  await published('orders', spec);
  await says('orders', ACCEPTED);
  const hash = hashOf('orders', spec);
  expect(await statusOf('orders')).toMatchObject({
    source: 'main',
    rulesHash: hash.toString(16).padStart(16, '0'),
    observedGeneration: 1,
  });
  await eventually(() => expect(feed.last.covers).toContain(hash), soon);
  expect(Object.keys(configs.last.config.namespaces)).toEqual(['fixed', 'orders']);
});

it('a change keeps the time of what stays, and names the generation that it is about', async () => {
  const before = await statusOf('orders');
  const spec = { ...rules({ table: 'public.orders', keys: ['o:{id}'] }), ttl: { hard: '5m' } };
  await put('orders', spec);
  await published('orders', spec);
  const after = await eventually(async () => {
    const found = await statusOf('orders');
    expect(found.observedGeneration).toBe(2);
    expect(found.conditions.map(({ status }) => status)).toEqual(['True', 'True']);
    return found;
  }, soon);
  expect(after.rulesHash).not.toBe(before.rulesHash);
  const accepted = (status: NamespaceStatus) => status.conditions[0]?.lastTransitionTime;
  expect(accepted(after)).toBe(accepted(before));
});

it('a replica identity that is missing is named with the SQL that mends it, and others are served meanwhile', async () => {
  await put('late', rules({ table: 'public.late', keys: ['{v}'] }));
  await says('late', { Accepted: 'True Accepted', Served: 'False ReplicaIdentity' });
  await says('orders', ACCEPTED);
  const { mend = [] } = await statusOf('late');
  expect(mend).toEqual(['ALTER TABLE public.late REPLICA IDENTITY FULL;']);
  await stack.sql(mend.join('\n'));
  await says('late', ACCEPTED);
  expect((await statusOf('late')).mend).toBeUndefined();
  await remove('late');
  await published('late', undefined);
});

it('a table that is not there is named', async () => {
  await put('absent', rules({ table: 'public.absent', keys: ['{id}'] }));
  await says('absent', { Accepted: 'True Accepted', Served: 'False TableMissing' });
  await stack.sql('create table absent (id int primary key)');
  await says('absent', ACCEPTED);
  await remove('absent');
});

it('a name belongs to the document, then to the oldest; whoever comes after it is told so, and has its turn', async () => {
  const own = rules({ table: 'public.orders', tags: ['all'] });
  await put('fixed', own);
  await says('fixed', { Accepted: 'False NameTaken', Served: 'False NotAccepted' });
  await put('orders', own, OTHERS);
  await says('orders', { Accepted: 'False NameTaken', Served: 'False NotAccepted' }, OTHERS);
  expect((await statusOf('orders', OTHERS)).conditions[0]?.message).toContain(`${OURS}/orders`);
  await remove('orders');
  await published('orders', own);
  await says('orders', ACCEPTED, OTHERS);
  await remove('orders', OTHERS);
  await remove('fixed');
  await published('orders', undefined);
});

it('what belongs to another source is left alone; what nothing invalidates is said to be so', async () => {
  await put('elsewhere', { ...rules({ table: 'public.orders', keys: ['{id}'] }), source: 'other' });
  await put('timed', { invalidation: 'ttl_only' });
  await published('timed', { invalidation: 'ttl_only' });
  await says('timed', { Accepted: 'True Accepted', Served: 'True TtlOnly' });
  const found = await cluster.objects.get<Resource>({ ...API, metadata: { name: 'elsewhere', namespace: OURS } });
  expect(found?.status).toBeUndefined();
  await remove('elsewhere');
  await remove('timed');
  await published('timed', undefined);
});

it('what changes while the API server cannot be reached is taken up afterwards, and nothing falls meanwhile', async () => {
  const spec = rules({ table: 'public.users', tags: ['team:{id}'] });
  const first = feed.batches.length;
  leader.toApi.cut();
  await put('teams', spec);
  await eventually(async () => expect(await leader.metric('config_resources_followed')).toBe(0), soon);
  expect(await leader.readyz()).toEqual([200, 'streaming']);
  leader.toApi.heal();
  await published('teams', spec);
  await says('teams', ACCEPTED);
  expect(feed.epochs).toHaveLength(1);
  for (const { covers } of feed.batches.slice(first)) expect(covers.length).toBeGreaterThan(0);
});

it('[I8] a standby takes over with all that holds, under a later term, and claims it without a break', async () => {
  const spec = rules({ table: 'public.users', tags: ['team:{id}'] });
  const hash = hashOf('teams', spec);
  const second = await replicas.start('second', env());
  const { term } = configs.last;
  const first = feed.batches.length;
  await leader.kill();
  await eventually(() => expect(configs.last.term).toBeGreaterThan(term), soon);
  await published('teams', spec);
  for (const { covers } of feed.batches.slice(first)) expect(covers).toContain(hash);
  leader = second;
});

it('a leader that was paused and wakes up changes nothing', async () => {
  const spec = rules({ table: 'public.users', tags: ['t:{id}'] });
  const third = await replicas.start('third', env());
  const { term } = configs.last;
  leader.pause();
  await eventually(() => expect(configs.last.term).toBeGreaterThan(term), soon);
  await put('teams', spec);
  await published('teams', spec);
  const held = configs.last;
  leader.resume();
  await eventually(async () => expect((await leader.readyz())[1]).toMatch(/^standby/), soon);
  expect(configs.last.term).toBe(held.term);
  await published('teams', spec);
  await says('teams', ACCEPTED);
  expect(feed.epochs).toHaveLength(1);
  await third.stop();
  leader = await replicas.leader();
});

it('needs no more rights than it has: to list and watch, and to write statuses', async () => {
  await replicas.stop();
  const [ns, account] = [OURS, 'invalidator'];
  const rbac = 'rbac.authorization.k8s.io';
  const subjects = [{ kind: 'ServiceAccount', name: account, namespace: ns }];
  const roleRef = { apiGroup: rbac, kind: 'ClusterRole', name: account };
  await cluster.objects.apply(
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: account, namespace: ns } },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRole',
      metadata: { name: account },
      rules: [
        { apiGroups: ['tidemark.dev'], resources: ['cachenamespaces'], verbs: ['list', 'watch'] },
        { apiGroups: ['tidemark.dev'], resources: ['cachenamespaces/status'], verbs: ['update'] },
        { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get', 'update', 'watch'] },
      ],
    },
    { apiVersion: `${rbac}/v1`, kind: 'ClusterRoleBinding', metadata: { name: account }, roleRef, subjects },
  );
  // Its Lease is where the administrator's was.
  const lease = { TIDEMARK_LEASE_NAMESPACE: 'default', TIDEMARK_KUBECONFIG: await cluster.kubeconfigFor(ns, account) };
  leader = await replicas.start('narrow', env({ ...SHORT, ...lease }));
  const spec = rules({ table: 'public.orders', keys: ['narrow:{id}'] });
  await put('orders', spec);
  await published('orders', spec);
  await says('orders', ACCEPTED);
});
