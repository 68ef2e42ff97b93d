import type { Server } from 'node:http';
import { closeServer, createHttpServer, formatAddress, listen } from '@tidemark/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRoutes } from './routes.ts';

// What generated requests have found (test/fuzz), kept as examples.

let server: Server;
let url: string;
beforeAll(async () => {
  const routes = createRoutes({
    health: { unready: () => undefined, metrics: () => Promise.resolve({ contentType: 'text/plain', body: 'x 1\n' }) },
    purge: () => Promise.resolve(1),
    onPurge: () => undefined,
    position: () => Promise.resolve(undefined),
    flushed: () => Promise.resolve(undefined),
    config: () => undefined,
    onError: (error) => expect.unreachable(String(error)),
  });
  server = createHttpServer(routes, { maxConnections: 10 });
  url = `http://${formatAddress(await listen(server, { host: '127.0.0.1', port: 0 }))}`;
});
afterAll(() => closeServer(server, 100));

async function purge(
  body: string | Buffer<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<readonly [number, string]> {
  const response = await fetch(`${url}/v1/purge`, { method: 'POST', body, headers });
  return [response.status, await response.text()];
}

it('answers every address, also those that are nearly one of its own', async () => {
  for (const path of ['/LIVEZ', '/livez/', '/Metrics', '/v1/purge/', '/%'])
    expect([path, (await fetch(`${url}${path}`)).status]).toEqual([path, 404]);
});

it('says in few words what is wrong with a purge', async () => {
  const many = Array.from({ length: 1000 }, () => 1);
  const targets = Array.from({ length: 100 }, () => ({ namespace: 'n', keys: many, tags: many }));
  const [status, text] = await purge(JSON.stringify({ purge: targets }));
  expect([status, text]).toEqual([400, expect.stringContaining('purge.0.keys.0: ')]);
  expect(text.length).toBeLessThan(2_000);
});

it('does not purge another name than the one that was sent in another encoding', async () => {
  const body = Buffer.from('{"purge":[{"namespace":"n","keys":["jos\xe9"]}]}', 'latin1');
  expect(await purge(body)).toEqual([400, expect.stringContaining('UTF-8')]);
});

it('tells a body that cannot be read from one of another kind, and shows nothing of it', async () => {
  const [status, text] = await purge('{"SECRET');
  expect([status, text]).toEqual([400, expect.stringContaining('expected a JSON document')]);
  expect(text).not.toContain('SECRET');
  expect(await purge('{}', { 'content-encoding': 'lzma' })).toEqual([415, expect.stringContaining('unsupported')]);
});
