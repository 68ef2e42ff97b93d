import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { CertificateFacts, Pair } from '../core/injection/renewal.ts';

/** What a pair's certificate says; throws an Error that says what is wrong with the pair. */
export function readPair({ certificate, key }: Pair): CertificateFacts {
  const parsed = parse('the certificate', () => new X509Certificate(certificate));
  const privateKey = parse('the key', () => createPrivateKey(key));
  if (!parsed.checkPrivateKey(privateKey)) throw new Error('the key belongs to another certificate');
  return {
    notBeforeMs: parsed.validFromDate.getTime(),
    notAfterMs: parsed.validToDate.getTime(),
    covers: (host) => (isIP(host) === 0 ? parsed.checkHost(host) : parsed.checkIP(host)) !== undefined,
  };
}

/** The certificates of a PEM text, one by one; what stands between them is dropped. */
export function splitCertificates(bundle: string): readonly string[] {
  return bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)?.map((one) => `${one}\n`) ?? [];
}

/** Whether a PEM certificate can be read and has not expired. */
export function isValidAt(certificate: string, nowMs: number): boolean {
  try {
    return new X509Certificate(certificate).validToDate.getTime() > nowMs;
  } catch {
    return false;
  }
}

function parse<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`${what} is no PEM that can be read`, { cause: error });
  }
}
