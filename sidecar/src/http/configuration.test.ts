import { request, type IncomingMessage } from 'node:http';
import type { TidemarkConfig } from '@tidemark/proto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HandL2 } from '../testing/hand-l2.ts';
import { testServer, type TestServer } from '../testing/server.ts';

let server: TestServer;
let l2: HandL2;

beforeEach(async () => {
  l2 = new HandL2();
  l2.available = false;
  server = await testServer({ l2 });
});
afterEach(() => server.close());

/** Other namespaces, or the same with another TTL. */
function take(edit: (namespaces: TidemarkConfig['namespaces']) => TidemarkConfig['namespaces']): void {
  server.configuration.take({ ...server.config, namespaces: edit(server.config.namespaces) });
}

const changed = (namespaces: TidemarkConfig['namespaces']): TidemarkConfig['namespaces'] =>
  Object.fromEntries(
    Object.entries(namespaces).map(([name, each]) => [name, { ...each, ttl: { ...each.ttl, hard: 90_000 } }]),
  );

/** A PUT whose body ends when the test says so; resolves once its head has reached the server. */
async function putSlowly(path: string, headers: Record<string, string>): Promise<() => Promise<number>> {
  const arrived = new Promise((resolve) => server.server.once('request', resolve));
  const outgoing = request({
    ...{ port: server.port, host: '127.0.0.1', method: 'PUT', path, agent: false },
    headers: { 'content-length': '2', ...headers },
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.on('response', resolve).on('error', reject);
  });
  outgoing.write('a');
  await arrived;
  return async () => {
    outgoing.end('b');
    const answer = await answered;
    answer.resume();
    return answer.statusCode ?? 0;
  };
}

describe('[I16] requests that are under way when a document comes', () => {
  it.each([
    ['has changed', changed],
    ['is gone', () => ({})],
  ])('a value that arrives for a namespace that %s is not stored', async (_title, edit) => {
    const { lease = '' } = await server.ask('GET', '/v1/cache/user/1');
    const finish = await putSlowly('/v1/cache/user/1', { 'tidemark-lease': lease });
    const finishPlain = await putSlowly('/v1/cache/plain/1', {});
    const before = [server.of('user'), server.of('plain')];
    take(edit);
    expect(await finish()).toBe(410);
    expect(await finishPlain()).toBe(428);
    for (const { l1 } of [...before, ...server.namespaces.values()]) expect(l1.entries).toBe(0);
    const again = await server.ask('GET', '/v1/cache/user/1');
    expect(again.problem).toBe(edit === changed ? undefined : 'unknown-namespace');
  });

  it('a batch that waits for Redis is answered from the namespaces of before, which hold nothing any more', async () => {
    const gate = Promise.withResolvers<'ok'>();
    l2.available = true;
    l2.writePlain = () => gate.promise;
    const asked = server.ask('POST', '/v1/batch', {
      body: JSON.stringify({
        put: [{ namespace: 'plain', key: '1', text: 'one' }],
        get: { plain: ['1'], user: ['1'] },
      }),
    });
    await expect.poll(() => server.of('plain').l1.entries).toBe(1);
    l2.available = false;
    take(() => ({}));
    gate.resolve('ok');
    const { status, body } = await asked;
    expect(status).toBe(200);
    expect(JSON.parse(body.toString())).toMatchObject({
      put: [{ status: 201 }],
      get: { plain: [{ status: 404, bypass: 'uncovered' }], user: [{ status: 404, bypass: 'uncovered' }] },
    });
  });

  it('a caller that waits for a position is answered', async () => {
    const asked = server.ask('GET', '/v1/cache/list/1', {
      headers: { 'tidemark-min-lsn': `0/${(server.replica.applied + 5).toString(16)}` },
    });
    await expect.poll(() => server.watermark.waiting).toBe(1);
    take(changed);
    server.stream.say();
    expect((await asked).cacheStatus).toBe('tidemark; fwd=bypass; detail=uncovered');
  });
});
