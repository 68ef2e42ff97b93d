import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { chownSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unprivilegedAccount } from './account.ts';
import { type Scratch, scratchFolder } from './scratch.ts';

// X.509 certificates (RFC 5280) for servers on 127.0.0.1, without a program or a package: Node reads them but makes none.

/** A certificate for a server or a client, and its key, as files that every server of the kit may read. */
export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** An authority of a test's own. */
export interface Authority {
  readonly caFile: string;
  /** A certificate for 127.0.0.1, `localhost` and other DNS names. */
  issue(name: string, dnsNames?: readonly string[]): Promise<CertificateFiles>;
  /** Removes the files. */
  remove(): Promise<void>;
}

/** Makes an authority; certificates are valid for a day. */
export async function makeAuthority(name: string): Promise<Authority> {
  const account = unprivilegedAccount();
  const folder: Scratch = scratchFolder('certificates', account);
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const write = async (file: string, text: string): Promise<string> => {
    const path = join(folder.path, file);
    // Postgres takes only a key that nobody else can read.
    await writeFile(path, text, { mode: 0o600 });
    if (account !== undefined) chownSync(path, account.uid, account.gid);
    return path;
  };
  const self = certificate({ subject: name, publicKey: keys.publicKey, issuer: name, signWith: keys.privateKey });
  return {
    caFile: await write('ca.pem', self),
    async issue(subject, dnsNames = []) {
      const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const signWith = keys.privateKey;
      const text = certificate({ subject, dnsNames, publicKey: own.publicKey, issuer: name, signWith });
      return {
        certFile: await write(`${subject}.pem`, text),
        keyFile: await write(`${subject}.key`, own.privateKey.export({ type: 'pkcs8', format: 'pem' })),
      };
    },
    remove: () => folder.remove(),
  };
}

const DAY_MS = 86_400_000;
const ECDSA_WITH_SHA256 = '2a8648ce3d040302';
const COMMON_NAME = '550403';
const BASIC_CONSTRAINTS = '551d13';
const SUBJECT_ALT_NAME = '551d11';

/** A certificate as PEM; one that is its own issuer is an authority. */
function certificate(options: {
  readonly subject: string;
  readonly dnsNames?: readonly string[];
  readonly publicKey: KeyObject;
  readonly issuer: string;
  readonly signWith: KeyObject;
}): string {
  const { subject, dnsNames = [], publicKey, issuer, signWith } = options;
  const names = ['localhost', ...dnsNames].map((dns) => tlv(0x82, Buffer.from(dns)));
  const algorithm = sequence(oid(ECDSA_WITH_SHA256));
  const validity = sequence(utcTime(Date.now() - DAY_MS), utcTime(Date.now() + DAY_MS));
  const extension =
    subject === issuer
      ? sequence(oid(BASIC_CONSTRAINTS), tlv(0x01, Buffer.of(0xff)), tlv(0x04, sequence(tlv(0x01, Buffer.of(0xff)))))
      : sequence(oid(SUBJECT_ALT_NAME), tlv(0x04, sequence(...names, tlv(0x87, Buffer.of(127, 0, 0, 1)))));
  const body = sequence(
    tlv(0xa0, tlv(0x02, Buffer.of(2))), // version 3
    tlv(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])), // serial number
    algorithm,
    nameOf(issuer),
    validity,
    nameOf(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(extension)),
  );
  const der = sequence(body, algorithm, tlv(0x03, Buffer.of(0), sign('sha256', body, signWith)));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

/** Tag, length and value: one element of DER. */
function tlv(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const value = Buffer.concat(parts);
  const { length } = value;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), value]);
}

function sequence(...parts: readonly Uint8Array[]): Buffer {
  return tlv(0x30, ...parts);
}

/** @param hex the identifier as DER has it */
function oid(hex: string): Buffer {
  return tlv(0x06, Buffer.from(hex, 'hex'));
}

function nameOf(commonName: string): Buffer {
  return sequence(tlv(0x31, sequence(oid(COMMON_NAME), tlv(0x0c, Buffer.from(commonName)))));
}

/** YYMMDDHHMMSSZ */
function utcTime(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replaceAll(/[^0-9]/g, '');
  return tlv(0x17, Buffer.from(`${digits.slice(2, 14)}Z`));
}
