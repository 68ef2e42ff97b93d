import { createHash } from 'node:crypto';
import { Factories } from '@cyclonedx/cyclonedx-library/Contrib/License';
import { ComponentType, HashAlgorithm } from '@cyclonedx/cyclonedx-library/Enums';
import { Bom, Component, Property } from '@cyclonedx/cyclonedx-library/Models';
import { JSON as Json, JsonSerializer } from '@cyclonedx/cyclonedx-library/Serialize';
import { Spec1dot6 } from '@cyclonedx/cyclonedx-library/Spec';
import { PackageURL } from 'packageurl-js';
import validateExpression from 'spdx-expression-parse';
import type { ShippedPackage } from './packages.ts';

/** The Node that runs the bundles. */
export interface NodeRuntime {
  /** As `process.versions` of it says. */
  readonly versions: Readonly<Record<string, string>>;
  /** SHA-256 of the binary, in hex. */
  readonly sha256: string;
}

export interface SbomOptions {
  readonly version: string;
  readonly packages: readonly (ShippedPackage & {
    /** Which bundles it is in. */ readonly bundles: readonly string[];
  })[];
  readonly node: NodeRuntime;
}

/** What Node is linked with that vulnerabilities are reported for; the rest of `process.versions` is part of Node itself. */
const LINKED = ['ada', 'ares', 'brotli', 'llhttp', 'nghttp2', 'nghttp3', 'ngtcp2', 'openssl', 'simdjson'];
const LINKED_TOO = ['simdutf', 'sqlite', 'undici', 'uv', 'v8', 'zlib', 'zstd'];

const licences = new Factories.LicenseFactory(validateExpression);

/** What is in the image beside its base: CycloneDX 1.6 in JSON. The same packages and Node give the same text. */
export function sbomOf({ version, packages, node }: SbomOptions): string {
  const tidemark = new Component(ComponentType.Application, 'tidemark', { bomRef: 'tidemark', version });
  tidemark.purl = purl('generic', 'tidemark', version);
  tidemark.licenses.add(licences.makeFromString('Apache-2.0'));
  const bom = new Bom();
  bom.metadata.component = tidemark;
  for (const component of [...packages.map(libraryOf), nodeOf(node)]) {
    bom.components.add(component);
    tidemark.dependencies.add(component.bomRef);
  }
  const text = serialize(bom);
  // A serial number names one bill, and the same bill built twice is the same: so it is derived from what it says.
  bom.serialNumber = `urn:uuid:${uuidOf(text)}`;
  return `${serialize(bom)}\n`;
}

function serialize(bom: Bom): string {
  return new JsonSerializer(new Json.Normalize.Factory(Spec1dot6)).serialize(bom, { sortLists: true, space: 2 });
}

function libraryOf({ name: full, version, license, sha512, bundles }: SbomOptions['packages'][number]): Component {
  const slash = full.indexOf('/');
  const group = slash === -1 ? undefined : full.slice(0, slash);
  const name = full.slice(slash + 1);
  const component = new Component(ComponentType.Library, name, { bomRef: `${full}@${version}`, group, version });
  component.purl = purl('npm', name, version, group);
  component.licenses.add(licences.makeFromString(license));
  component.hashes.set(HashAlgorithm['SHA-512'], sha512);
  for (const bundle of bundles) component.properties.add(new Property('tidemark:bundle', bundle));
  return component;
}

function nodeOf({ versions, sha256 }: NodeRuntime): Component {
  const version = versions['node'] ?? '';
  const component = new Component(ComponentType.Platform, 'node', { bomRef: `node@${version}`, version });
  component.purl = purl('generic', 'node', version);
  component.cpe = `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`;
  component.licenses.add(licences.makeFromString('MIT'));
  component.hashes.set(HashAlgorithm['SHA-256'], sha256);
  for (const name of [...LINKED, ...LINKED_TOO]) {
    const linked = versions[name];
    if (linked === undefined) continue;
    const part = new Component(ComponentType.Library, name, { bomRef: `node/${name}@${linked}`, version: linked });
    part.purl = purl('generic', name, linked);
    component.components.add(part);
  }
  return component;
}

function purl(type: string, name: string, version: string, group?: string): string {
  return new PackageURL(type, group, name, version, undefined, undefined).toString();
}

/** A UUID of version 8 (RFC 9562): 122 bits of a hash. */
function uuidOf(text: string): string {
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
