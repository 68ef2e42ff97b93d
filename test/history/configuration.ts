import { rename, writeFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { decodeConfigRecord, type ConfigRecord, type ConfigStamp } from '@tidemark/proto';
import { createKafka, createLogger, ensureConfigTopic, readLastRecord } from '@tidemark/runtime';
import { stringify } from 'yaml';
import type { Stack } from '../kit/index.ts';
import { withKafkaAdmin } from '../kit/names.ts';
import { until } from './until.ts';

/** Settings of namespaces, as a document has them. */
type Namespaces = Readonly<Record<string, Readonly<Record<string, unknown>>>>;
export type Document = Readonly<Record<string, unknown>> & { readonly namespaces: Namespaces };

type StackView = Pick<Stack, 'configFile' | 'brokers' | 'sidecars'>;

const everyMs = 20;
const answerWithinMs = 5_000;
const servedWithinMs = 180_000;
const logger = createLogger({ service: 'history', instance: 'history', level: 'silent' });

/** The document that the invalidator reads and publishes, and whether everybody serves what it says. */
export class Configuration {
  /**
   * Whether applications say the tag of an item with what they store. Only then may a rule name it, and nothing of the time before
   * may be left where one does.
   */
  tagsItems = false;
  /** Each document that was seen to be served, by the names of the sidecar and of the document. */
  readonly seen = new Set<string>();
  readonly #stack: StackView;
  readonly #topic: string;
  readonly #document: Document;
  readonly #kafka: ReturnType<typeof createKafka>;
  /** What is other than at first, by namespace; undefined: there is no such namespace. */
  readonly #changes = new Map<string, object | undefined>();
  #writing: Promise<void> = Promise.resolve();

  constructor(options: { readonly stack: StackView; readonly topic: string; readonly document: Document }) {
    this.#stack = options.stack;
    this.#topic = options.topic;
    this.#document = options.document;
    this.#kafka = createKafka({ brokers: options.stack.brokers, tls: false, clientId: 'history-config', logger });
  }

  /** Gives a namespace other settings; those that are not named stay. */
  change(namespace: string, settings: object): Promise<void> {
    this.#changes.set(namespace, settings);
    return this.#write();
  }

  remove(namespace: string): Promise<void> {
    this.#changes.set(namespace, undefined);
    return this.#write();
  }

  /** As it was at first. */
  restore(namespace: string): Promise<void> {
    this.#changes.delete(namespace);
    return this.#write();
  }

  deleteTopic(): Promise<void> {
    return withKafkaAdmin(this.#stack.brokers, (admin) => admin.deleteTopics({ topics: [this.#topic] }));
  }

  async makeTopic(): Promise<void> {
    await until('the configuration topic can be made anew', () =>
      ensureConfigTopic(this.#kafka, this.#topic).then(
        () => true,
        () => false, // it is still being deleted
      ),
    );
  }

  /**
   * Settles once whoever starts now finds the document in the topic, and every sidecar has taken it and lets callers fill what
   * it names. Rejects with what is not so where that takes longer than three minutes.
   */
  async served(): Promise<void> {
    const endMs = performance.now() + servedWithinMs;
    for (;;) {
      const complaint = await this.#complaint();
      if (complaint === undefined) return;
      if (performance.now() > endMs) throw new Error(`${complaint}, ${servedWithinMs / 1000} s after it was changed`);
      await wait(everyMs);
    }
  }

  async #complaint(): Promise<string | undefined> {
    const published = await this.#published();
    if (published === undefined) return 'the configuration topic holds no document';
    if (!isDeepStrictEqual(namespacesOf(published), this.#namespaces))
      return `the configuration topic holds another document (${published.term}.${published.revision})`;
    const each = await Promise.all(this.#stack.sidecars.map((sidecar) => this.#complaintOf(sidecar, published)));
    return each.find((complaint) => complaint !== undefined);
  }

  get #namespaces(): Namespaces {
    const { namespaces } = this.#document;
    return Object.fromEntries(
      Object.entries(namespaces).flatMap(([name, settings]) => {
        if (!this.#changes.has(name)) return [[name, settings]];
        const change = this.#changes.get(name);
        return change === undefined ? [] : [[name, { ...settings, ...change }]];
      }),
    );
  }

  /** In the place of the file before, as kubelet does it, so that nobody reads half of it. */
  #write(): Promise<void> {
    const text = stringify({ ...this.#document, namespaces: this.#namespaces });
    const { configFile } = this.#stack;
    const writing = this.#writing.then(async () => {
      await writeFile(`${configFile}.new`, text);
      await rename(`${configFile}.new`, configFile);
    });
    this.#writing = writing.catch(() => undefined);
    return writing;
  }

  async #published(): Promise<ConfigRecord | undefined> {
    const newest = await readLastRecord(this.#kafka, this.#topic).catch(() => undefined); // Kafka is away
    const decoded = newest && decodeConfigRecord(newest.value);
    return decoded?.ok ? decoded.record : undefined;
  }

  async #complaintOf(
    { name, url }: { readonly name: string; readonly url: string },
    { term, revision }: ConfigRecord,
  ): Promise<string | undefined> {
    const ask = (path: string): Promise<Response> =>
      fetch(`${url}${path}`, {
        headers: { 'cache-control': 'no-cache' },
        signal: AbortSignal.timeout(answerWithinMs),
      });
    try {
      const { config } = (await (await ask('/v1/status')).json()) as {
        config: ConfigStamp & { readonly state: string };
      };
      if (config.state === 'taken') this.seen.add(documentOf(name, config));
      if (config.term !== term || config.revision !== revision)
        return `${name} serves document ${config.term}.${config.revision} instead of ${term}.${revision}`;
      for (const namespace of Object.keys(this.#namespaces)) {
        const answer = await ask(`/v1/cache/${namespace}/-1`);
        await answer.body?.cancel();
        // What a sidecar loads itself, it says that it stored.
        const isStored = answer.headers.get('cache-status')?.includes('; stored') === true;
        if (!answer.headers.has('tidemark-lease') && !isStored) return `${name} lets nobody fill ${namespace}`;
      }
      return undefined;
    } catch {
      return `${name} does not answer`;
    }
  }
}

/** How a document that a sidecar has taken is called. */
export function documentOf(sidecar: string, { term, revision }: ConfigStamp): string {
  return `${sidecar} ${term} ${revision}`;
}

function namespacesOf({ document }: ConfigRecord): unknown {
  return (document as Partial<Document>).namespaces;
}
