import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { CoreV1Api, type V1MutatingWebhookConfiguration, type V1Pod, type V1Secret } from '@kubernetes/client-node';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeAuthority, type Authority } from '../kit/certificates.ts';
import { Forwarder } from '../kit/index.ts';
import { type Cluster, startCluster } from '../kit/kube/index.ts';
import { scratchFolder } from '../kit/scratch.ts';
import { eventually } from '../integration/support/eventually.ts';
import { install, prepareWebhook, route, type Release, type Webhook } from './support/releases.ts';

const release: Release = { name: 'tidemark', namespace: 'caches' };
const host = 'tidemark-webhook.caches.svc';
const scratch = scratchFolder('webhook');
let cluster: Cluster;
/** What the Service leads to: its connections can be cut, so that the next call begins with a handshake. */
let front: Forwarder;
const replicas: Webhook[] = [];

beforeAll(async () => {
  cluster = await startCluster();
  front = await Forwarder.start(1);
  route(cluster, release, front.port);
  for (const name of ['shop', release.namespace])
    await cluster.objects.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  await cluster.objects.apply({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'default', namespace: 'shop' },
  });
});
afterEach(async () => {
  // The first test stops one in good order, which takes its time.
  await Promise.all(
    replicas.splice(0).map(async (each) => {
      if (each.pid !== undefined) await each.kill();
      await each.stop();
    }),
  );
  await cluster.objects.delete(configuration);
  await cluster.objects.delete(secret);
});
afterAll(async () => {
  await front?.stop();
  await cluster?.stop();
  await scratch.remove();
});

const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'tidemark-webhook-tls', namespace: 'caches' } };
const configuration = {
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind: 'MutatingWebhookConfiguration',
  metadata: { name: 'tidemark.caches' },
};

async function prepared(name: string, env: Readonly<Record<string, string>> = {}): Promise<Webhook> {
  const made = await prepareWebhook(cluster, { release, name, folder: scratch.path, env });
  replicas.push(made);
  return made;
}

async function started(name: string, env: Readonly<Record<string, string>> = {}): Promise<Webhook> {
  const made = await prepared(name, env);
  await made.start();
  return made;
}

const soon = { withinMs: 60_000, everyMs: 50 };

/** What is tested is trust: a machine that is busy shall not look like its lack. */
const PATIENT = { 'injection.timeoutSeconds': '20' };

const isInjected = ({ spec }: V1Pod): boolean => spec?.initContainers?.[0]?.name === 'tidemark';

function createPod(
  annotations: Readonly<Record<string, string>> = { 'tidemark.dev/inject': 'enabled' },
): Promise<V1Pod> {
  return cluster.api(CoreV1Api).createNamespacedPod({
    namespace: 'shop',
    body: {
      metadata: { generateName: 'pod-', annotations: { ...annotations } },
      spec: { containers: [{ name: 'app', image: 'nobody/app:1' }] },
    },
  });
}

/** The API server hears of a webhook, and of whom to trust for it, by a watch. */
async function injects(): Promise<void> {
  await eventually(async () => {
    if (!isInjected(await createPod())) throw new Error('pods are not injected');
  }, soon);
}

async function authorities(): Promise<string[]> {
  const found = await cluster.objects.get<V1MutatingWebhookConfiguration>(configuration);
  const bundle = Buffer.from(found?.webhooks?.[0]?.clientConfig.caBundle ?? '', 'base64').toString();
  return bundle.split(/(?<=-----END CERTIFICATE-----\n)/).filter((one) => one.trim() !== '');
}

/** The certificate that a replica shows. */
function shownBy({ port }: Webhook): Promise<X509Certificate> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', servername: host, rejectUnauthorized: false }, () => {
      resolve(new X509Certificate(socket.getPeerCertificate().raw));
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

async function stored(): Promise<{ certificate: string; version: string | undefined }> {
  const { data, metadata } = (await cluster.objects.get<V1Secret>(secret)) ?? {};
  return { certificate: Buffer.from(data?.['tls.crt'] ?? '', 'base64').toString(), version: metadata?.resourceVersion };
}

describe('the self-signed webhook', () => {
  it('is trusted by the API server with the rights of its role alone; where nobody answers, pods start without a sidecar', async () => {
    await install(cluster, release, {});
    const one = await prepared('one');
    front.moveTo(one.port);
    // Nobody listens: annotated pods are admitted as they are, and no other pod waits.
    expect(isInjected(await createPod())).toBe(false);
    await one.start();
    await injects();
    expect(await one.readyz()).toEqual([200, 'ok']);
    const expiry = await one.metric('certificate_expiry_timestamp_seconds');
    expect(expiry * 1000).toBeGreaterThan(Date.now() + 89 * 86_400_000);
    await one.stop();
    const beginMs = performance.now();
    expect(isInjected(await createPod())).toBe(false);
    expect(performance.now() - beginMs).toBeLessThan(30_000); // as without a limit it would be never
    await install(cluster, release, { 'injection.failurePolicy': 'Fail' });
    await eventually(() => expect(createPod()).rejects.toThrow(/failed calling webhook/), soon);
    expect(isInjected(await createPod({}))).toBe(false);
  });

  it('keeps its certificate over restarts and upgrades, which leave Secret and trust alone', async () => {
    await install(cluster, release, {});
    const one = await started('one');
    front.moveTo(one.port);
    await injects();
    const [before, trusted] = [await stored(), await authorities()];
    await install(cluster, release, { 'injection.timeoutSeconds': '7', 'sidecar.logLevel': 'debug' });
    expect(await authorities()).toEqual(trusted);
    await one.restart();
    await injects();
    expect(await stored()).toEqual(before);
    expect(await authorities()).toEqual(trusted);
    expect((await shownBy(one)).toString()).toBe(new X509Certificate(before.certificate).toString());
  });

  it('agrees on one certificate with a replica that starts at the same time', async () => {
    await install(cluster, release, {});
    const [one, two] = [await prepared('one'), await prepared('two')];
    await Promise.all([one.start(), two.start()]);
    expect((await shownBy(one)).fingerprint256).toBe((await shownBy(two)).fingerprint256);
    expect(await authorities()).toHaveLength(1);
    for (const { port } of [one, two]) {
      front.moveTo(port);
      await injects();
    }
  });

  it('renews the certificate under a stream of pods, all of which are injected, by either replica', async () => {
    await install(cluster, release, PATIENT);
    // A tenth of it is what the API server has to hear whom to trust, a fifth what a replica has to show another in time.
    const env = { TIDEMARK_WEBHOOK_CERTIFICATE_LIFE: '45s' };
    const [one, two] = [await prepared('one', env), await prepared('two', env)];
    await Promise.all([one.start(), two.start()]);
    front.moveTo(one.port);
    await injects();
    const first = await shownBy(one);
    let created = 0;
    const missed: string[] = [];
    const seen = new Set([first.fingerprint256]);
    await eventually(
      async () => {
        // A handshake for each pod, with the one and with the other.
        front.moveTo((created % 2 === 0 ? one : two).port);
        const pod = await createPod();
        created += 1;
        if (!isInjected(pod)) missed.push(pod.metadata?.name ?? '');
        for (const each of [one, two]) seen.add((await shownBy(each)).fingerprint256);
        if (seen.size < 3) throw new Error(`${seen.size} certificates so far`);
      },
      { withinMs: 150_000, everyMs: 10 },
    );
    expect(missed).toEqual([]);
    expect(created).toBeGreaterThan(10);
    expect((await authorities()).length).toBeGreaterThan(1);
  }, 240_000);

  it('makes the Secret again when somebody deletes it, and nobody is refused meanwhile', async () => {
    await install(cluster, release, PATIENT);
    // None is renewed before the test is over.
    const env = { TIDEMARK_WEBHOOK_CERTIFICATE_LIFE: '2m' };
    const [one, two] = [await prepared('one', env), await prepared('two', env)];
    await Promise.all([one.start(), two.start()]);
    front.moveTo(one.port);
    await injects();
    const before = await stored();
    await cluster.objects.delete(secret);
    let missed = 0;
    await eventually(async () => {
      if (!isInjected(await createPod())) missed += 1;
      const { certificate } = await stored();
      if (certificate === '' || certificate === before.certificate) throw new Error('the Secret is not back');
      const wanted = new X509Certificate(certificate).fingerprint256;
      for (const each of [one, two]) {
        if ((await shownBy(each)).fingerprint256 !== wanted) throw new Error(`${each.name} shows another`);
      }
    }, soon);
    expect(missed).toBe(0);
    expect(await authorities()).toHaveLength(2);
  });

  it('says what it lacks, and gets ready once it is there', async () => {
    await install(cluster, release, {});
    await cluster.objects.delete(configuration);
    const one = await prepared('one', { TIDEMARK_WEBHOOK_CERTIFICATE_LIFE: '40s' });
    const starting = one.start();
    await eventually(async () => {
      const [status, words] = await one.readyz();
      expect(status).toBe(503);
      expect(words).toMatch(/MutatingWebhookConfiguration tidemark\.caches: 404/);
    }, soon);
    await install(cluster, release, {});
    await starting;
    front.moveTo(one.port);
    await injects();
  });
});

describe('a webhook with provided certificates', () => {
  let authority: Authority;
  beforeAll(async () => {
    authority = await makeAuthority('webhook-provider');
  });
  afterAll(() => authority.remove());

  async function startProvided(): Promise<{ one: Webhook; write: (name: string) => Promise<void> }> {
    await install(cluster, release, {
      'injection.certificates.mode': 'provided',
      'injection.certificates.existingSecret': 'mine',
      'injection.certificates.caBundle': (await readFile(authority.caFile, 'utf8')).replaceAll(',', String.raw`\,`),
    });
    const [certFile, keyFile] = [join(scratch.path, 'tls.crt'), join(scratch.path, 'tls.key')];
    const write = async (name: string): Promise<void> => {
      const issued = await authority.issue(name, [host]);
      await writeFile(keyFile, await readFile(issued.keyFile));
      await writeFile(certFile, await readFile(issued.certFile));
    };
    await write('first');
    const one = await started('provided', {
      TIDEMARK_WEBHOOK_CERT_FILE: certFile,
      TIDEMARK_WEBHOOK_KEY_FILE: keyFile,
    });
    front.moveTo(one.port);
    return { one, write };
  }

  it('is trusted by the bundle of the values, and reads the files again when they change', async () => {
    const { one, write } = await startProvided();
    await injects();
    const first = await shownBy(one);
    await write('second');
    await eventually(async () => expect((await shownBy(one)).fingerprint256).not.toBe(first.fingerprint256), {
      withinMs: 60_000,
      everyMs: 100,
    });
    await injects();
  });
});
