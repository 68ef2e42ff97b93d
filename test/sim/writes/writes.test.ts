import type { Entry } from '@tidemark/proto';
import { expect, it } from 'vitest';
import type { Namespace } from '../../../sidecar/src/core/namespace.ts';
import { OwnWrites, type OwnWrite } from '../../../sidecar/src/core/own-writes.ts';
import type { SourceReplica } from '../../../sidecar/src/core/replica.ts';
import { Dice } from '../../../sidecar/src/testing/random.ts';
import { L2Model } from '../l2-model.ts';
import { Database, SHARED, UNTOLD } from './database.ts';
import { ROWS, rules, WorldSidecar, type Sabotage } from './sidecar.ts';

// SPEC I18: writers and readers on two sidecars over one database, in which others write too, commits become visible late, COMMIT's
// answers are lost, or come before the commit, nobody can say where a commit stands, something changes of which only purges tell,
// records are cut anywhere, repeated or lost, epochs end, and marks fail to come. What is served reflects all that was applied (I5, I6); and
// once a write was answered here, nothing older is served here.

const STEPS = 500;
/** TIDEMARK_TEST_HISTORIES makes it a soak. */
const HISTORIES = Number(process.env['TIDEMARK_TEST_HISTORIES'] ?? '300');

interface Found {
  readonly wrong: string | undefined;
  readonly served: number;
  readonly kept: number;
}

/** Lets everything that hangs on a promise go on as far as it can. */
async function settled(): Promise<void> {
  for (let i = 0; i < 12; i++) await Promise.resolve();
}

async function history(seed: number, sabotage: Sabotage = {}): Promise<Found> {
  const dice = new Dice(seed);
  const database = new Database({ dice, covers: rules.namespaces.map(({ hash }) => hash), keys: ROWS });
  const l2 = new L2Model(rules);
  const newOwn = (options: { replica: SourceReplica; most: number; maxBytes: number }): OwnWrites =>
    new OwnWrites(options);
  const sidecars = ['one', 'two'].map((name) => new WorldSidecar({ dice, database, l2, name, newOwn, sabotage }));
  const other = (): void => {
    const rows = dice.chance(0.3) ? [dice.pick(ROWS), SHARED] : [dice.pick([...ROWS, ...ROWS, SHARED, SHARED, UNTOLD])];
    const transaction = database.begin(rows);
    if (transaction !== undefined) database.commit(transaction);
  };
  const acts: readonly (readonly [weight: number, act: () => void])[] = [
    [3, other],
    [25, () => database.show()],
    [25, () => database.publish()],
    [20, () => l2.applyNext(database.topic)],
    [0.2, () => database.loseSlot()],
    [0.2, () => l2.flush()],
    [200, () => dice.pick(sidecars).step()],
  ];
  const weight = acts.reduce((sum, [each]) => sum + each, 0);
  for (let i = 0; i < STEPS; i++) {
    let roll = dice.fraction() * weight;
    acts.find(([each]) => (roll -= each) < 0)?.[1]();
    await settled();
    const wrong = sidecars.find((each) => each.wrong !== undefined)?.wrong;
    if (wrong !== undefined) return { wrong: `seed ${seed}, step ${i}: ${wrong}`, served: 0, kept: 0 };
  }
  const sum = (of: (each: WorldSidecar) => number): number => sidecars.reduce((all, each) => all + of(each), 0);
  return { wrong: undefined, served: sum(({ served }) => served), kept: sum(({ own }) => own.fates.kept) };
}

it(
  '[I5] [I6] [I18] nothing that was applied, or written here, is missing in what is served',
  { timeout: 60_000 + 500 * HISTORIES },
  async () => {
    let [served, kept] = [0, 0];
    for (let seed = 1; seed <= HISTORIES; seed++) {
      const one = await history(seed);
      expect(one.wrong).toBeUndefined();
      served += one.served;
      kept += one.kept;
    }
    // A simulation in which nothing is served, or no written value survives its record, proves nothing.
    expect(served).toBeGreaterThan(10 * HISTORIES);
    expect(kept).toBeGreaterThan(HISTORIES / 2);
  },
);

/** Sees another replica than there is. */
function seeing(replica: SourceReplica, other: Partial<Record<keyof SourceReplica, unknown>>): SourceReplica {
  return new Proxy(replica, {
    get: (of, name) => {
      const value: unknown = Object.hasOwn(other, name)
        ? other[name as keyof SourceReplica]
        : Reflect.get(of, name, of);
      return typeof value === 'function' ? value.bind(of) : value;
    },
  });
}

/** Knows which entries are of writes of which no record has come. */
class Watching extends OwnWrites {
  readonly entries = new Set<Entry>();
  readonly marked = new Set<string>();
  readonly tokens = new Map<Entry, string>();

  override stored(write: OwnWrite, entry: Entry): void {
    this.entries.add(entry);
    this.tokens.set(entry, write.token);
    super.stored(write, entry);
  }

  override mark(token: string, lsn: number, isAlone: boolean): void {
    this.marked.add(token);
    super.mark(token, lsn, isAlone);
  }

  protected here(namespace: Namespace, key: string): Entry | undefined {
    const entry = namespace.l1.get(key);
    return entry !== undefined && this.entries.has(entry) ? entry : undefined;
  }
}

/** Mistakes; some history must find each. */
const careless: Readonly<Record<string, Sabotage>> = {
  'a value is as old as the beginning of its write, not as its end': {
    replica: (replica, database) =>
      seeing(replica, {
        get visible() {
          return database.position.lsn;
        },
      }),
  },
  'only the invalidation of its own commit spares a value': {
    own: (options) =>
      new (class extends Watching {
        override key(namespace: Namespace, key: string, lsn: number): boolean {
          const entry = this.here(namespace, key);
          super.key(namespace, key, lsn);
          if (entry !== undefined) this.entries.delete(entry);
          return entry !== undefined;
        }
      })(options),
  },
  'other invalidations of the same record evict it': {
    own: (options) =>
      new (class extends Watching {
        override tag(namespace: Namespace, tag: string, lsn: number): readonly string[] {
          const spared = super.tag(namespace, tag, lsn);
          const others = ROWS.filter((key) => {
            const entry = this.here(namespace, key);
            return entry !== undefined && this.marked.has(this.tokens.get(entry) ?? '');
          });
          return [...new Set([...spared, ...others])];
        }
      })(options),
  },
  'it is shared only once its record was applied': {
    own: (options, l2) =>
      new (class extends OwnWrites {
        override stored(write: OwnWrite, entry: Entry): void {
          super.stored(write, entry);
          const asOf = entry.loadedAt ?? 0;
          const { rules: of } = write.namespace;
          if (of !== undefined) l2.fill(of, write.key, { entry: { ...entry, asOf }, generation: l2.generation });
        }
      })(options),
  },
  'what touched its names while it was written keeps it from being stored': {
    own: (options) =>
      new (class extends OwnWrites {
        override admit(write: OwnWrite, tags: readonly string[]): number | undefined {
          return super.admit(write, tags) ?? write.asOf;
        }
      })(options),
  },
  'what was there goes, and nothing older comes': {
    replica: (replica) => seeing(replica, { changed: () => undefined }),
  },
  'nothing is kept under a key that was written nobody knows where': {
    replica: (replica) => seeing(replica, { seal: () => () => undefined }),
  },
  'a purge of more than names evicts what is being written': {
    own: (options) =>
      new (class extends OwnWrites {
        override many(): void {}
      })(options),
  },
  'tags that nobody told at the beginning are looked up at the end': {
    own: (options) =>
      new (class extends OwnWrites {
        override admit(write: OwnWrite): number | undefined {
          return super.admit(write, []);
        }
      })(options),
  },
  'writes that overlap on one sidecar spoil each other': {
    own: (options) => {
      let concluding = false;
      return new (class extends OwnWrites {
        override key(namespace: Namespace, key: string, lsn: number): boolean {
          return concluding ? false : super.key(namespace, key, lsn);
        }

        override admit(write: OwnWrite, tags: readonly string[]): number | undefined {
          concluding = true;
          queueMicrotask(() => (concluding = false));
          return super.admit(write, tags);
        }
      })(options);
    },
  },
};

it.each(Object.entries(careless))(
  '[I18] finds the stale value when it is not so that %s',
  { timeout: 600_000 },
  async (_rule, sabotage) => {
    for (let seed = 1; seed <= 3_000; seed++) if ((await history(seed, sabotage)).wrong !== undefined) return;
    expect.fail('nothing stale was served in 3,000 histories');
  },
);
