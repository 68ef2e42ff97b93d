import { createServer, type Server } from 'node:http';
import { closeServer, formatAddress, listen } from '@tidemark/runtime';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { decide } from '../core/injection/inject.ts';
import { readReview } from './admission-review.ts';
import { parseInjectionSettings } from '../config/injection-settings.ts';
import { createInjectionRoutes, type InjectionOutcome } from './injection-routes.ts';

const settings = parseInjectionSettings(
  'test',
  'mode: native\nsource: main\ncontainer: { name: tidemark, image: i }\n',
);
const told: InjectionOutcome[] = [];
const routes = createInjectionRoutes({
  read: readReview,
  decide: ({ pod, namespace }) =>
    pod === undefined ? { outcome: 'skipped', warnings: [] } : decide(pod, namespace, settings),
  onOutcome: (outcome) => told.push(outcome),
  onError: (error) => expect.unreachable(String(error)),
});
let server: Server;
let url: string;
beforeAll(async () => {
  server = createServer(routes);
  url = `http://${formatAddress(await listen(server, { host: '127.0.0.1', port: 0 }))}`;
});
afterAll(() => closeServer(server, 100));
beforeEach(() => void told.splice(0));

async function ask(body: string, type = 'application/json'): Promise<readonly [number, string]> {
  const response = await fetch(`${url}/inject`, { method: 'POST', body, headers: { 'content-type': type } });
  return [response.status, await response.text()];
}

function review(request: object): string {
  const whole = {
    uid: 'u-1',
    operation: 'CREATE',
    namespace: 'shop',
    resource: { group: '', resource: 'pods' },
    ...request,
  };
  return JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request: whole });
}

const pod = (annotations: object) => ({ metadata: { annotations }, spec: { containers: [{ name: 'app' }] } });

it('answers a patch, a refusal with its reason, or neither', async () => {
  const answer = async (request: object) => {
    const [status, text] = await ask(review(request));
    expect(status).toBe(200);
    return (JSON.parse(text) as { response: Record<string, unknown> }).response;
  };
  const injected = await answer({ object: pod({ 'tidemark.dev/inject': 'enabled' }) });
  expect(injected).toMatchObject({ uid: 'u-1', allowed: true, patchType: 'JSONPatch' });
  expect(JSON.parse(Buffer.from(String(injected['patch']), 'base64').toString())).toContainEqual(
    expect.objectContaining({ op: 'add', path: '/spec/initContainers' }),
  );
  expect(await answer({ object: pod({ 'tidemark.dev/inject': 'yes' }) })).toMatchObject({
    allowed: false,
    status: { code: 422, message: expect.stringContaining('expected enabled or disabled') },
  });
  const untouched = { uid: 'u-1', allowed: true };
  expect(await answer({ object: pod({}) })).toEqual(untouched);
  expect(await answer({ operation: 'DELETE', object: null })).toEqual(untouched);
  expect(await answer({ resource: { group: 'apps', resource: 'deployments' }, object: {} })).toEqual(untouched);
  expect(told.map(({ outcome }) => outcome)).toEqual(['injected', 'refused', 'skipped', 'skipped', 'skipped']);
});

it('says what it expected instead of what is no review, and never what it found', async () => {
  expect(await ask('{"kind":"AdmissionReview"}')).toEqual([
    400,
    expect.stringMatching(/expected an AdmissionReview of admission\.k8s\.io\/v1: apiVersion: .*request: /),
  ]);
  expect(await ask('{"kind":')).toEqual([400, expect.stringContaining('cannot be read')]);
  expect(await ask('a: b', 'text/yaml')).toEqual([415, expect.stringContaining('application/json')]);
  expect(await ask(`"${'x'.repeat(3 * 1024 * 1024)}"`)).toEqual([413, expect.stringContaining('3mb')]);
  const [status, answer] = await ask(
    review({ object: { metadata: {}, spec: { containers: [{ name: 5, env: 'SECRET' }] } } }),
  );
  expect([status, answer]).toEqual([400, expect.stringContaining('request.object.spec.containers.0.name')]);
  expect(answer).not.toContain('SECRET');
  expect(told.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 5 }, () => 'malformed'));
});

it('reads of a review of the largest size no more than its first mistake', async () => {
  const lists = { containers: Array.from({ length: 9_000 }, () => 1), volumes: Array.from({ length: 9_000 }, () => 1) };
  const annotations = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`a${i}`, i]));
  for (const object of [{ metadata: {}, spec: lists }, pod(annotations)]) {
    const [status, text] = await ask(review({ object }));
    expect([status, text.length < 1_000]).toEqual([400, true]);
  }
  expect(await ask(review({ namespace: 'n'.repeat(64) }))).toEqual([400, expect.stringContaining('namespace')]);
});

it('refuses a pod with as few words', async () => {
  const wrong = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`config.tidemark.dev/x${i}`, '1']));
  const [status, text] = await ask(review({ object: pod({ 'tidemark.dev/inject': 'enabled', ...wrong }) }));
  expect([status, text]).toEqual([200, expect.stringContaining('and 19992 more')]);
  expect(text.length).toBeLessThan(3_000);
});

it('takes a pod however deep it is nested', async () => {
  const depth = 100_000;
  const deep = `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
  for (const place of [
    '"spec":{"containers":[{"name":"app","x":DEEP}]}',
    '"spec":{"containers":[{"name":"app","env":[{"name":"e","x":DEEP}]}]}',
    '"spec":{"containers":[{"name":"app"}],"x":DEEP}',
  ]) {
    const object = `{"metadata":{"annotations":{"tidemark.dev/inject":"enabled"}},${place.replace('DEEP', deep)}}`;
    const [status, text] = await ask(review({ object: 'OBJECT' }).replace('"OBJECT"', object));
    expect([status, text.length < 5_000]).toEqual([200, true]);
  }
});

it('has one address and one method', async () => {
  expect((await fetch(`${url}/inject`)).status).toBe(405);
  expect((await fetch(`${url}/metrics`)).status).toBe(404);
});
