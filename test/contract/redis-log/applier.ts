import { classify } from '@tidemark/proto';
import {
  adoptCall,
  applyCall,
  beginCall,
  bucketKeys,
  parseHeader,
  parseLogReply,
  type Fence,
  type LogHeader,
  type LogReply,
  type ScriptCall,
} from '@tidemark/proto/redis';
import type { LogRedis } from './log-redis.ts';
import type { Random } from './random.ts';
import type { Scripts } from './scripts.ts';
import { fencesOf, nameOf, namespaceFence, type Batch, type Source } from './source.ts';

const MAX_FENCES = 2;
const keys = bucketKeys('main', 0);

/** A batch of which some parts were sent. */
interface Part {
  readonly offset: number;
  readonly header: LogHeader;
  readonly pairs: readonly string[];
  readonly rest: (Fence & { readonly isKey: boolean })[];
  after: string;
}

export interface CarelessOptions {
  readonly redis: LogRedis;
  readonly scripts: Scripts;
  readonly source: Source;
  readonly random: Random;
  /** Namespaces of its configuration. */
  readonly rules: ReadonlySet<string>;
  readonly fresh: (prefix: string) => string;
}

/** An applier as careless as the scripts must bear: it acts on what it saw some time ago, and on any record. */
export class CarelessApplier {
  readonly #options: CarelessOptions;
  #seen = '';
  #cursor = 0;
  #part: Part | undefined;
  /** Damage shows in no header. */
  #mustBegin = false;

  constructor(options: CarelessOptions) {
    this.#options = options;
  }

  /** The header that it saw last. */
  get seen(): string {
    return this.#seen;
  }

  act(): Promise<string> {
    return this.#options.random.weighted<() => Promise<string>>([
      [8, () => this.#next()],
      [1, () => this.#refresh()],
      [1, () => this.#any()],
    ])();
  }

  /** Begins again, as after a restart. */
  async #refresh(): Promise<string> {
    const { redis, random, source } = this.#options;
    this.#seen = (await redis.get(keys.log)) ?? '';
    this.#part = undefined;
    const offset = Number(parseHeader(this.#seen)?.offset ?? random.below(source.batches.length));
    this.#cursor = Math.min(offset, source.batches.length - 1);
    return `sees "${this.#seen}"`;
  }

  /** The next thing that an applier in its right mind would do. */
  async #next(): Promise<string> {
    const { random, source } = this.#options;
    if (this.#part !== undefined) return this.#sendPart(this.#part);
    const batch = source.batches[this.#cursor];
    if (batch === undefined) return 'nothing to apply';
    const header = parseHeader(this.#seen);
    if (header === undefined || this.#mustBegin) return this.#begin(this.#cursor);
    const step = classify({ epoch: header.epoch, applied: header.to }, batch);
    if (step === 'new-epoch') return this.#begin(this.#cursor);
    if (step === 'gap') return random.below(2) === 0 ? this.#begin(this.#cursor) : this.#refresh();
    if (step === 'next') return this.#apply(header, this.#cursor);
    this.#cursor += 1;
    return `${step} ${this.#cursor - 1}`;
  }

  /** Any record, whatever the header says: the scripts must refuse what would do harm. */
  async #any(): Promise<string> {
    const { random, source } = this.#options;
    const offset = random.below(source.batches.length);
    const header = parseHeader(this.#seen);
    if (header === undefined || random.below(10) === 0) return this.#begin(offset);
    return this.#apply(header, offset);
  }

  async #begin(offset: number): Promise<string> {
    const { scripts, fresh } = this.#options;
    const batch = this.#batch(offset);
    const pairs = this.#pairs(batch);
    const generation = fresh('g');
    const position = positionOf(batch, offset);
    const call = beginCall(keys, { position, seen: this.#seen, generation, digest: digestOf(pairs), pairs });
    return `begin ${generation} at ${offset}: ${this.#take(await this.#run(scripts.begin, call), offset)}`;
  }

  async #apply(header: LogHeader, offset: number): Promise<string> {
    const { scripts, fresh } = this.#options;
    const batch = this.#batch(offset);
    const pairs = this.#pairs(batch);
    if (digestOf(pairs) === header.digest) {
      this.#part = { offset, header, pairs, rest: fencesOf(batch, pairs), after: '-' };
      return this.#sendPart(this.#part);
    }
    const adoption = fresh('d');
    const call = adoptCall(keys, { header, adoption, digest: digestOf(pairs), pairs });
    return `adopt ${adoption} for ${offset}: ${this.#take(await this.#run(scripts.adopt, call), offset - 1)}`;
  }

  /** Sends one of the fences, or all that are left; anything may happen between two parts. */
  async #sendPart(part: Part): Promise<string> {
    const { scripts, random, fresh } = this.#options;
    const batch = this.#batch(part.offset);
    const isLast = part.rest.length === 0 || random.below(3) === 0;
    const some = part.rest.splice(0, isLast ? part.rest.length : 1);
    const name = isLast ? '-' : fresh('p');
    const call = applyCall(keys, {
      header: part.header,
      position: positionOf(batch, part.offset),
      from: batch.from,
      maxFences: MAX_FENCES,
      after: part.after,
      part: name,
      pairs: isLast ? part.pairs.map((pair) => ({ pair, lsn: namespaceFence(batch, pair) })) : [],
      keyFences: some.filter(({ isKey }) => isKey),
      tagFences: some.filter(({ isKey }) => !isKey),
    });
    const reply = await this.#run(scripts.apply, call);
    const told = this.#take(reply, isLast ? part.offset : part.offset - 1);
    if (reply.status === 'ok' && !isLast) part.after = name;
    else this.#part = undefined;
    return `part ${name} of ${part.offset}: ${told}`;
  }

  #take(reply: LogReply, done: number): string {
    this.#seen = reply.text;
    this.#mustBegin = reply.status === 'damaged';
    if (reply.status === 'ok' || reply.status === 'duplicate') this.#cursor = done + 1;
    if (reply.status === 'hole') this.#cursor = Number(reply.header?.offset);
    return `${reply.status} "${reply.text}"`;
  }

  async #run(script: string, call: ScriptCall): Promise<LogReply> {
    return parseLogReply(await this.#options.redis.eval(script, call.keys.length, ...call.keys, ...call.args));
  }

  #batch(offset: number): Batch {
    return this.#options.source.batches[offset] as Batch;
  }

  #pairs(batch: Batch): string[] {
    return [...this.#options.rules].filter((pair) => batch.covers.has(pair));
  }
}

function digestOf(pairs: readonly string[]): string {
  return `of-${pairs.map(nameOf).join('')}`;
}

function positionOf(batch: Batch, offset: number) {
  return { epoch: batch.epoch, to: batch.to, visible: batch.to, nextOffset: offset + 1 };
}
