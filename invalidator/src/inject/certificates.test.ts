import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { createLogger } from '@tidemark/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import {
  renewalReason,
  withAuthorities,
  type CertificateStore,
  type Pair,
  type SharedCertificates,
  type TrustAnchor,
} from '../core/injection/renewal.ts';
import { makePair, type MadePair } from './make-pair.ts';
import { readPair, splitCertificates } from './pem.ts';
import { ProvidedCertificates } from './provided.ts';
import { SelfSignedCertificates } from './self-signed.ts';

const HOSTS = ['tidemark-webhook.tidemark.svc', '127.0.0.1', '::1'];
const LIFE_MS = 90 * 86_400_000;
const SETTLE_MS = 10_000;
const logger = createLogger({ service: 'webhook', instance: 'test', level: 'silent' });

describe('a pair', () => {
  it('is for its hosts, signed by its authority, and valid from before its making on', async () => {
    const nowMs = Date.now();
    const { pair, authority } = await makePair({ hosts: HOSTS, lifeMs: LIFE_MS, nowMs });
    const facts = readPair(pair);
    expect(HOSTS.every((host) => facts.covers(host))).toBe(true);
    expect(facts.covers('tidemark-webhook.other.svc')).toBe(false);
    expect(facts.notBeforeMs).toBeLessThan(nowMs);
    expect(new X509Certificate(pair.certificate).verify(new X509Certificate(authority).publicKey)).toBe(true);
    expect(splitCertificates(`# ours\n${authority}\n${pair.certificate}`)).toEqual([authority, pair.certificate]);
  });

  it('is renewed when it is due, not before, and when it cannot be used', () => {
    const facts = { notBeforeMs: 0, notAfterMs: 300, covers: (host: string) => host === 'a' };
    expect(renewalReason(undefined, { nowMs: 0, hosts: [] })).toBe('missing');
    expect(renewalReason(facts, { nowMs: 199, hosts: ['a'] })).toBeUndefined();
    expect(renewalReason(facts, { nowMs: 200, hosts: ['a'] })).toBe('due');
    expect(renewalReason(facts, { nowMs: 300, hosts: ['a'] })).toBe('expired');
    expect(renewalReason(facts, { nowMs: 0, hosts: ['a', 'b'] })).toBe('hosts');
  });

  it('brings its authority to the bundle, which stays small', () => {
    expect(withAuthorities(['new'], ['b', 'expired', 'a', 'b'], (one) => one !== 'expired')).toEqual(['new', 'b', 'a']);
    expect(withAuthorities(['new'], ['5', '4', '3', '2', '1'], () => true)).toEqual(['new', '5', '4', '3', '2']);
  });
});

/** What replicas share: two objects that are written only by who has seen their newest version. */
class Shared<T> {
  content: T;
  version = 1;

  constructor(content: T) {
    this.content = content;
  }

  write(content: T, version: string | undefined): 'written' | 'conflict' {
    if (version !== String(this.version)) return 'conflict';
    this.content = content;
    this.version += 1;
    return 'written';
  }
}

class Cluster {
  nowMs = Date.now();
  readonly secret = new Shared<SharedCertificates | undefined>(undefined);
  readonly bundle = new Shared<readonly string[]>([]);
  isThere = false;
  /** Whom API servers trusted, and from when on: they learn of a change within the settling time. */
  readonly #history: { readonly authorities: readonly string[]; readonly sinceMs: number }[] = [];

  readonly store: CertificateStore = {
    read: async () => ({
      version: this.isThere ? String(this.secret.version) : undefined,
      content: this.secret.content,
    }),
    write: async (content, version) => {
      if ((version === undefined) === this.isThere) return 'conflict';
      this.isThere = true;
      return this.secret.write(content, version ?? String(this.secret.version));
    },
  };
  readonly trust: TrustAnchor = {
    read: async () => ({ version: String(this.bundle.version), authorities: this.bundle.content }),
    write: async (authorities, version) => {
      const result = this.bundle.write(authorities, version);
      if (result === 'written') this.#history.push({ authorities, sinceMs: this.nowMs });
      return result;
    },
  };

  deleteSecret(): void {
    this.isThere = false;
    this.secret.content = undefined;
    this.secret.version += 1;
  }

  /** Whether every API server takes a certificate, one that is as late as it may be among them. */
  takes(certificate: string): boolean {
    const leaf = new X509Certificate(certificate);
    const isTrusted = (authorities: readonly string[]) =>
      authorities.some((one) => leaf.verify(new X509Certificate(one).publicKey));
    const settled = this.#history.findLastIndex(({ sinceMs }) => sinceMs <= this.nowMs - SETTLE_MS);
    return this.#history.slice(Math.max(settled, 0)).every(({ authorities }) => isTrusted(authorities));
  }
}

/** Signing costs a millisecond; properties take from a stock instead. */
const stock: { readonly atMs: number; readonly made: MadePair }[] = [];
async function makeFromStock(nowMs: number): Promise<MadePair> {
  const found = stock.find(({ atMs }) => atMs === nowMs);
  if (found !== undefined) return found.made;
  const made = await makePair({ hosts: HOSTS, lifeMs: LIFE_MS, nowMs });
  stock.push({ atMs: nowMs, made });
  return made;
}

function replicaOf(cluster: Cluster, make: (nowMs: number) => Promise<MadePair> = makeFromStock) {
  const shown: Pair[] = [];
  const certificates = new SelfSignedCertificates({
    store: cluster.store,
    trust: cluster.trust,
    make,
    hosts: HOSTS,
    settleMs: SETTLE_MS,
    clock: { nowMs: () => cluster.nowMs, monotonicMs: () => cluster.nowMs },
    onPair: (pair) => shown.push(pair),
    logger,
  });
  return { turn: () => certificates.turn(), shown, now: () => shown.at(-1)?.certificate ?? '' };
}

describe('self-signed certificates', () => {
  it('are agreed on by replicas that start together, and found again by those that come later', async () => {
    const cluster = new Cluster();
    const make = (nowMs: number) => makePair({ hosts: HOSTS, lifeMs: LIFE_MS, nowMs });
    const [a, b] = [replicaOf(cluster, make), replicaOf(cluster, make)];
    await Promise.all([a.turn(), b.turn()]);
    expect(a.now()).toBe(b.now());
    const c = replicaOf(cluster);
    await c.turn();
    expect(c.now()).toBe(a.now());
    expect(cluster.secret.version).toBe(2);
    expect(cluster.bundle.content).toHaveLength(1);
  });

  it('are made anew where somebody damaged them', async () => {
    const cluster = new Cluster();
    const a = replicaOf(cluster);
    await a.turn();
    const before = a.now();
    cluster.nowMs += 1000;
    const { authorities } = cluster.secret.content!;
    cluster.secret.content = { pair: { certificate: before, key: 'no key' }, authorities };
    await a.turn();
    expect(cluster.secret.content.pair.certificate).not.toBe(before);
    expect(cluster.bundle.content).toHaveLength(2);
    expect(a.now()).toBe(before);
    cluster.nowMs += SETTLE_MS;
    await a.turn();
    expect(a.now()).toBe(cluster.secret.content.pair.certificate);
  });

  it('wait again where somebody took the trust away meanwhile', async () => {
    const cluster = new Cluster();
    const a = replicaOf(cluster);
    await a.turn();
    const before = a.now();
    cluster.nowMs += LIFE_MS * 0.7;
    await a.turn();
    cluster.nowMs += SETTLE_MS / 2;
    cluster.bundle.write([], String(cluster.bundle.version));
    await a.turn();
    cluster.nowMs += SETTLE_MS / 2;
    await a.turn();
    expect(a.now()).toBe(before);
    cluster.nowMs += SETTLE_MS / 2;
    await a.turn();
    expect(a.now()).not.toBe(before);
  });

  type Step = { readonly do: 'turn' | 'restart'; readonly who: number } | { readonly do: 'all' | 'wait' | 'delete' };
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('turn' as const), who: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const), who: fc.nat(2) }) },
    { weight: 2, arbitrary: fc.constant({ do: 'all' as const }) },
    { weight: 2, arbitrary: fc.constant({ do: 'wait' as const }) },
    { weight: 1, arbitrary: fc.constant({ do: 'delete' as const }) },
  );

  it('are trusted before they are shown and for as long as they are, in every order of three replicas and deletions', async () => {
    const beginMs = Date.now();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.boolean(), async (steps, isRenewed) => {
        const cluster = new Cluster();
        cluster.nowMs = beginMs;
        const replicas = [replicaOf(cluster), replicaOf(cluster), replicaOf(cluster)];
        for (const { turn } of replicas) await turn();
        // All know each other's first certificate; from now on the renewal is due, or is not.
        cluster.nowMs += isRenewed ? LIFE_MS * 0.7 : SETTLE_MS;
        let deletions = 0;
        for (const each of steps) {
          if (each.do === 'turn') await replicas[each.who]?.turn();
          else if (each.do === 'all') await Promise.all(replicas.map(({ turn }) => turn()));
          else if (each.do === 'wait') cluster.nowMs += SETTLE_MS / 3;
          else if (each.do === 'delete' && deletions < 2) {
            deletions += 1;
            cluster.deleteSecret();
          } else if (each.do === 'restart') {
            // A replica is not asked before its first turn is over, and API servers learn faster than it gets ready.
            replicas[each.who] = replicaOf(cluster);
            await replicas[each.who]?.turn();
            cluster.nowMs += SETTLE_MS;
          }
          for (const { now } of replicas) expect(cluster.takes(now())).toBe(true);
        }
        for (let turns = 0; turns < 3; turns += 1) {
          for (const { turn } of replicas) await turn();
          cluster.nowMs += SETTLE_MS;
        }
        expect(new Set(replicas.map(({ now }) => now())).size).toBe(1);
        expect(replicas[0]?.now()).toBe(cluster.secret.content?.pair.certificate);
      }),
      { numRuns: 100 },
    );
  }, 180_000);
});

describe('provided certificates', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-provided-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const files = { certificateFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') };
  const write = ({ certificate, key }: Pair): void => {
    writeFileSync(files.certificateFile, certificate);
    writeFileSync(files.keyFile, key);
  };

  it('are shown again when they change; a broken pair is told and changes nothing', async () => {
    const shown: string[] = [];
    const provided = new ProvidedCertificates({ ...files, onPair: ({ certificate }) => shown.push(certificate) });
    const [first, second] = [await makeFromStock(Date.now()), await makeFromStock(Date.now() + 1)];
    await expect(provided.turn()).rejects.toThrow(/ENOENT.*tls\.(crt|key)/);
    write(first.pair);
    await provided.turn();
    await provided.turn();
    write({ certificate: second.pair.certificate, key: first.pair.key });
    await expect(provided.turn()).rejects.toThrow(/tls\.crt and .*tls\.key: the key belongs to another certificate/);
    write({ certificate: 'half a fi', key: second.pair.key });
    await expect(provided.turn()).rejects.toThrow(/the certificate is no PEM/);
    expect(shown).toEqual([first.pair.certificate]);
    write(second.pair);
    await provided.turn();
    expect(shown).toEqual([first.pair.certificate, second.pair.certificate]);
  });
});
