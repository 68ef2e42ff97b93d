import type { Entry, NamespaceRules } from '@tidemark/proto';
import type { Claimable, L2Failure, L2FillResult, L2Found, L2Store } from '../core/ports.ts';

/** A Redis that answers when the test says so. */
export class HandL2 implements L2Store {
  available = true;
  readonly reads: { readonly key: string; readonly answer: (found: L2Found | L2Failure) => Promise<void> }[] = [];
  readonly plainReads: ((found: Entry | undefined | L2Failure) => void)[] = [];
  readonly filled: string[] = [];
  /** Token by namespace and key; they end when the test deletes them. */
  readonly claims = new Map<string, string>();

  read(_namespace: NamespaceRules, key: string): Promise<L2Found | L2Failure> {
    return new Promise((resolve) => {
      const answer = async (found: L2Found | L2Failure): Promise<void> => {
        resolve(found);
        for (let i = 0; i < 5; i += 1) await Promise.resolve();
      };
      this.reads.push({ key, answer });
    });
  }

  fill(_namespace: NamespaceRules, key: string): Promise<L2FillResult> {
    this.filled.push(key);
    return Promise.resolve('ok');
  }

  promote(): Promise<'ok'> {
    return Promise.resolve('ok');
  }

  readPlain(): Promise<Entry | undefined | L2Failure> {
    return new Promise((resolve) => this.plainReads.push(resolve));
  }

  writePlain(_namespace: string, key: string): Promise<'ok'> {
    this.filled.push(key);
    return Promise.resolve('ok');
  }

  deletePlain(): Promise<'ok' | L2Failure> {
    return Promise.resolve(this.available ? 'ok' : 'away');
  }

  claim(namespace: Claimable, key: string, { token }: { token: string }): Promise<'granted' | 'taken' | L2Failure> {
    const name = claimName(namespace, key);
    if (!this.available) return Promise.resolve('away');
    if (this.claims.has(name)) return Promise.resolve('taken');
    this.claims.set(name, token);
    return Promise.resolve('granted');
  }

  release(namespace: Claimable, key: string, token: string): Promise<'released' | 'gone' | L2Failure> {
    const name = claimName(namespace, key);
    if (!this.available) return Promise.resolve('away');
    if (this.claims.get(name) !== token) return Promise.resolve('gone');
    this.claims.delete(name);
    return Promise.resolve('released');
  }
}

function claimName(namespace: Claimable, key: string): string {
  return `${typeof namespace === 'string' ? namespace : namespace.name}:${key}`;
}
