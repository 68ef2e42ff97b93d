import { KeyObject, randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import type { Pair } from '../core/injection/renewal.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const SERVER_AUTHENTICATION = '1.3.6.1.5.5.7.3.1';

/** A certificate for `hosts` with its key, and the authority that signed it, all as PEM. */
export interface MadePair {
  readonly pair: Pair;
  readonly authority: string;
}

/**
 * Makes a serving certificate and an authority for it alone. The authority's key is forgotten at once: it can sign nothing
 * else, and there is one secret less to keep.
 * @param options.hosts DNS names or IP addresses, as the API server calls the webhook (`NAME.NAMESPACE.svc`)
 * @param options.lifeMs how long both are valid; they begin a tenth of it earlier, for clocks that are late
 */
export async function makePair(options: {
  readonly hosts: readonly string[];
  readonly lifeMs: number;
  readonly nowMs: number;
}): Promise<MadePair> {
  // tsyringe, below the library, needs the polyfill before it is loaded.
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  const notBefore = new Date(options.nowMs - options.lifeMs / 10);
  const notAfter = new Date(options.nowMs + options.lifeMs);
  const [authorityKeys, keys] = await Promise.all([makeKeys(), makeKeys()]);
  const issuer = `CN=Tidemark webhook ${randomBytes(4).toString('hex')}`;
  const authorityId = await x509.SubjectKeyIdentifierExtension.create(authorityKeys.publicKey);
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: issuer,
    notBefore,
    notAfter,
    signingAlgorithm: ALGORITHM,
    keys: authorityKeys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      authorityId,
    ],
  });
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: 'CN=Tidemark webhook',
    issuer,
    notBefore,
    notAfter,
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: authorityKeys.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([SERVER_AUTHENTICATION]),
      new x509.SubjectAlternativeNameExtension(
        options.hosts.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }) as const),
      ),
      await x509.AuthorityKeyIdentifierExtension.create(authorityKeys.publicKey),
    ],
  });
  return {
    pair: {
      certificate: `${certificate.toString('pem')}\n`,
      key: KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }),
    },
    authority: `${authority.toString('pem')}\n`,
  };
}

function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

/** 127 random bits; the first one is 0, because the number must be positive (RFC 5280, 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0);
  return bytes.toString('hex');
}
