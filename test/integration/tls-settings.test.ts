import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyConfig, runConfig } from '../../invalidator/src/config.ts';
import { readConfig } from '../../sidecar/src/config.ts';
import { makeAuthority, scratchFolder, type Authority, type CertificateFiles } from '../kit/index.ts';

// What processes are told about TLS, and what they say when it cannot be right: at the start, not at the first connection.

const folder = scratchFolder('tls-settings');
const none = join(folder.path, 'none.pem');
const text = join(folder.path, 'text.pem');
const config = join(folder.path, 'tidemark.yaml');
let authority: Authority;
let own: CertificateFiles;
let other: CertificateFiles;

beforeAll(async () => {
  authority = await makeAuthority('the company');
  [own, other] = [await authority.issue('own'), await authority.issue('other')];
  await writeFile(text, 'no certificate');
  await writeFile(config, 'sources: { main: { topic: t } }');
});

afterAll(async () => {
  await authority.remove();
  await folder.remove();
});

type Env = Record<string, string>;

const sidecar = (env: Env) => readConfig([], { TIDEMARK_CONFIG: config, TIDEMARK_KAFKA_BROKERS: 'a:1', ...env });
const applier = (env: Env) => applyConfig({ TIDEMARK_KAFKA_BROKERS: 'a:1', ...env }, config);
const publisher = (env: Env) => runConfig({ TIDEMARK_KAFKA_BROKERS: 'a:1', ...env }, config);
const secureRedis = { TIDEMARK_REDIS_URL: 'rediss://a:1' };
const secureKafka = { TIDEMARK_KAFKA_TLS: 'true' };

describe('files', () => {
  it('are read at the start; without any, the authorities of the system count', () => {
    const files: Env = { CA_FILE: authority.caFile, CERT_FILE: own.certFile, KEY_FILE: own.keyFile };
    const named = (prefix: string): Env =>
      Object.fromEntries(Object.entries(files).map(([name, path]) => [`${prefix}_${name}`, path]));
    const pem = (what: string): unknown => expect.stringContaining(`-----BEGIN ${what}-----`);
    const identity = { ca: pem('CERTIFICATE'), cert: pem('CERTIFICATE'), key: pem('PRIVATE KEY') };
    const env = { ...secureRedis, ...secureKafka, ...named('TIDEMARK_REDIS'), ...named('TIDEMARK_KAFKA') };
    for (const found of [sidecar(env), applier(env)]) {
      expect(found?.redisTls).toEqual(identity);
      expect(found?.kafka.tls).toEqual(identity);
    }
    for (const found of [sidecar({ ...secureRedis, ...secureKafka }), applier({ ...secureRedis, ...secureKafka })])
      expect([found?.redisTls, found?.kafka.tls]).toEqual([{}, {}]);
    expect(sidecar({ TIDEMARK_REDIS_URL: 'redis://a:1' })).toMatchObject({
      redisTls: undefined,
      kafka: { tls: false },
    });
  });

  it.each<[string, () => Env, () => string]>([
    [
      'that is not there',
      () => ({ ...secureRedis, TIDEMARK_REDIS_CA_FILE: none }),
      () => `TIDEMARK_REDIS_CA_FILE: found ${JSON.stringify(none)}, expected a file that can be read (ENOENT)`,
    ],
    [
      'without a certificate',
      () => ({ ...secureKafka, TIDEMARK_KAFKA_CA_FILE: text }),
      () => `TIDEMARK_KAFKA_CA_FILE: found ${JSON.stringify(text)}, expected a PEM file with a certificate`,
    ],
    [
      'without a key',
      () => ({ ...secureKafka, TIDEMARK_KAFKA_CERT_FILE: own.certFile, TIDEMARK_KAFKA_KEY_FILE: own.certFile }),
      () => `TIDEMARK_KAFKA_KEY_FILE: found ${JSON.stringify(own.certFile)}, expected a PEM file with a private key`,
    ],
    [
      'with the key of another certificate',
      () => ({ ...secureRedis, TIDEMARK_REDIS_CERT_FILE: own.certFile, TIDEMARK_REDIS_KEY_FILE: other.keyFile }),
      () => 'TIDEMARK_REDIS_KEY_FILE: found the key of another certificate than that of TIDEMARK_REDIS_CERT_FILE',
    ],
    [
      'with a certificate, and none with its key',
      () => ({ ...secureRedis, TIDEMARK_REDIS_CERT_FILE: own.certFile }),
      () => 'TIDEMARK_REDIS_CERT_FILE and _KEY_FILE: found only one of them, expected both or none',
    ],
    [
      'for a Redis without TLS',
      () => ({ TIDEMARK_REDIS_URL: 'redis://a:1', TIDEMARK_REDIS_CA_FILE: authority.caFile }),
      () => 'TIDEMARK_REDIS_CA_FILE: found a file, expected TIDEMARK_REDIS_URL to begin with rediss with it',
    ],
    [
      'for a Kafka without TLS',
      () => ({ ...secureRedis, TIDEMARK_KAFKA_CA_FILE: authority.caFile }),
      () => 'TIDEMARK_KAFKA_CA_FILE: found a file, expected TIDEMARK_KAFKA_TLS=true with it',
    ],
  ])('one %s is told', (_, env, message) => {
    expect(() => applier(env())).toThrow(message());
    expect(() => sidecar(env())).toThrow(message());
  });
});

it.each<[string, () => string, string]>([
  ['that is not there', () => none, 'expected a file that can be read (ENOENT) in sslrootcert'],
  ['without a certificate', () => text, 'expected a PEM file with a certificate in sslrootcert'],
])('an authority for Postgres %s is told, without the URL', (_, file, message) => {
  const url = (path: string): string =>
    `postgres://u:s3cret@h/db?sslmode=verify-full&sslrootcert=${encodeURIComponent(path)}`;
  expect(() => publisher({ TIDEMARK_POSTGRES_URL: url(file()) })).toThrow(
    `TIDEMARK_POSTGRES_URL: found a value that cannot be used, ${message}`,
  );
  expect(publisher({ TIDEMARK_POSTGRES_URL: url(authority.caFile) }).postgresUrl).toBe(url(authority.caFile));
});
