import { get } from 'node:http';
import { text } from 'node:stream/consumers';
import type { V1Lease, V1Pod } from '@kubernetes/client-node';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFailed } from 'vitest';
import { eventually } from '../integration/support/eventually.ts';
import { sharedServers } from '../kit/shared.ts';
import { type Reading, readOn } from './support/readers.ts';
import { cacheable, changeReachesAll, deployment, injected, ready, type Replica } from './support/application.ts';
import { applicationNamespace, release, releaseNamespace, startWorld, type World } from './support/world.ts';

// The life of a release, as an operator lives it: each test goes on where the one before has stopped.

const schema = `
  create table products (id int primary key, name text not null, price int not null);
  insert into products select n, 'product ' || n, 10 from generate_series(1, 20) n;
`;

const products = { invalidate: [{ table: 'public.products', keys: ['{id}'] }] };
const prices = { invalidate: [{ table: 'public.products', keys: ['price-of-{id}'] }] };
const soon = { withinMs: 60_000, everyMs: 50 };

function cacheNamespace(name: string, spec: object) {
  return {
    apiVersion: 'tidemark.dev/v1',
    kind: 'CacheNamespace',
    metadata: { name, namespace: applicationNamespace },
    spec,
  };
}

function getOverSocket(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ socketPath, path }, (response) => resolve(text(response))).once('error', reject);
  });
}

interface WithConditions {
  readonly status?: { readonly conditions?: readonly { type: string; status: string; message: string }[] };
}

describe('a release', { timeout: 480_000 }, () => {
  const startedMs = performance.now();
  let world: World;
  let replicas: Replica[];
  let reading: Reading | undefined;

  beforeAll(async () => {
    world = await startWorld(sharedServers(), schema);
  });
  afterAll(async () => {
    await reading?.stop();
    await world?.stop();
    process.stderr.write(`tidemark: end to end in ${Math.round((performance.now() - startedMs) / 1000)} s\n`);
  });
  beforeEach(() => {
    onTestFailed(() => void process.stderr.write(`${world?.runner.logs(12).join('\n')}\n`));
  });

  const component = (name: string): Promise<V1Pod[]> =>
    world.pods(releaseNamespace, `app.kubernetes.io/component=${name}`);

  const names = (pods: readonly V1Pod[]): string[] => pods.map(({ metadata }) => metadata?.name ?? '').toSorted();

  /** Who leads, by the Lease: a run of a process in the pod that the name begins with; '' for nobody. */
  const leader = async (): Promise<string> => {
    const [lease] = await world.cluster.objects.list<V1Lease>('coordination.k8s.io/v1', 'Lease', releaseNamespace);
    return lease?.spec?.holderIdentity ?? '';
  };
  const podOf = (holder: string): string => holder.split('_')[0] ?? '';
  const leaderAfter = (before: string): Promise<void> =>
    eventually(async () => expect(['', before]).not.toContain(await leader()), soon);

  const condition = async (reference: ReturnType<typeof cacheNamespace>, type: string) => {
    const found = (await world.cluster.objects.get(reference)) as WithConditions | undefined;
    return found?.status?.conditions?.find((each) => each.type === type);
  };

  /** Ends the readers: nothing that they saw went back, and the cache was of use to them. */
  const nothingWentBack = async (): Promise<void> => {
    const { hits, reads } = reading?.counts() ?? { hits: 0, reads: 0 };
    expect(await reading?.stop()).toEqual([]);
    expect(hits).toBeGreaterThan(reads / 10);
  };

  const processes = (): object[] => replicas.map((replica) => replica.process());

  it('is installed by helm: its pods become ready, one of them follows Postgres', async () => {
    await world.helm('install', world.values({ namespaces: { products } }));
    for (const name of ['invalidator', 'applier', 'webhook']) expect(await component(name)).toHaveLength(2);
    await eventually(async () => {
      const slots = await world.sql('select active from pg_replication_slots where slot_name = $1', [world.slot]);
      expect(slots).toEqual([{ active: true }]);
    }, soon);
  });

  it('gives an annotated workload its cache by the webhook: what is committed is served, and evicted by the next commit', async () => {
    await injected(world);
    await world.cluster.objects.apply(deployment({ generation: '1' }));
    replicas = await ready(world, { generation: '1', 'tidemark.dev/status': expect.any(String) as string });
    for (const { pod } of replicas) {
      const [sidecar] = pod.spec?.initContainers ?? [];
      expect(sidecar).toMatchObject({ name: 'tidemark', restartPolicy: 'Always' });
      expect(pod.spec?.containers[0]?.env).toContainEqual({ name: 'TIDEMARK_URL', value: 'http://127.0.0.1:7070' });
    }
    await cacheable(replicas, 'products');
    await changeReachesAll(world, replicas, { namespace: 'products', key: '1', id: 1 });
    // From now on, whatever is done to the release.
    reading = readOn(world, replicas, 'products', 20);
  });

  it('[I16] takes other values by an upgrade: a new namespace reaches sidecars that run on', async () => {
    const before = processes();
    const invalidators = names(await component('invalidator'));
    await world.helm('upgrade', world.values({ namespaces: { products, prices } }));
    expect(names(await component('invalidator'))).toEqual(invalidators);
    await cacheable(replicas, 'prices');
    await changeReachesAll(world, replicas, { namespace: 'prices', key: 'price-of-2', id: 2 });
    await changeReachesAll(world, replicas, { namespace: 'products', key: '2', id: 2 });
    expect(processes()).toEqual(before);
  });

  it('takes a CacheNamespace, says in its status that it is served, and sidecars that run on serve it', async () => {
    const before = processes();
    const offers = cacheNamespace('offers', { invalidate: [{ table: 'public.products', keys: ['offer-{id}'] }] });
    await world.cluster.objects.apply(offers);
    await eventually(async () => {
      expect(await condition(offers, 'Accepted')).toMatchObject({ status: 'True' });
      expect(await condition(offers, 'Served')).toMatchObject({ status: 'True' });
    }, soon);
    await cacheable(replicas, 'offers');
    await changeReachesAll(world, replicas, { namespace: 'offers', key: 'offer-3', id: 3 });
    expect(processes()).toEqual(before);
  });

  it('says in the status of a CacheNamespace why it is not served, and with which SQL it will be', async () => {
    const byName = cacheNamespace('names', { invalidate: [{ table: 'public.products', keys: ['{name}'] }] });
    await world.cluster.objects.apply(byName);
    const sql = await eventually(async () => {
      const served = await condition(byName, 'Served');
      expect(served).toMatchObject({ status: 'False', message: expect.stringContaining('ALTER TABLE') });
      return /ALTER TABLE [^;]+;/.exec(served?.message ?? '')?.[0] ?? '';
    }, soon);
    await world.sql(sql);
    await eventually(async () => expect(await condition(byName, 'Served')).toMatchObject({ status: 'True' }), soon);
    await cacheable(replicas, 'names');
  });

  it('purges a key everywhere when an application deletes it, by way of the Service of the invalidator', async () => {
    for (const { app } of replicas) {
      await eventually(async () => {
        await app.read('products', '9', async () => 'value');
        expect((await app.get('products', '9')).status).toBe(200);
      }, soon);
    }
    expect((await replicas[0]?.app.delete('products', '9'))?.status).toBe(204);
    for (const { app } of replicas) {
      await eventually(async () => expect((await app.get('products', '9')).status).toBe(404), soon);
    }
  });

  it('[I16] is rolled back: what the upgrade brought is no namespace any more, the others go on', async () => {
    await world.cluster.helm('rollback', release, '1', '--namespace', releaseNamespace, '--wait', '--timeout', '240s');
    for (const { app } of replicas) {
      await eventually(async () => expect((await app.get('prices', 'price-of-2')).status).toBe(404), soon);
    }
    for (const namespace of ['products', 'offers']) await cacheable(replicas, namespace);
    await changeReachesAll(world, replicas, { namespace: 'products', key: '4', id: 4 });
  });

  // How soon is measured in test/kube/leader.test.ts, and held to the times of the Lease in test/sim/leader.
  it('has another leader when the leader is killed, and when its pod goes', async () => {
    const killed = await leader();
    world.runner.container({ namespace: releaseNamespace, name: podOf(killed) }, 'invalidator').signal('SIGKILL');
    await leaderAfter(killed);
    await changeReachesAll(world, replicas, { namespace: 'products', key: '5', id: 5 });

    const gone = await leader();
    await world.cluster.objects.delete({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: podOf(gone), namespace: releaseNamespace },
    });
    await leaderAfter(gone);
    await changeReachesAll(world, replicas, { namespace: 'products', key: '6', id: 6 });
  });

  it('proves itself by helm test', async () => {
    const said = await world.cluster.helm('test', release, '--namespace', releaseNamespace, '--timeout', '180s');
    expect(said).toMatch(/Phase:\s+Succeeded/);
  });

  it('injects without a webhook where the API server offers policies, with a login of the application and a socket', async () => {
    await nothingWentBack();
    const { redis, postgres } = world.values({}) as { redis: { url: string }; postgres: object };
    // What is secret reaches a sidecar by a Secret beside its application.
    const login = { name: 'tidemark-login', namespace: applicationNamespace };
    const stringData = { TIDEMARK_REDIS_URL: redis.url };
    await world.cluster.objects.apply({ apiVersion: 'v1', kind: 'Secret', metadata: login, stringData });
    await world.helm(
      'upgrade',
      world.values({
        namespaces: { products },
        injection: { mode: 'policy', credentialsSecret: login.name, socket: { enabled: true } },
        sidecar: {},
        postgres: { ...postgres, dropSlotOnUninstall: true },
      }),
    );
    await eventually(async () => expect(names(await component('webhook'))).toEqual([]), soon);
    await injected(world);
    await world.cluster.objects.apply(deployment({ generation: '2' }));
    replicas = await ready(world, { generation: '2', 'tidemark.dev/status': expect.any(String) as string });
    await cacheable(replicas, 'products');
    await changeReachesAll(world, replicas, { namespace: 'products', key: '7', id: 7 });
    for (const { socket } of replicas) {
      await eventually(
        async () =>
          expect(JSON.parse(await getOverSocket(socket ?? '', '/v1/status'))).toMatchObject({ l2: { state: 'up' } }),
        soon,
      );
    }
    reading = readOn(world, replicas, 'products', 20);
  });

  it('is uninstalled: the slot is dropped as asked, the definition of CacheNamespace stays, applications run on', async () => {
    const before = processes();
    await world.cluster.helm('uninstall', release, '--namespace', releaseNamespace, '--wait', '--timeout', '240s');
    const slots = await world.sql('select 1 from pg_replication_slots where slot_name = $1', [world.slot]);
    expect(slots).toEqual([]);
    const definition = { name: 'cachenamespaces.tidemark.dev' };
    const kind = { apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition', metadata: definition };
    expect(await world.cluster.objects.get(kind)).toBeDefined();
    for (const { app } of replicas) {
      await eventually(async () => expect((await app.get('products', '7')).status).toBe(404), soon);
    }
    expect(processes()).toEqual(before);
    expect(await reading?.stop()).toEqual([]);
  });
});
