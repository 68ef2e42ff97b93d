import { hash32 } from '@tidemark/proto';
import { List, Places } from './list.ts';
import type { Node } from './node.ts';
import type { Policy } from './policy.ts';
import { FrequencySketch } from './sketch.ts';

const WINDOW = 0;
const PROBATION = 1;
const PROTECTED = 2;

const FIRST_WINDOW_SHARE = 0.01;
/** Of the main part. */
const PROTECTED_SHARE = 0.8;
/** Nodes that leave the window for each victim, where it is too large. */
const MAX_MOVED = 2;
/** A candidate that was seen often but not more often than the victim gets in now and then: else who knows what the counts
 * of the victims share could keep everything else out. */
const OFTEN = 6;
const LUCK = 1 / 128;
/** The climber: how far it goes at first, how fast it slows down, which change of the hit ratio starts it again. */
const STEP = 0.0625;
const DECAY = 0.98;
const RESTART = 0.05;
const MAX_WINDOW_SHARE = 0.8;

/**
 * W-TinyLFU (Einziger, Friedman and Manes, doi:10.1145/3149371): what is new passes a small LRU, the window, and stays only if it was
 * seen more often lately than what would have to go for it from the main part, a segmented LRU. The window's share follows the hit
 * ratio uphill (Einziger, Eytan, Friedman and Manes, "Adaptive Software Cache Management", Middleware 2018,
 * doi:10.1145/3274808.3274816), with the constants of Caffeine. Shares are parts of what is held, so it does not matter which
 * limit holds.
 */
export class WTinyLfu implements Policy {
  readonly #fraction: () => number;
  readonly #seed: number;
  readonly #sketch = new FrequencySketch();
  #places = new Places();
  #window = new List(this.#places);
  #probation = new List(this.#places);
  #protected = new List(this.#places);
  #count = 0;
  /** What left the window last and has not been compared yet. */
  #candidate: Node | undefined;
  #windowShare = FIRST_WINDOW_SHARE;
  #step = -STEP;
  #hitRatio = 0;
  #hits = 0;
  #misses = 0;

  /** @param fraction at least 0, below 1. */
  constructor(fraction: () => number) {
    this.#fraction = fraction;
    this.#seed = Math.floor(fraction() * 2 ** 32);
  }

  added(node: Node): void {
    this.#count += 1;
    this.#misses += 1;
    this.#sketch.fit(this.#count);
    node.hash = hash32(this.#seed, node.key) | 0;
    this.#sketch.add(node.hash);
    this.#candidate = undefined;
    this.#places.take(node);
    node.region = WINDOW;
    this.#window.pushFirst(node);
    this.#shrinkWindow();
  }

  replaced(node: Node, bytesBefore: number): void {
    this.#listOf(node).resized(node.bytes - bytesBefore);
    this.used(node);
  }

  used(node: Node): void {
    this.#hits += 1;
    this.#sketch.add(node.hash);
    if (node.region === PROBATION) this.#protect(node);
    else this.#listOf(node).moveFirst(node);
  }

  removed(node: Node): void {
    this.#count -= 1;
    if (this.#candidate === node) this.#candidate = undefined;
    this.#listOf(node).remove(node);
    this.#places.release(node);
  }

  victim(): Node | undefined {
    this.#climb();
    this.#shrinkProtected();
    const victim = this.#probation.last ?? this.#protected.last;
    const candidate = this.#candidate;
    if (victim === undefined) return this.#window.last;
    return candidate === undefined || this.#isBetter(candidate, victim) ? victim : candidate;
  }

  *ranked(): Iterable<Node> {
    yield* this.#protected;
    yield* this.#window;
    yield* this.#probation;
  }

  /** What was seen stays known: a flush makes nothing less popular. */
  clear(): void {
    this.#places = new Places();
    this.#window = new List(this.#places);
    this.#probation = new List(this.#places);
    this.#protected = new List(this.#places);
    this.#count = 0;
    this.#candidate = undefined;
  }

  #listOf(node: Node): List {
    if (node.region === WINDOW) return this.#window;
    return node.region === PROBATION ? this.#probation : this.#protected;
  }

  #protect(node: Node): void {
    this.#probation.remove(node);
    node.region = PROTECTED;
    this.#protected.pushFirst(node);
    this.#shrinkProtected();
  }

  #shrinkProtected(): void {
    const mostBytes = PROTECTED_SHARE * (this.#protected.bytes + this.#probation.bytes);
    for (let moved = 0; moved < MAX_MOVED && this.#protected.bytes > mostBytes; moved++) {
      const last = this.#protected.last as Node;
      this.#protected.remove(last);
      this.#toProbation(last);
    }
  }

  #toProbation(node: Node): void {
    node.region = PROBATION;
    this.#probation.pushFirst(node);
  }

  /** The newest always stays in it. */
  #shrinkWindow(): void {
    const heldBytes = this.#window.bytes + this.#probation.bytes + this.#protected.bytes;
    const mostBytes = this.#windowShare * heldBytes;
    for (let moved = 0; moved < MAX_MOVED && this.#window.bytes > mostBytes; moved++) {
      const { first, last } = this.#window;
      if (last === undefined || last === first) return;
      this.#window.remove(last);
      this.#toProbation(last);
      this.#candidate = last;
    }
  }

  #isBetter(candidate: Node, victim: Node): boolean {
    if (candidate === victim) return false;
    const seen = this.#sketch.count(candidate.hash);
    if (seen > this.#sketch.count(victim.hash)) return true;
    return seen >= OFTEN && this.#fraction() < LUCK;
  }

  /** Goes on in a direction as long as the hit ratio rises, else turns round. */
  #climb(): void {
    const requests = this.#hits + this.#misses;
    if (requests < this.#sketch.sample) return;
    const hitRatio = this.#hits / requests;
    const change = hitRatio - this.#hitRatio;
    const amount = change >= 0 ? this.#step : -this.#step;
    this.#windowShare = Math.min(MAX_WINDOW_SHARE, Math.max(FIRST_WINDOW_SHARE, this.#windowShare + amount));
    this.#step = Math.abs(change) >= RESTART ? STEP * Math.sign(amount) : amount * DECAY;
    this.#hitRatio = hitRatio;
    this.#hits = 0;
    this.#misses = 0;
  }
}
