import type { Loaded } from '../core/ports.ts';

/** A loader whose loads end when the test says so. It does not handle the key `not-mine`. */
export class HandLoader {
  readonly open: { readonly key: string; readonly end: (loaded: Loaded) => void }[] = [];
  begun = 0;
  readonly handles = (key: string): boolean => key !== 'not-mine';

  load({ key }: { key: string }): Promise<Loaded> {
    this.begun += 1;
    return new Promise((end) => this.open.push({ key, end }));
  }

  /** Ends the one that began first; settles once whoever waited has been told. */
  async end(loaded: Loaded | string): Promise<void> {
    const value = (text: string): Loaded => ({
      kind: 'value',
      body: Buffer.from(text),
      contentType: 'text/plain',
      tags: [],
    });
    this.open.shift()?.end(typeof loaded === 'string' ? value(loaded) : loaded);
    for (let i = 0; i < 5; i += 1) await Promise.resolve();
  }
}
