import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { optional, type EnvOf } from './env.ts';
import { SettingError } from './setting-error.ts';

/** Whom a TLS client trusts and what it shows of itself, as PEM texts; read once, when the process starts. */
export interface TlsIdentity {
  /** Instead of the system's authorities. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** The three variables about TLS to one kind of server; their values are the texts of the files. */
function tlsEnv(prefix: string, server: string) {
  return {
    ca: optional(`${prefix}_CA_FILE`, {
      description: `PEM file with the authorities to trust for ${server} (default: the system's)`,
      parse: certificateFile,
    }),
    cert: optional(`${prefix}_CERT_FILE`, {
      description: `PEM file with the certificate to show to ${server}`,
      parse: certificateFile,
    }),
    key: optional(`${prefix}_KEY_FILE`, { description: 'PEM file with its private key', parse: keyFile }),
  };
}

const kafka = tlsEnv('TIDEMARK_KAFKA', 'Kafka');
const redis = tlsEnv('TIDEMARK_REDIS', 'Redis');

export const kafkaTlsEnv = { kafkaCa: kafka.ca, kafkaCert: kafka.cert, kafkaKey: kafka.key };
export const redisTlsEnv = { redisCa: redis.ca, redisCert: redis.cert, redisKey: redis.key };

/** Throws {@link SettingError} where files are named although TIDEMARK_KAFKA_TLS is false, or do not fit each other. */
export function kafkaTlsOf(
  settings: EnvOf<typeof kafkaTlsEnv> & { readonly kafkaTls: boolean },
): TlsIdentity | undefined {
  const { kafkaTls: isSpoken, kafkaCa: ca, kafkaCert: cert, kafkaKey: key } = settings;
  const needs = 'TIDEMARK_KAFKA_TLS=true';
  return checked({ ca, cert, key }, { prefix: 'TIDEMARK_KAFKA', isSpoken, needs });
}

/** Throws {@link SettingError} where files are named although TIDEMARK_REDIS_URL is none of TLS, or do not fit each other. */
export function redisTlsOf(
  settings: EnvOf<typeof redisTlsEnv> & { readonly redisUrl: string | undefined },
): TlsIdentity | undefined {
  const { redisUrl = '', redisCa: ca, redisCert: cert, redisKey: key } = settings;
  const needs = 'TIDEMARK_REDIS_URL to begin with rediss';
  return checked({ ca, cert, key }, { prefix: 'TIDEMARK_REDIS', isSpoken: redisUrl.startsWith('rediss'), needs });
}

/** The parts that are there; undefined where TLS is not spoken. */
function checked(
  files: { readonly [part in keyof TlsIdentity]: string | undefined },
  told: { readonly prefix: string; readonly isSpoken: boolean; readonly needs: string },
): TlsIdentity | undefined {
  const { ca, cert, key } = files;
  const { prefix, isSpoken, needs } = told;
  const some = Object.entries(files).find(([, text]) => text !== undefined);
  if (!isSpoken && some !== undefined)
    throw new SettingError(`${prefix}_${some[0].toUpperCase()}_FILE: found a file, expected ${needs} with it`);
  if (!isSpoken) return undefined;
  if ((cert === undefined) !== (key === undefined))
    throw new SettingError(`${prefix}_CERT_FILE and _KEY_FILE: found only one of them, expected both or none`);
  if (cert !== undefined && key !== undefined && !new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)))
    throw new SettingError(`${prefix}_KEY_FILE: found the key of another certificate than that of ${prefix}_CERT_FILE`);
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

/** The text of a PEM file with one certificate or more. Throws an Error that says what was expected. */
export function certificateFile(path: string): string {
  return pemFile(path, { what: 'a certificate', parse: (text) => new X509Certificate(text) });
}

/** The text of a PEM file with a private key. Throws an Error that says what was expected. */
export function keyFile(path: string): string {
  return pemFile(path, { what: 'a private key without a passphrase', parse: (text) => createPrivateKey(text) });
}

function pemFile(path: string, kind: { readonly what: string; readonly parse: (text: string) => unknown }): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`expected a file that can be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`, {
      cause: error,
    });
  }
  try {
    kind.parse(text);
  } catch (error) {
    throw new Error(`expected a PEM file with ${kind.what}`, { cause: error });
  }
  return text;
}
