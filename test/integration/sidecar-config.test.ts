import { once } from 'node:events';
import { createConnection, createServer } from 'node:net';
import { parseConfig, rulesOfSource, type TidemarkConfig } from '@tidemark/proto';
import { createKafka, createLogger, ensureConfigTopic, publishConfig } from '@tidemark/runtime';
import { Kafka, logLevel } from 'kafkajs';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTopic, deleteTopic, uniqueWord } from '../kit/names.ts';
import { sharedServers } from '../kit/shared.ts';
import { App } from './support/app.ts';
import { NOBODY, startBareSidecar, type BareSidecar } from './support/bare-sidecar.ts';
import { eventually } from './support/eventually.ts';
import { Stream } from './support/stream.ts';

// A sidecar that follows the configuration topic, with documents and a stream that the test writes itself.

const logger = createLogger({ service: 'test', instance: 'documents', level: 'silent' });
const running: BareSidecar[] = [];
let brokers: readonly string[];
let word: string;
let stream: Stream;

beforeAll(() => {
  ({ brokers } = sharedServers().kafka);
});
beforeEach(async () => {
  word = uniqueWord();
  await createTopic(sharedServers(), word, {});
  stream = new Stream({ brokers, topic: word, covers: coversOf({ user, list, more }) });
  await stream.start();
  stream.beat();
});
afterEach(async () => {
  for (const { child, exited } of running.splice(0)) {
    child.kill('SIGKILL');
    await exited;
  }
  await stream.stop();
  await deleteTopic(sharedServers(), word);
});

const user = { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] };
const list = { source: 'main', invalidate: [{ table: 'public.users', tags: ['user:{id}'] }] };
const more = { source: 'main', invalidate: [{ table: 'public.users', keys: ['more-{id}'] }] };
const plain = { source: 'main', invalidation: 'ttl_only' };
type Namespaces = Readonly<Record<string, object>>;

function documentOf(namespaces: Namespaces, source: object = { topic: word }): object {
  return { sources: { main: source }, namespaces };
}

function parsed(document: object): TidemarkConfig {
  const result = parseConfig(document);
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return result.config;
}

function coversOf(namespaces: Namespaces): readonly bigint[] {
  return rulesOfSource(parsed(documentOf(namespaces)), 'main').namespaces.map(({ hash }) => hash);
}

/** Publishes a document as a leader does. */
async function publish(revision: number, document: object, term = 1): Promise<void> {
  const kafka = createKafka({ brokers, tls: false, clientId: 'documents', logger });
  await ensureConfigTopic(kafka, `${word}.config`);
  await eventually(() => publishConfig(kafka, { topic: `${word}.config`, term, revision, document }));
}

async function publishBytes(value: string): Promise<void> {
  const producer = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).producer();
  await producer.connect();
  await producer.send({ topic: `${word}.config`, messages: [{ key: 'document', value }] });
  await producer.disconnect();
}

async function start(env: Readonly<Record<string, string>> = {}) {
  const sidecar = await startBareSidecar({
    ...NOBODY,
    TIDEMARK_KAFKA_BROKERS: brokers.join(','),
    TIDEMARK_CONFIG_TOPIC: `${word}.config`,
    // However long this process may not be able to write a record, or comes with a fill.
    ...{ TIDEMARK_LEASE_TTL: '10m', TIDEMARK_MAX_STALENESS: '10m', ...env },
  });
  running.push(sidecar);
  const url = `http://${sidecar.bound.url}`;
  return {
    app: new App(url),
    url,
    status: async () => (await (await fetch(`${url}/v1/status`)).json()) as Record<string, unknown>,
    metrics: async () => (await fetch(`http://${sidecar.bound.admin}/metrics`)).text(),
  };
}

type Sidecar = Awaited<ReturnType<typeof start>>;

/** Stores a value with a fresh lease; tried until the stream is heard and covers the namespace. */
async function cache({ app }: Sidecar, namespace: string, key: string, tags: readonly string[] = []): Promise<void> {
  await eventually(async () => {
    const { lease } = await app.get(namespace, key, { 'cache-control': 'no-cache' });
    expect((await app.put(namespace, key, 'value', { lease, tags })).status).toBeOneOf([201, 204]);
  });
  expect((await app.get(namespace, key)).status).toBe(200);
}

const unknown = { status: 404, body: expect.stringContaining('unknown-namespace') as string };

describe('[I16] until a document has come', () => {
  it('every read is a miss without a lease, writes are answered, and the probes are fine', async () => {
    const sidecar = await start({ TIDEMARK_KAFKA_BROKERS: NOBODY.TIDEMARK_KAFKA_BROKERS });
    const { app, url } = sidecar;
    const bypass = { status: 404, lease: undefined, cacheStatus: 'tidemark; fwd=bypass; detail=starting' };
    expect(await app.get('user', '1')).toMatchObject(bypass);
    expect(await app.get('any-other', 'x/y')).toMatchObject(bypass);
    expect((await fetch(`${url}/v1/cache/user/a/b`)).status).toBe(400);
    expect((await app.put('user', '1', 'one', {})).status).toBe(428);
    expect((await app.put('user', '1', 'one', { lease: 'of-another-life' })).status).toBe(410);
    expect(await app.delete('user', '1')).toMatchObject({
      status: 503,
      body: expect.stringContaining('has no configuration yet') as string,
    });
    const batch = { put: [{ namespace: 'user', key: '2', text: 'two' }], get: { user: ['1'], list: ['all'] } };
    const answered = await fetch(`${url}/v1/batch`, { method: 'POST', body: JSON.stringify(batch) });
    expect(await answered.json()).toEqual({
      lsn: '0/0',
      put: [{ status: 428, problem: 'lease-required' }],
      get: { user: [{ status: 404, bypass: 'starting' }], list: [{ status: 404, bypass: 'starting' }] },
    });
    for (const path of ['/livez', '/readyz']) expect((await fetch(`${url}${path}`)).status).toBe(200);
    expect(await sidecar.status()).toMatchObject({
      config: { from: 'topic', state: 'waiting', term: null, revision: null, complaint: null },
      sources: {},
      namespaces: {},
    });
    expect(await sidecar.metrics()).toContain('tidemark_config_taken 0');
  });

  it('[I14] what a session saw meanwhile is not forgotten', async () => {
    const sidecar = await start();
    const { session } = await sidecar.app.get('user', '1', { 'tidemark-session': 'new' });
    expect(session).toBe('1~*~1~0~*');
    await publish(1, documentOf({ user }));
    await cache(sidecar, 'user', '1');
    // Nobody can be asked where the database was, so what is cached may be older than what the session has seen.
    const again = await sidecar.app.get('user', '1', { 'tidemark-session': session ?? '' });
    expect(again).toMatchObject({ status: 404, cacheStatus: 'tidemark; fwd=bypass; detail=no-position' });
    expect(again.session).toMatch(/^1~main~/);
  });

  it('waits for the topic, and serves as soon as there is one', async () => {
    const sidecar = await start();
    expect((await sidecar.app.get('user', '1')).cacheStatus).toContain('detail=starting');
    await publish(1, documentOf({ user }));
    await cache(sidecar, 'user', '1');
    expect(await sidecar.app.get('list', '1')).toMatchObject(unknown);
  });

  it('waits for a Kafka that is away at its start', async () => {
    await publish(1, documentOf({ user, plain }));
    // As if the broker did not listen yet, and then came.
    const [host = '', port = ''] = (brokers[0] ?? '').split(':');
    const gate = createServer();
    gate.listen(0, '127.0.0.1');
    await once(gate, 'listening');
    const address = gate.address() as { port: number };
    let isOpen = false;
    gate.on('connection', (socket) => {
      if (!isOpen) {
        socket.destroy();
        return;
      }
      const onward = createConnection(Number(port), host);
      socket.pipe(onward).pipe(socket);
      for (const each of [socket, onward]) each.on('error', () => each.destroy());
    });
    try {
      const sidecar = await start({ TIDEMARK_KAFKA_BROKERS: `127.0.0.1:${address.port}` });
      expect((await sidecar.app.get('user', '1')).cacheStatus).toContain('detail=starting');
      isOpen = true;
      await cache(sidecar, 'user', '1');
      expect((await sidecar.app.put('plain', '1', 'one', {})).status).toBe(201);
    } finally {
      gate.close();
    }
  });
});

describe('[I16] another document', () => {
  it('leaves what is the same, empties what is not, and takes back every lease', async () => {
    await publish(1, documentOf({ user, list, plain }));
    const sidecar = await start();
    const { app } = sidecar;
    await cache(sidecar, 'user', '1');
    await cache(sidecar, 'list', 'all', ['user:1']);
    expect((await app.put('plain', '1', 'one', {})).status).toBe(201);
    const { lease } = await app.get('user', '2');
    const main = async () => ((await sidecar.status())['sources'] as { main: Record<string, string> }).main;
    const horizon = (await main())['horizon'];
    await stream.say({});
    await eventually(async () => expect((await main())['applied']).not.toBe(horizon));
    await publish(2, documentOf({ user, list: { ...list, ttl: { hard: '1h' } }, plain, more }));
    await eventually(async () => expect((await app.get('more', 'more-1')).status).toBe(404));
    await eventually(async () => expect(await sidecar.status()).toMatchObject({ config: { term: 1, revision: 2 } }));
    expect((await app.get('user', '1')).status).toBe(200);
    expect((await app.get('plain', '1')).status).toBe(200);
    expect((await app.get('list', 'all')).status).toBe(404);
    expect((await app.put('user', '2', 'two', { lease })).status).toBe(410);
    expect((await main())['horizon']).not.toBe(horizon);
    // What stayed is still evicted, and what came is cached.
    await cache(sidecar, 'more', 'more-1');
    await stream.say({ users: ['1'] });
    for (const [namespace, key] of [
      ['user', '1'],
      ['more', 'more-1'],
    ] as const)
      await eventually(async () => expect((await app.get(namespace, key)).status).toBe(404));
  });

  it('answers a caller that waits for the fill of a namespace that has changed', async () => {
    await publish(1, documentOf({ user, list }));
    const sidecar = await start({ TIDEMARK_COALESCE_TIMEOUT: '60s' });
    await cache(sidecar, 'list', 'first');
    await sidecar.app.get('list', 'wanted');
    await sidecar.app.get('user', 'wanted');
    const waiting = [sidecar.app.get('list', 'wanted'), sidecar.app.get('user', 'wanted')];
    await eventually(async () => expect(await sidecar.metrics()).toContain('tidemark_waiters 2'));
    await publish(2, documentOf({ user, list: { ...list, ttl: { hard: '1h' } } }));
    const [gone, kept] = await Promise.all(waiting);
    expect(gone).toMatchObject({ status: 404, lease: undefined, cacheStatus: expect.stringContaining('fwd=bypass') });
    // The lease that it waited for is void, so it is given the next one.
    expect(kept?.lease).toBeDefined();
    expect((await sidecar.app.put('user', 'wanted', 'value', { lease: kept?.lease })).status).toBeOneOf([201, 409]);
  });

  it.each([
    ['that nobody understands', async () => publishBytes('{"version":1,"term":9')],
    ['of another version', async () => publishBytes('{"version":7,"term":9,"revision":9,"document":{}}')],
    ['of an older term', async () => publish(9, documentOf({ more }), 0)],
  ])('%s changes nothing', async (_title, publishIt) => {
    await publish(1, documentOf({ user }));
    const sidecar = await start();
    await cache(sidecar, 'user', '1');
    await publishIt();
    await eventually(async () =>
      expect(await sidecar.metrics()).toContain('tidemark_config_changes_total{result="ignored"} 1'),
    );
    expect((await sidecar.app.get('user', '1')).status).toBe(200);
    expect(await sidecar.status()).toMatchObject({ config: { term: 1, revision: 1, complaint: null } });
    // A sidecar that starts behind it finds the same.
    await cache(await start(), 'user', '1');
  });

  it('for another source changes nothing, and says so', async () => {
    await publish(1, documentOf({ user }));
    const sidecar = await start();
    await cache(sidecar, 'user', '1');
    await publish(2, { sources: { other: { topic: word } }, namespaces: {} });
    await eventually(async () =>
      expect(await sidecar.status()).toMatchObject({
        config: {
          revision: 1,
          complaint: 'the document is for source other, expected main: the namespaces of before stay',
        },
      }),
    );
    expect((await sidecar.app.get('user', '1')).status).toBe(200);
    expect(await sidecar.metrics()).toContain('tidemark_config_changes_total{result="refused"} 1');
  });

  it('with other settings of the source: its namespaces are taken, the settings are not', async () => {
    await publish(1, documentOf({ user }));
    const sidecar = await start();
    await cache(sidecar, 'user', '1');
    await publish(2, documentOf({ user, more }, { topic: `${word}-other`, l2: { buckets: 2 } }));
    await eventually(async () =>
      expect(await sidecar.status()).toMatchObject({
        config: {
          revision: 2,
          complaint: 'sources.main: topic, l2.buckets differ from those of the start, which stay until a restart',
        },
      }),
    );
    await cache(sidecar, 'more', 'more-1');
    expect((await sidecar.app.get('user', '1')).status).toBe(200);
    await publish(3, documentOf({ user, more }));
    await eventually(async () =>
      expect(await sidecar.status()).toMatchObject({ config: { revision: 3, complaint: null } }),
    );
  });

  it('gives back the memory of what is gone', async () => {
    await publish(1, documentOf({ user, list }));
    const sidecar = await start();
    await cache(sidecar, 'list', 'all', ['user:1']);
    expect(((await sidecar.status())['l1'] as { entries: number }).entries).toBe(1);
    await publish(2, documentOf({ user }));
    await eventually(async () =>
      expect(await sidecar.status()).toMatchObject({ l1: { entries: 0, bytes: 0, maxBytes: 64 * 1024 * 1024 } }),
    );
    expect(await sidecar.metrics()).not.toContain('namespace="list"');
  });
});
