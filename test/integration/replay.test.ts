import { readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { formatLsn } from '@tidemark/proto';
import { loadConfigFile } from '@tidemark/runtime';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createStack, scratchFolder, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { L2 } from './support/l2.ts';
import { eventually } from './support/eventually.ts';
import { startTidemark, tidemark, type Ended } from './support/command.ts';
import { Stream } from './support/stream.ts';

// The command on a real Kafka, between a stream that the test writes and the lines that come out.

let stack: Stack;
let stream: Stream;
let l2: L2;
const scratch = scratchFolder('replay');

beforeAll(async () => {
  stack = await createStack(sharedServers(), {
    prepareOnly: true,
    config: {
      namespaces: {
        user: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] },
        list: { source: 'main', invalidate: [{ table: 'public.users', tags: ['user:{id}'] }] },
        mail: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{email}'] }] },
        price: { source: 'main', invalidation: 'ttl_only' },
      },
    },
  });
  l2 = new L2(stack.redis, loadConfigFile(stack.configFile));
  stream = new Stream({ brokers: stack.brokers, topic: stack.topic, covers: l2.covers() });
  await stream.start();
});
afterAll(async () => {
  l2?.redis.disconnect();
  await stream?.stop();
  await stack?.stop();
  await scratch.remove();
});

/** Standard error is compared: a slow machine makes it tell its progress, and kafkajs that an attempt took long. */
const QUIET = '--quiet';
const env = (): Record<string, string> => ({
  TIDEMARK_LOG_LEVEL: 'error',
  TIDEMARK_CONFIG: stack.configFile,
  TIDEMARK_KAFKA_BROKERS: stack.brokers.join(','),
  TIDEMARK_REDIS_URL: stack.redis,
});
const replay = (...args: string[]): Promise<Ended> => tidemark(['replay', QUIET, ...args], env());
/** Neither Kafka nor Redis. */
const offline = (...args: string[]): Promise<Ended> =>
  tidemark(['replay', QUIET, ...args], { TIDEMARK_CONFIG: stack.configFile });
const capture = (...args: string[]): Promise<Ended> => tidemark(['capture', ...args], env());

const linesOf = ({ stdout }: Ended): unknown[] =>
  stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);

it('tells each invalidation from the earliest on, with what caused it', async () => {
  const first = await stream.say({ users: ['1'] });
  await stream.say({});
  const second = await stream.say({ purges: [{ namespace: 'list', keys: ['a"b'], tags: [], all: true }] });
  const ended = await replay('--from', 'earliest');
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  const at = { epoch: 1, table: 'public.users', op: 'update', lsn: formatLsn(first.commits[0] ?? 0) };
  const committedAt = new Date(first.committedAtUs / 1000).toISOString();
  const missing = { kind: 'namespace', name: null, why: [{ cause: 'missing-column', columns: ['email'] }], op: null };
  const purged = { epoch: 1, lsn: formatLsn(second.commits[0] ?? 0), table: null, op: 'purge' };
  expect(linesOf(ended).slice(-5)).toEqual([
    { ...at, committedAt, namespace: 'list', kind: 'tag', name: 'user:1' },
    { ...at, committedAt, namespace: 'user', kind: 'key', name: '1' },
    { ...at, committedAt, namespace: 'mail', ...missing },
    expect.objectContaining({ ...purged, op: null, namespace: 'list', kind: 'namespace', why: [{ cause: 'purge' }] }),
    expect.objectContaining({ ...purged, namespace: 'list', kind: 'key', name: 'a"b' }),
  ]);
});

it('replays a capture, without Kafka, to the very lines that the stream gives', async () => {
  const file = join(scratch.path, 'all.bin');
  await stream.say({ users: ['2', '3'] });
  await stream.say({ gap: true, users: ['4'] });
  await stream.say({ newEpoch: true, users: ['5'] });
  const { commits } = await stream.say({ users: ['6', '7'] });
  await stream.say({ users: ['8'] });
  const all = await replay('--to', 'latest');
  const captured = await capture('--out', file);
  expect(captured.code).toBe(0);
  expect(await offline('--file', file, '--ndjson')).toEqual({ code: 0, stderr: '', stdout: all.stdout });
  // A part, by a bare position: the newest epoch is meant, and said.
  const at = formatLsn(commits[0] ?? 0);
  const part = await replay('--from', at, '--to', at, '--namespace', 'user');
  expect(part.stderr).toContain(`--from is taken for 2:${at}: 2 is the newest epoch`);
  expect(linesOf(part).map((line) => (line as { name: string }).name)).toEqual(['6', '7']);
  const partOfFile = ['--from', `2:${at}`, '--to', `2:${at}`, '--namespace', 'user'];
  expect(await offline('--file', file, '--ndjson', ...partOfFile)).toMatchObject({ code: 0, stdout: part.stdout });
  // A capture of a part is replayed as that part, also through a pipe.
  const pipe = await capture('--out', join(scratch.path, 'part.bin'), '--from', at, '--to', at);
  expect(pipe.code).toBe(0);
  const again = await offline('--file', join(scratch.path, 'part.bin'), '--ndjson', '--namespace', 'user');
  expect(again).toMatchObject({ code: 0, stdout: part.stdout });
  expect((await capture('--out', file)).stderr).toContain('expected a file that is not there yet');
  const nowhere = await capture('--out', join(scratch.path, 'no', 'folder'));
  expect(nowhere).toMatchObject({ code: 1, stderr: expect.stringMatching(/--out: found ENOENT.*can be written\n$/) });
});

it('begins and ends at times', async () => {
  await stream.say({ users: ['before'] });
  const startMs = await later();
  await stream.say({ users: ['within'] });
  const endMs = await later();
  await stream.say({ users: ['after'] });
  const [from, to] = [startMs, endMs].map((ms) => new Date(ms).toISOString()) as [string, string];
  const namesIn = async (...args: string[]): Promise<unknown[]> =>
    linesOf(await replay('--namespace', 'user', ...args)).map((line) => (line as { name: unknown }).name);
  expect(await namesIn('--from', from, '--to', to)).toEqual(['within']);
  expect(await namesIn('--from', from)).toEqual(['within', 'after']);
  expect((await namesIn('--to', from)).at(-1)).toBe('before');
  expect((await namesIn('--from', '1h')).slice(-3)).toEqual(['before', 'within', 'after']);
});

/** A moment, ms since 1970, after everything so far and before everything to come. */
async function later(): Promise<number> {
  const now = Date.now();
  await eventually(() => expect(Date.now()).toBeGreaterThan(now + 1));
  return now + 1;
}

it('says what to mend when there is no Kafka', async () => {
  const ended = await tidemark(['replay'], { ...env(), TIDEMARK_KAFKA_BROKERS: '127.0.0.1:1' });
  expect(ended).toMatchObject({ code: 1, stderr: expect.stringContaining('Kafka cannot be read at 127.0.0.1:1:') });
});

it('prints what each namespace would have lost and why, and what other rules would have changed', async () => {
  const file = join(scratch.path, 'table.bin');
  await stream.say({ users: ['9'] });
  await capture('--out', file);
  const old = join(scratch.path, 'old.yaml');
  writeFileSync(old, readFileSync(stack.configFile, 'utf8').replace('- "{id}"', '- old-{id}'));
  const ended = await offline('--file', file, '--compare', old);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  expect(ended.stdout).toMatch(/^mail +[0-9a-f]{16} +0 +0 +0 +0 +[1-9]/m);
  expect(ended.stdout).toContain('the records do not have a column (email)');
  expect(ended.stdout).toContain('public.users: no record has email, because no rule named it then');
  expect(ended.stdout).toMatch(/^ {2}user: .*\n {4}keys only before: \d+ \("old-/m);
  const json = JSON.parse((await offline('--file', file, '--json')).stdout) as Record<string, unknown>;
  expect(json).toMatchObject({ gaps: 1, epochs: 1, end: { epoch: 2 } });
});

it('goes on with a capture that was cut off, at any byte', { timeout: 300_000 }, async () => {
  const whole = join(scratch.path, 'whole.bin');
  await capture('--out', whole);
  const bytes = readFileSync(whole);
  const cut = join(scratch.path, 'cut.bin');
  for (const length of [bytes.length - 1, bytes.length - 30, Math.floor(bytes.length / 3), 400]) {
    writeFileSync(`${cut}.partial`, bytes.subarray(0, length));
    expect((await offline('--file', `${cut}.partial`)).stderr).toContain('it was not finished');
    expect(await capture('--out', cut)).toMatchObject({ code: 0 });
    expect(readFileSync(cut).equals(bytes)).toBe(true);
    await rm(cut);
  }
  const damaged = Buffer.from(bytes);
  damaged[bytes.length >> 1] = (damaged[bytes.length >> 1] ?? 0) ^ 1;
  writeFileSync(cut, damaged);
  expect(await offline('--file', cut)).toMatchObject({ code: 1, stderr: expect.stringContaining('damaged at byte') });
});

it('goes on where an earlier run was interrupted, and both together are one run', { timeout: 300_000 }, async () => {
  for (let i = 0; i < 6; i++)
    await stream.say({ users: Array.from({ length: 20_000 }, (_, user) => `checkpoint-${i}-${user}`) });
  const whole = await replay('--namespace', 'user');
  const file = join(scratch.path, 'checkpoint.json');
  const args = ['replay', QUIET, '--namespace', 'user', '--checkpoint', file];
  const first = startTidemark(args, env());
  first.child.stdout.once('data', () => first.child.kill('SIGINT'));
  const one = await first.ended;
  expect(one.code).toBe(130);
  expect(one.stdout.length).toBeLessThan(whole.stdout.length);
  const two = await tidemark(args, env());
  expect(two).toMatchObject({ code: 0, stderr: expect.stringContaining('going on behind') });
  expect(one.stdout + two.stdout === whole.stdout).toBe(true);
  const three = await tidemark(args, env());
  expect(three).toMatchObject({ code: 0, stdout: '' });
  const other = await replay('--checkpoint', file);
  expect(other.stderr).toContain('found a checkpoint of another replay');
});

it('ends in silence when nobody reads its lines any more', async () => {
  const { child, ended } = startTidemark(['replay', QUIET], env());
  child.stdout.once('data', () => child.stdout.destroy());
  expect(await ended).toMatchObject({ code: 0, stderr: '' });
});

it.each([
  [['--from', '3:0/1'], 'found epoch 3, expected at most 2'],
  [['--from', 'FFFF/0'], 'ends at 2:'],
  [['--from', 'yesterday'], 'found "yesterday", expected earliest, latest, an LSN'],
  [['--namespace', 'users'], 'found "users", expected one of source main: user, list, mail, price'],
  [['--namespace', 'price'], 'it is ttl_only'],
  [['--into', 'l1'], 'found "l1", expected one of stdout, redis, sidecars'],
  [['--into', 'sidecars'], 'TIDEMARK_INVALIDATOR_URL: found nothing'],
  [['--file', '/nowhere.bin'], '/nowhere.bin: it cannot be read (ENOENT)'],
  [['--sideways'], "Unknown option '--sideways'"],
])('says what is wrong with %j', async (args, said) => {
  expect(await replay(...args)).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining(said) });
});

it('[I7] deletes what was stored in Redis behind its back, beside a live applier, and twice is once', async () => {
  await stack.applier.start();
  stream.beat();
  await l2.reaches((await stream.say({})).to);
  const before = await stream.say({ users: ['planted'] });
  const { to } = await l2.reaches(before.to);
  // As of before the change, written past the scripts: nobody will ever evict it.
  await l2.plant('user', 'planted', { asOf: before.from });
  await l2.plant('user', 'untouched', { asOf: before.from });
  expect(await l2.fill('user', 'later', { asOf: to })).toBe('ok');
  await stream.say({ users: ['elsewhere'] });
  expect(await l2.has('user', 'planted')).toBe(true);
  const [once, twice] = [await replay('--into', 'redis'), await replay('--into', 'redis')];
  stream.hush();
  expect(once).toMatchObject({ code: 0, stdout: '', stderr: expect.stringContaining('1 entries deleted') });
  expect(twice).toMatchObject({ code: 0, stdout: '', stderr: expect.stringContaining('0 entries deleted') });
  expect(await l2.has('user', 'planted')).toBe(false);
  expect(await l2.has('user', 'untouched')).toBe(true);
  expect(await l2.has('user', 'later')).toBe(true);
  expect(await l2.fill('user', 'planted', { asOf: before.from })).toMatch(/^(fenced|old)$/);
  // The applier was not disturbed.
  const { to: end } = await stream.say({ users: ['later'] });
  await l2.reaches(end);
  expect(await l2.has('user', 'later')).toBe(false);
});

it('says from where on the stream is there, when retention has removed what is asked for', async () => {
  const { to } = await stream.say({});
  const admin = new Kafka({ brokers: [...stack.brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  const [partition] = await admin.fetchTopicOffsets(stack.topic);
  const offset = String(Number(partition?.high) - 1);
  await admin.deleteTopicRecords({ topic: stack.topic, partitions: [{ partition: 0, offset }] });
  await admin.disconnect();
  const ended = await eventually(async () => {
    const tried = await replay('--from', '2:0/1');
    expect(tried.code).toBe(1);
    return tried;
  });
  const earliest = `2:${formatLsn(to - 9)}`;
  expect(ended.stderr).toContain(`the earliest available is --from ${earliest}, or --from earliest`);
  expect(await replay('--from', earliest)).toMatchObject({ code: 0 });
  expect((await replay('--from', '300d')).stderr).toContain('Kafka has removed the records before');
});
