import { Dice } from '../../../sidecar/src/testing/random.ts';
import { SimApplier } from './applier.ts';
import { SimInvalidator } from './invalidator.ts';
import { Topic } from './kafka.ts';
import type { Flavor } from '../history.ts';
import { DOCUMENTS, FEATURES, type SimDocument } from './documents.ts';
import { USUAL } from '../../../sidecar/src/core/freshness.ts';
import { anyWish, loadedBy } from './features.ts';
import { bodyOf, ROWS, type KeySpec, type Loaded } from './keys.ts';
import { Network } from './network.ts';
import { Oracle } from './oracle.ts';
import { Ids, Server, type OpenTransaction, type WalRecord } from './postgres.ts';
import { Published } from './published.ts';
import { SimRedis } from '../redis/client.ts';
import { SimSidecar } from './sidecar.ts';
import type { Sabotage } from './sabotage.ts';
import { settle, VirtualTime, type SimClock } from './time.ts';

/** A value on its way from the database to a sidecar. */
interface Load {
  readonly sidecar: SimSidecar;
  readonly spec: KeySpec;
  readonly token: string;
  /** Position of the standby that is going to be read. */
  readonly sourceLsn?: number;
  readonly loaded?: Loaded;
}

/** What one message takes. */
const MESSAGE_MS = 1;
const SIDECARS = 3;
const INVALIDATORS = 2;
const APPLIERS = 2;

/** Everything, in the hands of the dice: a database with its standby, Kafka, Redis, and the processes of Tidemark. */
export class World {
  readonly time = new VirtualTime();
  readonly network = new Network();
  readonly topic = new Topic(() => this.time.nowMs);
  readonly redis = new SimRedis();
  readonly oracle: Oracle;
  readonly sabotage: Sabotage;
  /** Of the step that is under way. */
  dice = new Dice(0);
  primary: Server;
  readonly sidecars: SimSidecar[] = [];
  readonly invalidators: SimInvalidator[] = [];
  readonly appliers: SimApplier[] = [];
  readonly loads: Load[] = [];
  /** What a restored Redis holds. */
  saved: ReturnType<SimRedis['data']['snapshot']> | undefined;
  /** Servers that another one took over from, still alive. */
  readonly #old: Server[] = [];
  #names = 0;
  readonly published: Published;
  readonly #flavor: Flavor;

  constructor({ sabotage, flavor }: { sabotage: Sabotage; flavor: Flavor }) {
    this.sabotage = sabotage;
    this.#flavor = flavor;
    this.published = new Published(flavor === 'features' ? FEATURES : DOCUMENTS[0]);
    this.primary = Server.create(new Ids());
    const primary = (): Server => this.primary;
    this.oracle = new Oracle({ topic: this.topic, primary, nowMs: () => this.time.nowMs });
    for (let i = 0; i < INVALIDATORS; i++) this.invalidators.push(this.#invalidator());
    for (let i = 0; i < APPLIERS; i++) this.appliers.push(this.#applier());
    for (let i = 0; i < SIDECARS; i++) this.sidecars.push(this.#sidecar(i));
  }

  get clocks(): readonly SimClock[] {
    return [...this.sidecars, ...this.invalidators, ...this.appliers].map(({ clock }) => clock);
  }

  get document(): SimDocument {
    return this.published.newest;
  }

  /** One process hears of the newest document. */
  hear(): void {
    const i = this.dice.below(SIDECARS + INVALIDATORS + APPLIERS);
    const each = [...this.sidecars, ...this.appliers][i];
    if (each === undefined) this.#renew(i - SIDECARS - APPLIERS);
    else if (!each.clock.isAsleep) each.take(this.document);
  }

  /** Everybody has heard of it. */
  allHear(): void {
    if (this.#flavor === 'changes') for (let i = 0; i < INVALIDATORS; i++) this.#renew(i);
    for (const each of [...this.sidecars, ...this.appliers]) each.take(this.document);
  }

  /** Messages arrive, some of them; what they cause happens before the next one arrives. */
  async deliver(messages: number): Promise<void> {
    for (let i = 0; i < messages; i++) {
      const streams = this.invalidators.flatMap(({ stream }) => (stream?.isBusy === true ? [stream] : []));
      if (streams.length > 0 && this.dice.chance(0.25)) this.dice.pick(streams).step(this.dice);
      else if (!this.network.step(this.dice)) streams[0]?.step(this.dice);
      await settle();
      await this.time.advance(MESSAGE_MS);
    }
  }

  /** Everything that is under way arrives. Bounded: two parts may go on answering each other. */
  async quiesce(): Promise<void> {
    for (let i = 0; i < 200; i++) {
      const streams = this.invalidators.flatMap(({ stream }) => (stream?.isBusy === true ? [stream] : []));
      for (const stream of streams) stream.step(this.dice);
      const isMoving = this.network.step(this.dice);
      if (!isMoving && streams.length === 0) return;
      await settle();
    }
  }

  /** One more sidecar, which nobody else knows. */
  newcomer(): SimSidecar {
    const sidecar = this.#sidecar(SIDECARS);
    sidecar.take(this.document);
    return sidecar;
  }

  /** Nothing goes on afterwards. */
  end(): void {
    for (const each of [...this.sidecars, ...this.invalidators, ...this.appliers]) each.kill();
  }

  restartSidecar(): void {
    const i = this.dice.below(SIDECARS);
    this.sidecars[i]?.kill();
    this.sidecars[i] = this.#sidecar(i);
  }

  restartInvalidator(): void {
    this.#renew(this.dice.below(INVALIDATORS));
  }

  #renew(i: number): void {
    this.invalidators[i]?.kill();
    this.invalidators[i] = this.#invalidator();
  }

  restartApplier(): void {
    const i = this.dice.below(APPLIERS);
    this.appliers[i]?.kill();
    this.appliers[i] = this.#applier();
  }

  /** The standby takes over; what it had not replayed is gone. The old server may live on, with connections of its own. */
  promote(isOldOneDead: boolean): void {
    const before = this.primary;
    this.primary = before.promote();
    this.#old.push(before);
    if (isOldOneDead) this.endOldServers();
  }

  endOldServers(): void {
    for (const server of this.#old.splice(0)) {
      server.isUp = false;
      server.restart();
    }
  }

  restartPostgres(): void {
    this.primary.restart();
    for (const invalidator of this.invalidators) invalidator.cutOff();
  }

  /** A new cluster, loaded from the old one. */
  reload(): void {
    const before = this.primary;
    before.restart();
    this.primary = before.reload();
    this.#old.push(before);
    this.endOldServers();
  }

  begin(): OpenTransaction | undefined {
    const rows = this.dice.chance(0.8) ? [this.dice.pick(ROWS)] : ROWS;
    const purges = this.dice.chance(0.1) ? [this.purge()] : [];
    return this.primary.begin(this.dice.chance(0.95) ? rows : [], purges);
  }

  write(): void {
    const transaction = this.begin();
    if (transaction !== undefined) this.primary.commit(transaction, this.dice.chance(0.4));
  }

  show(): void {
    const hidden = [...this.primary.hidden];
    if (hidden.length > 0) this.primary.hidden.delete(this.dice.pick(hidden));
  }

  purge(): WalRecord['purges'][number] {
    const { namespace, key, tags } = this.dice.pick(this.document.keys);
    const roll = this.dice.below(5);
    if (roll === 4) return { namespace, keys: [], tags: [], prefixes: [key.slice(0, 1)], all: false };
    if (roll === 0) return { namespace, keys: [], tags: [], all: true };
    if (roll === 1 && tags.length > 0) return { namespace, keys: [], tags: tags.slice(0, 1), all: false };
    return { namespace, keys: [key], tags: [], all: false };
  }

  get(): void {
    const sidecar = this.dice.pick(this.sidecars);
    if (sidecar.clock.isAsleep) return;
    if (sidecar.document === undefined) return;
    const spec = this.dice.pick(sidecar.document.keys);
    const mode = this.dice.chance(0.05) ? 'reload' : this.dice.chance(0.05) ? 'only-cached' : 'usual';
    const accepts = this.#flavor === 'features' ? anyWish(this.dice) : USUAL;
    const waiter = sidecar.get(spec, { mode, accepts });
    if (waiter !== undefined && this.dice.chance(0.05)) sidecar.leave(waiter);
  }

  /** A caller reads the database, or comes back with what it read some time ago. */
  advanceLoad(): void {
    const load = this.dice.draw(this.loads);
    if (load === undefined) return;
    const { sidecar, spec, token, loaded } = load;
    if (loaded !== undefined) {
      if (sidecar.clock.isAsleep) this.loads.push(load);
      else if (this.dice.chance(0.03)) sidecar.abandon(spec, token);
      else {
        const fill = {
          ...{ token, body: bodyOf(loaded) },
          ...(load.sourceLsn !== undefined && { sourceLsn: load.sourceLsn }),
        };
        if (this.#flavor === 'changes' && this.dice.chance(0.25))
          void sidecar.putSlowly(spec, fill, this.dice.below(300));
        else sidecar.put(spec, fill);
      }
    } else if (load.sourceLsn === undefined && this.dice.chance(0.2)) {
      // A read replica says first how far it is.
      this.loads.push({ ...load, sourceLsn: this.primary.replayed });
    } else {
      const { rows } = spec;
      const versions = load.sourceLsn === undefined ? this.primary.read(rows) : this.primary.readStandby(rows);
      this.loads.push({ ...load, loaded: { readAt: this.primary.ids.last, versions } });
    }
  }

  fresh(): string {
    this.#names += 1;
    return `n${this.#names}`;
  }

  #invalidator(): SimInvalidator {
    const { time, network, topic, sabotage } = this;
    return new SimInvalidator({
      ...{ time, network, topic, rules: this.published.rules, primary: () => this.primary },
      sabotage: sabotage.publisher ?? {},
      onAppended: (record) => this.oracle.appended(record),
    });
  }

  #applier(): SimApplier {
    const { time, network, topic, redis, sabotage } = this;
    return new SimApplier({
      ...{ time, network, topic, redis, document: this.#found(), freshName: () => this.fresh() },
      ...{ sabotage: sabotage.applier ?? {}, script: sabotage.script },
    });
  }

  #sidecar(i: number): SimSidecar {
    const { time, network, topic, redis, oracle, sabotage } = this;
    return new SimSidecar({
      ...{ name: `sidecar ${i}${this.fresh()}`, time, network, topic, redis, oracle, document: this.#found() },
      ...{ sabotage: sabotage.sidecar ?? {}, script: sabotage.script, fraction: () => this.dice.fraction() },
      onLease: (sidecar, spec, token) => void this.loads.push({ sidecar, spec, token }),
      ...(this.#flavor === 'features' && {
        load: ({ clock }, spec) => loadedBy(clock, { spec, primary: () => this.primary, dice: this.dice }),
      }),
    });
  }

  #found(): SimDocument | undefined {
    return this.#flavor === 'changes' ? this.published.found(this.dice) : this.document;
  }
}
