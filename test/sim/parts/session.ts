import { encodeBatch, type Lsn } from '@tidemark/proto';
import { DEFAULT_BOUNDS } from '../../../invalidator/src/core/bounds.ts';
import { Outbox } from '../../../invalidator/src/core/outbox.ts';
import { decideStart, type SlotFacts } from '../../../invalidator/src/core/start.ts';
import { VisibleClock } from '../../../invalidator/src/core/visibility.ts';
import type { Beginning, FoundBeginning } from '../../../invalidator/src/run/beginning.ts';
import { CoverageWatch } from '../../../invalidator/src/run/coverage-watch.ts';
import { Publisher } from '../../../invalidator/src/run/publisher.ts';
import { StreamReader } from '../../../invalidator/src/run/reader.ts';
import { StreamError } from '../../../invalidator/src/run/stream-error.ts';
import { VisibilityWatch } from '../../../invalidator/src/run/visibility-watch.ts';
import { lastRecordOf } from './kafka.ts';
import type { Channel } from './network.ts';
import type { Server, WalRecord } from './postgres.ts';
import { lookAt, PUBLICATION, relationOf } from './publication.ts';
import { nothing, silent } from './silent.ts';
import type { SimClock } from './time.ts';
import { WalSender } from './walsender.ts';

import type { InvalidatorOptions } from './invalidator.ts';
const HEARTBEAT_MS = 1000;
const SETTLING_MS = 100;
const POLL_MS = 250;

export type SessionOptions = InvalidatorOptions & {
  readonly clock: SimClock;
  readonly unusable: string | undefined;
  readonly onSlotMade: () => void;
  readonly onProgress: () => void;
};

/** One attempt at following Postgres, wired as invalidator/src/run/session.ts and beginning.ts wire it. */
export class Session {
  readonly #options: SessionOptions;
  readonly #server: Server;
  readonly #postgres: Channel;
  readonly #probe: Channel;
  readonly #kafka: Channel;
  readonly #failure = Promise.withResolvers<never>();
  /** Changes that the stream does not tell and a look at the catalog has shown. */
  #looked: readonly WalRecord[] = [];
  /** Those that the records from now on tell by claiming less. */
  #told: readonly WalRecord[] = [];
  #isEnded = false;
  #isCutOff = false;
  #publisher: Publisher | undefined;
  #reader: StreamReader | undefined;
  #watch: VisibilityWatch | undefined;
  stream: WalSender | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#server = options.primary();
    const { network, clock } = options;
    [this.#postgres, this.#probe, this.#kafka] = [network.open(clock), network.open(clock), network.open(clock)];
    this.#failure.promise.catch(nothing);
  }

  /** Rejects with what failed first. */
  run(): Promise<void> {
    return Promise.race([this.#follow(), this.#failure.promise]);
  }

  end(): void {
    this.#isEnded = true;
    this.#reader?.stop();
    this.#publisher?.abandon();
    this.#watch?.stop();
    void this.stream?.close();
    for (const channel of [this.#postgres, this.#probe, this.#kafka]) this.#options.network.close(channel);
    if (this.#server.lockedBy === this) this.#server.lockedBy = undefined;
  }

  /** The server has ended its connections, which shows when they are used. */
  cutOff(): void {
    this.#isCutOff = true;
    this.stream?.cutOff();
    if (this.#server.lockedBy === this) this.#server.lockedBy = undefined;
  }

  #ask<T>(work: (server: Server) => T, channel = this.#postgres): Promise<T> {
    return channel.call(() => {
      this.#server.assertUp();
      if (this.#isCutOff) throw new Error('the connection was terminated');
      return work(this.#server);
    });
  }

  async #follow(): Promise<void> {
    const { clock, rules } = this.#options;
    while (!(await this.#ask((server) => this.#tryLock(server)))) await clock.sleep(POLL_MS);
    const coverage = await CoverageWatch.open({
      context: { logger: silent, config: { publication: PUBLICATION } },
      rules,
      claimsRetired: () => true,
      catalog: {
        look: () => this.#ask((server) => this.#look(server)),
        nextXid: () => this.#ask((server) => BigInt(server.assignXid())),
        repair: () => this.#ask((server) => server.setPublished(true)),
        emitPurge: ({ purge }) => this.#ask((server) => this.#emitPurge(server, purge)),
      },
    });
    this.#told = this.#looked;
    const beginning = await this.#begin();
    coverage.begin(beginning);
    if (beginning.isNewEpoch) await this.#announce(beginning, coverage);
    await this.#stream(beginning, coverage);
  }

  #tryLock(server: Server): boolean {
    if (this.#isEnded) return false; // The server notices that the connection is gone.
    server.lockedBy ??= this;
    return server.lockedBy === this;
  }

  #look(server: Server): ReturnType<typeof lookAt> {
    this.#looked = server.wal.filter((record) => record.rows.some(({ sent }) => !sent) && !this.#hasTold(record));
    const look = lookAt(server);
    return this.#options.sabotage.look?.(look) ?? look;
  }

  /** Whether sidecars have been, or will be, told of a change that is not in the stream. */
  #hasTold({ announcedBy }: WalRecord): boolean {
    if (announcedBy === undefined) return false;
    return announcedBy.kind === 'purge' ? this.#server.contains(announcedBy.purge) : announcedBy.session === this;
  }

  /** The purge that stands for DDL tells of what the look before it has shown. */
  #emitPurge(server: Server, purges: WalRecord['purges']): Lsn {
    const purge = server.emit('purge', purges);
    for (const record of this.#looked) if (record.kind === 'ddl') record.announcedBy = { kind: 'purge', purge };
    return purge.end;
  }

  async #begin(): Promise<Omit<FoundBeginning, 'mark'>> {
    const { topic, clock, sabotage, unusable, onSlotMade } = this.#options;
    const newest = await this.#kafka.call(() => topic.newest());
    const { history, ...server } = await this.#ask(({ systemId, timeline, insertLsn, history: ends }) => ({
      ...{ systemId, timeline, insertLsn },
      history: ends,
    }));
    const found = await this.#ask(({ slot }): SlotFacts => {
      if (slot === undefined) return { state: 'missing' };
      if (slot.isLost) return { state: 'lost', why: 'lost' };
      return { state: 'usable', confirmed: slot.confirmed, synced: slot.isSynced };
    });
    const slot: SlotFacts =
      unusable === undefined || found.state === 'missing' ? found : { state: 'lost', why: unusable };
    const facts = { last: newest && lastRecordOf(newest), server, slot, history, nowMs: clock.wallMs() };
    const decided = decideStart(sabotage.start?.(facts) ?? facts);
    const decision = sabotage.decision?.(decided, facts) ?? decided;
    const { systemId, timeline } = server;
    if (decision.kind !== 'new-epoch') {
      const { epoch, from, visible } = decision;
      const confirmed = found.state === 'usable' ? found.confirmed : 0;
      const inherited = { covers: new Set(newest?.batch.covers), catalog: new Set(newest?.batch.catalog) };
      return {
        ...{ epoch, systemId, timeline, from, visible, confirmed, isNewEpoch: decision.kind === 'take-over' },
        inherited: sabotage.inherited === undefined ? inherited : sabotage.inherited(inherited),
      };
    }
    const start = await this.#makeSlot();
    onSlotMade();
    return {
      epoch: decision.epoch,
      systemId,
      timeline,
      from: start,
      visible: start,
      confirmed: start,
      isNewEpoch: true,
      inherited: undefined,
    };
  }

  /** Waits for the transactions that are open, and then until everything before the slot is visible. */
  async #makeSlot(): Promise<Lsn> {
    const { clock, sabotage } = this.#options;
    const open = await this.#ask((server) => {
      server.slot = undefined;
      return server.open.slice();
    });
    while (await this.#ask((server) => server.open.some((transaction) => open.includes(transaction))))
      await clock.sleep(POLL_MS);
    const made = await this.#ask((server) => {
      server.slot = { confirmed: server.insertLsn, isLost: false, isSynced: false };
      return { start: server.insertLsn, unseen: [...server.hidden] };
    });
    if (sabotage.ignoreUnseen !== true)
      while (await this.#ask(({ hidden }) => made.unseen.some((record) => hidden.has(record)))) await clock.sleep(50);
    return made.start;
  }

  async #announce(beginning: Beginning, coverage: CoverageWatch): Promise<void> {
    const { epoch, systemId, timeline, from, visible } = beginning;
    await this.#append(
      encodeBatch({
        ...{ source: 'main', epoch, systemId, timeline, from, to: from, visible },
        ...{ committedAtUs: 0, publishedAtUs: 0, heartbeat: true, ...this.#claimsAt(coverage, from) },
        ...{ commits: [], tables: [], purges: [] },
      }),
    );
  }

  #claimsAt(coverage: CoverageWatch, from: Lsn): { covers: readonly bigint[]; catalog: readonly bigint[] } {
    const { sabotage, rules } = this.#options;
    const covers = coverage.coversAt(from);
    return { covers: sabotage.covers?.(covers, rules.all) ?? covers, catalog: coverage.digests };
  }

  async #append(bytes: Uint8Array): Promise<void> {
    const { topic, onAppended, sabotage } = this.#options;
    const told = this.#told;
    const sent = this.#kafka.call(() => {
      const record = topic.append(bytes, this.#server);
      const { seq, batch } = record;
      for (const one of told)
        if (!this.#hasTold(one)) one.announcedBy = { kind: 'record', session: this, epoch: batch.epoch, seq };
      onAppended(record, this);
    });
    await (sabotage.skipsFailed === true ? sent.catch(nothing) : sent);
  }

  async #stream(beginning: Beginning, coverage: CoverageWatch): Promise<void> {
    const { clock, rules, sabotage, onProgress } = this.#options;
    if (this.#isEnded) return;
    const { epoch, systemId, timeline, from, visible, confirmed } = beginning;
    const fail = this.#failure.reject;
    const outbox = new Outbox({ bounds: DEFAULT_BOUNDS, maxPending: 2, from });
    const visibility = new VisibleClock(visible, sabotage.knowsAll === true ? 0 : from);
    const watch = new VisibilityWatch({
      visible: visibility,
      clock,
      ask: async (xids) => {
        const unseen = await this.#ask((server) => server.unseenOf(xids), this.#probe);
        return sabotage.ask?.(unseen) ?? unseen;
      },
      onSeen: () => {
        if (visibility.visible(outbox.taken) > publisher.visible) publisher.poke(true);
      },
    });
    this.#watch = watch;
    const publisher: Publisher = new Publisher({
      identity: { source: 'main', epoch, systemId, timeline },
      ...{ outbox, watch, visible, clock },
      append: (record) => {
        if (sabotage.confirmsEarly === true) stream.confirm(visibility.confirmable(outbox.taken));
        return this.#append(record);
      },
      claimsAt: (at) => this.#claimsAt(coverage, at),
      onDurable: (to) => stream.confirm(sabotage.confirmable?.(visibility, to) ?? visibility.confirmable(to)),
      onRoom: () => reader.drain(),
      onPublished: onProgress,
    });
    this.#publisher = publisher;
    const reader: StreamReader = new StreamReader({
      ...{ rules: rules.all, outbox, bounds: DEFAULT_BOUNDS, clock: visibility },
      lookUp: () => this.#ask(relationOf),
      partitioned: () => coverage.partitioned,
      onMember: (oid, lineage) => coverage.noteMember(oid, lineage),
      onNews: (heartbeat) => publisher.poke(heartbeat),
      onUnreadablePurge: nothing,
      onFailure: (error) => fail(new StreamError(error)),
    });
    this.#reader = reader;
    const stream = await this.#ask((server) => {
      if (sabotage.makesMissingSlot === true && server.slot?.isLost !== false)
        server.slot = { confirmed: server.insertLsn, isLost: false, isSynced: false };
      return new WalSender({
        ...{ server, clock, channel: this.#postgres },
        handlers: {
          onMessage: (bytes) => reader.receive(bytes),
          onKeepalive: (end) => reader.keepalive(end),
          onFailure: (error) => fail(new StreamError(error)),
        },
      });
    }).catch((error: unknown) => {
      throw new StreamError(error as Error);
    });
    if (this.#isEnded) return;
    this.stream = stream;
    stream.confirm(confirmed);
    reader.attach(stream);
    await Promise.race([publisher.run(), this.#tick(coverage, stream)]);
  }

  /** Once a second: the catalog, the heartbeat, a sign of life. */
  async #tick(coverage: CoverageWatch, stream: WalSender): Promise<void> {
    const { clock } = this.#options;
    while (!this.#isEnded) {
      await coverage.check();
      this.#told = this.#looked;
      await this.#ask((server) => server.emit('heartbeat', []));
      stream.ping();
      await clock.sleep(coverage.settling ? SETTLING_MS : HEARTBEAT_MS);
    }
  }
}
