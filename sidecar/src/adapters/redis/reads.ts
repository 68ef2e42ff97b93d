import { isTagged, type NamespaceRules } from '@tidemark/proto';
import { GET_TAGGED_SCRIPT, getTaggedCall, parseHeader, type BucketKeys } from '@tidemark/proto/redis';
import { redisScript } from '@tidemark/runtime';
import type { L2Context } from '../../core/decide.ts';
import type { RedisCalls } from './calls.ts';
import { Gather } from './gather.ts';

const taggedScript = redisScript(GET_TAGGED_SCRIPT);
/** As many as one command asks for: a Redis that answers it does nothing else meanwhile. */
export const MAX_READ_TOGETHER = 128;

/** A bucket as this process knows it. */
export interface Bucket {
  readonly keys: BucketKeys;
  /** Of the fence log, as it was last seen; undefined until then. */
  generation: string | undefined;
}

interface Question {
  readonly namespace: NamespaceRules;
  readonly key: string;
}

/** What Redis holds for a key, as it lies there. */
export interface Found {
  readonly context: L2Context;
  readonly generation: string;
  readonly bytes: Uint8Array | undefined;
}

/**
 * Reads entries of one bucket: the log, the namespaces' states and the entries in one MGET, so that all are of one moment. Those
 * that have tags are read again by a script, which compares the tags with their fences.
 */
export class BucketReads {
  readonly #bucket: Bucket;
  readonly #calls: RedisCalls;
  readonly #gather: Gather<Question, Found>;

  constructor(bucket: Bucket, calls: RedisCalls) {
    this.#bucket = bucket;
    this.#calls = calls;
    this.#gather = new Gather({ most: MAX_READ_TOGETHER, answer: (questions) => this.#read(questions) });
  }

  /** Rejects as a command does. */
  read(namespace: NamespaceRules, key: string): Promise<Found> {
    this.#calls.counters.reads += 1;
    return this.#gather.ask({ namespace, key });
  }

  async #read(questions: readonly Question[], isAgain = false): Promise<readonly Found[]> {
    const { keys, generation: known = '' } = this.#bucket;
    const pairs = pairsOf(questions);
    const names = [keys.log];
    for (const pair of pairs) names.push(keys.pair(pair));
    for (const { namespace, key } of questions) names.push(keys.entry(known, namespace.hashHex, key));
    const answer = (await this.#calls.command('read', 'MGET', ...names)) as Answer;
    const found = toFound(answer, { questions, pairs, generation: known });
    const log = found[0]?.context.log;
    const generation = log === undefined ? known : (parseHeader(log)?.generation ?? known);
    if (generation !== known && !isAgain) {
      // The log began anew since it was last seen: what is cached there stands under other names.
      this.#bucket.generation = generation;
      return this.#read(questions, true);
    }
    const tagged: number[] = [];
    for (const [i, { bytes }] of found.entries()) if (bytes !== undefined && isTagged(bytes)) tagged.push(i);
    return tagged.length === 0 ? found : this.#readTagged(questions, found, tagged);
  }

  /** The same with what the script answers in the places of those that have tags. */
  async #readTagged(
    questions: readonly Question[],
    found: readonly Found[],
    tagged: readonly number[],
  ): Promise<readonly Found[]> {
    const { generation } = found[0] as Found;
    const again = tagged.map((i) => questions[i] as Question);
    const pairs = pairsOf(again);
    const entries = again.map(({ namespace, key }) => ({ generation, pair: namespace.hashHex, name: key }));
    const call = getTaggedCall(this.#bucket.keys, { pairs, entries });
    const answer = await this.#calls.script('read-tagged', taggedScript, call);
    const checked = toFound(answer as Answer, { questions: again, pairs, generation });
    const result = [...found];
    tagged.forEach((i, n) => (result[i] = checked[n] as Found));
    return result;
  }
}

/** Rules of the namespaces, each once. */
function pairsOf(questions: readonly Question[]): readonly string[] {
  const [only] = questions;
  // What comes alone comes often.
  if (questions.length === 1 && only !== undefined) return [only.namespace.hashHex];
  return [...new Set(questions.map(({ namespace }) => namespace.hashHex))];
}

type Answer = readonly (Buffer | null)[];

/** Of an answer that holds the log, the namespaces' states and the entries, in this order. */
function toFound(
  answer: Answer,
  { questions, pairs, generation }: { questions: readonly Question[]; pairs: readonly string[]; generation: string },
): readonly Found[] {
  const log = answer[0]?.toString('latin1');
  const states = pairs.map((_, i) => answer[1 + i]?.toString('latin1'));
  return questions.map(({ namespace }, i) => ({
    context: { log, pair: states[pairs.indexOf(namespace.hashHex)] },
    generation,
    bytes: answer[1 + pairs.length + i] ?? undefined,
  }));
}
