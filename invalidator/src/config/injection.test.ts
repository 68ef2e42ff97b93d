import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { injectConfig } from '../config.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidemark-inject-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'injection.yaml');
writeFileSync(file, 'mode: native\nsource: main\ncontainer: { name: tidemark, image: i }\n');

const base = { TIDEMARK_INJECTION: file };
const files = { TIDEMARK_WEBHOOK_CERT_FILE: '/tls.crt', TIDEMARK_WEBHOOK_KEY_FILE: '/tls.key' };
const selfSigned = {
  TIDEMARK_WEBHOOK_SECRET: 's',
  TIDEMARK_WEBHOOK_CONFIGURATION: 'c',
  TIDEMARK_WEBHOOK_HOSTS: 'a.b.svc,127.0.0.1',
};

it('takes a certificate from files, or keeps one by itself', () => {
  expect(injectConfig({ ...base, ...files }).certificates).toMatchObject({ mode: 'provided', keyFile: '/tls.key' });
  expect(injectConfig({ ...base, ...selfSigned }).certificates).toMatchObject({
    mode: 'self-signed',
    hosts: ['a.b.svc', '127.0.0.1'],
    lifeMs: 90 * 86_400_000,
  });
});

it('says what it expected instead of neither, both or half of one', () => {
  const { TIDEMARK_WEBHOOK_HOSTS: _hosts, ...half } = selfSigned;
  for (const env of [{}, { ...files, ...selfSigned }, half, { TIDEMARK_WEBHOOK_CERT_FILE: '/tls.crt' }])
    expect(() => injectConfig({ ...base, ...env })).toThrow(/expected either CERT_FILE and KEY_FILE, or SECRET/);
  expect(() => injectConfig({ ...base, ...selfSigned, TIDEMARK_WEBHOOK_HOSTS: 'a b' })).toThrow(/at most 16 DNS names/);
  expect(() => injectConfig({ ...files, TIDEMARK_INJECTION: join(folder, 'none') })).toThrow(
    /cannot be read \(ENOENT\)/,
  );
});
