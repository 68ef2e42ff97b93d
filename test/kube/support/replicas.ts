import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Forwarder, freePort, type ProcessHandle, type Stack } from '../../kit/index.ts';
import { tidemarkProcess } from '../../kit/tidemark.ts';
import type { Cluster } from '../../kit/kube/index.ts';
import { eventually } from '../../integration/support/eventually.ts';

/** One `tidemark run` that takes part in the election. */
export interface Replica extends ProcessHandle {
  readonly url: string;
  /** Its ways to the API server and to Postgres. */
  readonly toApi: Forwarder;
  readonly toPostgres: Forwarder;
  /** What /readyz says: its status and its words. Without `withinMs` a busy machine has all the time that it needs. */
  readyz(withinMs?: number): Promise<readonly [status: number, words: string]>;
  /** A value of /metrics, by the name behind `tidemark_invalidator_`. */
  metric(name: string): Promise<number>;
}

/**
 * Times that tests can wait for, and in which a busy machine renews a lease: nobody takes over but where a test has made
 * somebody go.
 */
export const SHORT = {
  TIDEMARK_LEASE_DURATION: '8s',
  TIDEMARK_LEASE_RENEW_DEADLINE: '6s',
  TIDEMARK_LEASE_RETRY: '400ms',
};
/** The duration among them, ms. */
export const SHORT_LEASE_MS = 8000;
/** Longest that a replica is asked for, ms: one that is paused does not keep others from being asked. */
const ASK_MS = 3000;
const PATIENTLY_MS = 30_000;

/** Replicas of one release: the same source, slot and Lease. */
export class Replicas {
  readonly #stack: Stack;
  readonly #cluster: Cluster;
  readonly #lease: string;
  readonly #folder: string;
  readonly #all: Replica[] = [];

  constructor(options: { stack: Stack; cluster: Cluster; lease: string; folder: string }) {
    this.#stack = options.stack;
    this.#cluster = options.cluster;
    this.#lease = options.lease;
    this.#folder = options.folder;
  }

  /** Starts one and waits until it is ready, which a standby is too. */
  async start(name: string, env: Readonly<Record<string, string>> = SHORT): Promise<Replica> {
    const stack = this.#stack;
    const address = `127.0.0.1:${await freePort()}`;
    const [toApi, toPostgres] = [await wayTo(this.#cluster.url), await wayTo(stack.postgres)];
    const handle = await tidemarkProcess({
      role: 'invalidator',
      name,
      supervise: false,
      env: {
        TIDEMARK_CONFIG: stack.configFile,
        TIDEMARK_KAFKA_BROKERS: stack.brokers.join(','),
        TIDEMARK_POSTGRES_URL: Object.assign(new URL(stack.postgres), { port: String(toPostgres.port) }).href,
        TIDEMARK_SLOT: stack.slot,
        TIDEMARK_PUBLICATION: stack.publication,
        TIDEMARK_HTTP_LISTEN: address,
        TIDEMARK_LEASE: this.#lease,
        TIDEMARK_KUBECONFIG: this.#kubeconfigVia(name, toApi),
        ...env,
      },
    });
    const url = `http://${address}`;
    const replica: Replica = Object.assign(handle, {
      url,
      toApi,
      toPostgres,
      async readyz(withinMs = PATIENTLY_MS) {
        const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(withinMs) });
        return [response.status, (await response.text()).trim()] as const;
      },
      async metric(metric: string) {
        const text = await (await fetch(`${url}/metrics`)).text();
        const full = `tidemark_invalidator_${metric}`;
        const lines = text.split('\n').filter((each) => each.startsWith(`${full} `) || each.startsWith(`${full}{`));
        const sum = lines.reduce((total, line) => total + Number(line.split(' ').at(-1)), 0);
        return lines.length === 0 ? Number.NaN : sum;
      },
    });
    this.#all.push(replica);
    await replica.start();
    return replica;
  }

  /** One that is being started, once it answers. */
  async known(name: string): Promise<Replica> {
    return eventually(
      async () => {
        const found = this.#all.find((each) => each.name === name);
        if (found === undefined) throw new Error(`${name} is not started`);
        await found.readyz(ASK_MS);
        return found;
      },
      { withinMs: 60_000 },
    );
  }

  /** The one that streams, which it says once its first record is in Kafka; with `butNot` another one than that. */
  async leader({ withinMs = 60_000, butNot }: { withinMs?: number; butNot?: Replica } = {}): Promise<Replica> {
    return eventually(
      async () => {
        for (const each of this.#all) {
          if (each.pid === undefined || each === butNot) continue;
          const [, words] = await each.readyz(ASK_MS).catch(() => [0, ''] as const);
          if (words === 'streaming') return each;
        }
        throw new Error('nobody streams');
      },
      { withinMs, everyMs: 20 },
    );
  }

  logs(): string[] {
    return this.#all.flatMap((each) => each.logs().map((line) => `${each.name} ${line}`));
  }

  async stop(): Promise<void> {
    for (const each of this.#all.splice(0)) {
      if (each.pid !== undefined) each.resume();
      await each.stop();
      await Promise.all([each.toApi.stop(), each.toPostgres.stop()]);
    }
  }

  #kubeconfigVia(name: string, forwarder: Forwarder): string {
    const path = join(this.#folder, `${name}.kubeconfig`);
    const direct = readFileSync(this.#cluster.kubeconfig, 'utf8');
    writeFileSync(path, direct.replaceAll(this.#cluster.url, `https://127.0.0.1:${forwarder.port}`));
    return path;
  }
}

async function wayTo(url: string): Promise<Forwarder> {
  return Forwarder.start(Number(new URL(url).port));
}
