import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ShippedPackage } from './packages.ts';

const isLicenceFile = /^(?:(?:un)?licen[cs]e|copying|notice)(?:[.-].*)?$/i;
const RULE = '='.repeat(80);

/**
 * The licence texts of packages, as their authors wrote them.
 *
 * @throws Error for a package that brings no text of its licence
 */
export function noticesOf(packages: readonly ShippedPackage[]): string {
  const parts = packages.map((each) => `${RULE}\n${each.name} ${each.version} (${each.license})\n\n${textOf(each)}\n`);
  return [
    'Tidemark (see LICENSE) contains the following packages in whole or in part. The Apache License 2.0, where one of',
    'them names it without its text, is the one in LICENSE.',
    '',
    ...parts,
  ].join('\n');
}

/** Its licence files; else what its README says below "License"; else the notices at the top of the files that are shipped. */
function textOf({ name, version, folder, files }: ShippedPackage): string {
  const names = readdirSync(folder).toSorted();
  const read = (file: string): string => readFileSync(join(folder, file), 'utf8');
  const own = names.filter((file) => isLicenceFile.test(file)).map(read);
  const readme = names.filter((file) => /^readme\.md$/i.test(file)).flatMap((file) => licenceSection(read(file)));
  const headers = [...new Set(files.flatMap((file) => header(readFileSync(file, 'utf8'))))].toSorted();
  const found = [own, readme, headers].find((texts) => texts.length > 0);
  if (found === undefined)
    throw new Error(`${name}@${version} brings no text of its licence: find it, or do without the package`);
  return found.map((text) => text.replaceAll('\r\n', '\n').trim()).join('\n\n');
}

function licenceSection(readme: string): string[] {
  const text = /^#+ *licen[cs]e *\n([\s\S]+?)(?=^#|(?![\s\S]))/im.exec(readme)?.[1];
  return text?.includes('Copyright') === true ? [text] : [];
}

/** The comment that a file begins with, without its marks. */
function header(code: string): string[] {
  const text = /^(?:#!.*\n)?(?:\/\*[\s\S]*?\*\/|(?:\/\/.*\n)+)/.exec(code)?.[0];
  if (text?.includes('Copyright') !== true) return [];
  return [text.replaceAll(/^ ?(?:\/\*+|\*+\/|\*|\/\/) ?/gm, '')];
}
