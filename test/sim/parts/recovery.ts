import { bodyOf, loadedFrom, ROWS, type KeySpec } from './keys.ts';
import type { Answer, SimSidecar } from './sidecar.ts';
import type { World } from './world.ts';

/** Every key must be cacheable again this long after the last fault. */
const RECOVERY_MS = 90_000;
const ROUND_MS = 100;

/** No more faults. Everything must come back by itself: a cache that always misses is no cache. */
export async function checkRecovery(world: World): Promise<void> {
  heal(world);
  const { oracle, primary } = world;
  await untilAllFresh(world, 'after the faults');
  for (const row of ROWS) {
    const transaction = primary.begin([row], []);
    if (transaction !== undefined) primary.commit(transaction, false);
  }
  if (oracle.violations.length === 0) await untilAllFresh(world, 'after a last change');
  if (oracle.violations.length === 0) await untilShared(world);
}

function heal(world: World): void {
  const { primary, redis, topic, clocks } = world;
  world.endOldServers();
  primary.isUp = true;
  primary.hidden.clear();
  for (const transaction of primary.open.slice()) primary.commit(transaction, false);
  world.network.resume();
  redis.isUp = true;
  topic.isUp = true;
  for (const clock of clocks) clock.isAsleep = false;
  world.loads.length = 0;
  world.allHear();
}

/** Every sidecar serves every key as the database has it now, and from after its purges. */
async function untilAllFresh(world: World, when: string): Promise<void> {
  const { time, oracle, sidecars } = world;
  const untilMs = time.nowMs + RECOVERY_MS;
  let waiting = sidecars.flatMap((sidecar) => world.document.keys.map((spec) => ({ sidecar, spec })));
  while (waiting.length > 0 && oracle.violations.length === 0) {
    if (time.nowMs > untilMs) {
      const [first] = waiting;
      const answer = first && (await ask(world, first.sidecar, first.spec));
      const found = answer?.body === undefined ? answer?.from : JSON.stringify(loadedFrom(answer.body));
      const wanted = first && world.primary.read(first.spec.rows).join();
      oracle.violations.push(
        `${when} ${waiting.length} keys are not served again, first ${first?.spec.namespace}/${first?.spec.key} (found ${found}, wanted ${wanted}) at ${describe(world, first?.sidecar)}`,
      );
      return;
    }
    await round(world);
    const left: typeof waiting = [];
    for (const each of waiting) if (!(await isFresh(world, each.sidecar, each.spec))) left.push(each);
    waiting = left;
  }
}

/** A sidecar that has just started finds every key in Redis. */
async function untilShared(world: World): Promise<void> {
  const { time, oracle } = world;
  const untilMs = time.nowMs + RECOVERY_MS;
  const [first] = world.sidecars;
  if (first === undefined) return;
  for (let waiting = world.document.keys; waiting.length > 0 && oracle.violations.length === 0;) {
    if (time.nowMs > untilMs) {
      oracle.violations.push(`${waiting[0]?.namespace}/${waiting[0]?.key} is not found in Redis again`);
      return;
    }
    const newcomer = world.newcomer();
    for (let i = 0; i < 100 && newcomer.state !== 'live'; i++) await round(world);
    const left: KeySpec[] = [];
    for (const spec of waiting) {
      const answer = await ask(world, newcomer, spec);
      if (answer?.from === 'l2') continue;
      left.push(spec);
      // Somebody loads it again, and so shares it.
      await ask(world, first, spec, 'reload');
      fillAll(world);
    }
    newcomer.kill();
    waiting = left;
  }
}

async function isFresh(world: World, sidecar: SimSidecar, spec: KeySpec): Promise<boolean> {
  const answer = await ask(world, sidecar, spec);
  fillAll(world);
  const body = answer?.body;
  if (body === undefined) return false;
  const loaded = loadedFrom(body);
  return loaded.versions.join() === world.primary.read(spec.rows).join() && !world.oracle.lacksPurge(spec, loaded);
}

/** A read to its end; undefined when there is none. */
async function ask(
  world: World,
  sidecar: SimSidecar,
  spec: KeySpec,
  mode?: 'reload' | 'usual',
): Promise<Answer | undefined> {
  let ended: Answer | undefined;
  sidecar.get(spec, mode && { mode }, (answer) => (ended = answer));
  for (let i = 0; i < 100 && ended === undefined; i++) await world.deliver(10);
  return ended;
}

function fillAll(world: World): void {
  for (const { sidecar, spec, token } of world.loads.splice(0)) {
    const loaded = { readAt: world.primary.ids.last, versions: world.primary.read(spec.rows) };
    sidecar.put(spec, { token, body: bodyOf(loaded) });
  }
}

async function round(world: World): Promise<void> {
  await world.time.advance(ROUND_MS);
  await world.quiesce();
}

function describe({ invalidators, topic }: World, sidecar: SimSidecar | undefined): string {
  const failures = invalidators.map(({ failures: count, lastFailure }) => `${count} x ${lastFailure}`);
  return `${sidecar?.name} (${sidecar?.state}, ${JSON.stringify(sidecar && { ...sidecar.standpoint, record: sidecar.standpoint.record?.batch.epoch })}); invalidators failed ${failures.join(', ')}; the topic ends at ${topic.records.at(-1)?.batch.epoch}:${topic.records.at(-1)?.batch.to}`;
}
