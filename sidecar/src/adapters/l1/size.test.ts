import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const at = (file: string): string => JSON.stringify(fileURLToPath(new URL(file, import.meta.url)));

it.each(['lru', 'lfu'])('counts with %s no less than V8 says that the entries occupy, and not much more', (policy) => {
  // In a process of its own, where nothing else allocates.
  const script = `
    import { MemoryStore } from ${at('./store.ts')};
    import { createPolicy } from ${at('./policies.ts')};
    const kept = [];
    const measure = (size, tags) => {
      const used = () => { gc(); gc(); const { heapUsed, arrayBuffers } = process.memoryUsage(); return heapUsed + arrayBuffers; };
      const store = new MemoryStore({ maxBytes: 1e9, policy: createPolicy('${policy}', Math.random) });
      kept.push(store);
      const before = used();
      for (let i = 0; i < 10_000; i++) {
        const text = (word) => Buffer.from(word + i).toString();
        store.set(text('key:'), { asOf: 1000 + i, epoch: 1, storedAtMs: 1.7e12 + i, freshUntilMs: 1.8e12 + i, expiresAtMs: 1.8e12 + i + 1,
          keepUntilMs: 1.8e12 + i + 2, loadMs: i, absent: false, contentType: 'text/plain', etag: text('"0123456789abcdefg'),
          tags: Array.from({ length: tags }, (_, n) => text('tag' + n + ':')), body: Buffer.allocUnsafeSlow(size) });
      }
      return store.bytes / (used() - before);
    };
    console.log(JSON.stringify([[100, 0], [1024, 0], [4096, 0], [1024, 1], [1024, 4]].map(([size, tags]) => measure(size, tags))));
  `;
  const args = ['--expose-gc', '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script];
  const ratios = JSON.parse(execFileSync(process.execPath, args).toString()) as number[];
  for (const ratio of ratios) {
    expect(ratio).toBeGreaterThan(1);
    // V8's own records of buffers are in no figure of its; they are in the resident memory.
    expect(ratio).toBeLessThan(1.5);
  }
});
