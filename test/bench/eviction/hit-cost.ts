import type { L1Policy } from '@tidemark/proto';
import { createPolicy } from '../../../sidecar/src/adapters/l1/policies.ts';
import { MemoryStore } from '../../../sidecar/src/adapters/l1/store.ts';
import { anEntry } from '../../../sidecar/src/testing/entries.ts';
import { Dice } from '../../../sidecar/src/testing/random.ts';
import type { HitCost } from './costs.ts';

const ENTRIES = 35_000;
const REQUESTS = 100_000;
const ROUNDS = 60;

const [subject = 'map'] = process.argv.slice(2);
const dice = new Dice(1);
const store =
  subject === 'map'
    ? new Map<string, object>()
    : new MemoryStore({ maxBytes: 2 ** 30, policy: createPolicy(subject as L1Policy, () => dice.fraction()) });
// Each from a buffer, as the HTTP parser makes them: a string of its own.
const keys = Array.from({ length: ENTRIES }, (_, i) => Buffer.from(`user:${i}`).toString());
for (const key of keys) store.set(key, anEntry());
const asked = Array.from({ length: REQUESTS }, () => keys[Math.floor(ENTRIES * dice.fraction() ** 3)] as string);

const roundNs = Array.from({ length: ROUNDS }, () => {
  const before = process.cpuUsage();
  let hits = 0;
  for (const key of asked) if (store.get(key) !== undefined) hits += 1;
  const { user, system } = process.cpuUsage(before);
  if (hits !== REQUESTS) throw new Error(`found ${hits} of ${REQUESTS} keys`);
  return ((user + system) * 1000) / REQUESTS;
}).toSorted((a, b) => a - b);
const cost: HitCost = { subject, leastNs: roundNs[0] as number, medianNs: roundNs[ROUNDS / 2] as number };
console.log(JSON.stringify(cost));
