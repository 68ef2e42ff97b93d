import { createServer, type AddressInfo, type Socket } from 'node:net';
import {
  createLogger,
  createMemcached,
  MemcachedError,
  MemcachedUnavailableError,
  type MemcachedClient,
  type MemcachedClientOptions,
} from '@tidemark/runtime';
import { describe, expect, it } from 'vitest';
import { scratchFolder, startMemcached, type MemcachedServer } from '../kit/index.ts';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { backendClientContract, DEADLINE_MS, PATIENT_MS, useCleanups } from './support/backend-client.ts';
import { eventually } from './support/eventually.ts';

const MAX_VALUE_BYTES = 1024 * 1024;
const logger = createLogger({ service: 'test', instance: 'memcached', level: 'silent' });
const cleanup = useCleanups();

async function server(...args: readonly string[]): Promise<MemcachedServer> {
  const started = await startMemcached({ args });
  cleanup(() => started.stop());
  return started;
}

function client(
  url: string,
  options: Partial<MemcachedClientOptions> = {},
): { memcached: MemcachedClient; changes: boolean[] } {
  const changes: boolean[] = [];
  const memcached = createMemcached(url, {
    deadlineMs: PATIENT_MS,
    logger,
    maxValueBytes: MAX_VALUE_BYTES,
    onChange: (isUp) => void changes.push(isUp),
    ...options,
  });
  cleanup(() => memcached.close());
  return { memcached, changes };
}

async function connected(
  url: string,
  options?: Partial<MemcachedClientOptions>,
): Promise<{ memcached: MemcachedClient; changes: boolean[] }> {
  const made = client(url, options);
  await eventually(() => expect(made.memcached.isUp).toBe(true));
  return made;
}

describe('a client of memcached', () => {
  backendClientContract({
    server,
    client: (url, more) => {
      const { memcached } = client(url, more);
      return {
        ask: () => memcached.gets('k'),
        probe: () => memcached.probe(),
        get isUp() {
          return memcached.isUp;
        },
      };
    },
    unavailable: MemcachedUnavailableError,
  });

  it('speaks bytes, and compares before it replaces', async () => {
    const { memcached } = await connected((await server()).url);
    const bytes = Buffer.from([0, 255, 13, 10, 128, 69, 78, 68, 13, 10]);
    expect(await memcached.gets('k')).toBeUndefined();
    expect(await memcached.add('k', bytes, 60)).toBe(true);
    expect(await memcached.add('k', Buffer.from('other'), 60)).toBe(false);
    const first = await memcached.gets('k');
    expect(first?.value).toEqual(bytes);
    const cas = first?.cas ?? '';
    expect(await memcached.cas('k', Buffer.from('second'), { ttlS: 60, cas })).toBe('stored');
    expect(await memcached.cas('k', Buffer.from('third'), { ttlS: 60, cas })).toBe('changed');
    expect((await memcached.gets('k'))?.value.toString()).toBe('second');
    expect(await memcached.delete('k')).toBe(true);
    expect(await memcached.delete('k')).toBe(false);
    expect(await memcached.cas('k', bytes, { ttlS: 60, cas })).toBe('missing');
    await memcached.set('k', bytes, 60);
    expect(await memcached.deleteIf('k', cas)).toBe(false);
    expect(await memcached.deleteIf('k', (await memcached.gets('k'))?.cas ?? '')).toBe(true);
    expect(await memcached.gets('k')).toBeUndefined();
    expect(await memcached.deleteIf('k', cas)).toBe(false);
    expect(await memcached.add('k', bytes, 60)).toBe(true);
    await memcached.set('empty', Buffer.alloc(0), 60);
    expect((await memcached.gets('empty'))?.value).toEqual(Buffer.alloc(0));
  });

  it('takes TTLs of any length, to the second', async () => {
    const { memcached } = await connected((await server()).url);
    const value = Buffer.from('v');
    await memcached.set('long', value, 90 * 24 * 3600);
    await memcached.set('short', value, 1);
    expect((await memcached.gets('long'))?.value).toEqual(value);
    await eventually(async () => expect(await memcached.gets('short')).toBeUndefined());
    expect((await memcached.gets('long'))?.value).toEqual(value);
    await expect(memcached.set('none', value, 0)).rejects.toThrow('expected a whole number from 1');
  });

  it('keeps many large values under way apart', async () => {
    const { memcached } = await connected((await server()).url);
    const values = Array.from({ length: 60 }, (_, i) => Buffer.alloc(i * 10_007, i));
    await Promise.all(values.map((value, i) => memcached.set(`k${i}`, value, 60)));
    const found = await Promise.all(values.map((_, i) => memcached.gets(`k${i}`)));
    expect(found.map((one) => one?.value.length)).toEqual(values.map(({ length }) => length));
    expect(found.every((one, i) => one?.value.equals(values[i] as Buffer))).toBe(true);
  });

  it('says what is too large, before or after it was sent, and goes on', async () => {
    const { memcached } = await connected((await server()).url);
    // An item is its value, its key and a header.
    await expect(memcached.set('a', Buffer.alloc(MAX_VALUE_BYTES), 60)).rejects.toThrow('too large');
    await expect(memcached.set('a', Buffer.alloc(MAX_VALUE_BYTES + 1), 60)).rejects.toBeInstanceOf(MemcachedError);
    await expect(memcached.set('a key', Buffer.alloc(1), 60)).rejects.toThrow('expected a key');
    await memcached.set('a', Buffer.from('v'), 60);
    expect((await memcached.gets('a'))?.value.toString()).toBe('v');
  });

  it('passes over what another one stored and is too large for it, and goes on, also with what is under way', async () => {
    const { url } = await server('-I', '4m');
    const { memcached: large } = await connected(url, { maxValueBytes: 4 * MAX_VALUE_BYTES });
    const { memcached, changes } = await connected(url);
    await large.set('large', Buffer.alloc(3 * MAX_VALUE_BYTES, 'x'), 60);
    await large.set('small', Buffer.from('v'), 60);
    const answers = await Promise.allSettled(['small', 'large', 'small', 'large'].map((key) => memcached.gets(key)));
    expect(answers.map((each) => (each.status === 'fulfilled' ? each.value?.value.toString() : each.reason))).toEqual([
      'v',
      expect.any(MemcachedError),
      'v',
      expect.any(MemcachedError),
    ]);
    expect(String((answers[1] as PromiseRejectedResult).reason)).toContain(
      'found a value of 3145728 bytes, expected at',
    );
    expect(changes).toEqual([true]);
  });

  it('says what the server refuses, once', async () => {
    const told: object[] = [];
    const warn = (fields: object): void => void told.push(fields);
    const { memcached } = await connected((await server()).url, {
      logger: { ...logger, info: logger.info.bind(logger), warn } as unknown as typeof logger,
    });
    for (let i = 0; i < 3; i += 1)
      await expect(memcached.set('a', Buffer.alloc(MAX_VALUE_BYTES), 60)).rejects.toThrow('too large');
    expect(told).toEqual([{ command: 'set', refusal: expect.stringContaining('too large') }]);
  });

  /** A server that answers the first so many commands of a connection, and then nothing. */
  async function silentAfter(answers: number): Promise<{ url: string; sockets: Socket[] }> {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => {
      let left = answers;
      sockets.push(socket);
      socket.on('error', () => undefined);
      socket.on('data', () => {
        left -= 1;
        if (left >= 0) socket.write('VERSION 1.6.0\r\n');
      });
    });
    await new Promise<void>((resolve) => void silent.listen(0, '127.0.0.1', resolve));
    cleanup(() => {
      silent.close();
      for (const socket of sockets) socket.destroy();
    });
    return { sockets, url: `memcached://127.0.0.1:${(silent.address() as AddressInfo).port}` };
  }

  it('leaves a server that is silent for long for a fresh connection', async () => {
    const { url, sockets } = await silentAfter(1);
    const { memcached } = await connected(url, { deadlineMs: DEADLINE_MS });
    await eventually(async () => {
      await memcached.probe();
      expect(sockets.length).toBeGreaterThan(1);
    });
  });

  it('is not up before the server has answered, though the system takes its connections', async () => {
    const { url, sockets } = await silentAfter(0);
    const { memcached, changes } = client(url, { deadlineMs: DEADLINE_MS });
    await eventually(async () => {
      await expect(memcached.gets('k')).rejects.toBeInstanceOf(MemcachedUnavailableError);
      expect(sockets.length).toBeGreaterThan(1);
    });
    expect(changes).toEqual([]);
  });

  it('gives the password', async () => {
    const folder = scratchFolder('memcached-users');
    cleanup(() => folder.remove());
    const users = join(folder.path, 'users');
    await writeFile(users, 'shop:s3cret\n');
    const { port } = await server('-Y', users);
    const { memcached } = await connected(`memcached://shop:s3cret@127.0.0.1:${port}`);
    await memcached.set('a', Buffer.from('v'), 60);
    expect((await memcached.gets('a'))?.value.toString()).toBe('v');
    const wrong = client(`memcached://shop:wrong@127.0.0.1:${port}`).memcached;
    await expect(wrong.gets('a')).rejects.toBeInstanceOf(MemcachedUnavailableError);
    expect(wrong.isUp).toBe(false);
  });

  it('is apart from others under another prefix', async () => {
    const { url } = await server();
    const [one, other] = [await connected(`${url}/one`), await connected(`${url}/other`)];
    await one.memcached.set('a', Buffer.from('v'), 60);
    expect(await other.memcached.gets('a')).toBeUndefined();
  });

  it('spreads keys over several servers, and one that fails takes its own along, no others', async () => {
    const [first, second] = [await server(), await server()];
    const url = `memcached://127.0.0.1:${first.port},127.0.0.1:${second.port}`;
    const { memcached, changes } = await connected(url);
    const keys = Array.from({ length: 200 }, (_, i) => `k${i}`);
    await eventually(async () => {
      for (const key of keys) await memcached.set(key, Buffer.from(key), 60);
    });
    // Who reads the list in another order finds the same.
    const other = await connected(`memcached://127.0.0.1:${second.port},127.0.0.1:${first.port}`);
    await eventually(async () => {
      for (const key of keys) expect((await other.memcached.gets(key))?.value.toString()).toBe(key);
    });
    await first.kill();
    const found = await Promise.all(
      keys.map((key) =>
        memcached.gets(key).then(
          () => true,
          () => false,
        ),
      ),
    );
    const left = found.filter(Boolean).length;
    expect(left).toBeGreaterThan(60);
    expect(left).toBeLessThan(140);
    expect(memcached.isUp).toBe(true);
    expect(changes).toEqual([true]);
    await first.start();
    await eventually(async () => {
      const again = await Promise.all(keys.map((key) => memcached.gets(key)));
      expect(again.filter((one) => one !== undefined).length).toBe(left);
    });
  });

  it('that gets garbage begins anew, and never takes one reply for another', async () => {
    // It answers each command with the value of another key.
    const liar = createServer((socket) => {
      socket.on('data', () => void socket.write('VALUE other 0 1 1\r\nx\r\nEND\r\n'));
      socket.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => void liar.listen(0, '127.0.0.1', resolve));
    cleanup(() => void liar.close());
    const { memcached } = await connected(`memcached://127.0.0.1:${(liar.address() as AddressInfo).port}`);
    await expect(memcached.gets('k')).rejects.toBeInstanceOf(MemcachedError);
    await expect(memcached.delete('k')).rejects.toBeInstanceOf(MemcachedError);
    memcached.close();
  });
});
