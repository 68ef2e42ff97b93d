import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CoordinationV1Api, type V1Lease, Watch } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { openKubeClient } from '../../invalidator/src/adapters/kube-client.ts';
import { openKubeLease } from '../../invalidator/src/adapters/kube-lease.ts';
import type { LeaseRecord, LeaseStore, StoredLease } from '../../invalidator/src/core/ports.ts';
import { Dice } from '../../sidecar/src/testing/random.ts';
import { type Cluster, startCluster } from '../kit/kube/index.ts';
import { scratchFolder } from '../kit/scratch.ts';
import { LeaseServer } from '../sim/leader/lease-server.ts';
import { SimClock, VirtualTime } from '../sim/parts/time.ts';

// What the election relies on, of a real API server and of the one that its simulation has; and what only the real one does.

const NAMESPACE = 'leases';
/** What a busy machine needs; where it is the deadline that is tested, it is less. */
const DEADLINE_MS = 30_000;
const NEAR_DEADLINE_MS = 1500;
const soon = { timeout: 30_000 };
const LEASE = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };

const scratch = scratchFolder('lease');
let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
  const subjects = [{ kind: 'ServiceAccount', name: 'replica', namespace: NAMESPACE }];
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'replica' };
  const rules = [
    {
      apiGroups: ['coordination.k8s.io'],
      resources: ['leases'],
      resourceNames: ['given', 'labelled'],
      verbs: ['get', 'update', 'watch'],
    },
  ];
  const object = (apiVersion: string, kind: string, name: string, fields: object = {}) => ({
    apiVersion,
    kind,
    metadata: { name, namespace: NAMESPACE },
    ...fields,
  });
  await cluster.objects.apply(
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    object('v1', 'ServiceAccount', 'replica'),
    object('rbac.authorization.k8s.io/v1', 'Role', 'replica', { rules }),
    object('rbac.authorization.k8s.io/v1', 'RoleBinding', 'replica', { roleRef, subjects }),
    object('coordination.k8s.io/v1', 'Lease', 'given', { spec: {} }),
    {
      ...LEASE,
      metadata: { name: 'labelled', namespace: NAMESPACE, labels: { 'app.kubernetes.io/name': 'tidemark' } },
      spec: {},
    },
  );
  // The API server hears of roles by a watch.
  const given = await realStore('given', { account: 'replica' });
  await vi.waitFor(() => given.read(), soon);
});
afterAll(async () => {
  await cluster?.stop();
  await scratch.remove();
});

/** With the administrator's rights, or with those of a replica. */
async function realStore(
  name: string,
  { account, deadlineMs = DEADLINE_MS }: { readonly account?: string; readonly deadlineMs?: number } = {},
): Promise<LeaseStore> {
  const kubeconfig = account === undefined ? cluster.kubeconfig : await cluster.kubeconfigFor(NAMESPACE, account);
  const client = await openKubeClient(kubeconfig);
  const api = client.api(CoordinationV1Api, deadlineMs);
  return openKubeLease({ api, watch: new Watch(client.config), namespace: NAMESPACE, name });
}

function fake(): { store: LeaseStore; server: LeaseServer } {
  const time = new VirtualTime();
  const server = new LeaseServer({ time, dice: new Dice(1), checksVersions: true });
  const store = server.storeFor({
    clock: new SimClock(time),
    network: { isCut: false, trouble: 0 },
    deadlineMs: DEADLINE_MS,
  });
  const inTime = async <T>(answer: Promise<T>): Promise<T> => {
    await time.advance(100);
    return answer;
  };
  return {
    server,
    store: {
      read: () => inTime(store.read()),
      create: (record) => inTime(store.create(record)),
      update: (record, version) => inTime(store.update(record, version)),
      watch: (onChange, stop) => store.watch(onChange, stop),
    },
  };
}

const first: LeaseRecord = {
  holder: 'a',
  durationS: 15,
  acquiredAtMs: 1_700_000_000_123,
  renewedAtMs: 1_700_000_000_456,
  transitions: 0,
};

function written(answer: StoredLease | 'conflict' | undefined): StoredLease {
  if (answer === undefined || answer === 'conflict') throw new Error(`expected a lease, found ${answer}`);
  return answer;
}

describe.each<[string, () => Promise<LeaseStore>]>([
  ['the simulated API server', async () => fake().store],
  ['a real API server', () => realStore('fresh')],
])('a lease in %s', (_where, open) => {
  it('is made once, changes for whoever knows its version, and tells those who watch', async () => {
    const store = await open();
    const stop = new AbortController();
    const seen: StoredLease[] = [];
    const watching = store.watch((lease) => seen.push(lease), stop.signal);
    expect(await store.read()).toBeUndefined();
    const made = written(await store.create(first));
    expect(made.record).toEqual(first);
    expect(await store.create({ ...first, holder: 'b' })).toBe('conflict');
    expect(await store.read()).toEqual(made);

    const renewed = { ...first, renewedAtMs: first.renewedAtMs + 2000 };
    const second = written(await store.update(renewed, made.version));
    expect(second.record).toEqual(renewed);
    expect(second.version).not.toBe(made.version);
    expect(await store.update({ ...first, holder: 'b' }, made.version)).toBe('conflict');
    expect(await store.read()).toEqual(second);

    const free = { ...renewed, holder: '', durationS: 1 };
    const third = written(await store.update(free, second.version));
    expect(third.record).toEqual(free);
    const taken = { ...first, holder: 'b', transitions: 1 };
    const fourth = written(await store.update(taken, third.version));
    await vi.waitFor(async () => {
      await store.read(); // simulated time goes on
      expect(seen.map(({ version }) => version)).toContain(fourth.version);
    }, soon);
    expect(seen.at(-1)).toEqual(fourth);
    stop.abort();
    await watching;
  });
});

describe.each<[string, () => Promise<readonly [LeaseStore, () => Promise<void>]>]>([
  [
    'the simulated API server',
    async () => {
      const { store, server } = fake();
      return [store, async () => server.delete()];
    },
  ],
  [
    'a real API server',
    async () => [
      await realStore('lost'),
      () => cluster.objects.delete({ ...LEASE, metadata: { name: 'lost', namespace: NAMESPACE } }),
    ],
  ],
])('a lease that is deleted in %s', (_where, open) => {
  it('is a conflict to whoever knew it, and can be made again', async () => {
    const [store, remove] = await open();
    const made = written(await store.create(first));
    await remove();
    expect(await store.update({ ...first, renewedAtMs: 1_700_000_002_456 }, made.version)).toBe('conflict');
    expect(await store.read()).toBeUndefined();
    expect(written(await store.create(first)).record).toEqual(first);
    expect(await store.update({ ...first, holder: 'b' }, made.version)).toBe('conflict');
  });
});

describe('a real API server', () => {
  it('lets a role that is limited to the name use a lease that is there, and watch it', async () => {
    const store = await realStore('given', { account: 'replica' });
    const stop = new AbortController();
    const seen: StoredLease[] = [];
    const watching = store.watch((lease) => seen.push(lease), stop.signal);
    const empty = written(await store.read());
    expect(empty.record).toEqual({ holder: '', durationS: 0, acquiredAtMs: 0, renewedAtMs: 0, transitions: 0 });
    expect(written(await store.update(first, empty.version)).record).toEqual(first);
    await vi.waitFor(() => expect(seen.at(-1)?.record).toEqual(first), soon);
    stop.abort();
    await watching;
  });

  it('keeps what others have written to the object', async () => {
    const store = await realStore('labelled', { account: 'replica' });
    const { version } = written(await store.read());
    await store.update(first, version);
    const lease = await cluster.objects.get<V1Lease>({
      ...LEASE,
      metadata: { name: 'labelled', namespace: NAMESPACE },
    });
    expect(lease?.metadata?.labels).toEqual({ 'app.kubernetes.io/name': 'tidemark' });
    expect(lease?.spec?.holderIdentity).toBe('a');
  });

  it('says which rights are missing', async () => {
    const store = await realStore('other', { account: 'replica' });
    await expect(store.read()).rejects.toThrow(
      /^lease leases\/other: 403 .*cannot get resource "leases".*expected the verbs/,
    );
  });

  it('is watched again when the credentials could not be read, as by a plugin that fails', async () => {
    const [tokenFile, kubeconfig] = [join(scratch.path, 'token'), join(scratch.path, 'kubeconfig')];
    const config = parse(await readFile(cluster.kubeconfig, 'utf8')) as { users: object[] };
    // As the client's own loadFromCluster has it: the file is read with the first request.
    const user = { 'auth-provider': { name: 'tokenFile', config: { tokenFile } } };
    await writeFile(kubeconfig, JSON.stringify({ ...config, users: [{ name: 'tidemark-test', user }] }));
    const patient = await realStore('credentials');
    const made = written(await patient.create(first));
    const client = await openKubeClient(kubeconfig);
    const store = openKubeLease({
      api: client.api(CoordinationV1Api, DEADLINE_MS),
      watch: new Watch(client.config),
      namespace: NAMESPACE,
      name: 'credentials',
    });
    await expect(store.read()).rejects.toThrow(/ENOENT/);
    const stop = new AbortController();
    const seen: StoredLease[] = [];
    const watching = store.watch((lease) => seen.push(lease), stop.signal);
    await writeFile(tokenFile, cluster.adminToken);
    await vi.waitFor(() => expect(seen.at(-1)).toEqual(made), soon);
    stop.abort();
    await watching;
  });

  it('is waited for no longer than the deadline', async () => {
    const patient = await realStore('fresh');
    const store = await realStore('fresh', { deadlineMs: NEAR_DEADLINE_MS });
    const { version } = written(await patient.read());
    cluster.apiserver.pause();
    const startMs = performance.now();
    await expect(store.update(first, version)).rejects.toThrow(/timeout/i);
    await expect(store.read()).rejects.toThrow(/timeout/i);
    expect(performance.now() - startMs).toBeLessThan(DEADLINE_MS);
    cluster.apiserver.resume();
    // What was given up may have been carried out: whoever asks finds out.
    await vi.waitFor(async () => expect(written(await patient.read()).record.holder).toMatch(/^[ab]$/), soon);
  });
});
