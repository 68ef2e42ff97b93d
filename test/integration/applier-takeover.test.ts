import { Kafka, logLevel, type Admin } from 'kafkajs';
import { loadConfigFile } from '@tidemark/runtime';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createStack, freePort, startKafka, type KafkaServer, type ServiceHandle, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { tidemarkProcess } from '../kit/tidemark.ts';
import { eventually } from './support/eventually.ts';
import { L2, metric } from './support/l2.ts';
import { showLogsOnFailure } from './support/stack.ts';
import { Stream } from './support/stream.ts';

// Two appliers of one group, on a Kafka of their own that the test kills.

let kafka: KafkaServer;
let stack: Stack;
let stream: Stream;
let l2: L2;
let appliers: ServiceHandle[];

beforeAll(async () => {
  kafka = await startKafka();
  const servers = { ...sharedServers(), kafka };
  const namespaces = { user: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] } };
  stack = await createStack(servers, { prepareOnly: true, supervise: false, config: { namespaces } });
  l2 = new L2(stack.redis, loadConfigFile(stack.configFile));
  stream = new Stream({ brokers: stack.brokers, topic: stack.topic, covers: l2.covers() });
  await stream.start();
  stream.beat();
  const address = `127.0.0.1:${await freePort()}`;
  const second = await tidemarkProcess({
    role: 'applier',
    name: 'applier-2',
    supervise: false,
    env: {
      TIDEMARK_CONFIG: stack.configFile,
      TIDEMARK_KAFKA_BROKERS: stack.brokers.join(','),
      TIDEMARK_REDIS_URL: stack.redis,
      TIDEMARK_GROUP: stack.group,
      TIDEMARK_HTTP_LISTEN: address,
    },
  });
  appliers = [stack.applier, Object.assign(second, { url: `http://${address}` })];
});
beforeEach(async () => {
  showLogsOnFailure(stack);
  await Promise.all(appliers.map((applier) => applier.start()));
  await chosen();
});
afterAll(async () => {
  await Promise.all((appliers ?? []).map((applier) => applier.stop()));
  l2?.redis.disconnect();
  await stream?.stop();
  await stack?.stop();
  await kafka?.stop();
});

/** The one that applies, and the one that stands by. */
function chosen(): Promise<{ active: ServiceHandle; standby: ServiceHandle }> {
  return eventually(
    async () => {
      const states = await Promise.all(
        appliers.map(({ url }) => metric(url, 'tidemark_applier_state{state="applying"}')),
      );
      expect(states.toSorted((a, b) => a - b)).toEqual([0, 1]);
      const active = appliers[states.indexOf(1)];
      const standby = appliers[states.indexOf(0)];
      if (active === undefined || standby === undefined) throw new Error('no applier');
      expect(await metric(standby.url, 'tidemark_applier_state{state="standby"}')).toBe(1);
      return { active, standby };
    },
    { withinMs: 60_000 },
  );
}

/** A change of a cached row reaches Redis. */
async function evicts(key: string): Promise<void> {
  await eventually(async () => expect(await l2.fill('user', key, { asOf: (await l2.header()).to })).toBe('ok'));
  const { to } = await stream.say({ users: [key] });
  await l2.reaches(to);
  expect(await l2.has('user', key)).toBe(false);
}

/** It says so a moment after Redis has what it applied. */
const applies = ({ url }: ServiceHandle) =>
  eventually(async () => expect(await metric(url, 'tidemark_applier_state{state="applying"}')).toBe(1));

async function withAdmin<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Kafka({ brokers: [...stack.brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

/** Who is in the group. */
const members = (): Promise<string[]> =>
  withAdmin(async (admin) => {
    const { groups } = await admin.describeGroups([stack.group]);
    return groups.flatMap((group) => group.members.map(({ memberId }) => memberId));
  });

it('lets one of them apply, and shows the group how far it has come', async () => {
  const { active, standby } = await chosen();
  for (const { url } of [active, standby]) expect((await fetch(`${url}/readyz`)).status).toBe(200);
  await evicts('1');
  await withAdmin(async (admin) => {
    const reported = async (): Promise<number> => {
      const [topic] = await admin.fetchOffsets({ groupId: stack.group, topics: [stack.topic] });
      return Number(topic?.partitions[0]?.offset);
    };
    await eventually(async () => expect(await reported()).toBeGreaterThan(0), { withinMs: 60_000 });
  });
});

it('hands over at once when it is stopped in good order, without losing the log', async () => {
  const { active, standby } = await chosen();
  const { generation } = await l2.header();
  const before = await members();
  await active.kill('SIGTERM');
  // It has left, so that nobody has to wait until its session has run out.
  expect(await members()).not.toEqual(expect.arrayContaining(before));
  await evicts('2');
  await applies(standby);
  expect((await l2.header()).generation).toBe(generation);
});

it('takes over when the other one is killed', async () => {
  const { active, standby } = await chosen();
  const { generation } = await l2.header();
  await active.kill();
  await evicts('3');
  await applies(standby);
  expect((await l2.header()).generation).toBe(generation);
});

it('does no harm when one that stood still wakes up and still takes itself for the chosen one', async () => {
  const { active } = await chosen();
  const { generation } = await l2.header();
  active.pause();
  await evicts('4');
  active.resume();
  for (let i = 0; i < 20; i++) await evicts(`5-${i}`);
  await chosen();
  expect((await l2.header()).generation).toBe(generation);
});

it('goes on after the broker was killed', async () => {
  const { generation } = await l2.header();
  stream.hush();
  await stream.say({});
  await kafka.kill();
  await kafka.start();
  stream.beat();
  await evicts('6');
  await chosen();
  await evicts('7');
  expect((await l2.header()).generation).toBe(generation);
});
