import { PURGE_LIMITS, type Lsn, type PurgeRequest } from '@tidemark/proto';
import type { Client } from 'pg';
import { lookAtCatalog, type CatalogLook } from '../adapters/postgres-catalog.ts';
import { nextXid, repairPublication, type ServerFacts } from '../adapters/postgres-session.ts';
import { emitPurge } from '../adapters/postgres-purge.ts';
import { CoverageClock } from '../core/coverage-clock.ts';
import {
  changedTables,
  digestsOf,
  judgeCoverage,
  provenClaims,
  tableMarks,
  type Coverage,
  type Refusal,
  type TableMarks,
} from '../core/coverage.ts';
import { OperatorError } from '../core/errors.ts';
import type { RuleSet } from '../core/rule-set.ts';
import type { Beginning } from './beginning.ts';
import type { RunContext } from './context.ts';

/** What the watch asks of Postgres, and does there. */
export interface Catalog {
  look(): Promise<CatalogLook>;
  /** Assigns a transaction id: every id that was assigned before is lower. */
  nextXid(): Promise<bigint>;
  repair(sql: readonly string[]): Promise<void>;
  emitPurge(purge: PurgeRequest): Promise<Lsn>;
}

type WatchContext = Pick<RunContext, 'logger'> & {
  readonly config: Pick<RunContext['config'], 'publication'>;
};

/** What the watch works by. */
export interface WatchedRules {
  readonly rules: RuleSet;
  /** Whether records still claim what is retired. */
  readonly claimsRetired: () => boolean;
}

type WatchOptions = WatchedRules & { readonly context: WatchContext; readonly catalog: Catalog };

/** About a minute. */
const LOOKS_TO_TRY_AGAIN = 60;

/**
 * Watches the catalog: which namespaces the publication and the replica identities serve, and which tables DDL has
 * changed (DDL is not in the stream). Mends the publication where the role may, and says once what it may not.
 */
export class CoverageWatch {
  readonly #context: WatchContext;
  readonly #watched: WatchedRules;
  readonly #catalog: Catalog;
  #coverage: Coverage;
  /** Hashes of what the catalog's state serves, retired rules among them. */
  #served: ReadonlySet<bigint>;
  #marks: ReadonlyMap<string, TableMarks>;
  #digests: ReadonlyMap<string, bigint>;
  #clock: CoverageClock | undefined;
  /** Partitions that the stream named since the last look, with the tables whose rows they held. */
  readonly #named = new Map<number, readonly string[]>();
  #told = '';
  #tried = '';
  #looksSinceTry = 0;

  private constructor(options: WatchOptions & { look: CatalogLook }) {
    this.#context = options.context;
    this.#watched = options;
    this.#catalog = options.catalog;
    this.#coverage = this.#judge(options.look);
    this.#served = this.#hashesServed(options.look);
    this.#marks = tableMarks(options.look.facts);
    this.#digests = digestsOf(this.#marks);
  }

  /** Looks, and makes the publication if there is none. Rejects with an OperatorError when there is none and the role may not make it. */
  static async open(options: WatchOptions): Promise<CoverageWatch> {
    const { catalog } = options;
    const watch = new CoverageWatch({ ...options, look: await catalog.look() });
    if (watch.#coverage.repair.length > 0) {
      await watch.#repair();
      const again = await catalog.look();
      if (again.facts.publication === undefined) throw new Error('the publication is gone again');
      watch.#take(again);
    }
    watch.#tell();
    return watch;
  }

  /** Rule tables whose rows live in other tables too. */
  get partitioned(): readonly string[] {
    return this.#coverage.partitioned;
  }

  /** Namespaces that the catalog does not serve as it is. */
  get uncovered(): number {
    return this.#rules.current.namespaces.length - this.#coverage.served.size;
  }

  /** What keeps namespaces of the document from being served. */
  get refusals(): readonly Refusal[] {
    return this.#coverage.refusals;
  }

  /** Digests of the tables as they are; records carry them, so that the next start can compare. */
  get digests(): readonly bigint[] {
    return [...this.#digests.values()];
  }

  /** Whether it is worth looking again soon. */
  get settling(): boolean {
    return (this.#clock?.waiting ?? 0) > 0;
  }

  /** Begins to say what records may claim; see {@link CoverageClock}. */
  begin({ from, inherited }: Beginning): void {
    const { logger } = this.#context;
    const { all, current } = this.#rules;
    const proven =
      inherited === undefined ? 'all' : provenClaims({ rules: all, claimed: inherited, digests: this.#digests });
    const lost =
      proven === 'all' ? [] : current.namespaces.filter(({ hash }) => inherited?.covers.has(hash) && !proven.has(hash));
    if (lost.length > 0) {
      const namespaces = lost.map(({ name }) => name);
      logger.warn(
        { namespaces },
        'tables or the publication have changed since the newest record: not claiming these namespaces at first',
      );
    }
    this.#clock = new CoverageClock({ served: this.#served, proven, start: from });
  }

  /** Hashes that a record with this `from` may claim. */
  coversAt(from: Lsn): readonly bigint[] {
    return this.#clock?.coversAt(from) ?? [];
  }

  /** Looks again. Returns how many namespaces were purged because of DDL. */
  async check(): Promise<number> {
    const named = [...this.#named];
    const found = await this.#catalog.look();
    const changed = changedTables(this.#marks, tableMarks(found.facts));
    const purged = await this.#purge([...new Set([...changed.shape, ...this.#passedBetweenLooks(found, named)])]);
    this.#take(found);
    if (this.#coverage.repair.length === 0) this.#tried = '';
    else if (this.#worthTrying()) await this.#repair();
    this.#tell();
    // What left the publication and came back between two looks was not served without a break.
    const interrupted = new Set(
      changed.membership.flatMap((table) => this.#rules.all.tables.get(table) ?? []).map((rule) => rule.namespace.hash),
    );
    const served = new Set([...this.#served].filter((hash) => !interrupted.has(hash)));
    this.#clock?.observe({ served, oldestXid: found.oldestXid, insertLsn: found.insertLsn });
    if (this.#clock?.needsXid) this.#clock.wait(await this.#catalog.nextXid());
    return purged;
  }

  /** The stream named a table whose rows belong, or may have belonged, to others too. */
  noteMember(oid: number, lineage: readonly string[]): void {
    this.#named.set(oid, lineage);
  }

  /**
   * Rule tables of which a partition came and went between two looks: only the stream has told of it. What it names during a look
   * is held against the next one: this one may be from before it was attached, and would not show that it is detached later.
   */
  #passedBetweenLooks({ facts }: CatalogLook, named: readonly (readonly [number, readonly string[]])[]): string[] {
    const members = new Set(facts.tables.flatMap((table) => table.members.map(({ oid }) => oid)));
    for (const [oid, lineage] of named) if (this.#named.get(oid) === lineage) this.#named.delete(oid);
    const gone = named.filter(([oid]) => !members.has(oid)).flatMap(([, lineage]) => lineage);
    return gone.filter((table) => this.#rules.all.tables.has(table));
  }

  #take(found: CatalogLook): void {
    this.#coverage = this.#judge(found);
    this.#served = this.#hashesServed(found);
    this.#marks = tableMarks(found.facts);
    this.#digests = digestsOf(this.#marks);
  }

  get #rules(): RuleSet {
    return this.#watched.rules;
  }

  #judge(found: CatalogLook, rules = this.#rules.current): Coverage {
    return judgeCoverage({ rules, facts: found.facts, publication: this.#context.config.publication });
  }

  #hashesServed(found: CatalogLook): ReadonlySet<bigint> {
    const { retired } = this.#rules;
    const served = [...this.#coverage.served];
    if (retired.namespaces.length > 0 && this.#watched.claimsRetired())
      served.push(...this.#judge(found, retired).served);
    return new Set(served.map(({ hash }) => hash));
  }

  /**
   * A repair is worth another try when the catalog has changed. A table can leave the publication twice between two looks
   * that find the same, so that the repair in between does not show: the same is tried again now and then.
   */
  #worthTrying(): boolean {
    const state = JSON.stringify([this.#coverage.repair, [...this.#marks], this.#coverage.refusals]);
    this.#looksSinceTry += 1;
    if (state === this.#tried && this.#looksSinceTry < LOOKS_TO_TRY_AGAIN) return false;
    this.#looksSinceTry = 0;
    this.#tried = state;
    return true;
  }

  async #repair(): Promise<void> {
    const { logger } = this.#context;
    const { repair } = this.#coverage;
    try {
      await this.#catalog.repair(repair);
      logger.info({ sql: repair }, 'made the publication right');
    } catch (error) {
      const making = repair[0]?.startsWith('CREATE') === true;
      // What the server refuses concerns one table, shows in the next look and must not end the stream for the others.
      if (making || !(error instanceof OperatorError || isRefusal(error))) throw error;
      logger.error({ err: error, sql: repair }, 'the publication cannot be made right from here');
    }
  }

  /** A purge goes through the WAL, so that it has a position after the DDL that it stands for. */
  async #purge(tables: readonly string[]): Promise<number> {
    const namespaces = this.#namespacesOf(tables);
    if (namespaces.length === 0) return 0;
    this.#context.logger.warn({ tables, namespaces }, 'DDL changed tables that rules name: purging their namespaces');
    await this.#purgeWhole(namespaces);
    return namespaces.length;
  }

  /** Purges every namespace, at a position of the WAL that is written now. */
  async purgeEverything(): Promise<void> {
    await this.#purgeWhole([...new Set(this.#rules.all.namespaces.map(({ name }) => name))]);
  }

  async #purgeWhole(namespaces: readonly string[]): Promise<void> {
    for (let i = 0; i < namespaces.length; i += PURGE_LIMITS.targets) {
      const purge = namespaces
        .slice(i, i + PURGE_LIMITS.targets)
        .map((namespace) => ({ namespace, keys: [], tags: [], all: true }));
      await this.#catalog.emitPurge({ purge });
    }
  }

  #namespacesOf(tables: readonly string[]): string[] {
    const { all } = this.#rules;
    return [
      ...new Set(tables.flatMap((table) => (all.tables.get(table) ?? []).map(({ namespace }) => namespace.name))),
    ];
  }

  /** Each state of affairs is told once. */
  #tell(): void {
    const { refusals } = this.#coverage;
    const state = JSON.stringify(refusals);
    if (state === this.#told || (this.#told === '' && refusals.length === 0)) return;
    this.#told = state;
    for (const refusal of refusals) this.#context.logger.error(refusal, complaint(refusal));
    if (refusals.length === 0) this.#context.logger.info('every namespace is served again');
  }
}

function complaint({ namespace, reason, sql }: Refusal): string {
  return `namespace ${namespace} is not served: ${reason}${sql.length === 0 ? '' : `. To mend it: ${sql.join(' ')}`}`;
}

/** The catalog by way of a connection. */
export function catalogOf(options: {
  context: RunContext;
  rules: RuleSet;
  client: Client;
  server: ServerFacts;
}): Catalog {
  const { context, rules, client, server } = options;
  const { version } = server;
  const { publication } = context.config;
  return {
    look: () => lookAtCatalog(client, { tables: [...rules.all.tables.keys()], publication, version }),
    nextXid: () => nextXid(client),
    repair: (sql) => repairPublication(client, sql),
    emitPurge: (purge) => emitPurge(client, purge, version),
  };
}

/** The server said no, as opposed to a connection that was lost: only errors of the server have a severity. */
function isRefusal(error: unknown): boolean {
  return (error as { severity?: string }).severity === 'ERROR';
}
